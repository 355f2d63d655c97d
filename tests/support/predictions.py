"""Prediction tables of an invented test set, for the tests beside this file."""

import numpy as np
import pandas

from ser_hf.evaluation.comparisons.compare import compare
from ser_hf.evaluation.tables import TableMetadata

CLASSES = ("anger", "neutral", "sadness")
FACTS = TableMetadata("ravdess/si6", "three", CLASSES, {"ravdess": {"calm": 12}}, model="tiny")


def make_rows(utterances=120, speakers=12, skill=2.0, seed=0, **columns):
    """Rows of a classifier that is right more often the greater its skill; 0 is noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(utterances) % len(CLASSES)
    logits = random.normal(size=(utterances, len(CLASSES))) + skill * np.eye(len(CLASSES))[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = pandas.DataFrame(
        {
            "utterance_id": [f"ravdess/{number}" for number in range(utterances)],
            "corpus": "ravdess", "language": "en",
            "speaker": [f"ravdess-{number % speakers:02d}" for number in range(utterances)],
            "gender": "female", "age": None, "session": None, "statement": "01", "intensity": None,
            "label_source": "intended", "duration": 3.0, "fold": np.arange(utterances) * 3 // utterances, "seed": 42,
            "label": np.asarray(CLASSES)[labels], "prediction": np.asarray(CLASSES)[probabilities.argmax(axis=1)],
        }
    )  # fmt: skip
    for name, column in zip(CLASSES, probabilities.T, strict=True):
        rows[f"p_{name}"] = column
    return rows.assign(**columns)


def difference_of(first, second, *, metric="uar"):
    """The only pair of a comparison of two tables."""
    return compare({"first": first, "second": second}, metric=metric)["pairs"][0]
