"""Selective prediction: a model that may decline to answer, or answer with several classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas
from numpy.typing import ArrayLike

from ..conformal import ROUNDING, conformal_sets
from ..intervals import METHOD as OF_RATES
from ..intervals import Interval, jackknife_interval, mean_over_speakers, share_interval
from ..tables import PredictionTable
from ..words import markdown_table, of_speakers, shown
from .risk_coverage import aurc_without_each, ranks_and_errors, risk_coverage
from .validation import by_model

METHOD = f"share of wrong answers, share answered, coverage: {OF_RATES}; area and size of sets: symmetric jackknife"
WANTED_RISKS = (0.05, 0.10, 0.20)
LEVEL = 0.90  # of the conformal sets
CURVE_POINTS = 100
BY_SPEAKERS, BY_UTTERANCES = "speakers", "utterances"


def reject_threshold(confidences: ArrayLike, right: ArrayLike, wanted_risk: float) -> float | None:
    """Return the lowest confidence to answer from, so that at most a wanted share of the answers is wrong.

    It is chosen on utterances of validation speakers, with one more error than observed: without errors, at least
    1 / wanted - 1 answers are needed. None if no confidence is high enough. There is no guarantee for unseen speakers,
    because errors on utterances of one speaker are correlated; see the result on the test speakers.

    Raises:
        ValueError: for a risk outside (0, 1).
    """
    if not 0 < wanted_risk < 1:
        raise ValueError(f"wanted_risk must be in (0, 1), not {wanted_risk}")
    ranks, errors = ranks_and_errors(confidences, right)
    answers, wrong = np.cumsum(np.bincount(ranks)), np.cumsum(np.bincount(ranks, weights=errors))
    fitting = np.flatnonzero((wrong + 1) / (answers + 1) <= wanted_risk + ROUNDING)
    return float(-np.unique(-np.asarray(confidences, dtype=np.float64))[fitting[-1]]) if fitting.size else None


def conformal_quantile(scores: ArrayLike, speakers: Sequence, level: float = LEVEL) -> tuple[float, str]:
    """Return the quantile for conformal sets, and the unit that was assumed to be exchangeable.

    A class stays in the set if 1 - its probability is at most the quantile. Speakers are assumed exchangeable: each has
    the same weight, shared among their utterances, and one more, unseen speaker counts as infinitely bad. An utterance
    of a new speaker then has its true class in the set with a probability of `level` or more (Lee, Barber & Willett
    2023, arXiv:2306.06342). This needs level / (1 - level) speakers, nine for 90 %, and many more for sets that are not
    larger than necessary. With fewer speakers, utterances are assumed exchangeable, although they are not, and coverage
    may be lower.

    Args:
        scores: 1 - probability of the true class, for utterances of validation speakers.
        speakers: speaker of each utterance.

    Returns:
        The quantile, infinite if there are too few utterances, and `BY_SPEAKERS` or `BY_UTTERANCES`.

    Raises:
        ValueError: for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of conformal sets must be in (0, 1), not {level}")
    scores = np.asarray(scores, dtype=np.float64)
    codes, names = pandas.factorize(np.asarray(speakers, dtype=object))
    count = len(names)
    by_speakers = (codes >= 0).all() and count / (count + 1) >= level - ROUNDING
    if by_speakers:
        weights = 1 / ((count + 1) * np.bincount(codes)[codes])
    else:
        weights = np.full(len(scores), 1 / (len(scores) + 1))
    order = np.argsort(scores, kind="stable")
    enough = np.flatnonzero(np.cumsum(weights[order]) >= level - ROUNDING)
    quantile = float(scores[order][enough[0]]) if enough.size else np.inf
    return quantile, BY_SPEAKERS if by_speakers else BY_UTTERANCES


