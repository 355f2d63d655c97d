"""Folders of recordings: the files of a corpus, leftovers of systems and tools, and trees with a second copy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .utterance import CorpusError, WrongFolderError

AUDIO_SUFFIXES = (".wav", ".flac")  # of a release
# Further formats for your own recordings that libsndfile decodes. It recognises content; suffixes only select files.
SOUND_SUFFIXES = (
    *AUDIO_SUFFIXES, ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".au", ".snd", ".w64", ".rf64", ".caf",
    ".voc", ".sph",
)  # fmt: skip
_LFS_HEADER = b"version https://git-lfs"
# Hidden files and folders: `._x.wav` of macOS, .DS_Store, .git, .cache, .ipynb_checkpoints, .Trash-1000, `.~lock.x#` of
# LibreOffice. Further `~$x.xlsx` of Excel, and the folders and files that archives, network drives and Windows add.
_LEFTOVER = re.compile(
    r"\..*|~\$.*|__MACOSX|@eaDir|@Recycle|#recycle|\$RECYCLE\.BIN|System Volume Information|Thumbs\.db|desktop\.ini"
    r"|.*\.(?:part|partial|crdownload|download|filepart|incomplete)",
    re.IGNORECASE,
)


def is_leftover(path: Path, root: Path) -> bool:
    """True for a file or folder that a system or a tool left below a root; it is no part of any corpus.

    The root itself may lie anywhere, such as in a hidden folder.

    >>> root = Path("/home/me/.cache/ravdess")
    >>> is_leftover(root / "__MACOSX/Actor_01/a.wav", root), is_leftover(root / "Actor_01/a.wav", root)
    (True, False)
    """
    return any(_LEFTOVER.fullmatch(part) for part in path.relative_to(root).parts)


def files_below(root: Path, *patterns: str) -> list[Path]:
    """Return what matches one of the patterns below a root, sorted, without leftovers."""
    return sorted({path for pattern in patterns for path in root.glob(pattern) if not is_leftover(path, root)})


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
    return {pattern: files_below(root, *(pattern + suffix for suffix in AUDIO_SUFFIXES)) for pattern in layouts}


def folders_in(root: Path) -> list[Path]:
    """Return the folders directly in a folder, sorted, without leftovers."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_leftover(path, root))


def nothing_matches(root: Path, layouts: Iterable[str]) -> WrongFolderError:
    patterns = " or ".join(layouts)
    return WrongFolderError(f"no {patterns}.wav or .flac under {root}", "pass the top folder of the release")


def _refuse_doubled_tree(root: Path, files: list[Path], pattern: str) -> None:
    copies = Counter(path.relative_to(root).with_suffix("") for path in files)
    twice = next((name for name, count in copies.items() if count > 1), None)
    if twice is not None:
        raise CorpusError(f"{root / twice} exists both as .wav and as .flac: keep one of them")
    nested = [child for child in folders_in(root) if files_below(child, pattern + files[0].suffix)]
    if nested:
        raise CorpusError(
            f"{root} has two copies of the corpus: the same tree is also under {nested[0].name}/ (common in copies on "
            "data-sharing sites). Remove that folder, or pass it as root."
        )
