"""A dataset whose recordings are disturbed, for tests of robustness."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile

from ..audio import read_audio
from ..augmentation import conditions, effects
from ..augmentation.conditions import canonical_condition, disturb_waveform
from ..augmentation.effects import SAMPLING_RATE
from .cache_keys import cached_under
from .columns import note_provenance, unified_features

if TYPE_CHECKING:
    from datasets import Dataset


def disturb(dataset: Dataset, condition: str) -> Dataset:
    """Return a dataset of `build_dataset` whose recordings are disturbed by a condition; `provenance` records it.

    The recordings are written into the cache of `datasets`, 16 kHz and float32: 64 kB a second. They are read from
    there until a recording changes, or the code of the effects or of `audio`.

    Raises:
        ValueError: as `parse_condition`.
    """
    condition = canonical_condition(condition)
    kept = [name for name in unified_features(["any"]) if name in dataset.column_names]
    rows = dataset.select_columns(kept)
    disturbed = rows.map(
        partial(_disturb_row, condition=condition), desc=condition, features=rows.features,
        **cached_under(rows, condition.encode(), _code()),
    )  # fmt: skip
    return note_provenance(disturbed, dataset, condition=condition)


def _code() -> bytes:
    """Return the source code that the sound of a disturbed recording follows from."""
    return b"".join(Path(module.__file__).read_bytes() for module in (conditions, effects))


def _disturb_row(row: dict, *, condition: str) -> dict:
    waveform = read_audio(row["audio"], sampling_rate=SAMPLING_RATE, allow_truncated=True)
    file = BytesIO()
    soundfile.write(
        file, disturb_waveform(waveform, condition, row["utterance_id"]), SAMPLING_RATE, format="WAV", subtype="FLOAT"
    )
    return {"audio": {"bytes": file.getvalue(), "path": row["audio"]["path"]}}
