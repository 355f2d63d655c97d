"""A check for answers that were made with the number of utterances of each emotion of a speaker."""

from __future__ import annotations

import numpy as np
import pandas

from .finding import Finding

LEAST_SPEAKERS = 3  # with wrong answers
LEAST_SHARE = 0.9  # of these speakers, whose wrong answers cancel out
BY_CHANCE = 1e-4  # probability from which errors that cancel out are no accident
DRAWS = 1000


def known_class_counts(rows: pandas.DataFrame) -> list[Finding]:
    """Return a finding if each speaker's answers have as many of each emotion as the labels, though some are wrong.

    Acted corpora have as many utterances of each emotion from each actor. A model that is told so, and shares out its
    answers accordingly, is much better there and nowhere else. How probable this is by chance is found by drawing
    answers of the same accuracy.

    Args:
        rows: rows of a prediction table.
    """
    named = rows.dropna(subset=["speaker"])
    classes = sorted({*named["label"], *named["prediction"]})
    labels, answers = (np.searchsorted(classes, named[name].to_numpy(str)) for name in ("label", "prediction"))
    confusion = np.zeros((len(classes), len(classes)))
    np.add.at(confusion, (labels, answers), 1)
    rates = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    random, alike, wrong, by_chance = np.random.default_rng(0), 0, 0, 1.0
    # One table of each speaker: several draws or seeds are not independent.
    for places in named.groupby("speaker").indices.values():
        first = named.iloc[places][["fold", "seed"]].drop_duplicates().iloc[0]
        own = places[(named.iloc[places][["fold", "seed"]] == first).all(axis=1).to_numpy()]
        if (labels[own] == answers[own]).all():
            continue
        wrong += 1
        if not _same_counts(labels[own], answers[own]):
            continue
        alike += 1
        drawn = [random.choice(len(classes), DRAWS, p=rates[label]) for label in labels[own]]
        same = np.mean([_same_counts(labels[own], one) for one in np.stack(drawn, axis=1)])
        by_chance *= max(float(same), 1 / DRAWS)
    if wrong < LEAST_SPEAKERS or alike < LEAST_SHARE * wrong or by_chance > BY_CHANCE:
        return []
    return [
        Finding(
            "class-counts-known", "error",
            f"the answers of {alike} of {wrong} test speakers have exactly as many of each emotion as the labels, "
            "though some are wrong: the model was told how often each speaker shows each emotion",
            {"speakers": alike}, "predict without these numbers: nobody has them outside of an acted corpus",
        )
    ]  # fmt: skip


def _same_counts(labels: np.ndarray, answers: np.ndarray) -> bool:
    return bool(np.array_equal(np.sort(labels), np.sort(answers)))
