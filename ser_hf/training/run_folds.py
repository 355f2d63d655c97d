"""The loop of every recipe: load, split, build, train, evaluate, calibrate, save, pool, publish.

A recipe hands in `train`, which trains on one fold. Everything that recipes have in common stands here.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import PartialState
from datasets import concatenate_datasets
from transformers import TrainingArguments, set_seed
from transformers.utils import logging

from ..data.durations import TrainingSeconds
from ..data.precompute import precompute
from ..data.statistics import fit_statistics
from ..files import TEST, FolderLock, fold_folder
from ..hub.push import destination_of_run, push
from ..hub.save import save_run
from ..inference.classifier import Classifier
from ..inference.evaluate import calibrate, choose_offsets, choose_thresholds, evaluate
from ..models.trainable import is_frozen
from ..options import OptionError
from ..report.cost import write_cost
from ..report.curves import write_curves
from ..report.runs import RunTables
from ..splits.protocol import REFIT, TRAINED_ON_VALIDATION, Protocol
from .callbacks import last_checkpoint
from .parser import save_arguments

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import FeatureExtractionMixin, PreTrainedModel, TrainerCallback

    from ..inference.teacher import Teacher
    from ..report.report import EvaluationReport
    from ..splits.ledger import Ledger
    from .arguments import ModelArguments, SERTrainingArguments
    from .data_arguments import DataArguments
    from .fitted.arguments import FittedArguments
    from .trainer import SERTrainer


logger = logging.get_logger(__name__)


class Experiment:
    """The data and options that all folds of a run share. Errors in them are raised here, before any training.

    Args:
        data: options of the data: recordings, labels, protocol.
        model: options of the model; it builds the classifier.
        training: options of the training: run folder, seed, and others.
        more: further options, which are saved with the others in `run.yaml`.
        dataset: rows of `load_corpus`; default: those that `data` describes.
        beside: further datasets that are precomputed in the same way.
        folds: default: those in `data`.
        batch_size: recordings in a batch of `precompute`.
        check: called with a model and the folds before anything is computed or written.

    Attributes:
        dataset: its rows, with everything that is computed only once (`precompute`).
        beside: the further datasets, likewise.
        labels: class names, in the order of their ids.
        folds: numbers of the folds to run.
        goes_on: True if the folder holds the same run already; its finished folds are kept.
    """

    def __init__(
        self,
        data: DataArguments,
        model: ModelArguments | FittedArguments,
        training: SERTrainingArguments | FittedArguments,
        *more: Any,
        dataset: Dataset | None = None,
        beside: Sequence[Dataset] = (),
        folds: Sequence[int] | None = None,
        batch_size: int = 8,
        check: Callable[[PreTrainedModel, Sequence[int]], None] | None = None,
    ):
        self.data, self.model, self.training = data, model, training
        is_network = isinstance(training, TrainingArguments)  # a support vector machine has no options of the Hub
        self.repo_id = destination_of_run(training, folds=data.folds) if is_network else None
        state = PartialState()
        if state.is_main_process:
            # Released with the experiment, or at the end of the process.
            weakref.finalize(self, FolderLock(self.folder).release)
        with state.local_main_process_first():
            rows = data.load() if dataset is None else dataset
        self.labels = rows.features["label"].names
        self.folds = list(data.chosen_folds(rows) if folds is None else folds)
        if self.repo_id is not None and len(self.folds) > 1:  # all of them, since there are few speakers
            raise OptionError(
                f"--push_to_hub needs one fold, not the folds {self.folds}: use --folds 0, or the protocol all"
            )
        set_seed(training.seed)  # a frozen encoder with random weights is the same one here and in every fold
        classifier, extractor = model.build(self.labels)
        if check is not None:
            check(classifier, self.folds)
        with state.local_main_process_first():
            classifier.to(training.device)
            self.dataset, *self.beside = (
                precompute(one, classifier, extractor, frozen=is_frozen(classifier), batch_size=batch_size)
                for one in (rows, *beside)
            )
            self.goes_on = save_arguments(self.folder, data, model, training, *more)

    @property
    def folder(self) -> Path:
        return Path(self.training.output_dir)

    def split(self, fold: int) -> tuple[DatasetDict, Protocol]:
        """Return the parts of a fold and the protocol that divides them."""
        return self.data.split(self.dataset, fold)


@dataclass
class Fold:
    """One fold of an experiment.

    Attributes:
        folder: the folder of its model and tables.
        training: the options, with `folder` as `output_dir`.
        ledger: the ledger of the model's training data; before `build`, only of earlier trainings.
        name: the name of the model in reports.
        callbacks: of the trainer.
    """

    experiment: Experiment
    number: int
    folder: Path
    parts: DatasetDict
    protocol: Protocol
    training: SERTrainingArguments | FittedArguments
    ledger: Ledger
    name: str
    callbacks: Sequence[TrainerCallback] = ()

    @property
    def title(self) -> str:
        """Its number and protocol in words, such as "fold 2 of urdu/kfold5"."""
        return f"fold {self.number} of {self.protocol}"

    def build(self) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
        """Return the classifier, seeded and standardised by the training part, and its extractor; fill the ledger."""
        model, extractor = self.build_unfitted()
        self.note(self.parts)
        fit_statistics(model.to(self.training.device), extractor, self.parts["train"])
        return model, extractor

    def build_unfitted(self) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
        """Return the classifier, seeded, and its extractor."""
        set_seed(self.training.seed)
        return self.experiment.model.build(self.experiment.labels)

    def note(self, parts: DatasetDict | dict[str, Dataset]) -> None:
        """Enter a training on these parts in the ledger.

        Raises:
            LedgerError: if the model was trained on its test part before, or is now, although the protocol claims
                unseen speakers: a recipe may divide by itself.
        """
        self.ledger = self.ledger.continued(
            parts, self.protocol, fold=self.number, seed=self.training.seed, scheme=self.experiment.data.scheme
        )
        if self.protocol.is_speaker_independent:  # other protocols say that they leak; recipes/leaks.py shows how
            self.ledger.refuse_seen(parts["test"])

    def taught_by(self, teacher: Teacher) -> None:
        """Enter the training data of a teacher in the ledger, before `build`, and name the teacher in reports."""
        self.ledger = self.ledger.taught_by(teacher.ledger, teacher.name)
        self.name = f"{self.name}, taught by {teacher.name}"

    def fit(
        self,
        trainer_class: type[SERTrainer],
        model: PreTrainedModel,
        extractor: FeatureExtractionMixin,
        *,
        train: Dataset | None = None,
        **options: Any,
    ) -> Trained:
        """Train by gradients, from the last checkpoint if there is one.

        Args:
            train: default: the training part of the fold.
            options: of the trainer.
        """
        validation = self.parts["validation"]
        trainer = trainer_class(
            model,
            self.training,
            train_dataset=self.parts["train"] if train is None else train,
            eval_dataset=validation if len(validation) else None,  # a final model has none
            processing_class=extractor,
            ledger=self.ledger,
            callbacks=self.callbacks,
            **options,
        )
        trainer.train(resume_from_checkpoint=last_checkpoint(self.folder))
        return Trained(model, extractor, trainer.state.log_history)

    @property
    def facts(self) -> dict[str, Any]:
        """The facts about this fold's model for its prediction table, as options of `evaluate`."""
        return dict(
            protocol=self.protocol,
            fold=self.number,
            seed=self.training.seed,
            model_name=self.name,
            relation=self.ledger.relation(self.protocol),
            trained_on=self.ledger.corpora,
        )


