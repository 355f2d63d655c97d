"""Folders of recordings: the files of a corpus, and trees with a second copy of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .utterance import CorpusError

AUDIO_SUFFIXES = (".wav", ".flac")  # of a release
# Further formats for your own recordings that libsndfile decodes. It recognises content; suffixes only select files.
SOUND_SUFFIXES = (
    *AUDIO_SUFFIXES, ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".snd", ".w64", ".rf64", ".caf",
    ".voc", ".sph",
)  # fmt: skip
_LFS_HEADER = b"version https://git-lfs"


def is_leftover(path: Path) -> bool:
    """True for files that systems and tools leave beside others: `._x.wav` of macOS, `~$x.xlsx` of Excel."""
    return path.name.startswith(("._", "~$", ".~lock."))


def audio_files(root: Path, *layouts: str) -> list[Path]:
    """Return the audio files (`.wav` or `.flac`) that match a pattern without suffix (`Actor_*/*`), sorted.

    Args:
        root: the folder of the corpus.
        layouts: the pattern, or one for each layout in which copies of the corpus exist.

    Raises:
        CorpusError: for an empty tree, a tree with two copies, and for git-LFS pointers.
    """
    found = matching(root, layouts)
    there = [pattern for pattern in layouts if found[pattern]]
    if not there:
        raise nothing_matches(root, layouts)
    if len(there) > 1:
        raise CorpusError(f"{root} has two copies of the corpus, as {' and as '.join(there)}: keep one of them")
    (pattern,) = there
    files = found[pattern]
    _refuse_doubled_tree(root, files, pattern)
    for path in files:
        try:
            pointer = path.stat().st_size < 1024 and _begins_as_pointer(path)
        except OSError as error:  # such as a link to a file that git-annex did not fetch
            raise CorpusError(
                f"{path} cannot be read ({error.strerror}): fetch it again (with git-annex: `git annex get`)"
            ) from error
        if pointer:
            raise CorpusError(f"{path} is a git-LFS pointer, not a sound file: run `git lfs pull` in {root}")
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
    return CorpusError(f"no {patterns}.wav or .flac under {root}: pass the top folder of the release")


def _refuse_doubled_tree(root: Path, files: list[Path], pattern: str) -> None:
    copies = Counter(path.relative_to(root).with_suffix("") for path in files)
    twice = next((name for name, count in copies.items() if count > 1), None)
    if twice is not None:
        raise CorpusError(f"{root / twice} exists both as .wav and as .flac: keep one of them")
    nested = [child for child in root.iterdir() if child.is_dir() and any(child.glob(pattern + files[0].suffix))]
    if nested:
        raise CorpusError(
            f"{root} has two copies of the corpus: the same tree is also under {nested[0].name}/ (common in copies on "
            "data-sharing sites). Remove that folder, or pass it as root."
        )
