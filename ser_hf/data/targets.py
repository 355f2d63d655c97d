"""Targets of training beside the label: raters' votes, several emotions at once, dimensions, answers of a teacher.

Votes: Steidl et al. (2005), doi:10.1109/ICASSP.2005.1415114; several emotions at once: Chou et al. (2022),
doi:10.1109/ACII55700.2022.9953815.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..corpora import CorpusError, known_corpus
from ..emotions import DIMENSIONS, OWN_SCHEME, LabelScheme, get_scheme
from .columns import DIMENSIONS_COLUMN, TARGET_COLUMN, TEACHER_COLUMN, as_numpy, provenance, values_of

if TYPE_CHECKING:
    from datasets import Dataset

TARGETS = ("label", "votes", "multi_label")


def vote_shares(votes: Mapping[str, float], scheme: LabelScheme) -> np.ndarray | None:
    """Return the share of the votes for each class of a scheme, (classes,); None if no vote is for a class.

    >>> from ser_hf.emotions import get_scheme
    >>> vote_shares({"anger": 3, "calm": 1, "contempt": 6}, get_scheme("four")).tolist()
    [0.75, 0.0, 0.25, 0.0]
    """
    counts = np.zeros(len(scheme.classes))
    for emotion, count in votes.items():
        if (name := scheme.to_class(emotion)) is not None:
            counts[scheme.classes.index(name)] += count
    return counts / counts.sum() if counts.any() else None


def with_targets(dataset: Dataset, kind: str) -> Dataset:
    """Return the dataset with a column `target` of one number in [0, 1] for each class; unchanged for "label".

    Args:
        kind: "votes": shares of the raters' votes; "multi_label": 1 for every class with at least an even share of them
            (1 / classes), else 0. An utterance without votes for any class counts as one vote for its label.

    Raises:
        ValueError: for another kind.
        CorpusError: if no utterance has votes.
    """
    if kind == "label":
        return dataset
    if kind not in TARGETS:
        raise ValueError(f"targets must be one of {', '.join(TARGETS)}, not {kind!r}")
    import datasets

    name = provenance(dataset)["scheme"]
    scheme = LabelScheme(name, tuple(dataset.features["label"].names)) if name == OWN_SCHEME else get_scheme(name)
    votes = [None if text is None else vote_shares(json.loads(text), scheme) for text in dataset["votes"]]
    if all(shares is None for shares in votes):
        raise CorpusError(
            f"targets {kind} needs raters' votes, but no utterance has any: use a corpus or a label source with votes "
            "(such as --label_sources crema_d=voice), or targets label"
        )
    certain = np.eye(len(scheme.classes))
    targets = [certain[label] if one is None else one for one, label in zip(votes, dataset["label"], strict=True)]
    if kind == "multi_label":
        targets = [one >= 1 / len(scheme.classes) for one in targets]
    feature = datasets.List(datasets.Value("float32"), length=len(scheme.classes))
    return _with_column(dataset, TARGET_COLUMN, np.asarray(targets, dtype=np.float32), feature)


def with_dimensions(dataset: Dataset) -> Dataset:
    """Return the dataset with a column `dimensions`: those of `scaled_dimensions`.

    Raises:
        CorpusError: if no utterance has any, or if one is far outside the scale of its corpus.
    """
    import datasets

    scaled = scaled_dimensions(dataset)
    if np.isnan(scaled).all():
        raise CorpusError("no utterance has valence, arousal or dominance: leave dimensions out of model_settings")
    return _with_column(dataset, DIMENSIONS_COLUMN, scaled, datasets.List(datasets.Value("float32"), length=3))


def scaled_dimensions(dataset: Dataset) -> np.ndarray:
    """Return valence, arousal and dominance, (utterances, 3), from 0 to 1 on the scale of the corpus; NaN: unknown.

    Raises:
        CorpusError: if one is far outside the scale of its corpus.
    """
    raw = np.stack([np.asarray(dataset[name], dtype=np.float32) for name in DIMENSIONS], axis=1)
    # Of a table that is no corpus of ours the scale is unknown: it must be [0, 1] already.
    scales = {
        name: (0.0, 1.0) if (spec := known_corpus(name)) is None else spec.dimension_range
        for name in values_of(dataset, "corpus")
    }
    lowest, highest = np.asarray([scales[name] for name in dataset["corpus"]], np.float32).T
    scaled = (raw - lowest[:, None]) / (highest - lowest)[:, None]
    # Averages of careful raters leave a scale by a little, another scale by much.
    outside = np.flatnonzero((np.abs(scaled - 0.5) > 0.75).any(axis=1))
    if outside.size:
        row = dataset[int(outside[0])]
        found = ", ".join(f"{name} {row[name]}" for name in DIMENSIONS)
        raise CorpusError(
            f"{row['utterance_id']} has {found}, outside {lowest[outside[0]]:g} to {highest[outside[0]]:g}, the scale "
            f"of {row['corpus']}: correct its table"
        )
    return scaled


def with_teacher_logits(dataset: Dataset, logits: np.ndarray) -> Dataset:
    """Return the dataset with a column `teacher_logits`, the answers of a teacher.

    Args:
        logits: logits or log-probabilities of the classes of the dataset, (utterances, classes), in its order.

    Raises:
        ValueError: for logits of another shape, or that are not finite.
    """
    import datasets

    logits, shape = np.asarray(logits, dtype=np.float32), (len(dataset), dataset.features["label"].num_classes)
    if logits.shape != shape:
        raise ValueError(f"logits of a teacher must have the shape (utterances, classes) = {shape}, not {logits.shape}")
    if not np.isfinite(logits).all():
        row = dataset[int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])]
        raise ValueError(
            f"the teacher's answer to {row['utterance_id']} is not finite: leave it out, or choose another"
        )
    return _with_column(dataset, TEACHER_COLUMN, logits, datasets.List(datasets.Value("float32"), length=shape[1]))


def _with_column(dataset: Dataset, name: str, values: np.ndarray, feature) -> Dataset:
    # Columns are added to rows that are read as they are; cached arrays are then read as arrays again.
    return as_numpy(dataset.with_format(None).add_column(name, list(values), feature=feature))
