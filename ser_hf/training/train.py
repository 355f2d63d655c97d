"""`ser_hf.train`: the recipes train_classifier.py and train_svm.py as a function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.columns import provenance
from ..data.precompute import hash_audio
from ..files import TEST
from ..report.runs import RunTables
from .adversary import AdversarialTrainingArguments, SpeakerAdversarialTrainer
from .arguments import ModelArguments
from .data_arguments import DataArguments
from .parser import fill
from .run_folds import Experiment, Fold, Run, Trained, run_folds
from .svm import SVMArguments, fit_svm, refuse_unfit_options
from .trainer import SERTrainer

if TYPE_CHECKING:
    from datasets import Dataset

MACHINE = "svm"  # the model "svm", or "svm:<encoder>"


def train(dataset: Dataset, model: str, *, protocol: str | Sequence[str], **options: Any) -> Run:
    """Train a classifier and evaluate it on unseen speakers.

        dataset = load_corpus("ravdess", "corpora/ravdess", scheme="ravdess8")
        run = train(dataset, "openai/whisper-base", protocol="ravdess/si6", trainable="head", output_dir="runs/whisper")
        run.report.uar, run.classifier()("recording.wav")

    Args:
        dataset: rows of `load_corpus` or `build_dataset`.
        model: a name as for `--model_name_or_path`: a checkpoint of the Hub, a folder, or an architecture such as
            "resnet18"; "svm" for a support vector machine on functionals, "svm:openai/whisper-base" for one on the
            embeddings of an encoder.
        protocol: a name of `protocols(dataset)`, or one for each corpus.
        options: those of `ser-hf train --help` by their names, such as `folds=[-1]`, `num_train_epochs=30`,
            `output_dir="runs/mine"`. Options that are pairs may be dictionaries: `model_settings={"pooling": "mean"}`.

    Returns:
        The finished run. After an interruption, the same call continues it.

    Raises:
        ValueError: for an unknown option (the message names the nearest one), and if the model cannot be trained.
    """
    kind, _, encoder = model.partition(":")
    facts = provenance(dataset)
    options |= {
        "corpora": sorted(set(dataset["corpus"])),
        "scheme": facts["scheme"],
        "label_sources": facts["label_sources"],
        "protocols": [protocol] if isinstance(protocol, str) else list(protocol),
    }
    dataset = hash_audio(dataset)
    if kind == MACHINE:
        if encoder:
            options = {"inputs": "embeddings", "model_name_or_path": encoder, **options}
        data, svm = fill((DataArguments, SVMArguments), options)
        return train_machine(data, svm, dataset)
    options["model_name_or_path"] = model
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

    return run_folds(_same_as_before(Experiment(data, model, training, dataset=dataset)), train)


def train_machine(data: DataArguments, svm: SVMArguments, dataset: Dataset | None = None) -> Run:
    """Fit a support vector machine on each fold.

    Args:
        dataset: default: the rows that `data` describes.
    """
    refuse_unfit_options(data)

    def train(fold: Fold) -> Trained:
        machine, extractor = fold.build()
        rows = fold.parts["train"]
        fit_svm(machine, np.stack(rows["vectors"]), rows["label"], rows["speaker"], where=fold.title)
        return Trained(machine, extractor)

    experiment = _same_as_before(Experiment(data, svm, svm, dataset=dataset, batch_size=32))
    return run_folds(experiment, train, refit=svm.refit)


def _same_as_before(experiment: Experiment) -> Experiment:
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
    return experiment


def shipped_configs() -> dict[str, Path]:
    """Return the configurations that come with the package, by name."""
    package = Path(__file__).parents[1]
    folder = package / "configs" if (package / "configs").is_dir() else package.parent / "recipes" / "configs"
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}
