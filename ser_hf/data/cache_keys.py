"""Keys of what is computed once from recordings: another recording, setting or version of the code is another key."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from ..audio import read_audio

if TYPE_CHECKING:
    from datasets import Dataset


class CacheError(ValueError):
    """The error for a saved cache of another dataset, encoder or front end; the message says what to do."""


def cached_under(dataset: Dataset, *of: bytes) -> dict[str, str]:
    """Return options of `Dataset.map` that store its result under a key of everything that it depends on.

    These are the rows, their recordings, the code that reads them, and `of`. `datasets` would take functions by their
    names, and rows by the time when their file was written.
    """
    import datasets

    key = digest(_identity(dataset), of, [reading_code()])
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "ser_hf"
    folder.mkdir(parents=True, exist_ok=True)
    return {"new_fingerprint": key, "cache_file_name": str(folder / f"{key}.arrow")}


def digest(*parts: Iterable[bytes]) -> str:
    """Return the hexadecimal digest of all pieces of all parts, in their order."""
    hashed = hashlib.blake2b(digest_size=8)
    for piece in chain.from_iterable(parts):
        hashed.update(piece)
    return hashed.hexdigest()


def _identity(dataset: Dataset) -> Iterator[bytes]:
    yield str(dataset.features).encode()
    # In batches: row by row, `datasets` takes most of the time of a short training.
    rows = dataset.with_format(None)
    for batch in rows.remove_columns("audio").iter(256):
        yield repr(batch).encode()
    for audio in (audio for batch in rows.select_columns("audio").iter(256) for audio in batch["audio"]):
        if audio["bytes"] is not None:
            yield audio["bytes"]
        else:
            file = os.stat(audio["path"])
            yield f"{audio['path']} {file.st_size} {file.st_mtime_ns}".encode()


def reading_code() -> bytes:
    """Return the source code that decodes, resamples and hashes recordings."""
    folder = Path(inspect.getfile(read_audio)).parent
    return b"".join(file.read_bytes() for file in sorted(folder.glob("*.py")))
