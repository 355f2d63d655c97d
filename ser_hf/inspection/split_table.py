"""Reading of tables that divide files into training and test part, with any column names."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import PureWindowsPath
from posixpath import normpath

import pandas

CLAIMS = ("speaker-independent", "text-independent", "held-out", "unspecified")
OF_NEW_SPEAKERS = CLAIMS[:2]
STATISTICS = ("train", "train+validation", "all", "unknown")
_COLUMNS = {
    "file": ("file", "path", "filename", "file_name", "audio", "utterance_id"),
    "speaker": ("speaker", "speaker_id", "speakerid", "actor"),
    "part": ("part", "split", "subset", "set", "partition"),
    "fold": ("fold",),
    "statement": ("statement", "sentence", "sentence_id", "text", "transcript"),
    "label": ("label", "emotion", "class"),
    "corpus": ("corpus", "dataset"),
}
_PARTS = {
    "train": ("train", "training", "tr"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development"),
    "test": ("test", "testing", "eval", "evaluation", "te"),
}
PARTS = tuple(_PARTS)


class AuditError(ValueError):
    """The error for a table that cannot be audited; the message names the column or value and the way out."""


def read_split(
    table: pandas.DataFrame, name: str = "the table", *, claim: str = "speaker-independent"
) -> pandas.DataFrame:
    """Return a table of files with the columns file, speaker, part, and fold, statement, label, corpus if present.

    File names are normalised: `./a.wav` and `.\\a.wav` become `a.wav`. If the claim needs no speakers and there is no
    such column, all speakers are unknown.

    Raises:
        AuditError: if a needed column is missing or occurs twice, if the name of a part is unknown, or if a fold has no
            training or no test part.
    """
    own = {str(column).strip().lower(): column for column in table.columns}
    counts = Counter(str(column).strip().lower() for column in table.columns)
    taken = {}
    for column, words in _COLUMNS.items():
        if here := [word for word in words if word in own]:
            taken[column] = own[here[0]]
            if counts[here[0]] > 1:
                raise AuditError(f"{name} has {counts[here[0]]} columns named {here[0]}: keep one")
    needed = ("file", "speaker", "part") if claim in OF_NEW_SPEAKERS else ("file", "part")
    if absent := [column for column in needed if column not in taken]:
        raise AuditError(
            f"{name} has no column {' and no column '.join(absent)}; it has {', '.join(map(str, table.columns))}. "
            "Known names: " + "; ".join(f"{column}: {', '.join(_COLUMNS[column])}" for column in absent)
        )
    # As objects: pandas would turn None into NaN in a column of strings, and NaN would count as a name.
    rows = pandas.DataFrame(
        {
            column: pandas.Series(
                [None if pandas.isna(one) else _plain(str(one)) for one in table[own_name]], dtype=object
            )
            for column, own_name in taken.items()
        }
    )
    if rows.empty:
        raise AuditError(f"{name} has no rows")
    if "speaker" not in rows:
        rows.insert(1, "speaker", pandas.Series([None] * len(rows), dtype=object))
    part_of = {word: part for part, words in _PARTS.items() for word in words}
    for number, word in enumerate(rows["part"]):
        if word is None or word.lower() not in part_of:
            told = "an empty cell" if word is None else repr(word)
            raise AuditError(f"row {number + 1} of {name}: {told} is not a part ({', '.join(part_of)})")
    rows["part"] = [part_of[word.lower()] for word in rows["part"]]
    if rows["file"].isna().any():
        raise AuditError(f"row {rows['file'].isna().argmax() + 1} of {name} has no file name")
    rows["file"] = [_file_name(file) for file in rows["file"]]
    # In a fold without one of them nothing can be found, and an empty list would look like a good result.
    for fold, fold_rows in folds_of(rows):
        there = set(fold_rows["part"])
        where = "" if fold is None else f" in fold {fold}" if isinstance(fold, str) else " in the rows without a fold"
        if lacking := [part for part in ("train", "test") if part not in there]:
            raise AuditError(
                f"{name} has no {lacking[0]} part{where}, only {', '.join(sorted(there))}: add it"
                + ("; every fold needs a training and a test part" if where else "")
            )
    return rows


def _plain(text: str) -> str | None:
    return unicodedata.normalize("NFC", text.strip()) or None


def _file_name(name: str) -> str:
    return normpath(PureWindowsPath(name).as_posix() if "\\" in name else name)


def folds_of(rows: pandas.DataFrame):
    """Return pairs of (fold, its rows); the fold is None for a table without folds."""
    return rows.groupby("fold", dropna=False, sort=False) if "fold" in rows else [(None, rows)]
