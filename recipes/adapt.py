"""Adapt a classifier to a corpus whose labels it never sees, and judge it on speakers of that corpus it never heard.

    python recipes/adapt.py                                                       # synthetic speech, offline
    python recipes/adapt.py recipes/configs/adapt_synthetic.yaml --method none lmmd coral=100  # beside the source alone
    python recipes/adapt.py --adapt_from synthetic_spontaneous --adapt_to synthetic --output_dir runs/back

The source's training part is learned with its labels, the target's without. Nothing is chosen on the target: epoch and
temperature are those that suit validation speakers of the source, so that a report's calibration is the source's too.
The run folder holds the test speakers of the target, its folder `source` those of the source; of several methods each
has such a folder of its own, beside a comparison on the same utterances.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from transformers import set_seed

from ser_hf.data.precompute import fit_statistics, precompute, standardised
from ser_hf.evaluation.comparisons.compare import compare, write_comparison
from ser_hf.evaluation.comparisons.domain_shift import Diagnosis, diagnose
from ser_hf.hub.push import destination_of_run, push, save_run
from ser_hf.inference.embeddings import embed
from ser_hf.inference.evaluate import assign_classes, calibrate, evaluate
from ser_hf.models.pretrained import is_frozen
from ser_hf.report.diagnoses import write_diagnoses
from ser_hf.report.runs import TEST, RunTables
from ser_hf.splits.ledger import NOTED_COLUMNS
from ser_hf.training.adaptation import AdaptationTrainer, ComparedArguments
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.curves import write_curves
from ser_hf.training.domains import DomainArguments
from ser_hf.training.pacing import has_learnt
from ser_hf.training.parser import parse, run_recipe, save_arguments
from ser_hf.training.resume import last_checkpoint


def main(argv: Sequence[str] | None = None) -> None:
    default = Path(__file__).parent / "configs" / "adapt_synthetic.yaml"
    data_args, model_args, methods, training_args = parse(
        DomainArguments, ModelArguments, ComparedArguments, SERTrainingArguments, default_config=default, argv=argv
    )
    run = Path(training_args.output_dir)
    if training_args.push_to_hub and (len(methods.each) > 1 or data_args.target_scheme or not methods.keep_models):
        raise ValueError("push_to_hub: published is the kept model of one method, judged by the scheme it learned")
    repo_id = destination_of_run(training_args, folds=data_args.folds)
    with training_args.main_process_first():
        source, target = data_args.load_domains()
    labels, classes = source.features["label"].names, target.features["label"].names
    judged_as = data_args.judged_as.counts_as
    assign_classes(labels, classes, None, judged_as)  # told before an hour of training
    folds = data_args.chosen_folds(target)
    set_seed(training_args.seed)  # a random encoder that is frozen is the same one here and in every fold
    model, extractor = model_args.build(labels)
    if data_args.own_statistics and has_learnt(model):  # it would standardise a second time, by those
        raise ValueError("own_statistics: the head of this model was trained with statistics of its own; leave it out")
    with training_args.main_process_first():  # what does not change while training is computed once
        model.to(training_args.device)
        source, target = (precompute(rows, model, extractor, frozen=is_frozen(model)) for rows in (source, target))
        goes_on = save_arguments(run, data_args, model_args, methods, training_args)

    places = {one.method: run / one.method if len(methods.each) > 1 else run for one in methods.each}
    on_target, diagnoses = {method: [] for method in places}, {method: [] for method in places}
    on_source = {method: {} for method in places}  # by its own folds, which come round where it has fewer
    for fold in folds:
        of_source, of_target, protocol = data_args.split_domains(source, target, fold)
        source_fold, heard_of_target = data_args.source_fold(source, fold), of_target["train"]
        if data_args.own_statistics:
            of_source, of_target = (standardised(parts, model) for parts in (of_source, of_target))
        for adaptation in methods.each:
            folder = places[adaptation.method] / (f"fold{fold}" if len(folds) > 1 else "")
            if goes_on and (folder / TEST).exists():
                on_target[adaptation.method].append(RunTables.read(folder))
                on_source[adaptation.method].setdefault(source_fold, RunTables.read(folder / "source"))
                diagnoses[adaptation.method].append(Diagnosis.read(folder))
                continue
            set_seed(training_args.seed)
            model, extractor = model_args.build(labels)
            hears_target = adaptation.method != "none" or data_args.own_statistics
            heard = [of_source["train"], *([of_target["train"]] if hears_target else [])]
            ledger = model_args.earlier_ledger().continued(
                {"train": together(*heard), "validation": of_source["validation"],
                 "test": together(of_source["test"], of_target["test"])},
                protocol, fold=fold, seed=training_args.seed, scheme=data_args.scheme,
            )  # fmt: skip
            fit_statistics(model.to(training_args.device), extractor, of_source["train"])
            training_args.output_dir = str(folder)
            trainer = AdaptationTrainer(
                model,
                training_args,
                adaptation=adaptation,
                train_dataset=of_source["train"],
                target_dataset=of_target["train"],
                eval_dataset=of_source["validation"],
                processing_class=extractor,
                ledger=ledger,
            )
            trainer.train(resume_from_checkpoint=last_checkpoint(folder))
            name = f"{model_args.model_name}, {adaptation.method}"
            facts = dict(fold=fold, seed=training_args.seed, model_name=name, trained_on=ledger.corpora)
            judge = partial(evaluate, model, extractor, **facts, **ledger.judged(protocol))
            pseudo_labels = judge(of_target["train"], part="train", evaluation_map=judged_as)  # as they ended
            validation = calibrate(model, judge(of_source["validation"], part="validation"))
            there = RunTables(judge(of_source["test"]), validation)
            is_alike = classes == labels and not judged_as  # of other classes it would tell nothing
            here = RunTables(judge(of_target["test"], evaluation_map=judged_as), validation if is_alike else None)
            diagnosis = diagnose(
                there.test, here.test, pseudo_labels,
                np.concatenate([embed(model, extractor, parts["test"]) for parts in (of_source, of_target)]),
                confidence_floor=adaptation.confidence_floor, log_history=trainer.state.log_history,
            )  # fmt: skip
            on_source[adaptation.method].setdefault(source_fold, there)
            on_target[adaptation.method].append(here)
            diagnoses[adaptation.method].append(diagnosis)
            if trainer.is_world_process_zero():
                folder.mkdir(parents=True, exist_ok=True)
                ledger.write(folder)
                diagnosis.write(folder)
                write_curves(folder, trainer.state.log_history)
                there.write(folder / "source")
                if methods.keep_models:
                    if data_args.own_statistics:  # the model that is kept hears the target as it is
                        model.fit_statistics(torch.as_tensor(np.stack(heard_of_target[:][model.cached_input])))
                    there.report().write(folder / "source")
                    save_run(folder, model, extractor, here, base_model=model_args.model_name)
                else:
                    here.write(folder)

    if training_args.should_save:
        for method, place in places.items():
            for domain, folder, runs in (
                ("source", place / "source", list(on_source[method].values())),
                ("target", place, on_target[method]),
            ):
                pooled = RunTables.pool(runs)
                report = pooled.report()
                if len(folds) > 1 or not methods.keep_models:
                    report.write(folder)
                if len(folds) > 1:
                    pooled.write(folder)
                told = f" {report.headline}" if len(places) > 1 else f"\n\n{report.to_markdown()}"
                print(f"{method}, on the {domain}:{told}")
        print(write_diagnoses(run, diagnoses))
        if len(places) > 1:
            tables = {method: RunTables.pool(runs).test for method, runs in on_target.items()}
            print(write_comparison(run, compare(tables)))
        if repo_id is not None:
            print(push(run, repo_id, private=training_args.hub_private_repo, token=training_args.hub_token).url)


def together(*parts: Dataset) -> Dataset:
    """Parts of domains whose labels differ, as the ledger looks at them."""
    return concatenate_datasets([rows.with_format(None).select_columns(list(NOTED_COLUMNS)) for rows in parts])


if __name__ == "__main__":
    run_recipe(main)
