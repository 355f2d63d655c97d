"""Any number of recordings with their names, from files and from tables, read as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...audio import AudioError
from ...emotions import unknown_name
from ...sources.own_tables import listed_recordings
from ...sources.sheets import SUFFIXES, as_text, open_sheet
from ...sources.utterance import CorpusError
from ..inputs import URLS, recordings

_ROWS = 64  # of a Parquet file whose recordings are in memory at once


class Named(NamedTuple):
    """A recording of a table.

    Attributes:
        name: of its row.
        recording: as a `Classifier` takes it, or what is wrong with it.
        speaker: None if nobody knows who speaks.
    """

    name: str
    recording: Any
    speaker: str | None = None


@dataclass(frozen=True)
class Recordings:
    """Recordings of files and tables, one after the other. Each iteration reads them anew, in any process.

    A table is Parquet with a column `audio` of recordings, or has a column of files: CSV, Excel, Parquet or JSON Lines.

    Args:
        places: recordings, URLs, folders, tables, or patterns such as `clips/**/*.wav` and `shards/*.parquet`.
        speaker_column: the column of the tables that says who speaks.

    Raises:
        AudioError: for a folder or a pattern without recordings.
        CorpusError: for a table that cannot be read or lacks a column, and with a `speaker_column` for other files.
    """

    places: Sequence[str]
    speaker_column: str | None = None

    def __post_init__(self):
        for file in self._files():
            if _is_table(file):
                _opened(file, self.speaker_column)
            elif self.speaker_column is not None:
                raise CorpusError(
                    f"{file} is no table with a column {self.speaker_column!r}: leave --speaker_column out"
                )

    def __iter__(self) -> Iterator[Named]:
        for file in self._files():
            if _is_table(file):
                yield from _opened(file, self.speaker_column)
            else:
                yield Named(file, file)

    def _files(self) -> Iterator[str]:
        return (str(file) for place in self.places for file in recordings(place))


def _is_table(file: str) -> bool:
    return not file.startswith(URLS) and file.lower().endswith(SUFFIXES)


def _opened(file: str, speaker_column: str | None) -> Iterator[Named]:
    """Return the recordings of a table, after a look at its columns."""
    table = Path(file)
    if not table.is_file():
        raise CorpusError(f"there is no table {file}: check its path")
    if table.suffix.lower() == ".parquet":
        columns = open_sheet(table).columns
        if "audio" in columns and not _holds_names(table):
            if speaker_column not in (None, *columns):
                raise CorpusError(f"columns of {file}: {unknown_name('column', speaker_column, columns)}")
            return _of_sounds(table, speaker_column)
    return _of_names(table, speaker_column)


def _holds_names(table: Path) -> bool:
    """True if the column `audio` of a Parquet file is text."""
    import pyarrow
    from pyarrow.parquet import read_schema

    kind = read_schema(table).field("audio").type
    return pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)


def _of_sounds(table: Path, speaker_column: str | None) -> Iterator[Named]:
    from pyarrow.parquet import ParquetFile

    columns, number = ["audio", *([] if speaker_column is None else [speaker_column])], 0
    with ParquetFile(table, pre_buffer=False) as file:  # the buffer would hold the whole file in the end
        for batch in file.iter_batches(_ROWS, columns=columns):
            for row in batch.to_pylist():
                number += 1
                where, sound = f"{table}, row {number}", row["audio"]
                path = sound.get("path") if isinstance(sound, dict) else None
                if sound is None or (isinstance(sound, dict) and all(value is None for value in sound.values())):
                    sound = AudioError(f"{where} has no recording", "remove the row")
                elif path is not None and sound.get("bytes") is None and "array" not in sound:
                    sound = str(table.parent / path)
                yield Named(path or where, sound, as_text(row[speaker_column]) if speaker_column else None)


def _of_names(table: Path, speaker_column: str | None) -> Iterator[Named]:
    rows = listed_recordings(table, speaker_column)

    def named() -> Iterator[Named]:
        for row in rows:
            if row.name is None:
                found = AudioError(f"{row.where} names no recording", "fill it in or remove the row")
            elif row.name.startswith(URLS):
                found = row.name
            elif len(row.found) > 1:
                several = " or ".join(map(str, row.found[:3]))
                found = AudioError(f"{row.where}: {row.name} may be {several}", "write the path")
            else:  # of one that is not there, the reader says so
                found = str(row.found[0] if row.found else table.parent / row.name)
            yield Named(row.name or row.where, found, row.speaker)

    return named()
