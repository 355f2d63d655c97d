"""Folders of recordings: which files belong to a corpus, and trees that hold it twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .utterance import CorpusError

AUDIO_SUFFIXES = (".wav", ".flac")  # of a release
# What else libsndfile decodes, of your own recordings. It goes by their content: suffixes say what to look for.
SOUND_SUFFIXES = (*AUDIO_SUFFIXES, ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".w64")
_LFS_HEADER = b"version https://git-lfs"


def audio_files(root: Path, *layouts: str) -> list[Path]:
    """Return the audio files that match a pattern without suffix (`Actor_*/*`), sorted; `.flac` is as good as `.wav`.

    Args:
        root: the folder of the corpus.
        layouts: the pattern, or one for each layout in which the corpus is passed on.

    Raises:
        CorpusError: for an empty or doubled tree and for git-LFS pointers.
    """
    found = matching(root, layouts)
    there = [pattern for pattern in layouts if found[pattern]]
    if not there:
        raise nothing_matches(root, layouts)
    if len(there) > 1:
        raise CorpusError(f"{root} holds the corpus twice, as {' and as '.join(there)}: keep one of them")
    (pattern,) = there
    files = found[pattern]
    _refuse_doubled_tree(root, files, pattern)
    for path in files:
        try:
            pointer = path.stat().st_size < 1024 and _begins_as_pointer(path)
        except OSError as error:  # such as a link to what git-annex did not fetch
            raise CorpusError(
                f"{path} cannot be read ({error.strerror}): fetch it again (what git-annex keeps, with `git annex get`)"
            ) from error
        if pointer:
            raise CorpusError(f"{path} is a git-LFS pointer, not sound: run `git lfs pull` in {root}")
    return files


def _begins_as_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_LFS_HEADER)) == _LFS_HEADER


def matching(root: Path, layouts: Iterable[str]) -> dict[str, list[Path]]:
    """Return the audio files of each pattern."""
    return {
        pattern: sorted(path for suffix in AUDIO_SUFFIXES for path in root.glob(pattern + suffix))
        for pattern in layouts
    }


def nothing_matches(root: Path, layouts: Iterable[str]) -> CorpusError:
    patterns = " or ".join(layouts)
    return CorpusError(f"no {patterns}.wav or .flac under {root}: pass the folder that directly holds the release")


def _refuse_doubled_tree(root: Path, files: list[Path], pattern: str) -> None:
    copies = Counter(path.relative_to(root).with_suffix("") for path in files)
    twice = next((name for name, count in copies.items() if count > 1), None)
    if twice is not None:
        raise CorpusError(f"{root / twice} is there both as .wav and as .flac: keep one of them")
    nested = [child for child in root.iterdir() if child.is_dir() and any(child.glob(pattern + files[0].suffix))]
    if nested:
        raise CorpusError(
            f"{root} holds the corpus twice: the same tree stands again under {nested[0].name}/ (usual in copies on "
            "data-sharing sites). Remove that folder, or pass it alone as root."
        )
