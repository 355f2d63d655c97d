"""`ser_hf.train`: the recipes train_classifier.py, train_svm.py and train_lda.py as a function, and the final model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from accelerate import PartialState
from transformers.trainer_utils import IntervalStrategy
from transformers.utils import logging

from ..data.columns import provenance
from ..data.precompute import hash_audio, mark_audio
from ..evaluation.tables import PredictionTable
from ..files import HISTORY, OPTIONS, TEST, fold_folders
from ..inference.evaluate import choose_offsets, choose_thresholds
from ..models.temperature import fold_temperature
from ..options import OptionError
from ..report.runs import RunTables
from .adversary import AdversarialTrainingArguments, SpeakerAdversarialTrainer
from .arguments import ModelArguments
from .callbacks import StopAfter
from .data_arguments import DataArguments
from .fitted.arguments import FittedArguments, refuse_unfit_options
from .fitted.lda import LDA, LDAArguments
from .fitted.svm import SVM, SVMArguments
from .parser import changed_options, fill
from .run_folds import Experiment, Fold, Run, Trained, open_fold, publish, run_folds, save_fold
from .trainer import SERTrainer

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.get_logger(__name__)

FITTED: dict[str, type[FittedArguments]] = {SVM: SVMArguments, LDA: LDAArguments}
# Options in which a final model may differ from the cross-validated run that stands for it.
_OF_FINAL_MODELS = ("cross_validated", "folds", "output_dir", "protocols")


def train(dataset: Dataset, model: str, *, protocol: str | Sequence[str], **options: Any) -> Run:
    """Train a classifier and evaluate it on unseen speakers.

        dataset = load_corpus("ravdess", "corpora/ravdess", scheme="ravdess8")
        run = train(dataset, "openai/whisper-base", protocol="ravdess/si6", trainable="head", output_dir="runs/whisper")
        run.report.uar, run.classifier()("recording.wav")

    Args:
        dataset: rows of `load_corpus` or `build_dataset`.
        model: a name as for `--model_name_or_path`: a checkpoint of the Hub, a folder, or an architecture such as
            "resnet18"; "lda:openai/whisper-base" for a linear discriminant on the embeddings of an encoder,
            "svm:openai/whisper-base" for a support vector machine on them, "svm" for one on functionals.
        protocol: a name of `protocols(dataset)`, or one for each corpus.
        options: those of `ser-hf train --help` by their names, such as `folds=[-1]`, `num_train_epochs=30`,
            `output_dir="runs/mine"`. Options that are pairs may be dictionaries: `model_settings={"pooling": "mean"}`.

    Returns:
        The finished run. After an interruption, the same call continues it.

    Raises:
        ValueError: for an unknown option (the message names the nearest one), and if the model cannot be trained.
    """
    facts = provenance(dataset)
    options |= {
        "corpora": sorted(set(dataset["corpus"])),
        "scheme": facts["scheme"],
        "label_sources": facts["label_sources"],
        "protocols": [protocol] if isinstance(protocol, str) else list(protocol),
        "model_name_or_path": model,
    }
    dataset = mark_audio(hash_audio(dataset))
    if (kind := model.partition(":")[0]) in FITTED:
        data, fitted = fill((DataArguments, FITTED[kind]), options)
        return train_fitted(data, fitted, dataset)
    data, model_options, training = fill((DataArguments, ModelArguments, AdversarialTrainingArguments), options)
    return train_network(data, model_options, training, dataset)


def train_network(
    data: DataArguments,
    model: ModelArguments,
    training: AdversarialTrainingArguments,
    dataset: Dataset | None = None,
) -> Run:
    """Train by gradients on each fold.

    Args:
        dataset: default: the rows that `data` describes.
    """

    def train(fold: Fold) -> Trained:
        classifier, extractor = fold.build()
        trainer = SpeakerAdversarialTrainer if training.speaker_adversary else SERTrainer
        return fold.fit(trainer, classifier, extractor)

    return run_folds_or_final(Experiment(data, model, training, dataset=dataset), train)


def train_fitted(data: DataArguments, fitted: FittedArguments, dataset: Dataset | None = None) -> Run:
    """Fit a model in one step on each fold.

    Args:
        dataset: default: the rows that `data` describes.
    """
    refuse_unfit_options(data)

    def train(fold: Fold) -> Trained:
        model, extractor = fold.build()
        fitted.fit(model, fold.parts["train"], where=fold.title)
        return Trained(model, extractor)

    experiment = Experiment(data, fitted, fitted, dataset=dataset, batch_size=32)
    return run_folds_or_final(experiment, train, refit=fitted.refit)


def run_folds_or_final(experiment: Experiment, train: Callable[[Fold], Trained], *, refit: bool = False) -> Run:
    """Run the folds of an experiment; for the protocol all, train its final model.

    Args:
        train, refit: as in `run_folds`.

    Raises:
        ValueError: if the folder holds folds that were finished on other utterances or labels.
        OptionError: as `train_final`.
    """
    _refuse_other_rows(experiment)
    if experiment.data.cross_validated is not None:
        return train_final(experiment, train)
    run = run_folds(experiment, train, refit=refit)
    return replace(run, may_have_final=run.tables.test.n == len(experiment.dataset))


# --- the final model: trained on every utterance ---


def train_final(experiment: Experiment, train: Callable[[Fold], Trained]) -> Run:
    """Train on every utterance, and save the model with the report of its cross-validation.

    No epoch is chosen here, since no speaker is left to choose on. A network is trained for the mean of the epochs that
    the cross-validated models kept, on the same schedule; its temperature is the geometric mean of theirs, if all have
    one.

    Raises:
        OptionError: if the cross-validated run had other options or other utterances.
    """
    folder, tables = experiment.folder, _cross_validated(experiment)
    if not (experiment.goes_on and (folder / TEST).exists()):
        fold = open_fold(experiment, 0, folder, experiment.split)
        if epochs := _kept_epochs(Path(experiment.data.cross_validated)):
            training = fold.training
            training.eval_strategy, training.load_best_model_at_end = IntervalStrategy.NO, False
            training.early_stopping_patience = 0
            fold.callbacks = [StopAfter(max(1, round(float(np.mean(epochs)))))]
        trained = train(fold)
        rows = tables.test.rows
        is_calibrated = rows["temperature"].notna() if "temperature" in rows else np.zeros(1, bool)
        if is_calibrated.all():
            of_models = rows.groupby(["fold", "seed"])["temperature"].first()
            fold_temperature(trained.model, math.exp(np.log(of_models).mean()))
        elif is_calibrated.any():
            logger.warning("not every fold has a temperature, so none is merged into the final model")
        if tables.validation is not None:
            choose_offsets(trained.model, tables.validation)
            choose_thresholds(trained.model, tables.validation)
        if PartialState().is_main_process:
            save_fold(fold, trained, tables)
    return Run(folder, (0,), tables, tables.report(), publish(experiment))


def _cross_validated(experiment: Experiment) -> RunTables:
    """Return the table of the cross-validated run that stands for a final model, marked as such."""
    run = Path(experiment.data.cross_validated)
    if not (run / OPTIONS).is_file() or not (run / TEST).is_file():
        raise OptionError(f"--cross_validated {run} holds no finished run: pass the folder of a run over all folds")
    theirs = yaml.safe_load((run / OPTIONS).read_text(encoding="utf-8")) or {}
    ours = changed_options(experiment.data, experiment.model, experiment.training)
    names = sorted({*ours, *theirs} - {*_OF_FINAL_MODELS})
    if differing := [name for name in names if ours.get(name) != theirs.get(name)]:
        raise OptionError(
            f"--cross_validated {run} had other options ({', '.join(differing)}), so its figures are not those of this "
            "model: use the same ones"
        )
    tables = RunTables.read(run)
    table = tables.test
    tested, known = set(table.rows["utterance_id"]), set(experiment.dataset["utterance_id"])
    if differing := sorted(tested ^ known):
        raise OptionError(
            f"--cross_validated {run} tested {len(tested)} utterances, but here are {len(known)} (the first that "
            f"differs is {differing[0]}): run all its folds on the same recordings (--folds -1)"
        )
    return RunTables(PredictionTable(table.rows, replace(table.metadata, cross_validated=True)), tables.validation)


def _kept_epochs(run: Path) -> list[float]:
    """Return the epoch of the model that each fold of a run kept; empty for machines, which have no epochs."""
    options = yaml.safe_load((run / OPTIONS).read_text(encoding="utf-8")) or {}
    metric = options.get("metric_for_best_model", "uar").removeprefix("eval_")
    sign = 1 if options.get("greater_is_better", not metric.endswith("loss")) else -1
    kept = []
    for folder in fold_folders(run, HISTORY) or ([run] if (run / HISTORY).is_file() else []):
        records = json.loads((folder / HISTORY).read_text(encoding="utf-8"))
        scored = [one for one in records if f"eval_{metric}" in one]
        if scored and options.get("load_best_model_at_end", True):
            kept.append(max(scored, key=lambda one: sign * one[f"eval_{metric}"])["epoch"])
        else:
            kept.append(records[-1]["epoch"])
    return kept


def _refuse_other_rows(experiment: Experiment) -> None:
    """Raise a `ValueError` if the folder holds folds that were finished on other utterances or labels."""
    names, labels = experiment.dataset["utterance_id"], experiment.dataset["label"]
    known = {name: experiment.labels[label] for name, label in zip(names, labels, strict=True)}
    for table in sorted(experiment.folder.glob(f"**/{TEST}")) if experiment.goes_on else ():
        rows = RunTables.read(table).test.rows
        if differing := [
            n for n, label in zip(rows["utterance_id"], rows["label"], strict=True) if known.get(n) != label
        ]:
            raise ValueError(
                f"{table.parent} holds a run on other utterances or labels (first {differing[0]}): choose another "
                "output_dir, or remove the folder"
            )


def shipped_configs() -> dict[str, Path]:
    """Return the configurations that come with the package, by name."""
    package = Path(__file__).parents[1]
    folder = package / "configs" if (package / "configs").is_dir() else package.parent / "recipes" / "configs"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}
