"""The right folder near a wrong one: most users who pass the wrong folder pass one above or below it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from .folders import folders_in
from .reading import Reading
from .utterance import CorpusError, Utterance, WrongFolderError

LEVELS = 3  # below the root: archive/name of the corpus/name of the archive
MOST_FOLDERS = 1_000  # of a root such as a home folder, not all are searched

Read = Callable[[Reading], Iterable[Utterance]]


def pointing_elsewhere(error: WrongFolderError, read: Read, reading: Reading) -> WrongFolderError:
    """Return the error with the folder near the root that holds the corpus; the error itself if none does."""
    for folder in islice(_near(reading.root), MOST_FOLDERS):
        if _holds_corpus(read, replace(reading, root=folder, to_the_end=False, quiet=True)):
            return WrongFolderError(error.says, f"{folder} holds it; pass that folder")
    return error


def _near(root: Path) -> Iterator[Path]:
    """Yield the folders below a root, those of a level before those of the next; at last the folder above it."""
    level = [root]
    for _ in range(LEVELS):
        level = [child for folder in level for child in _readable_folders(folder)]
        yield from level
    yield root.absolute().parent


def _readable_folders(folder: Path) -> list[Path]:
    try:
        return folders_in(folder)
    except OSError:  # of another user
        return []


def _holds_corpus(read: Read, reading: Reading) -> bool:
    try:
        return next(iter(read(reading)), None) is not None
    except (CorpusError, OSError):
        return False