@dataclass(frozen=True)
class Trained:
    """A trained classifier, its extractor, and the records of its training (empty where it has no epochs)."""

    model: PreTrainedModel
    extractor: FeatureExtractionMixin
    log_history: Sequence[dict] = ()


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, prediction tables and report.

    Attributes:
        folder: holds the model of a single fold; several have their folders `fold<number>` in it.
        folds: their numbers.
        tables: predictions of all folds.
        url: where the model was published, if it was.
        may_have_final: True if every utterance was tested, and the recipe can train a final model of all of them.
    """

    folder: Path
    folds: tuple[int, ...]
    tables: RunTables = field(repr=False)
    report: EvaluationReport = field(repr=False)
    url: str | None = None
    may_have_final: bool = False

    def folder_of(self, fold: int) -> Path:
        return _folder_of(self.folder, fold, self.folds)

    def classifier(self, fold: int | None = None) -> Classifier:
        """Return the trained classifier of a fold; the fold may be left out if there is only one.

        Raises:
            ValueError: if there are several folds and `fold` is None, or if there is no such fold.
        """
        chosen = self.folds[0] if fold is None and len(self.folds) == 1 else fold
        if chosen not in self.folds:
            raise ValueError(
                f"this run has the folds {', '.join(map(str, self.folds))}, not {chosen}: pass one of them"
            )
        return Classifier.from_pretrained(str(self.folder_of(chosen)))

    @property
    def hint(self) -> str:
        """The next command for the folder."""
        if len(self.folds) == 1:
            return f"The model is in {self.folder}: ser-hf predict {self.folder} RECORDING"
        there = f"The models and their report are in {self.folder}"
        protocols = Protocol.parse(self.report.protocol).finally_all
        if not protocols or not self.may_have_final:
            return there
        return (
            f"{there}. For one model of everything run the same again with --protocols {protocols} --cross_validated "
            f"{self.folder} and another --output_dir"
        )

    def __str__(self) -> str:
        return "\n".join([self.report.to_markdown(), "", self.hint, *([self.url] if self.url else [])])

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.report.headline})"

    def show(self) -> None:
        """Print the report, in one process of several."""
        if PartialState().is_main_process:
            print(self)


def judge(fold: Fold, trained: Trained) -> RunTables:
    """Choose temperature, adaptation and thresholds on the validation part, and evaluate on the test part."""
    validation = evaluate(trained.model, trained.extractor, fold.parts["validation"], **fold.facts, part="validation")
    validation = calibrate(trained.model, validation)
    choose_offsets(trained.model, validation)
    choose_thresholds(trained.model, validation)
    return RunTables(evaluate(trained.model, trained.extractor, fold.parts["test"], **fold.facts), validation)


def judge_test_part(fold: Fold, trained: Trained) -> RunTables:
    """Evaluate on the test part alone: a model trained on the validation part cannot be calibrated on it."""
    return RunTables(evaluate(trained.model, trained.extractor, fold.parts["test"], **fold.facts))


def run_folds(
    experiment: Experiment,
    train: Callable[[Fold], Trained],
    *,
    judge: Callable[[Fold, Trained], RunTables] = judge,
    divide: Callable[[int], tuple[DatasetDict, Protocol]] | None = None,
    folds: Sequence[int] | None = None,
    folder: Path | None = None,
    refit: bool = False,
    keep_models: bool = True,
) -> Run:
    """Train and evaluate on each fold, and pool the predictions. Finished folds of an interrupted run are kept.

    Args:
        train: trains on one fold.
        judge: makes the prediction tables of a trained classifier.
        divide: returns the parts of a fold and their protocol; default: as the options say.
        folds, folder: default: those of the experiment.
        refit: train on the validation part too, and call the protocol `<protocol>+refit`.
        keep_models: True to save the models beside their tables.

    Raises:
        OptionError: for the protocol all, which `train.run_folds_or_final` knows.
    """
    experiment.data.refuse_final()
    folder = experiment.folder if folder is None else folder
    folds, runs = experiment.folds if folds is None else folds, []
    for number in folds:
        own = _folder_of(folder, number, folds)
        if experiment.goes_on and (own / TEST).exists():
            runs.append(RunTables.read(own))
            continue
        fold = open_fold(experiment, number, own, divide or experiment.split)
        if refit:
            fold.parts["train"] = concatenate_datasets([fold.parts["train"], fold.parts["validation"]])
        trained = train(fold)
        if refit:
            fold.protocol = fold.protocol.changed(REFIT, TRAINED_ON_VALIDATION)
        tables = (judge_test_part if refit else judge)(fold, trained)
        runs.append(tables)
        if PartialState().is_main_process:
            save_fold(fold, trained, tables, keep_model=keep_models)
    tables = RunTables.pool(runs)
    report = tables.report()
    if PartialState().is_main_process and (len(runs) > 1 or not keep_models):
        report.write(folder)
        write_cost(folder)
        tables.write(folder)
    return Run(folder, tuple(folds), tables, report, publish(experiment, folder))


def save_fold(fold: Fold, trained: Trained, tables: RunTables, *, keep_model: bool = True) -> None:
    """Write the ledger, the curves, the tables and, if it is kept, the model of a fold into its folder."""
    folder = fold.folder
    folder.mkdir(parents=True, exist_ok=True)
    fold.ledger.write(folder)
    TrainingSeconds.of_part(fold.parts["train"]["duration"]).write_to(trained.model)
    if trained.log_history:
        write_curves(folder, trained.log_history)
    if keep_model:
        save_run(folder, trained.model, trained.extractor, tables, base_model=fold.experiment.model.model_name)
    else:
        tables.write(folder)


def publish(experiment: Experiment, folder: Path | None = None) -> str | None:
    """Push a finished run, if it is to be published, and return its address."""
    if experiment.repo_id is None:
        return None
    training, folder = experiment.training, experiment.folder if folder is None else folder
    return push(folder, experiment.repo_id, private=training.hub_private_repo, token=training.hub_token).url


def open_fold(
    experiment: Experiment, number: int, folder: Path, divide: Callable[[int], tuple[DatasetDict, Protocol]]
) -> Fold:
    """Return a fold, divided and with the ledger of earlier trainings of its model."""
    parts, protocol = divide(number)
    training = copy(experiment.training)
    training.output_dir = str(folder)
    model = experiment.model
    return Fold(experiment, number, folder, parts, protocol, training, model.earlier_ledger(), model.model_name)


def _folder_of(run: Path, fold: int, folds: Sequence[int]) -> Path:
    """Return the folder of a fold; that of a single fold is the run folder itself."""
    return run if len(folds) == 1 else fold_folder(run, fold)
