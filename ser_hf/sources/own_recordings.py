"""Your own recordings: a table of them, or sub-folders; for each part of a division, if there is one."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from ..emotions import EMOTIONS, OWN_SCHEME
from .folders import SOUND_SUFFIXES, files_below, folders_in
from .own_tables import PARTS, OwnTable, is_emotion, labelled, unknown_word, usual_word, words_to_emotions
from .reading import Reading
from .sheets import SUFFIXES
from .utterance import CorpusError, Utterance, WrongFolderError

TIE = "no majority"  # the label of a recording whose raters' votes are even; every scheme drops it


def read(reading: Reading) -> Iterator[Utterance]:
    """Read a table, or a folder with a table, with one sub-folder per emotion, or with a table or folder per part.

    Tables of parts are called after them (`train.csv`, `labels_test.xlsx`), and so are folders (`train/`, `dev/`).
    """
    speakers = _Names()
    for utterance in _read(reading):
        speakers.add(utterance.speaker)
        yield utterance
    for names in speakers.alike():
        reading.tell(
            f"{reading.root}: the speakers {' and '.join(map(repr, names))} differ only in case, spaces or "
            "punctuation, and count as different people: write one name if they are one"
        )


def _read(reading: Reading) -> Iterator[Utterance]:
    root = reading.root
    if root.is_file():
        return _read_table(reading, root)
    tables = _tables(reading)
    if len(tables) == 1:
        return _read_table(reading, tables[0])
    if tables:
        return _read_tables_of_parts(reading, tables)
    folders = folders_in(root)
    if not folders:
        raise WrongFolderError(f"{root} has no table ({', '.join(SUFFIXES)}) and no sub-folders", "add one per emotion")
    of_parts = [folder for folder in folders if _part(folder.name)]
    if len(of_parts) > 1 and (others := [folder.name for folder in folders if folder not in of_parts]):
        raise CorpusError(
            f"{root} has folders of parts ({', '.join(folder.name for folder in of_parts)}) and others "
            f"({', '.join(others)}): move the others out"
        )
    if len(of_parts) > 1:
        return _read_folders_of_parts(reading, folders)
    return _read_folders(reading, folders)


def _tables(reading: Reading) -> list[Path]:
    """Return the tables directly under the root. A text file is one only if it has the columns: most are notes."""
    there = [path for path in files_below(reading.root, "*") if path.suffix.lower() in SUFFIXES]
    return [path for path in there if path.suffix.lower() != ".txt"] or [
        path for path in there if _has_columns(path, reading)
    ]


def _has_columns(path: Path, reading: Reading) -> bool:
    try:
        OwnTable(path, reading.translation)
    except CorpusError:
        return False
    return True


def _part(name: str) -> str | None:
    """Return the part that a word of a name stands for, or None.

    >>> _part("labels_dev"), _part("Training"), _part("anger")
    ('validation', 'train', None)
    """
    words = [usual_word(word, PARTS) for word in name.replace("-", "_").replace(".", "_").split("_")]
    parts = {word for word in words if word in PARTS}
    return parts.pop() if len(parts) == 1 else None


def _read_tables_of_parts(reading: Reading, tables: list[Path]) -> Iterator[Utterance]:
    parts = {table: _part(table.stem) for table in tables}
    if None in parts.values() or len(set(parts.values())) < len(tables):
        raise CorpusError(
            f"{reading.root} has {len(tables)} tables ({', '.join(table.name for table in tables)}): keep one, or call "
            "them after the parts of a division (train.csv, validation.csv, test.csv)"
        )
    for table, part in parts.items():
        yield from _in_part(reading, _read_table(reading, table), part, table)


def _read_folders_of_parts(reading: Reading, folders: list[Path]) -> Iterator[Utterance]:
    parts = {folder: _part(folder.name) for folder in folders}
    if len(set(parts.values())) < len(folders):
        raise CorpusError(f"two folders of {reading.root} are called after one part: join them, or rename one")
    for folder, part in parts.items():
        reading_of_part = replace(reading, root=folder)  # its lists are those of the whole
        yield from _in_part(reading, _read(reading_of_part), part, folder)


def _in_part(reading: Reading, utterances: Iterator[Utterance], part: str, place: Path) -> Iterator[Utterance]:
    for utterance in utterances:
        if utterance.part not in (None, part):
            reading.refuse(utterance.path, f"{utterance.path} has the part {utterance.part} in {place}: correct one")
            continue
        yield replace(utterance, part=part)


# --- a table ---


def _read_table(reading: Reading, path: Path) -> Iterator[Utterance]:
    table = OwnTable(path, reading.translation)
    reading.tell(str(table))
    if not reading.to_the_end and len(unknown := table.unknown_words()) > 1:
        words = ", ".join(f"{word} ({count})" for word, count in unknown.most_common())
        raise CorpusError(
            f"{path} has labels that are no emotions: {words}. Translate them with --labels WORD=EMOTION ... "
            f"(emotions: {', '.join(EMOTIONS)}), or train on your own classes with --scheme {OWN_SCHEME}"
        )
    if reading.translation.votes:
        utterances = _by_vote(reading, table)
    else:
        again = _refuse_double_rows(reading, table)
        rows = (row for row in table.rows() if row[0] not in again)
        utterances = reading.each(rows, table.utterance, table.where)
    yield from utterances


class _Names:
    """Names of people, by what is left of them without case, spaces and punctuation."""

    def __init__(self):
        self._written: dict[str, set[str]] = {}

    def add(self, name: str | None) -> None:
        if name is not None:
            plain = "".join(letter for letter in name.casefold() if letter.isalnum())
            self._written.setdefault(plain, set()).add(name)

    def alike(self) -> list[list[str]]:
        return [sorted(names) for names in self._written.values() if len(names) > 1]


def _refuse_double_rows(reading: Reading, table: OwnTable) -> set[int]:
    """Refuse rows about the recording of an earlier row; return their numbers, and those of rows they contradict."""
    # Hashes first: those of a million names are 8 MB.
    hashes = np.frombuffer(array("q", (hash(table.recording(row)) for row in table.rows())), np.int64)
    unique, counts = np.unique(hashes, return_counts=True)
    doubtful, first, again = set(unique[counts > 1].tolist()), {}, set()
    for row in table.rows() if doubtful else ():
        path = table.recording(row)
        if path is None or hash(path) not in doubtful:
            continue
        earlier = first.setdefault(path, row)
        if earlier is not row:
            again.add(row[0])
            if table.label(earlier) != table.label(row):  # nobody knows which one is right
                again.add(earlier[0])
            reading.refuse(
                table.where(row),
                f"{table.path}, {table.unit}s {earlier[0]} and {row[0]}: both are about {path} "
                f"({table.label(earlier)}, {table.label(row)}): keep one, or pass --votes if they are votes of raters",
            )
    return again


def _by_vote(reading: Reading, table: OwnTable) -> Iterator[Utterance]:
    """Yield one utterance for each recording; its label is the word of most raters, and its votes are theirs."""
    votes: dict[Path, list[tuple[int, Utterance]]] = {}
    for row in table.rows():
        for utterance in reading.each([row], table.utterance, table.where):
            votes.setdefault(utterance.path, []).append((row[0], utterance))
    about_speech = [field.name for field in fields(Utterance) if field.name not in ("emotion", "native_label", "votes")]
    for path, cast in votes.items():
        (number, first), *others = cast
        differing = [
            (name, other, one)
            for other, one in others
            for name in about_speech
            if getattr(one, name) != getattr(first, name)
        ]
        if differing:
            name, other, one = differing[0]
            reading.refuse(
                path,
                f"{table.path}, {table.unit}s {number} and {other}: both are about {path}, but {name} is "
                f"{getattr(first, name)!r} in one and {getattr(one, name)!r} in the other: correct it",
            )
            continue
        counts = Counter(one.emotion for _, one in cast)
        (emotion, most), *rest = counts.most_common()
        if rest and rest[0][1] == most:
            emotion = TIE
        words = ", ".join(sorted({one.native_label for _, one in cast}))
        yield replace(first, emotion=emotion, native_label=words, votes=dict(counts), any_word=True)


# --- one sub-folder per emotion ---


def _read_folders(reading: Reading, folders: list[Path]) -> Iterator[Utterance]:
    own = reading.translation
    emotions = words_to_emotions(own)
    if not own.own_classes and not any(is_emotion(folder.name, emotions) for folder in folders):
        raise WrongFolderError(*unknown_word(folders[0].name, emotions, where=f"folder {folders[0]}"))
    for folder in folders:
        files = [path for path in files_below(folder, "**/*") if path.suffix.lower() in SOUND_SUFFIXES]
        if not files:
            reading.refuse(
                folder,
                f"{folder} has no recordings ({', '.join(SOUND_SUFFIXES)}): add some, convert other formats to .wav, "
                "or remove the folder",
            )
        yield from reading.each(
            files,
            lambda path, word=folder.name, where=f"folder {folder}": labelled(path, word, emotions, own, where=where),
            lambda path: path,
        )
