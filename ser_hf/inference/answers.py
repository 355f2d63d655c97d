"""Answers of a classifier for one recording: classes with their scores, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..audio import AudioError

Answer = list[dict[str, Any]]


def best_first(labels: Sequence[str], scores: np.ndarray) -> Answer:
    """Return label and score, the greatest score first.

    >>> best_first(["anger", "fear"], np.array([0.25, 0.75]))
    [{'label': 'fear', 'score': 0.75}, {'label': 'anger', 'score': 0.25}]
    """
    order = np.argsort(-scores, kind="stable")
    return as_labelled([labels[number] for number in order], scores[order])


def as_labelled(labels: Sequence[str], scores: np.ndarray) -> Answer:
    """Return label and score, in the given order."""
    return [{"label": label, "score": float(score)} for label, score in zip(labels, scores, strict=True)]


def no_answer(error: AudioError) -> Answer:
    """Return the answer for a recording that cannot be scored."""
    return [{"label": None, "score": None, "error": str(error)}]


def as_row(file: str, answer: Answer) -> dict[str, Any]:
    """Return the answer for a recording as a row of a table.

    Args:
        answer: of a call with `on_error="report"`.

    >>> as_row("a.wav", [{"label": "fear", "score": 0.75}, {"label": "anger", "score": 0.25}])
    {'file': 'a.wav', 'emotion': 'fear', 'score': 0.75, 'scores': {'fear': 0.75, 'anger': 0.25}, 'warning': None, \
'error': None}
    """
    best = answer[0]
    scores = {entry["label"]: entry["score"] for entry in answer if entry["score"] is not None}
    told = {"warning": best.get("warning"), "error": best.get("error")}
    return {"file": file, "emotion": best["label"], "score": best["score"], "scores": scores, **told}