def section(table: PredictionTable, validation: PredictionTable | None = None) -> dict[str, Any] | None:
    """Return selective prediction on the test speakers; thresholds and sets are chosen on the validation speakers.

    Intervals are over test speakers; they treat the thresholds as fixed. Epoch and temperature of the model were often
    chosen on the same validation speakers, so trust the measured values, not the wanted ones.

    Returns:
        None for a multi-label model, which has no confidence. Else `n`: utterances; `speakers`: None if any is unknown;
        `interval_method`; `risk`: share of errors if all utterances are answered; `aurc` and `aurc_interval`;
        `aurc_of_oracle`: of a model with as many errors, all less confident than the rest; `curve`: [{coverage, risk}]
        at each per cent.
        `thresholds`: [{wanted, risk, risk_interval, coverage, coverage_interval, by_model}], `risk` None if nothing is
        answered, `by_model`: [{fold, seed, threshold}], `threshold` None if no confidence is high enough; empty without
        a validation table.
        `conformal`: None without a validation table, else `level`, `coverage`, `coverage_interval`,
        `lowest_speaker_coverage`, `set_size`, `set_size_interval` (in classes), `singletons`: share of sets of one
        class, and `by_model`: [{fold, seed, quantile, exchangeable, validation_speakers}], `quantile` None if infinite.

    Raises:
        TableError: as `validation.by_model`.
    """
    if not table.has_confidence:
        return None
    rows, probabilities = table.rows, table.probabilities
    confidences, right = probabilities.max(axis=1), table.predictions == table.references
    curve = risk_coverage(confidences, right)
    at = np.unique(-(-np.arange(1, CURVE_POINTS + 1) * len(curve) // CURVE_POINTS))  # rounded up
    return {
        "n": table.n,
        "speakers": table.speakers,
        "interval_method": METHOD,
        "risk": float(curve[-1]),
        "aurc": float(curve.mean()),
        "aurc_interval": _aurc_interval(confidences, right, rows["speaker"]),
        "aurc_of_oracle": float(risk_coverage(right, right).mean()),
        "curve": [{"coverage": float(k / len(curve)), "risk": float(curve[k - 1])} for k in at],
        "thresholds": []
        if validation is None
        else [_rejecting(table, validation, wanted, confidences, right) for wanted in WANTED_RISKS],
        "conformal": None if validation is None else _conformal(table, validation),
    }


def to_markdown(section: dict[str, Any]) -> list[str]:
    """Return a few Markdown lines about rejection and about sets of classes."""
    lines = [
        f"Area under the risk-coverage curve {shown(section['aurc'], section['aurc_interval'])} (best possible "
        f"{section['aurc_of_oracle']:.3f}, random order {section['risk']:.3f}), {of_speakers(section)}."
    ]
    if not section["thresholds"]:
        return [*lines, "", "No thresholds and no sets of classes, because there are no validation speakers."]
    found = markdown_table(
        ["wanted share of wrong answers", "wrong answers on the test speakers", "share answered"],
        [
            [f"{row['wanted']:.2f}", *(shown(row[name], row[f"{name}_interval"]) for name in ("risk", "coverage"))]
            for row in section["thresholds"]
        ],
    )
    return [*lines, "", *found, "", _sets_sentence(section["conformal"]), "", _promise_sentence(section["conformal"])]


def _sets_sentence(sets: dict[str, Any]) -> str:
    worst = sets["lowest_speaker_coverage"]
    of_worst = "" if worst is None else f" ({worst:.3f} for the worst speaker)"
    return (
        f"Conformal sets at {100 * sets['level']:.0f} %: the true emotion is in the set for "
        f"{shown(sets['coverage'], sets['coverage_interval'])} of the test utterances{of_worst}. A set has "
        f"{sets['set_size']:.2f} classes on average; {100 * sets['singletons']:.0f} % of the sets have one class."
    )


def _promise_sentence(sets: dict[str, Any]) -> str:
    if all(row["exchangeable"] == BY_SPEAKERS for row in sets["by_model"]):
        return (
            "Each validation speaker has the same weight. The coverage would be guaranteed for new speakers of the "
            "same kind if nothing else was chosen on the validation speakers. Epoch and temperature often are: trust "
            "the measured coverage."
        )
    fewest = min(row["validation_speakers"] for row in sets["by_model"])
    return (
        f"With only {fewest} validation speakers, no coverage can be guaranteed for a new speaker. The quantile "
        "assumes that utterances are exchangeable, but those of one speaker are alike: trust the measured coverage."
    )


def _rejecting(
    table: PredictionTable, validation: PredictionTable, wanted: float, confidences: np.ndarray, right: np.ndarray
) -> dict[str, Any]:
    """Return the result of the thresholds for one wanted risk on the test speakers."""
    sure, hit = validation.probabilities.max(axis=1), validation.predictions == validation.references
    answered, chosen = np.zeros(len(right), dtype=bool), []
    for fold, seed, test_rows, validation_rows in by_model(table, validation):
        threshold = reject_threshold(sure[validation_rows], hit[validation_rows], wanted)
        chosen.append({"fold": fold, "seed": seed, "threshold": threshold})
        answered[test_rows] = False if threshold is None else confidences[test_rows] >= threshold

    speakers, utterances = table.rows["speaker"], table.rows["utterance_id"]
    risk_interval = None
    if speakers.notna().all():
        risk_interval = share_interval(~right[answered], speakers[answered], utterances=utterances[answered])
    return {
        "wanted": wanted,
        "risk": float(1 - right[answered].mean()) if answered.any() else None,
        "risk_interval": risk_interval,
        "coverage": float(answered.mean()),
        "coverage_interval": share_interval(answered, speakers, utterances=utterances),
        "by_model": chosen,
    }


def _conformal(table: PredictionTable, validation: PredictionTable) -> dict[str, Any]:
    probabilities, speakers = table.probabilities, table.rows["speaker"]
    of_truth = np.take_along_axis(validation.probabilities, validation.references[:, None], axis=1)[:, 0]
    sets, chosen = np.zeros(probabilities.shape, dtype=bool), []
    for fold, seed, test_rows, validation_rows in by_model(table, validation):
        their_speakers = validation.rows["speaker"].iloc[validation_rows]
        quantile, exchangeable = conformal_quantile(1 - of_truth[validation_rows], their_speakers)
        sets[test_rows] = conformal_sets(probabilities[test_rows], quantile)
        chosen.append(
            {
                "fold": fold,
                "seed": seed,
                "quantile": quantile if np.isfinite(quantile) else None,
                "exchangeable": exchangeable,
                "validation_speakers": int(their_speakers.nunique()),
            }
        )
    covered = np.take_along_axis(sets, table.references[:, None], axis=1)[:, 0]
    sizes = sets.sum(axis=1)
    by_speaker = pandas.Series(covered).groupby(speakers.to_numpy()).mean()  # unknown speakers are in no group
    return {
        "level": LEVEL,
        "coverage": float(covered.mean()),
        "coverage_interval": share_interval(covered, speakers, utterances=table.rows["utterance_id"]),
        "lowest_speaker_coverage": float(by_speaker.min()) if len(by_speaker) else None,
        "set_size": float(sizes.mean()),
        "set_size_interval": mean_over_speakers(sizes, speakers, bounds=(1.0, float(probabilities.shape[1]))),
        "singletons": float((sizes == 1).mean()),
        "by_model": chosen,
    }


def _aurc_interval(confidences: np.ndarray, right: np.ndarray, speakers: Sequence) -> Interval:
    codes, names = pandas.factorize(np.asarray(speakers, dtype=object))
    if (codes < 0).any() or len(names) < 2:
        return None
    without_each = aurc_without_each(confidences, right, codes)
    return jackknife_interval(risk_coverage(confidences, right).mean(), without_each)
