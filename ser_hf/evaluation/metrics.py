"""The metrics of a classifier, as pure functions of class ids or of a confusion matrix; and the CCC of a dimension.

A metric is one function of confusion matrices and the decorator above it. Reports, cards, tables, comparisons and the
help of the command line iterate `METRICS`; a new metric needs no other change.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import ArrayLike


class IntervalKind(Enum):
    """The kind of interval that fits a metric; `intervals.speaker_interval` computes it."""

    MEAN_OVER_CLASSES = "exact binomial; limited by the rarest class"
    SHARE_OF_UTTERANCES = "exact binomial; every utterance has the same weight"
    SYMMETRIC = "symmetric, cut at the range of the metric; for metrics that are not a share"


@dataclass(frozen=True)
class Metric:
    """An entry of `METRICS`. Called with confusion matrices, (..., true, predicted), it returns their values, (...).

    Attributes:
        function: function of confusion matrices that hold at least one utterance each.
        name: the key in JSON, CSV and on the command line.
        title: the name for readers.
        meaning: a clause that explains the metric to someone who never read a paper on it.
        interval: the kind of interval that fits it.
        range: its least and its greatest value.
        higher_is_better: True if the model with the higher value wins a comparison.
        hub_name: its name on the Hugging Face Hub; default: `name`.
    """

    function: Callable[[np.ndarray], np.ndarray]
    name: str
    title: str
    meaning: str
    interval: IntervalKind
    range: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool = True
    hub_name: str | None = None

    def __call__(self, confusion: np.ndarray) -> np.ndarray:
        return self.function(confusion)


_ROUNDING = 1e-14  # of a variance, as a share of the mean square

# In the order in which they are shown; the first one is the headline of a report.
METRICS: dict[str, Metric] = {}


def metric(name: str, **facts) -> Callable[[Callable[[np.ndarray], np.ndarray]], Metric]:
    """Decorator that enters a function in `METRICS`. The arguments are the fields of `Metric`.

    Raises:
        ValueError: for a name that is taken or not lower snake case, a missing or wrong fact, or a function that cannot
            take batches or leaves its range.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise ValueError(f"{name!r} cannot be the name of a metric: use lower snake case, such as 'g_mean'")
    if name in METRICS:
        raise ValueError(f"there is a metric {name!r} already: choose another name")
    for fact in ("title", "meaning", "interval"):
        if not facts.get(fact):
            raise ValueError(f"the metric {name!r} needs {fact}: see the fields of Metric")
    if not isinstance(facts["interval"], IntervalKind):
        kinds = " or ".join(map(str, IntervalKind))
        raise ValueError(f"the metric {name!r} has interval={facts['interval']!r}: use {kinds}")

    def enter(function: Callable[[np.ndarray], np.ndarray]) -> Metric:
        entered = Metric(function, name, **facts)
        _try(entered)
        METRICS[name] = entered
        return entered

    return enter


def _try(metric: Metric) -> None:
    """Raise a `ValueError` for a metric that cannot take batches or leaves its range, on a small batch."""
    batch = np.stack([2 * np.eye(3, dtype=np.int64), np.ones((3, 3), dtype=np.int64)])
    try:
        values, alone = np.asarray(metric(batch)), np.asarray([metric(one) for one in batch])
        fits, what = values.shape == (2,) and np.allclose(values, alone), f"gives {values.tolist()}"
    except Exception as error:  # whatever the function does
        fits, what = False, f"fails: {type(error).__name__}: {error}"
    if not fits:
        raise ValueError(
            f"the metric {metric.name!r} cannot take two confusion matrices in one array of shape (2, 3, 3): compute "
            f"over the last two axes and return shape (2,). It {what}"
        )
    least, most = metric.range
    if not ((least <= values) & (values <= most)).all():
        raise ValueError(
            f"the metric {metric.name!r} gives {values.tolist()}, outside its range {metric.range}: pass "
            "range=(least, greatest value)"
        )


