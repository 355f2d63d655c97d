"""Folds within a training part: each training speaker is scored once by a model that was fitted to others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...splits.stratified import speaker_folds

INNER_FOLDS = 5


def inner_folds(
    labels: np.ndarray, speakers: np.ndarray, classes: Sequence[str], where: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows whose speakers are known, and the inner fold of each of these rows.

    Without any known speaker each utterance stands for itself, and no result is called speaker-independent.

    Args:
        labels: class ids, (utterances,).
        speakers: names, (utterances,); None if unknown.
        classes: names of the classes, in the order of their ids.
        where: the training part in error messages, such as "fold 2 of urdu/kfold5".

    Raises:
        ValueError: if a class has fewer than two known speakers, or too few to be in every fold's training part.
    """
    known = np.flatnonzero([speaker is not None for speaker in speakers])
    named = f"{where}: " if where else ""
    if not len(known):
        known, speakers = np.arange(len(labels)), np.arange(len(labels))
    labels, names = labels[known], speakers[known]
    for label, name in enumerate(classes):
        if len(set(names[labels == label])) < 2:
            raise ValueError(
                f"{named}class {name} needs training utterances of two speakers: add some, or choose a scheme without "
                "it"
            )
    count = min(INNER_FOLDS, len(np.unique(names)))
    fold_of = speaker_folds(labels, names, count)
    if any(len(np.unique(labels[fold_of != fold])) < len(classes) for fold in range(count)):
        raise ValueError(f"{named}a class has too few speakers to be calibrated: train on more speakers")
    return known, fold_of
