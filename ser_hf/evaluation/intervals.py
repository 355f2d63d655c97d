"""Intervals over speakers: what other speakers of the same kind would give, not what other utterances would."""

from __future__ import annotations

import numpy as np
import pandas
from numpy.typing import ArrayLike
from scipy.stats import t as student

from .metrics import Metric, confusion_matrix

METHOD = "delete-one-speaker jackknife, Student-t"

Interval = tuple[float, float] | None


def speaker_interval(
    metric: Metric, references: ArrayLike, predictions: ArrayLike, speakers: ArrayLike, *, level: float = 0.95
) -> Interval:
    """Interval of a pooled metric, with speakers as the unit that varies.

    The delete-one jackknife over speakers with a Student-t quantile, speakers - 1 degrees of freedom. Utterances of one
    speaker err together, so an interval over utterances is far too narrow; the percentile bootstrap over speakers
    covers too little below some fifty speakers.

    Each sample is judged over the classes that are left: without the only speaker of a class, UAR and macro F1 lose
    that term. The interval has no width where all speakers fare alike, as when every prediction is right.

    Coverage of 95 % intervals, simulated: 0.94 to 0.96 for a UAR of 0.63 and 4 to 91 speakers. Near the ceiling (UAR
    0.86 to 0.97), where a few speakers make most of the errors, less: 0.84 to 0.91 with 4 speakers, 0.88 to 0.92 with
    10, 0.91 to 0.93 with 24, 0.94 with 91.

    Args:
        metric: a function of confusion matrices such as `metrics.uar_of`.
        references: true class ids, shape (utterances,).
        predictions: predicted class ids, same shape.
        speakers: who speaks, same shape; None or NaN where that is unknown.
        level: wanted coverage, in (0, 1).

    Returns:
        (low, high) within [0, 1]; None for fewer than two speakers, which show nothing of how speakers vary, and if any
        speaker is unknown.

    Raises:
        ValueError: as `metrics.confusion_matrix`, for a level outside (0, 1), and for speakers of another shape.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 11.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval is a share in (0, 1), not {level}")
    confusions = confusion_by_speaker(references, predictions, speakers)
    if confusions is None or len(confusions) < 2:
        return None
    total = confusions.sum(axis=0)
    return jackknife_interval(metric(total), metric(total - confusions), level=level)


def jackknife_interval(
    total: float,
    without_each: ArrayLike,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    level: float = 0.95,
) -> Interval:
    """Interval of any statistic, from its values with each speaker left out: also of what is no confusion's metric.

    Args:
        total: the statistic of all speakers.
        without_each: the statistic of all speakers but one, for each speaker, shape (speakers,).
        bounds: least and greatest value the statistic can take, (0, 1) for a rate and (-1, 1) for a difference of
            rates; None where it has none.
        level: wanted coverage, in (0, 1).

    Returns:
        (low, high) within the bounds; None for fewer than two speakers, and where the statistic is undefined (NaN) for
        all speakers or without one of them.

    Raises:
        ValueError: for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval is a share in (0, 1), not {level}")
    without_each = np.asarray(without_each, dtype=np.float64)
    count, centre = len(without_each), float(total)
    if count < 2 or not (np.isfinite(centre) and np.isfinite(without_each).all()):
        return None
    error = np.sqrt((count - 1) / count * np.sum((without_each - without_each.mean()) ** 2))
    reach = float(student.ppf((1 + level) / 2, df=count - 1) * error)
    low, high = bounds or (-np.inf, np.inf)
    return max(low, centre - reach), min(high, centre + reach)


def confusion_by_speaker(references: ArrayLike, predictions: ArrayLike, speakers: ArrayLike) -> np.ndarray | None:
    """One confusion matrix per speaker, (speakers, true, predicted); None if any speaker is unknown.

    Every metric is a function of a confusion matrix, so leaving a speaker out is one subtraction.
    """
    num_classes = len(confusion_matrix(references, predictions))
    speaker, names = pandas.factorize(np.asarray(speakers), sort=True)  # unknown speakers get -1
    if speaker.shape != np.shape(references):
        raise ValueError(f"{np.shape(references)} references but {speaker.shape} speakers: name one for each utterance")
    if (speaker < 0).any():
        return None
    references, predictions = np.asarray(references, dtype=np.int64), np.asarray(predictions, dtype=np.int64)
    cell = (speaker * num_classes + references) * num_classes + predictions
    return np.bincount(cell, minlength=len(names) * num_classes**2).reshape(len(names), num_classes, num_classes)