def confusion_matrix(references: ArrayLike, predictions: ArrayLike, num_classes: int | None = None) -> np.ndarray:
    """Return the counts of utterances, (true class, predicted class).

    Args:
        references: true class ids, shape (utterances,).
        predictions: predicted class ids, same shape.
        num_classes: default: one more than the largest id.

    Raises:
        ValueError: if the shapes differ, there is no utterance, or an id is not a class.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1]).tolist()
    [[1, 1], [0, 1]]
    """
    references, predictions = np.asarray(references), np.asarray(predictions)
    if references.ndim != 1 or references.shape != predictions.shape:
        raise ValueError(
            "references and predictions must be class ids of shape (utterances,), "
            f"not {references.shape} and {predictions.shape}"
        )
    if references.size == 0:
        raise ValueError("there are no utterances to evaluate: pass at least one")
    if references.dtype.kind not in "iu" or predictions.dtype.kind not in "iu":
        raise ValueError(f"class ids must be whole numbers, not {references.dtype} and {predictions.dtype}")
    # Narrow ids, such as uint8 from a label file, would overflow in the product below.
    references, predictions = references.astype(np.int64), predictions.astype(np.int64)
    if num_classes is None:
        num_classes = 1 + max(0, int(references.max()), int(predictions.max()))
    for name, ids in (("references", references), ("predictions", predictions)):
        if strangers := ids[(ids < 0) | (ids >= num_classes)].tolist():
            raise ValueError(f"{name} contain the class id {strangers[0]}; class ids are 0 to {num_classes - 1}")
    return np.bincount(references * num_classes + predictions, minlength=num_classes**2).reshape(num_classes, -1)


def unweighted_average_recall(references: ArrayLike, predictions: ArrayLike) -> float:
    """Return the mean of per-class recalls over the classes that occur in `references` (UAR).

    Args:
        references: true class ids, shape (utterances,).
        predictions: predicted class ids, same shape. A class that is predicted but never true is left out of the mean.

    Returns:
        A rate in [0, 1]; chance level is 1 / number of classes present.

    Raises:
        ValueError: as `confusion_matrix`.

    Source: Schuller et al. (2009), The INTERSPEECH 2009 Emotion Challenge.

    >>> unweighted_average_recall([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    return float(uar_of(confusion_matrix(references, predictions)))


def weighted_average_recall(references: ArrayLike, predictions: ArrayLike) -> float:
    """Return the share of utterances that are right (WAR, accuracy), in [0, 1]. Arguments and errors as for UAR.

    >>> weighted_average_recall([0, 0, 0, 1], [0, 0, 0, 0])
    0.75
    """
    return float(war_of(confusion_matrix(references, predictions)))


def macro_f1(references: ArrayLike, predictions: ArrayLike) -> float:
    """Return the mean of per-class F1 over the classes that occur in `references`, in [0, 1].

    A class that is predicted but never true lowers the recall of the others and is left out of the mean. This is
    scikit-learn's `f1_score(average="macro", labels=np.unique(references))`. Arguments and errors as for UAR.

    >>> round(macro_f1([0, 0, 0, 1], [0, 0, 0, 0]), 4)
    0.4286
    """
    return float(macro_f1_of(confusion_matrix(references, predictions)))


# Above the metrics, which are tried when they are entered.
def _hits(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _divide(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    return np.divide(counts, totals, out=np.zeros(np.shape(counts), dtype=np.float64), where=totals > 0)


def _mean_over_present(rates: np.ndarray, support: np.ndarray) -> np.ndarray:
    present = support > 0
    return (rates * present).sum(axis=-1) / present.sum(axis=-1)


@metric(
    "uar",
    title="UAR",
    meaning="unweighted average recall, the mean over the classes of the share of their utterances that is recognised",
    interval=IntervalKind.MEAN_OVER_CLASSES,
    hub_name="recall",
)
def uar_of(confusion: np.ndarray) -> np.ndarray:
    """Return the UAR of confusion matrices that hold at least one utterance, (..., true, predicted) -> (...)."""
    support = confusion.sum(axis=-1)
    return _mean_over_present(_divide(_hits(confusion), support), support)


@metric(
    "war",
    title="WAR",
    meaning="weighted average recall or accuracy, the share of all utterances that is recognised",
    interval=IntervalKind.SHARE_OF_UTTERANCES,
    hub_name="accuracy",
)
def war_of(confusion: np.ndarray) -> np.ndarray:
    """Return the WAR of confusion matrices, (..., true, predicted) -> (...)."""
    return _hits(confusion).sum(axis=-1) / confusion.sum(axis=(-2, -1))


@metric(
    "macro_f1",
    title="Macro F1",
    meaning="the mean over the classes of F1, the harmonic mean of recall and precision",
    interval=IntervalKind.MEAN_OVER_CLASSES,
    hub_name="f1",
)
def macro_f1_of(confusion: np.ndarray) -> np.ndarray:
    """Return the macro F1 of confusion matrices, (..., true, predicted) -> (...)."""
    support = confusion.sum(axis=-1)
    return _mean_over_present(_divide(2 * _hits(confusion), support + confusion.sum(axis=-2)), support)


def concordance_correlation(references: ArrayLike, predictions: ArrayLike) -> float:
    """Return the concordance correlation coefficient (CCC) of the values of a dimension, such as arousal.

    Args:
        references: true values, shape (utterances,).
        predictions: estimated values on the same scale, same shape.

    Returns:
        A number in [-1, 1]: 1 if all values are equal, 0 for constant predictions. NaN for fewer than two utterances,
        and if all values are one number.

    Raises:
        ValueError: if the shapes differ, or a value is not finite.

    Source: Lin (1989), doi:10.2307/2532051.

    >>> round(concordance_correlation([0.0, 1.0, 2.0], [0.0, 1.0, 1.0]), 4)
    0.6667
    """
    references, predictions = np.asarray(references, np.float64), np.asarray(predictions, np.float64)
    if references.ndim != 1 or references.shape != predictions.shape:
        raise ValueError(
            f"references and predictions must be of shape (utterances,), not {references.shape} and {predictions.shape}"
        )
    if not (np.isfinite(references).all() and np.isfinite(predictions).all()):
        raise ValueError("references and predictions must be finite: leave unknown values out")
    return float(ccc_of(moments(references, predictions, np.zeros(len(references), np.int64)).sum(axis=0)))


def moments(references: np.ndarray, predictions: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return sums from which `ccc_of` computes the CCC, (groups, 6): those of several groups can be added.

    Args:
        references, predictions: values, (utterances,).
        groups: number of the group of each utterance, (utterances,), from 0.
    """
    # Around one value near all of them, so that the squares are not differences of large numbers.
    middle = references.mean() if references.size else 0.0
    true, predicted = references - middle, predictions - middle
    products = (np.ones_like(true), true, predicted, true**2, predicted**2, true * predicted)
    return np.stack([np.bincount(groups, one) for one in products], axis=-1)


