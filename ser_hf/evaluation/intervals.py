"""Intervals over speakers: what other speakers of the same kind would give, not what other utterances would."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from .metrics import Metric

METHOD = "delete-one-speaker jackknife, Student-t"


def confusion_by_speaker(
    references: ArrayLike, predictions: ArrayLike, speakers: ArrayLike, num_classes: int
) -> np.ndarray:
    """One confusion matrix per speaker, (speakers, true, predicted)."""
    names, speaker = np.unique(np.asarray(speakers), return_inverse=True)
    cell = (speaker * num_classes + np.asarray(references)) * num_classes + np.asarray(predictions)
    return np.bincount(cell, minlength=len(names) * num_classes**2).reshape(len(names), num_classes, num_classes)


def speaker_interval(metric: Metric, confusions: np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """Interval of a pooled metric, with speakers as the unit that varies.

    The delete-one jackknife over speakers with a Student-t quantile. Utterances of one speaker err together, so an
    interval over utterances is far too narrow; the percentile bootstrap over speakers covers too little below some
    fifty speakers.

    Args:
        metric: a function of confusion matrices such as `metrics.uar_of`.
        confusions: one matrix per speaker, (speakers, true, predicted).
        level: wanted coverage, in (0, 1).

    Returns:
        (low, high) within [0, 1]; None for fewer than two speakers, which show nothing of how speakers vary.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 11.
    """
    count = len(confusions)
    if count < 2:
        return None
    total = confusions.sum(axis=0)
    without_one = metric(total - confusions)
    error = np.sqrt((count - 1) / count * np.sum((without_one - without_one.mean()) ** 2))
    centre, reach = float(metric(total)), float(student.ppf((1 + level) / 2, df=count - 1) * error)
    return max(0.0, centre - reach), min(1.0, centre + reach)
