"""Whether answers were made with the number of utterances of each emotion of a speaker, which no user ever has."""

from __future__ import annotations

import pandas

from .finding import Finding

LEAST_SPEAKERS = 3  # with wrong answers, whose errors all cancel out


def known_class_counts(rows: pandas.DataFrame) -> list[Finding]:
    """Return a finding if each speaker's answers have as many of each emotion as the labels, though some are wrong.

    Acted corpora have as many utterances of each emotion from each actor. A model that is told so, and shares out its
    answers accordingly, is much better there and nowhere else.

    Args:
        rows: rows of a prediction table.
    """
    named = rows.dropna(subset=["speaker"])
    wrong = 0
    for _, group in named.groupby(["fold", "seed", "speaker"]):
        if (group["prediction"] == group["label"]).all():
            continue
        if sorted(group["prediction"]) != sorted(group["label"]):
            return []
        wrong += 1
    if wrong < LEAST_SPEAKERS:
        return []
    return [
        Finding(
            "class-counts-known", "error",
            f"the answers of each of {wrong} test speakers have exactly as many of each emotion as the labels, though "
            "some are wrong: the model was told how often each speaker shows each emotion",
            {"speakers": wrong}, "predict without these numbers: nobody has them outside of an acted corpus",
        )
    ]  # fmt: skip