def ccc_of(sums: np.ndarray) -> np.ndarray:
    """Return the CCC of sums of `moments`, (..., 6) -> (...)."""
    count, true, predicted, true_squares, predicted_squares, products = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = true / count, predicted / count
        covariance = products / count - means[0] * means[1]
        variances = true_squares / count - means[0] ** 2 + predicted_squares / count - means[1] ** 2
        apart = variances + (means[0] - means[1]) ** 2
        is_one_number = apart <= _ROUNDING * (true_squares + predicted_squares) / count
        ccc = np.clip(2 * covariance / apart, -1, 1)  # rounding may leave the range
        return np.where((count < 2) | is_one_number, np.nan, ccc)


def per_class(confusion: np.ndarray) -> list[dict[str, float | int]]:
    """Return support, recall, precision and F1 of each class, from one confusion matrix (true, predicted).

    Recall and F1 are None for a class that is never true; precision is None for a class that is never predicted.

    >>> per_class(np.array([[3, 1], [0, 0]]))[1]
    {'support': 0, 'recall': None, 'precision': 0.0, 'f1': None}
    """
    support, predicted, hits = confusion.sum(axis=1), confusion.sum(axis=0), _hits(confusion)
    return [
        {
            "support": int(support[number]),
            "recall": float(hits[number] / support[number]) if support[number] else None,
            "precision": float(hits[number] / predicted[number]) if predicted[number] else None,
            "f1": float(2 * hits[number] / (support[number] + predicted[number])) if support[number] else None,
        }
        for number in range(len(confusion))
    ]
