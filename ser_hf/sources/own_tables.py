"""Your own recordings: a table (CSV, TSV, Parquet) of them, or one sub-folder per emotion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..emotions import EMOTIONS, SYNONYMS, unknown_name
from .folders import SOUND_SUFFIXES
from .reading import Reading
from .utterance import CorpusError, Utterance

if TYPE_CHECKING:
    import pandas

PIECE = 5_000  # rows of a table that are held at a time
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
MOST_COLUMNS = 1_000  # far more are a mistake, or meant to harm
OPTIONAL_COLUMNS = (
    "speaker", "gender", "age", "language", "session", "statement", "intensity", "arousal", "valence", "dominance",
)  # fmt: skip


def read(reading: Reading) -> Iterator[Utterance]:
    """Read the table directly under the root, or one sub-folder per emotion if there is no table.

    Columns of a table: `path` (relative to it), `emotion`, and optionally `speaker, gender, age, language, session,
    statement, intensity, arousal, valence, dominance` (these three in [0, 1]); other columns are ignored.
    """
    root = reading.root
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    if len(tables) > 1:
        raise CorpusError(f"{root} has {len(tables)} tables ({', '.join(t.name for t in tables)}): keep one")
    return _read_table(reading, tables[0]) if tables else _read_folders(reading)


def _read_table(reading: Reading, table: Path) -> Iterator[Utterance]:
    number = 0
    for frame in _frames(table):
        if absent := {"path", "emotion"} - set(frame.columns):
            raise CorpusError(
                f"{table} has no column {' and no column '.join(sorted(absent))}; it has {list(frame.columns)}"
            )
        known = [column for column in OPTIONAL_COLUMNS if column in frame.columns]
        rows = enumerate(frame.to_dict("records"), number + 1)
        number += len(frame)
        yield from reading.each(
            rows,
            lambda row, known=known: _utterance_of(row[1], known, table, row[0]),
            lambda row: f"{table.name}, row {row[0]}",
        )


def _frames(table: Path) -> Iterator[pandas.DataFrame]:
    """Yield the table in pieces, at least one, so that a table of a million recordings fits in memory."""
    import pandas
    import pyarrow.parquet

    try:
        if table.suffix.lower() == ".parquet":
            with pyarrow.parquet.ParquetFile(table, page_checksum_verification=True) as file:
                _refuse_many_columns(table, file.metadata.num_columns)
                yield file.schema_arrow.empty_table().to_pandas()
                yield from (batch.to_pandas() for batch in file.iter_batches(batch_size=PIECE))
        else:
            separator = "\t" if table.suffix.lower() == ".tsv" else ","
            _refuse_many_columns(table, len(pandas.read_csv(table, sep=separator, dtype=str, nrows=0).columns))
            # Speakers are names: without these options, "01" would be read as the number 1 and "NA" as missing.
            yield from pandas.read_csv(
                table, sep=separator, dtype=str, keep_default_na=False, na_values=[""], chunksize=PIECE
            )
    except CorpusError:
        raise
    except (
        ValueError,
        OSError,
        RecursionError,
        MemoryError,
    ) as error:  # messages of pandas and pyarrow do not name the file
        raise CorpusError(
            f"{table} cannot be read ({error}): write it as UTF-8 with commas (.csv) or tabs (.tsv), or as .parquet"
        ) from error


def refuse_wide_table(table: Path) -> None:
    """Raise a `CorpusError` for a Parquet file that is damaged, or has far more columns than describe a recording."""
    import pyarrow
    import pyarrow.parquet

    try:
        count = pyarrow.parquet.read_metadata(table).num_columns
    except (pyarrow.ArrowException, OSError) as error:
        raise CorpusError(f"{table} is not a Parquet file ({' '.join(str(error).split())}): write it again") from error
    _refuse_many_columns(table, count)


def _refuse_many_columns(table: Path, count: int) -> None:
    if count > MOST_COLUMNS:
        raise CorpusError(
            f"{table} has {count:,} columns, more than {MOST_COLUMNS:,}: keep those that describe a recording"
        )


def _utterance_of(row: dict, known: list[str], table: Path, number: int) -> Utterance:
    import pandas

    given = {column: row[column] for column in known if not pandas.isna(row[column])}
    if pandas.isna(row["path"]) or pandas.isna(row["emotion"]):
        raise CorpusError(f"{table}, row {number}: path or emotion is empty; fill it in or remove the row")
    path = table.parent / row["path"]
    if not path.is_file():
        raise CorpusError(f"{table}, row {number}: there is no file {path}; paths are relative to the table")
    return _utterance(path, str(row["emotion"]), where=f"{table}, row {number}", **_typed(given, table, number))


def _typed(given: dict, table: Path, number: int) -> dict:
    types = {"age": lambda value: int(float(value)), "arousal": float, "valence": float, "dominance": float}
    typed = {}
    for column, value in given.items():
        try:
            typed[column] = types.get(column, str)(value)
        except ValueError as error:
            raise CorpusError(f"{table}, row {number}: {column} must be a number, not {value!r}") from error
    return typed


def _read_folders(reading: Reading) -> Iterator[Utterance]:
    root = reading.root
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise CorpusError(f"{root} needs a table ({', '.join(TABLE_SUFFIXES)}) or one sub-folder per emotion")
    for folder in folders:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUND_SUFFIXES)
        if not files:
            reading.refuse(
                folder,
                f"{folder} has no recordings ({', '.join(SOUND_SUFFIXES)}): add some, convert other formats to .wav, "
                "or remove the folder",
            )
        yield from reading.each(
            files,
            lambda path, word=folder.name, where=f"folder {folder}": _utterance(path, word, where=where),
            lambda path: path,
        )


def _utterance(path: Path, native_label: str, *, where: str, **known) -> Utterance:
    word = native_label.strip().lower()
    emotion = SYNONYMS.get(word, word)
    if emotion not in EMOTIONS:
        raise CorpusError(f"{where}: {unknown_name('emotion', native_label, (*EMOTIONS, *SYNONYMS))}")
    return Utterance(path, emotion=emotion, native_label=native_label, label_source="given", **known)
