"""Columns of a dataset: their types, their names, their values as arrays; and the provenance of the whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset, Features

# What other modules add to the columns of `unified_features`.
LOG_MEL_COLUMN = "log_mel"
AUDIO_HASH_COLUMN, AUDIO_MARK_COLUMN = "audio_hash", "audio_mark"
SPEAKER_COLUMNS = ("speaker_mean", "speaker_std")
SPEAKER_ID_COLUMN = "speaker_id"
TARGET_COLUMN, DIMENSIONS_COLUMN, TEACHER_COLUMN = "target", "dimensions", "teacher_logits"


def unified_features(classes: Sequence[str]) -> Features:
    """Return the columns of every dataset, for the classes of a scheme."""
    from datasets import Audio, ClassLabel, Features, Value

    text, number = Value("string"), Value("float32")
    return Features(
        {
            "utterance_id": text, "corpus": text, "language": text, "speaker": text, "gender": text,
            "age": Value("int32"), "session": text, "statement": text, "intensity": text, "part": text,
            "native_label": text, "emotion": text, "label": ClassLabel(names=list(classes)), "label_source": text,
            "votes": text, "arousal": number, "valence": number, "dominance": number, "duration": number,
            "audio": Audio(decode=False),
        }
    )  # fmt: skip


# --- columns as arrays: a million utterances are no list of a million objects ---


def column_array(dataset: Dataset, name: str) -> pyarrow.ChunkedArray:
    """Return a column without reading the others."""
    return dataset.select_columns([name]).with_format("arrow")[:].column(name)


def values_of(dataset: Dataset, name: str) -> list[str]:
    """Return the values that occur in a column, sorted."""
    return sorted(value for value in column_array(dataset, name).unique().to_pylist() if value is not None)


def codes_of(dataset: Dataset, name: str) -> tuple[list[str], np.ndarray]:
    """Return the sorted values of a column, and the number of each row's value among them; -1 is unknown."""
    import pyarrow
    from pyarrow import compute

    values, column = values_of(dataset, name), column_array(dataset, name)
    codes = compute.index_in(column, value_set=pyarrow.array(values, column.type))
    return values, compute.fill_null(codes, -1).to_numpy()


# --- provenance: one JSON object in the description of the dataset ---

TRUNCATED = "allow_truncated"  # noted if recordings without their end may be used
SKIPPED = "skip_unusable"  # noted if recordings that cannot be used are left out


def provenance(dataset: Dataset) -> dict:
    """Return what `build_dataset` and later steps noted.

    It holds the `scheme`, the `label_sources` that were chosen, how many utterances of each emotion were `dropped` per
    corpus, what `partial` corpora lack, and whether truncated recordings are allowed. It survives `select`, `filter`,
    `map` and added columns; concatenated datasets have the facts of all.

    Raises:
        ValueError: if nothing was noted.
    """
    # `concatenate_datasets` puts different descriptions one below the other.
    try:
        notes = [json.loads(text) for text in filter(None, (dataset.info.description or "").split("\n\n"))]
    except ValueError:  # a description in words, as of a dataset of the Hub
        notes = []
    if not notes:
        raise ValueError("the dataset has no provenance: make it with load_corpus or build_dataset")
    merged: dict = {}
    for note in notes:
        for name, fact in note.items():
            both = isinstance(fact, dict) and isinstance(merged.get(name), dict)
            merged[name] = {**merged[name], **fact} if both else fact
    return merged


def note_provenance(dataset: Dataset, origin: Dataset | None = None, **facts) -> Dataset:
    """Note facts about a dataset, beside those of the dataset that it was made from; return it."""
    noted = {} if origin is None else provenance(origin)
    dataset.info.description = json.dumps({**noted, **facts})
    return dataset


def as_numpy(dataset: Dataset) -> Dataset:
    """Return the dataset with its cached columns read as NumPy arrays, several times faster than as lists."""
    import datasets

    arrays = (datasets.Array2D, datasets.Array3D, datasets.List)
    columns = [name for name, feature in dataset.features.items() if isinstance(feature, arrays)]
    return dataset.with_format("numpy", columns=columns, output_all_columns=True) if columns else dataset
