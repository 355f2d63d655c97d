"""Saved caches: folders that hold what `precompute` computed, for a machine without the recordings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import naming_full_disk
from .cache_keys import CacheError
from .columns import TRUNCATED, as_numpy, provenance
from .precompute import hash_audio, mark_audio

if TYPE_CHECKING:
    from datasets import Dataset

_CACHE_FILES = ("dataset_info.json", "state.json")  # beside *.arrow


def save_cache(dataset: Dataset, folder: str | Path) -> None:
    """Write a dataset with its computed columns, without the audio, for a machine that has no recordings.

    The folder holds a whole cache at any time, the old one or the new: the new one is written beside the folder first.
    Leftovers of an interrupted attempt are removed by the next one.

    Raises:
        CacheError: if nothing was computed, or something else is in the folder.
    """
    folder = Path(folder).resolve()
    if provenance(dataset).get("cache") is None:
        raise CacheError(
            "this model has nothing to compute once: only frozen encoders with mean or statistics pooling, and "
            "log-mel front ends, have a cache"
        )
    refuse_other_content(folder)
    begun, replaced = (folder.with_name(f".{folder.name}.{state}") for state in ("partial", "replaced"))
    for left in (begun, replaced):
        if left.exists():
            shutil.rmtree(left)
    with naming_full_disk(folder.parent, "the cache"):
        mark_audio(hash_audio(dataset)).with_format(None).remove_columns("audio").flatten_indices().save_to_disk(begun)
    if folder.exists():  # no system renames a folder onto one that holds something
        folder.rename(replaced)
    begun.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def refuse_other_content(folder: str | Path) -> None:
    """Raise a `CacheError` if a folder contains anything but a cache, because `save_cache` replaces the folder."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise CacheError(f"{folder} is a file: choose an empty folder")
    names = sorted(file.name for file in folder.iterdir()) if folder.exists() else []
    # `datasets` keeps what it computes of a cache (cache-*.arrow), and what it did not finish (tmp*), beside the rows.
    others = [name for name in names if not (name in _CACHE_FILES or name.endswith(".arrow") or name.startswith("tmp"))]
    if others or (names and not _is_cache(folder)):
        raise CacheError(f"{folder} contains other files ({(others or names)[0]}): choose an empty folder")


def _is_cache(folder: Path) -> bool:
    """True if `save_cache` wrote the folder; it may also be a `Dataset` that somebody saved."""
    try:
        info = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
        return "cache" in json.loads(info["description"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def load_cache(
    folder: str | Path,
    corpora: Sequence[str],
    scheme: str,
    label_sources: Mapping[str, str],
    *,
    allow_partial: bool = False,
    allow_truncated: bool = False,
) -> Dataset:
    """Return a cache that `save_cache` wrote; its rows have no audio.

    Args:
        allow_partial: accept a cache of corpora that were not complete.
        allow_truncated: accept a cache that was made with this option.

    Raises:
        CacheError: if there is none, or if it holds other corpora, another scheme, other labels or a part of a corpus.
    """
    from datasets import load_from_disk

    if not _is_cache(Path(folder)):
        raise CacheError(f"{folder} contains no cache: make one with `ser-hf precompute CONFIG {folder}`")
    dataset = load_from_disk(str(folder))
    facts = provenance(dataset)
    found = {
        "corpora": sorted(set(dataset["corpus"])),
        "scheme": facts["scheme"],
        "label_sources": facts["label_sources"],
    }
    asked = {"corpora": sorted(corpora), "scheme": scheme, "label_sources": dict(label_sources)}
    for name, value in asked.items():
        if found[name] != value:
            raise CacheError(f"the cache {folder} has {name} {found[name]}, not {value}: make it again")
    if not allow_partial and (lacking := facts.get("partial")):
        raise CacheError(
            f"the cache {folder} is incomplete: {'; '.join(lacking.values())}. Make it again from the complete corpus, "
            "or pass --allow_partial."
        )
    if not allow_truncated and facts.get(TRUNCATED):
        raise CacheError(
            f"the cache {folder} may hold recordings whose end is missing: make it again without --allow_truncated, or "
            "pass --allow_truncated here, too"
        )
    return as_numpy(dataset)
