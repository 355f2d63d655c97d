"""Checks that the parts of a split share no utterance, no audio, and no speaker or statement that they must not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain, combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ..audio import sample_hash
from ..data.columns import AUDIO_HASH_COLUMN, column_array
from .protocol import Pairs, SplitError

if TYPE_CHECKING:
    from datasets import Dataset


def check_disjoint(parts: Mapping[str, Dataset]) -> None:
    """Raise a `SplitError` if two parts share an utterance or the same audio.

    Audio is compared by its decoded samples, so that a .wav and a .flac of one recording are the same.

    Args:
        parts: datasets by the name of their part.
    """
    refuse_shared(parts, "utterance_id", tuple(combinations(parts, 2)))
    _refuse_shared_audio(parts)


def refuse_shared(parts: Mapping[str, Dataset], column: str, pairs: Pairs) -> None:
    """Raise a `SplitError` if two parts of a pair share a value of a column; pairs with a part that is absent pass."""
    from pyarrow import compute

    pairs = [pair for pair in pairs if parts.keys() >= set(pair)]
    members = {part: compute.unique(column_array(parts[part], column)) for part in set(chain.from_iterable(pairs))}
    if column == "speaker" and any(values.null_count for values in members.values()):
        raise SplitError(
            "some utterances have no speaker, so the protocol cannot be speaker-independent: add a speaker column, "
            "or use the protocol random5 and report that it is not speaker-independent"
        )
    members = {part: values.drop_null() for part, values in members.items()}  # unknown values are not equal
    for first, second in pairs:
        shared = members[first].filter(compute.is_in(members[first], value_set=members[second]))
        if len(shared):
            kind = column.removesuffix("_id")
            raise SplitError(
                f"{kind} {min(shared.to_pylist())} is in {first} and in {second} ({len(shared)} in all): correct the "
                "data, or use another protocol"
            )


def _refuse_shared_audio(parts: Mapping[str, Dataset]) -> None:
    from datasets import concatenate_datasets

    # Equal audio has equal duration: only recordings with the duration of another one are decoded.
    names = list(parts)
    lengths = [column_array(rows, "duration").to_numpy() for rows in parts.values()]
    part_of = np.repeat(np.arange(len(names)), [len(values) for values in lengths])
    _, duration = np.unique(np.concatenate(lengths), return_inverse=True)
    first, last = np.full(duration.max() + 1, len(names)), np.full(duration.max() + 1, -1)
    np.minimum.at(first, duration, part_of)
    np.maximum.at(last, duration, part_of)
    order = np.argsort(duration, kind="stable")
    suspicious = order[(first < last)[duration[order]]]
    known = AUDIO_HASH_COLUMN if all(AUDIO_HASH_COLUMN in rows.column_names for rows in parts.values()) else "audio"
    recordings = concatenate_datasets(
        [rows.with_format(None).select_columns(["utterance_id", known]) for rows in parts.values()]
    )
    seen: dict[str, tuple[int, str]] = {}
    previous = -1
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(suspicious), 256):
            chosen = suspicious[start : start + 256]
            batch = recordings[chosen]
            digests = batch[known] if known == AUDIO_HASH_COLUMN else pool.map(_hash_of, batch[known])
            for row, identity, digest in zip(chosen, batch["utterance_id"], digests, strict=True):
                if duration[row] != previous:  # compare only equal durations, which saves memory
                    seen, previous = {}, duration[row]
                other, name = seen.setdefault(digest, (part_of[row], identity))
                if other != part_of[row]:
                    raise SplitError(
                        f"{name} ({names[other]}) and {identity} ({names[part_of[row]]}) have the same audio: "
                        "remove one of them"
                    )


def _hash_of(audio: Mapping[str, Any]) -> str:
    """Return the `sample_hash` of an entry of an `audio` column. That of a file is remembered for the next fold."""
    if audio["bytes"] is not None or not os.path.isfile(audio["path"]):
        return sample_hash(audio)
    file = os.stat(audio["path"])
    return _hash_of_file(audio["path"], file.st_size, file.st_mtime_ns)


@lru_cache(maxsize=2**16)
def _hash_of_file(path: str, size: int, modified: int) -> str:
    return sample_hash(path)
