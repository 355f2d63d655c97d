"""The folds of EmoBox (arXiv:2406.07162), read from a checkout of https://github.com/emo-box/EmoBox.

Its layout is `data/<corpus>/fold_<n>/<corpus>_<part>_fold_<n>.jsonl` with a line per recording, whose `wav` is the path
below EmoBox's own download folder. Only the names of recordings are read from it; labels come from our own corpora.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from ..corpora import CorpusError

CORPORA = (
    "aesdd", "ased", "asvpesd", "cafe", "casia", "cremad", "emns", "emodb", "emovdb", "emovo", "emozionalmente",
    "enterface", "esd", "iemocap", "jlcorpus", "m3ed", "mead", "meld", "mer2023", "mesd", "msppodcast", "oreau",
    "pavoque", "polish", "ravdess", "resd", "savee", "shemo", "subesco", "tess", "turevdb", "urdu",
)  # fmt: skip
PARTS = {"train": "train", "valid": "validation", "test": "test"}


def in_emobox(corpus: str) -> bool:
    """True if EmoBox has folds of a corpus; it spells names without underscores.

    >>> in_emobox("crema_d"), in_emobox("nemo")
    (True, False)
    """
    return _spelt(corpus) in CORPORA


def read_folds(
    root: str | os.PathLike, corpus: str, identities: Sequence[str]
) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """Return the rows of the training, validation (for a few corpora) and test part of each of EmoBox's folds.

    Recordings that EmoBox lists but the dataset lacks are ignored: a scheme may drop them, or the corpus may be
    incomplete.

    Args:
        root: a checkout of EmoBox.
        corpus: our name of the corpus.
        identities: `utterance_id` of each row.

    Returns:
        Row numbers of each part of each fold, and the rows that EmoBox does not list.

    Raises:
        CorpusError: if the checkout lacks the corpus or a file of it, if a name is ambiguous, or if a fold lists only
            some of the recordings.
    """
    lists = _read_lists(Path(root).expanduser(), _spelt(corpus))
    listed = {recording for parts in lists for recordings in parts.values() for recording in recordings}
    row_of = _match(listed, identities)
    if not row_of:
        raise CorpusError(f"EmoBox lists no recordings of this dataset under data/{_spelt(corpus)} of {root}")
    folds = []
    for number, parts in enumerate(lists, start=1):
        if absent := row_of.keys() - {recording for recordings in parts.values() for recording in recordings}:
            raise CorpusError(
                f"fold {number} of EmoBox's {_spelt(corpus)} does not list {min(absent)}: complete the checkout"
            )
        folds.append(
            {
                part: np.array(sorted(row_of[recording] for recording in recordings if recording in row_of), dtype=int)
                for part, recordings in parts.items()
            }
        )
    return folds, np.setdiff1d(np.arange(len(identities)), list(row_of.values()))


def _spelt(corpus: str) -> str:
    return corpus.replace("_", "")


def _read_lists(root: Path, name: str) -> list[dict[str, list[str]]]:
    folder = root / "data" / name
    numbers = sorted(int(fold.name.removeprefix("fold_")) for fold in folder.glob("fold_*"))
    if not numbers:
        raise CorpusError(
            f"there is no {folder / 'fold_1'}: emobox_root must be a checkout of https://github.com/emo-box/EmoBox"
        )
    lists = []
    for number in numbers:
        files = {part: folder / f"fold_{number}" / f"{name}_{part}_fold_{number}.jsonl" for part in PARTS}
        if absent := [file for part, file in files.items() if part != "valid" and not file.is_file()]:
            raise CorpusError(f"{absent[0]} is missing: complete the checkout of EmoBox")
        lists.append({PARTS[part]: list(_recordings(file)) for part, file in files.items() if file.is_file()})
    return lists


def _recordings(file: Path) -> Iterator[str]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            yield json.loads(line)["wav"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise CorpusError(f"{file}, line {number} must be a JSON object with wav, not {line[:60]!r}") from error


def _match(recordings: Iterable[str], identities: Sequence[str]) -> dict[str, int]:
    """Return the row of each recording that has one, matched by the end of its path.

    File stems alone are ambiguous in some corpora (MELD's dia0_utt0, EmoV-DB's amused_1-28_0003) and contain a folder's
    name in some copies (SAVEE's DC_a01 for DC/a01). The shortest end of the path that is unique on both sides is used.
    """
    files, rows = defaultdict(set), defaultdict(set)
    for recording in recordings:
        for name in _names(os.path.splitext(recording)[0]):
            files[name].add(recording)
    for row, identity in enumerate(identities):
        for name in _names(identity):
            rows[name].add(row)
    row_of: dict[str, int] = {}
    for row, identity in enumerate(identities):
        names = [name for name in _names(identity) if name in files]
        unique = next((name for name in names if len(files[name]) == len(rows[name]) == 1), None)
        if unique is None and not names:
            continue
        recording = min(files[unique or names[0]])
        if unique is None or row_of.setdefault(recording, row) != row:
            raise CorpusError(
                f"{identity} is ambiguous in EmoBox: several recordings match {recording}; keep one of them"
            )
    return row_of


def _names(path: str) -> list[str]:
    """Return the last one, two and three parts of a path, as one word each.

    >>> _names("savee/AudioData/DC/a01")
    ['a01', 'DC_a01', 'AudioData_DC_a01']
    """
    parts = PurePosixPath(unicodedata.normalize("NFC", path)).parts
    return ["_".join(parts[-count:]) for count in range(1, min(3, len(parts)) + 1)]


def speakers_apart(folds: Iterable[Mapping[str, np.ndarray]], speakers: np.ndarray) -> bool:
    """True if no test speaker of any fold is in its other parts; False if a speaker is unknown.

    Args:
        folds: result of `read_folds`.
        speakers: number of each row's speaker, negative if unknown.
    """
    if (speakers < 0).any():
        return False
    return not any(
        np.isin(speakers[rows], speakers[fold["test"]]).any()
        for fold in folds
        for part, rows in fold.items()
        if part != "test"
    )
