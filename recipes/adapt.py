"""Adapt a classifier to a corpus without using its labels, and evaluate it on unseen speakers of that corpus.

    python recipes/adapt.py                                                       # synthetic speech, offline
    python recipes/adapt.py recipes/configs/adapt_synthetic.yaml --method none lmmd coral=100  # beside the source alone
    python recipes/adapt.py --adapt_from synthetic_spontaneous --adapt_to synthetic --output_dir runs/back

The model is trained on the source with its labels and on the target without. Nothing is chosen on the target: epoch and
temperature are chosen on validation speakers of the source, so a report's calibration is the source's too. The run
folder holds the results on the test speakers of the target, its folder `source` those of the source. Several methods
have a folder each, and a comparison on the same utterances.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ser_hf.options import refuse_misspelt_of_recipe

if __name__ == "__main__":
    refuse_misspelt_of_recipe(__file__)  # before the imports below, which take seconds

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset, DatasetDict, concatenate_datasets
from transformers import PreTrainedModel

from ser_hf.data.statistics import fit_statistics, standardised
from ser_hf.evaluation.comparisons.compare import compare, write_comparison
from ser_hf.evaluation.comparisons.domain_shift import Diagnosis, diagnose
from ser_hf.inference.evaluate import assign_classes, calibrate, choose_offsets, choose_thresholds, evaluate
from ser_hf.inference.predict import embed
from ser_hf.models.records import family_of
from ser_hf.options import OptionError
from ser_hf.report.diagnoses import write_diagnoses
from ser_hf.report.runs import RunTables
from ser_hf.splits.ledger import NOTED_COLUMNS
from ser_hf.splits.protocol import Protocol
from ser_hf.training.adaptation import AdaptationArguments, AdaptationTrainer, ComparedArguments
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.curriculum import has_learnt
from ser_hf.training.data_arguments import DomainArguments
from ser_hf.training.parser import parse, run_recipe
from ser_hf.training.run_folds import Experiment, Fold, Run, Trained, run_folds

DEFAULT = Path(__file__).parent / "configs" / "adapt_synthetic.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    domains, model, methods, training = parse(
        DomainArguments, ModelArguments, ComparedArguments, SERTrainingArguments, default_config=DEFAULT, argv=argv
    )
    if training.push_to_hub and (len(methods.each) > 1 or domains.target_scheme or not methods.keep_models):
        raise OptionError("--push_to_hub needs one --method, --keep_models true, and no --target_scheme")
    with training.main_process_first():
        source, target = domains.load_domains()
    labels, classes = source.features["label"].names, target.features["label"].names
    judged_as = domains.judged_as.counts_as
    assign_classes(labels, classes, None, judged_as)  # raises before an hour of training

    def check(classifier, _folds) -> None:
        if domains.own_statistics and has_learnt(classifier):  # it would be standardised twice
            raise OptionError("leave out --own_statistics: this model was trained with its own statistics")

    experiment = Experiment(
        domains, model, training, methods,
        dataset=source, beside=[target], folds=domains.chosen_folds(target), check=check,
    )  # fmt: skip
    source, target = experiment.dataset, experiment.beside[0]

    def divide(number: int) -> tuple[DatasetDict, Protocol]:
        of_source, of_target, protocol = domains.split_domains(source, target, number)
        return DatasetDict(**of_source, target=of_target["train"], target_test=of_target["test"]), protocol

    def train(fold: Fold, method: AdaptationArguments) -> Trained:
        fold.name = f"{fold.name}, {method.method}"
        classifier, extractor = fold.build_unfitted()
        if domains.own_statistics:
            fold.parts = standardised_apart(fold.parts, classifier)
        parts = fold.parts
        uses_target = method.method != "none" or domains.own_statistics
        fold.note(
            {
                "train": together(parts["train"], *([parts["target"]] if uses_target else [])),
                "validation": parts["validation"],
                "test": together(parts["test"], parts["target_test"]),
            }
        )
        fit_statistics(classifier.to(training.device), extractor, parts["train"])
        return fold.fit(AdaptationTrainer, classifier, extractor, adaptation=method, target_dataset=parts["target"])

    def judge(fold: Fold, trained: Trained, method: AdaptationArguments) -> RunTables:
        classifier, extractor, parts = trained.model, trained.extractor, fold.parts
        predict = partial(evaluate, classifier, extractor, **fold.facts)
        pseudo_labels = predict(parts["target"], part="train", evaluation_map=judged_as)  # as they ended
        validation = calibrate(classifier, predict(parts["validation"], part="validation"))
        choose_offsets(classifier, validation)
        choose_thresholds(classifier, validation)
        on_source = RunTables(predict(parts["test"]), validation)
        is_alike = classes == labels and not judged_as  # of other classes it would tell nothing
        on_target = RunTables(predict(parts["target_test"], evaluation_map=judged_as), validation if is_alike else None)
        diagnosis = diagnose(
            on_source.test, on_target.test, pseudo_labels,
            np.concatenate([embed(classifier, extractor, parts[part]) for part in ("test", "target_test")]),
            confidence_floor=method.confidence_floor, log_history=trained.log_history,
        )  # fmt: skip
        if PartialState().is_main_process:
            fold.folder.mkdir(parents=True, exist_ok=True)
            diagnosis.write(fold.folder)
            on_source.write(fold.folder / "source")
            if methods.keep_models:
                on_source.report().write(fold.folder / "source")
        if domains.own_statistics:  # the model that is kept takes the target as it is
            as_it_is = divide(fold.number)[0]["target"]
            classifier.fit_statistics(
                torch.as_tensor(np.stack(as_it_is[:][family_of(classifier).cached_input_of(classifier)]))
            )
        return on_target

    runs = {}
    for method in methods.each:
        place = experiment.folder / method.method if len(methods.each) > 1 else experiment.folder
        runs[method.method] = run_folds(
            experiment, partial(train, method=method), judge=partial(judge, method=method), divide=divide,
            folder=place, keep_models=methods.keep_models,
        )  # fmt: skip
    if PartialState().is_main_process:
        tell(runs, domains, source, keep_models=methods.keep_models)
        diagnoses = {name: [Diagnosis.read(run.folder_of(fold)) for fold in run.folds] for name, run in runs.items()}
        print(write_diagnoses(experiment.folder, diagnoses))
        if len(runs) > 1:
            print(write_comparison(experiment.folder, compare({name: run.tables.test for name, run in runs.items()})))


def tell(runs: Mapping[str, Run], domains: DomainArguments, source: Dataset, *, keep_models: bool) -> None:
    """Print what each method reached on both domains, and write the pooled reports of the source."""
    for method, run in runs.items():
        by_fold = {}  # of the source; its folds repeat if it has fewer than the target
        for fold in run.folds:
            by_fold.setdefault(domains.source_fold(source, fold), RunTables.read(run.folder_of(fold) / "source"))
        pooled = RunTables.pool(list(by_fold.values()))
        on_source = pooled.report()
        if len(run.folds) > 1 or not keep_models:
            on_source.write(run.folder / "source")
        if len(run.folds) > 1:
            pooled.write(run.folder / "source")
        for domain, report in (("source", on_source), ("target", run.report)):
            told = f" {report.headline}" if len(runs) > 1 else f"\n\n{report.to_markdown()}"
            print(f"{method}, on the {domain}:{told}")


def standardised_apart(parts: DatasetDict, classifier: PreTrainedModel) -> DatasetDict:
    """Return the parts, those of each domain standardised by its own training part."""
    target = standardised({"train": parts["target"], "test": parts["target_test"]}, classifier)
    of_source = {part: parts[part] for part in ("train", "validation", "test")}
    return DatasetDict(**standardised(of_source, classifier), target=target["train"], target_test=target["test"])


def together(*parts: Dataset) -> Dataset:
    """Return parts of domains whose labels differ as one, with the columns that a ledger needs."""
    return concatenate_datasets(
        [
            rows.with_format(None).select_columns([name for name in NOTED_COLUMNS if name in rows.column_names])
            for rows in parts
        ]
    )


if __name__ == "__main__":
    run_recipe(main)
