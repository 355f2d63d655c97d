"""Confidence intervals over speakers: they are about other speakers of the same kind, not about other utterances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas
from numpy.typing import ArrayLike
from scipy.stats import beta, norm
from scipy.stats import t as student

from .metrics import IntervalKind, Metric, confusion_matrix, war_of

METHOD = "delete-one-speaker jackknife, exact binomial at the effective number of utterances"

Interval = tuple[float, float] | None

_ROUNDING = 1e-12
LEAST_COVERAGE = 0.93
# Speakers -> UAR -> lowest simulated coverage of 95 % intervals: if speakers differ evenly, and if 15 % of them
# are recognised half as well as the others. Printed by benchmarks/interval_coverage.py 3000.
COVERAGE = {
    4: {0.5: (0.962, 0.946), 0.63: (0.964, 0.897), 0.75: (0.959, 0.812), 0.86: (0.946, 0.663), 0.95: (0.868, 0.49)},
    9: {0.5: (0.957, 0.911), 0.63: (0.953, 0.846), 0.75: (0.949, 0.788), 0.86: (0.943, 0.77), 0.95: (0.892, 0.769)},
    10: {0.5: (0.958, 0.903), 0.63: (0.955, 0.85), 0.75: (0.953, 0.809), 0.86: (0.942, 0.797), 0.95: (0.897, 0.79)},
    24: {0.5: (0.954, 0.933), 0.63: (0.951, 0.929), 0.75: (0.951, 0.927), 0.86: (0.947, 0.932), 0.95: (0.93, 0.959)},
    91: {0.5: (0.942, 0.938), 0.63: (0.944, 0.941), 0.75: (0.948, 0.94), 0.86: (0.945, 0.946), 0.95: (0.945, 0.957)},
}


def speaker_interval(
    metric: Metric,
    references: ArrayLike,
    predictions: ArrayLike,
    speakers: ArrayLike,
    *,
    utterances: ArrayLike | None = None,
    level: float = 0.95,
) -> Interval:
    """Return the confidence interval of a pooled metric, with speakers as the unit that varies.

    The delete-one jackknife over speakers gives the standard error. From it follows the effective number of utterances:
    as many independent utterances would have the same standard error. The interval is the exact (Clopper-Pearson) one
    for that number, with Student's t in place of the normal quantile (`rate_interval`). An interval over utterances
    would be far too narrow, because errors on utterances of one speaker are correlated. The percentile bootstrap over
    speakers covers too little below about fifty speakers; the symmetric jackknife interval covers too little near 1.

    Each jackknife sample is evaluated over its own classes: without the only speaker of a class, UAR and macro F1 lose
    that term. If the rate is the same without any of the speakers, for example because every prediction is right, the
    correlation cannot be estimated. Then each utterance counts as independent, and once however many seeds there are.

    Coverage of 95 % intervals of a UAR, simulated (`benchmarks/interval_coverage.py`). If speakers differ evenly:
    0.94 to 0.97 from 10 speakers on up to a UAR of 0.86; at a UAR of 0.95, 0.90 to 0.98 with 10 speakers and 0.93 to
    0.97 from 24 on. If one speaker in seven is recognised half as well as the others: 0.79 to 0.94 with 10 speakers
    (one test in five has no such speaker), and 0.93 to 0.96 from 24 on. `caution` warns where it is less than 0.93.
    The symmetric interval covers 0.83 to 0.93 with 10 speakers at a UAR of 0.95; this one is 4 % wider at 0.63.

    Args:
        metric: an entry of `metrics.METRICS`; it names the kind of interval that fits it.
        references: true class ids, shape (utterances,).
        predictions: predicted class ids, same shape.
        speakers: name of the speaker, same shape; None or NaN if unknown.
        utterances: utterance ids, same shape. Rows of one utterance under several seeds count as one utterance.
            Default: every row is an utterance of its own.
        level: wanted coverage, in (0, 1).

    Returns:
        (low, high) within [0, 1]; None for fewer than two speakers, and if any speaker is unknown.

    Raises:
        ValueError: as `metrics.confusion_matrix`, for a level outside (0, 1), and for speakers or utterances of another
            shape.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 11; Korn & Graubard (1998), Confidence
    intervals for proportions with small expected number of positive counts estimated from survey data.
    """
    _check(level)
    confusions = confusion_by_speaker(references, predictions, speakers)
    if confusions is None or len(confusions) < 2:
        return None
    total = confusions.sum(axis=0)
    if metric.interval is IntervalKind.SYMMETRIC:
        return jackknife_interval(metric(total), metric(total - confusions), metric.range, level)
    rate, error = float(metric(total)), float(jackknife_error(metric(total - confusions)))
    references = np.asarray(references, dtype=np.int64)
    support = np.bincount(references, utterance_weights(utterances, len(references)))
    support = support[support > 0]
    # In an accuracy every utterance counts the same. A mean over classes is limited by the rarest class: `most` is the
    # number of utterances in equally large classes that would give the same uncertainty.
    by_class = metric.interval is IntervalKind.MEAN_OVER_CLASSES
    most = len(support) ** 2 / np.sum(1 / support) if by_class else support.sum()
    low, high = rate_interval(rate, error, speakers=len(confusions), utterances=most, level=level)
    return float(low), float(high)


def share_interval(
    counted: ArrayLike, speakers: ArrayLike, *, utterances: ArrayLike | None = None, level: float = 0.95
) -> Interval:
    """Return the interval of the share of rows that count, as `speaker_interval` does for an accuracy.

    An example is the share of utterances whose set of classes holds the true class.

    Args:
        counted: True for each row that counts, shape (rows,).
        speakers, utterances, level: as in `speaker_interval`.

    Returns:
        As `speaker_interval`; None without rows, too.
    """
    missed = 1 - np.asarray(counted, dtype=np.int64)
    if not len(missed):
        return None
    return speaker_interval(war_of, np.zeros_like(missed), missed, speakers, utterances=utterances, level=level)


def rate_interval(
    rate: ArrayLike, error: ArrayLike, *, speakers: int, utterances: float, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return intervals of rates with a known standard error: exact binomial at the effective number of utterances.

    Args:
        rate: in [0, 1], any shape.
        error: standard errors over speakers, same shape.
        speakers: at least two; the fewer, the more uncertain the error, and the smaller the effective number.
        utterances: the largest effective number. It is also used if the error is 0, corrected for few speakers.
        level: wanted coverage, in (0, 1).

    Returns:
        (low, high) within [0, 1], low below high, same shape.
    """
    rate, error = np.asarray(rate, dtype=np.float64), np.asarray(error, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        # If all speakers have the same rate, the error is not 0 but a rounding error.
        effective = np.where(error > _ROUNDING, rate * (1 - rate) / error**2, utterances)
    certainty = norm.ppf((1 + level) / 2) / student.ppf((1 + level) / 2, df=speakers - 1)
    effective = np.minimum(effective * certainty**2, utterances)
    right, wrong = effective * rate, effective * (1 - rate)
    with np.errstate(invalid="ignore"):
        low = np.where(right > 0, beta.ppf((1 - level) / 2, right, wrong + 1), 0.0)
        high = np.where(wrong > 0, beta.ppf((1 + level) / 2, right + 1, wrong), 1.0)
    return low, high


def caution(speakers: int | None, rate: float) -> str | None:
    """Return a warning for the report if simulated 95 % intervals cover less than 93 %, or were not simulated.

    Args:
        speakers: number in the test; None or below two, where there is no interval, needs no warning.
        rate: the UAR (or another rate) in [0, 1] that the interval belongs to.
    """
    if speakers is None or speakers < 2:
        return None
    if speakers < min(COVERAGE):
        return (
            f"Fewer than {min(COVERAGE)} speakers: the coverage of intervals over so few speakers was not simulated; "
            "expect less than 95 %."
        )
    fewer = max(count for count in COVERAGE if count <= speakers)
    near = min(COVERAGE[fewer], key=lambda simulated: abs(simulated - rate))
    even, uneven = COVERAGE[fewer][near]
    if min(even, uneven) >= LEAST_COVERAGE:
        return None
    absent = " (a test with so few speakers may contain no such speaker)" if uneven < LEAST_COVERAGE else ""
    return (
        f"The intervals may be too narrow. In simulations with {fewer} speakers"
        f"{'' if fewer == speakers else ' (the nearest number below)'} and a UAR of {near:.2f}, at least "
        f"{100 * even:.1f} % of the 95 % intervals contain the true UAR if speakers differ evenly, and at least "
        f"{100 * uneven:.1f} % if one speaker in seven is recognised half as well as the others{absent}."
    )


def caution_of_all(judged: Iterable[tuple[int | None, float]]) -> str | None:
    """Return a short warning for a table of several intervals if `caution` warns of any of them; else None.

    Args:
        judged: the number of speakers and the rate of each interval.
    """
    doubtful = [speakers for speakers, rate in judged if caution(speakers, rate)]
    return f"Intervals over {min(doubtful)} speakers may be too narrow." if doubtful else None


def jackknife_interval(
    total: float,
    without_each: ArrayLike,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    level: float = 0.95,
) -> Interval:
    """Return the symmetric interval of any statistic, from its values with each speaker left out.

    It uses a Student-t quantile with speakers - 1 degrees of freedom and is cut at the bounds. If leaving out a speaker
    never changes the statistic, the interval would have no width; None is returned instead. The interval covers too
    little near a bound: for a rate, use `speaker_interval` or `share_interval`.

    Args:
        total: the statistic of all speakers.
        without_each: the statistic of all speakers but one, for each speaker, shape (speakers,).
        bounds: least and greatest value of the statistic, (0, 1) for a rate and (-1, 1) for a difference of rates;
            None if it has no bounds.
        level: wanted coverage, in (0, 1).

    Returns:
        (low, high) within the bounds; None for fewer than two speakers, if no speaker changes the statistic, and if
        the statistic is undefined (NaN) for all speakers or without one of them.

    Raises:
        ValueError: for a level outside (0, 1).
    """
    _check(level)
    without_each = np.asarray(without_each, dtype=np.float64)
    count, centre = len(without_each), float(total)
    if count < 2 or not (np.isfinite(centre) and np.isfinite(without_each).all()):
        return None
    return _around(centre, float(jackknife_error(without_each)), count - 1, bounds, level)


def mean_interval(
    totals: ArrayLike,
    without_each: Sequence[ArrayLike],
    bounds: tuple[float, float] | None = (0.0, 1.0),
    level: float = 0.95,
) -> Interval:
    """Return the interval of the mean of one statistic over groups that share no speaker, such as corpora.

    All groups have the same weight. Their jackknife variances are added; Student's t has the degrees of freedom of
    Welch and Satterthwaite. For one group this is `jackknife_interval`.

    Args:
        totals: the statistic of each group, shape (groups,).
        without_each: for each group, its statistic without each of its speakers, shape (speakers,).
        bounds, level: as in `jackknife_interval`.

    Returns:
        (low, high) within the bounds; None if a group has fewer than two speakers or no value, or if no speaker changes
        the statistic.

    Source: Satterthwaite (1946), doi:10.2307/3002019.
    """
    _check(level)
    left_out = [np.asarray(values, dtype=np.float64) for values in without_each]
    centre = float(np.mean(totals))
    if any(len(values) < 2 or not np.isfinite(values).all() for values in left_out) or not np.isfinite(centre):
        return None
    variances = np.array([float(jackknife_error(values)) ** 2 for values in left_out])
    error = float(np.sqrt(variances.sum())) / len(left_out)
    with np.errstate(invalid="ignore"):  # all variances are 0: there is no interval then
        freedom = variances.sum() ** 2 / np.sum(variances**2 / [len(values) - 1 for values in left_out])
    return _around(centre, error, freedom, bounds, level)


def paired_difference(
    metric: Metric, first: np.ndarray, second: np.ndarray, level: float = 0.95
) -> tuple[float, Interval]:
    """Return a metric of one model minus that of another on the same utterances, and the interval paired over speakers.

    Args:
        first, second: confusion matrices of the same speakers, (speakers, true, predicted).

    Returns:
        The difference, and its `jackknife_interval`.
    """
    totals = [metric(each.sum(axis=0)) for each in (first, second)]
    difference = float(totals[0] - totals[1])
    if len(first) < 2:
        return difference, None
    one, other = (metric(each.sum(axis=0) - each) for each in (first, second))
    reach = metric.range[1] - metric.range[0]
    return difference, jackknife_interval(difference, one - other, (-reach, reach), level)


def mean_over_speakers(values: ArrayLike, speakers: Sequence, bounds: tuple[float, float] = (0.0, 1.0)) -> Interval:
    """Return the symmetric 95 % interval of the mean of one value per row over speakers; None if any is unknown."""
    values = np.asarray(values, dtype=np.float64)
    codes, names = pandas.factorize(np.asarray(speakers, dtype=object))
    if (codes < 0).any() or len(names) < 2:
        return None
    sums, counts = np.bincount(codes, values), np.bincount(codes)
    return jackknife_interval(values.mean(), (values.sum() - sums) / (len(values) - counts), bounds=bounds)


def confusion_by_speaker(
    references: ArrayLike,
    predictions: ArrayLike,
    speakers: ArrayLike,
    *,
    weights: np.ndarray | None = None,
    num_classes: int | None = None,
) -> np.ndarray | None:
    """Return one confusion matrix per speaker, (speakers, true, predicted); None if any speaker is unknown.

    Every metric is a function of a confusion matrix, so leaving a speaker out is one subtraction.

    Args:
        references: true class ids, shape (rows,).
        predictions: predicted class ids, same shape.
        speakers: name of the speaker, same shape; None or NaN if unknown.
        weights: weight of each row, same shape; default: 1.
        num_classes: default: one more than the largest id.

    Raises:
        ValueError: as `metrics.confusion_matrix`, and for speakers of another shape.
    """
    num_classes = len(confusion_matrix(references, predictions, num_classes))
    speaker, names = pandas.factorize(np.asarray(speakers), sort=True)  # unknown speakers get -1
    if speaker.shape != np.shape(references):
        raise ValueError(f"{np.shape(references)} references but {speaker.shape} speakers: pass one speaker per row")
    if (speaker < 0).any():
        return None
    references, predictions = np.asarray(references, dtype=np.int64), np.asarray(predictions, dtype=np.int64)
    cell = (speaker * num_classes + references) * num_classes + predictions
    counts = np.bincount(cell, weights, minlength=len(names) * num_classes**2)
    return counts.reshape(len(names), num_classes, num_classes)


def jackknife_error(without_each: np.ndarray) -> np.ndarray:
    """Return the standard error of a statistic from its values without each speaker, (..., speakers) -> (...)."""
    count = without_each.shape[-1]
    away = without_each - without_each.mean(axis=-1, keepdims=True)
    return np.sqrt((count - 1) / count * np.sum(away**2, axis=-1))


def utterance_weights(utterances: ArrayLike | None, rows: int) -> np.ndarray:
    """Return a weight for each row, such that the rows of one utterance under several seeds add up to 1."""
    if utterances is None:
        return np.ones(rows)
    codes = pandas.factorize(np.asarray(utterances))[0]
    if codes.shape != (rows,):
        raise ValueError(f"{rows} references but {len(codes)} utterances: pass one utterance id per row")
    return 1 / np.bincount(codes)[codes]


def _check(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval must be in (0, 1), not {level}")


def _around(centre: float, error: float, freedom: float, bounds: tuple[float, float] | None, level: float) -> Interval:
    """Return the symmetric interval, cut at the bounds; None if no speaker changes the statistic."""
    if error <= _ROUNDING:
        return None
    reach = float(student.ppf((1 + level) / 2, df=freedom)) * error
    low, high = bounds or (-np.inf, np.inf)
    return max(low, centre - reach), min(high, centre + reach)
