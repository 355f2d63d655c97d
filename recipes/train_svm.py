"""Fit a support vector machine on functionals, on embeddings, or on both, and judge it on speakers it has never heard.

    python recipes/train_svm.py                                                # synthetic speech, offline, seconds
    SER_HF_CORPORA=/path/to/corpora python recipes/train_svm.py recipes/configs/ravdess_svm.yaml

Its options are fixed before: nothing is chosen on the validation speakers, who may train too (`--refit true`). One fold
makes a run folder that works in `pipeline`; several make one each, and a pooled report above them.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from accelerate import PartialState
from datasets import concatenate_datasets
from transformers import set_seed

from ser_hf.data.arguments import DataArguments
from ser_hf.data.precompute import precompute
from ser_hf.hub.push import save_run
from ser_hf.inference.evaluate import calibrate, evaluate
from ser_hf.report.runs import TEST, RunTables, conclude
from ser_hf.splits.split import chosen_folds, split_each
from ser_hf.training.parser import parse, run_recipe, save_arguments
from ser_hf.training.svm import SVMArguments, fit_svm


def main(argv: Sequence[str] | None = None) -> None:
    default = Path(__file__).parent / "configs" / "synthetic_svm.yaml"
    data_args, svm_args = parse(DataArguments, SVMArguments, default_config=default, argv=argv)
    if data_args.precomputed is not None:
        raise ValueError("precomputed: `ser-hf precompute` serves train_classifier.py; vectors are cached here anyway")
    if PartialState().num_processes > 1:
        raise ValueError(f"{PartialState().num_processes} processes were started, but a machine is fitted in one")
    run, seed, name = Path(svm_args.output_dir), svm_args.seed, svm_args.model_name
    dataset = data_args.load()
    labels = dataset.features["label"].names
    folds = chosen_folds(dataset, data_args.protocols, data_args.folds, emobox_root=data_args.emobox_root)
    set_seed(seed)
    model, extractor = svm_args.build(labels)
    dataset = precompute(dataset, model, extractor, frozen=True, batch_size=32)
    goes_on = save_arguments(run, data_args, svm_args)

    runs = []
    for fold in folds:
        folder = run if len(folds) == 1 else run / f"fold{fold}"
        if goes_on and (folder / TEST).exists():
            runs.append(RunTables.read(folder))
            continue
        parts, protocol = split_each(dataset, data_args.protocols, fold, emobox_root=data_args.emobox_root)
        train = parts["train"]
        if svm_args.refit:
            train = concatenate_datasets([train, parts["validation"]])
        ledger = svm_args.earlier_ledger().continued(
            {**parts, "train": train}, protocol, fold=fold, seed=seed, scheme=data_args.scheme
        )
        if svm_args.refit:
            protocol = replace(protocol, name=f"{protocol.name}+refit", rule=f"{protocol.rule}; validation trains too")
        set_seed(seed)
        model, extractor = svm_args.build(labels)
        fit_svm(model, np.stack(train["vectors"]), train["label"], train["speaker"])
        facts = dict(fold=fold, seed=seed, model_name=name, trained_on=ledger.corpora, **ledger.judged(protocol))
        validation = None  # who trained says nothing of new speakers: no temperature is fitted on them
        if not svm_args.refit:
            validation = evaluate(model, extractor, parts["validation"], **facts, part="validation")
            validation = calibrate(model, validation)
        runs.append(RunTables(evaluate(model, extractor, parts["test"], **facts), validation))
        folder.mkdir(parents=True, exist_ok=True)
        ledger.write(folder)
        save_run(folder, model, extractor, runs[-1], base_model=name)

    print(conclude(run, runs).to_markdown())


if __name__ == "__main__":
    run_recipe(main)
