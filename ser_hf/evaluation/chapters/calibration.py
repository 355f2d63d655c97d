"""Calibration: is an answer with a probability of 0.8 right in eight of ten cases? The temperature corrects it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from ..intervals import mean_over_speakers
from ..tables import PredictionTable
from ..words import markdown_table, of_speakers, shown
from .validation import by_model

METHOD = "Brier score: symmetric delete-one-speaker jackknife, Student-t; ECE: none, because it is biased"
BINS = 15
SIMULATIONS = 200
FOLDED, FITTED = "merged into the weights of the model", "fitted here on validation speakers, not part of the model"
BIAS = (
    "ECE is biased upwards, so it has no interval. With finitely many utterances even a perfectly calibrated model has "
    "the ECE in the column beside it, and more if speakers differ."
)
TEMPERATURES = (0.01, 100.0)  # beyond this range, one class has all the probability, or all classes the same


def expected_calibration_error(probabilities: ArrayLike, references: ArrayLike, bins: int = BINS) -> float:
    """Return the mean distance of confidence and accuracy over bins of (nearly) equally many utterances (ECE).

    The confidence is the probability of the most probable class. Utterances of exactly the same confidence share a bin,
    so that the order of a table does not matter. The ECE of a finite sample is above 0: see `expected_by_chance`.

    Args:
        probabilities: (utterances, classes), each row summing to 1.
        references: true class ids, (utterances,).
        bins: number of bins, of equal mass. With bins of equal width, most utterances of an overconfident model would
            be in one bin.

    Returns:
        A rate in [0, 1]; 0 is perfect.

    Raises:
        ValueError: if the shapes do not fit, there is no utterance, or no bin.

    Source: Naeini et al. (2015), doi:10.1609/aaai.v29i1.9602; equal mass: Nixon et al. (2019), arXiv:1904.01685.

    >>> expected_calibration_error([[0.75, 0.25]] * 4, [0, 0, 0, 1])
    0.0
    """
    confidences, right = _judged(probabilities, references)
    return _ece(confidences, right, bins)


def brier_score(probabilities: ArrayLike, references: ArrayLike) -> float:
    """Return the mean squared distance of the probabilities from the truth, summed over the classes.

    Returns:
        From 0, always certain and right, to 2, always certain and wrong; the same probability for each of k classes
        gives 1 - 1 / k.

    Raises:
        ValueError: if the shapes do not fit, or there is no utterance.

    Source: Brier (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    >>> brier_score([[0.5, 0.5], [1.0, 0.0]], [0, 1])
    1.25
    """
    probabilities, references = _checked(probabilities, references)
    return float(_briers(probabilities, references).mean())


def fit_temperature(probabilities: ArrayLike, references: ArrayLike) -> float:
    """Return the temperature, within `TEMPERATURES`, that makes the true classes most likely: logits / temperature.

    Every utterance has the same weight, whatever its class. The probabilities are then right for a test set with this
    mix of classes, as ECE and Brier score measure it. One imagined misrecognised utterance is added, as in Platt
    (1999): if all are right, the best temperature would be 0.

    Probabilities above 0 are used as they are, however small. A 0 is a probability that was too small to be written:
    it counts as half of the smallest one above 0, and at most as half of the imagined utterance's share.

    Args:
        probabilities: (utterances, classes), of speakers who were not trained on.
        references: true class ids, (utterances,).

    Raises:
        ValueError: if the shapes do not fit, or there is no utterance.

    Source: Guo et al. (2017), arXiv:1706.04599.
    """
    probabilities, references = _checked(probabilities, references)
    imagined = 1 / (len(references) + 1)
    # In a table of three decimals, 0 may be 0.0004; a much smaller value would make one such row outweigh a thousand.
    unwritten = min(probabilities[probabilities > 0].min(), imagined) / 2
    return temperature_of_logits(np.log(np.where(probabilities > 0, probabilities, unwritten)), references)


def temperature_of_logits(logits: np.ndarray, references: np.ndarray) -> float:
    """Return the temperature as `fit_temperature`, from logits (utterances, classes), which may be of any size."""
    imagined = 1 / (len(references) + 1)
    of_truth = logits[np.arange(len(logits)), references]
    of_others = (logits.sum(axis=1) - of_truth) / max(1, logits.shape[1] - 1)
    wanted = ((1 - imagined) * of_truth + imagined * of_others).mean()

    def loss(log_temperature: float) -> float:  # has one minimum: it is convex in 1 / temperature
        sharpness = np.exp(-log_temperature)
        return logsumexp(sharpness * logits, axis=1).mean() - sharpness * wanted

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def tempered(probabilities: ArrayLike, temperature: float | ArrayLike) -> np.ndarray:
    """Return softmax(log p / temperature): the probabilities after dividing the logits, (utterances, classes).

    Args:
        temperature: above 1 it lowers the confidence; one for all, or one per utterance. 1 / T undoes T.

    >>> tempered([[0.9, 0.1]], 2.0).round(3).tolist()
    [[0.75, 0.25]]
    """
    with np.errstate(divide="ignore"):  # log 0 is minus infinity, and its softmax 0 again
        logs = np.log(np.asarray(probabilities, dtype=np.float64)) / np.reshape(temperature, (-1, 1))
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def section(table: PredictionTable, validation: PredictionTable | None = None) -> dict[str, Any] | None:
    """Return the calibration on the test speakers, before and after a temperature fitted on validation speakers.

    A column `temperature` of the table has the temperature that is merged into the weights of the model of each row; it
    is undone for "before". Without this column, "after" uses a temperature fitted on the validation rows of each fold
    and seed.

    Returns:
        None for a multi-label model, which has no confidence. Else `temperature`: `FOLDED`, `FITTED`, or None if there
        is none; `temperatures`: [{fold, seed, temperature}], the last None if other models have a temperature, but not
        this one; `bins`; `n`: utterances; `speakers`: None if any is unknown; `before` and `after`, the latter None
        without a temperature. Each of the two: `ece` in [0, 1]; `ece_by_chance` and `ece_by_chance_95`, the mean ECE
        and its 95 % quantile of a perfectly calibrated model with these confidences; `brier` in [0, 2] and its 95 %
        interval over speakers `brier_interval`; `reliability`: [{confidence, accuracy, n}] by bin, where n counts rows
        (an utterance has one per seed). The ECE has no interval: its bias is as large as its spread, so that an
        interval around it would miss the true value most of the time.

    Raises:
        TableError: as `validation.by_model`.
    """
    if not table.has_confidence:
        return None
    rows, given = table.rows, table.probabilities
    before, after, origin, temperatures = given, None, None, []
    if "temperature" in rows and rows["temperature"].notna().any():
        folded = rows["temperature"].astype(np.float64)
        before, after, origin = tempered(given, 1 / folded.fillna(1.0).to_numpy()), given, FOLDED
        known = rows[["fold", "seed"]].assign(temperature=folded).drop_duplicates().sort_values(["fold", "seed"])
        temperatures = list(known.itertuples(index=False, name=None))
    elif validation is not None:
        after, origin = given.copy(), FITTED
        for fold, seed, test_rows, validation_rows in by_model(table, validation):
            temperature = fit_temperature(
                validation.probabilities[validation_rows], validation.references[validation_rows]
            )
            after[test_rows] = tempered(given[test_rows], temperature)
            temperatures.append((fold, seed, temperature))
    return {
        "temperature": origin,
        "temperatures": [
            {"fold": int(fold), "seed": int(seed), "temperature": None if np.isnan(value) else float(value)}
            for fold, seed, value in temperatures
        ],
        "bins": BINS,
        "n": table.n,
        "speakers": table.speakers,
        "interval_method": METHOD,
        "before": _state(table, before),
        "after": None if after is None else _state(table, after),
    }


def to_markdown(section: dict[str, Any]) -> list[str]:
    """Return a small Markdown table, and sentences that explain it."""
    after = section["after"]
    states = (
        [("as they are", section["before"])] if after is None else [("before", section["before"]), ("after", after)]
    )
    ece = f"ECE ({section['bins']} bins of equal mass)"
    lines = markdown_table(
        ["probabilities", ece, "ECE of a perfectly calibrated model", "Brier score (0 to 2)"],
        [
            [
                name,
                f"{state['ece']:.3f}",
                f"{state['ece_by_chance']:.3f} (95 %: up to {state['ece_by_chance_95']:.3f})",
                shown(state["brier"], state["brier_interval"]),
            ]
            for name, state in states
        ],
    )
    return [f"Calibration on {of_speakers(section)}.", "", *lines, "", _origin_sentence(section), "", BIAS]


def expected_by_chance(
    confidences: np.ndarray, bins: int = BINS, utterances: ArrayLike | None = None
) -> tuple[float, float]:
    """Return the ECE of a perfectly calibrated model with the same confidences: mean and 95 % quantile of simulations.

    Args:
        confidences: (rows,), in [0, 1].
        utterances: utterance of each row; rows of one utterance under several seeds are right or wrong together.
    """
    random = np.random.default_rng(0)
    codes = np.arange(len(confidences)) if utterances is None else pandas.factorize(np.asarray(utterances))[0]
    simulated = [
        _ece(confidences, random.random(codes.max() + 1)[codes] < confidences, bins) for _ in range(SIMULATIONS)
    ]
    return float(np.mean(simulated)), float(np.quantile(simulated, 0.95))


def _state(table: PredictionTable, probabilities: np.ndarray) -> dict[str, Any]:
    speakers = table.rows["speaker"]
    confidences, right = _judged(probabilities, table.references)
    briers = _briers(probabilities, table.references)
    by_chance, by_chance_95 = expected_by_chance(confidences, utterances=table.rows["utterance_id"])
    number = _bin_numbers(confidences, BINS)
    return {
        "ece": _ece(confidences, right, BINS),
        "ece_by_chance": by_chance,
        "ece_by_chance_95": by_chance_95,
        "brier": float(briers.mean()),
        "brier_interval": mean_over_speakers(briers, speakers, bounds=(0.0, 2.0)),
        "reliability": [
            {
                "confidence": float(confidences[number == one].mean()),
                "accuracy": float(right[number == one].mean()),
                "n": int((number == one).sum()),
            }
            for one in np.unique(number)
        ],
    }


def _checked(probabilities: ArrayLike, references: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    probabilities, references = np.asarray(probabilities, dtype=np.float64), np.asarray(references)
    if probabilities.ndim != 2 or references.shape != probabilities.shape[:1]:
        raise ValueError(
            "probabilities must have the shape (utterances, classes) and references (utterances,), "
            f"not {probabilities.shape} and {references.shape}"
        )
    if not len(references):
        raise ValueError("there are no utterances to evaluate: pass at least one")
    return probabilities, references


def _judged(probabilities: ArrayLike, references: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the confidence of each utterance, and True where its most probable class is the true one."""
    probabilities, references = _checked(probabilities, references)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == references


def _ece(confidences: np.ndarray, right: np.ndarray, bins: int) -> float:
    gaps = np.bincount(_bin_numbers(confidences, bins), weights=confidences - right)
    return float(np.abs(gaps).sum() / len(confidences))


def _bin_numbers(confidences: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each utterance. Bins are equally large, as far as equal confidences allow."""
    if bins < 1:
        raise ValueError(f"bins must be 1 or more, not {bins}")
    starts = np.sort(confidences)[np.arange(1, bins) * len(confidences) // bins]
    return np.searchsorted(starts, confidences, side="right")


def _briers(probabilities: np.ndarray, references: np.ndarray) -> np.ndarray:
    truth = np.eye(probabilities.shape[1])[references]
    return ((probabilities - truth) ** 2).sum(axis=1)


def _origin_sentence(section: dict[str, Any]) -> str:
    if section["temperature"] is None:
        return "No temperature: the table has none, and there are no validation speakers to fit one."
    values = [row["temperature"] for row in section["temperatures"] if row["temperature"] is not None]
    without = [str(row["fold"]) for row in section["temperatures"] if row["temperature"] is None]
    none = f" No temperature in fold {', '.join(without)}: before and after are the same there." if without else ""
    span = f"{values[0]:.2f}" if len(values) == 1 else f"{min(values):.2f} to {max(values):.2f}, one per fold and seed"
    lost = " A temperature at the end of its range: the model is no better than chance." if max(values) > 99 else ""
    return f"Temperature {span}: {section['temperature']}.{none}{lost}"
