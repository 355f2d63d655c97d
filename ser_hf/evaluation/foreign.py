"""Tables that somebody else wrote: whatever is wrong with such a file is one line that names it."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from ..emotions import DIMENSIONS
from ..files import one_line

# A table of predictions has about 25 columns, and one for each class. Far more are a mistake, or meant to harm.
MOST_COLUMNS, MOST_ROWS = 1_000, 10_000_000
# Names in a CSV file. They are read as text: a speaker 01 and a class 01 keep their 0.
NAMES = ("utterance_id", "speaker", "label")
# Values that mean "unknown" in such a file. In other columns NA means it too; in these it may be somebody's initials.
UNKNOWN = ("", "nan", "NaN", "None", "null", "NULL", "<NA>", "N/A", "n/a", "#N/A")
TEXTS = (
    "utterance_id", "corpus", "language", "speaker", "gender", "session", "statement", "intensity", "label_source",
    "label", "prediction",
)  # fmt: skip
WHOLE_NUMBERS, NUMBERS = ("fold", "seed"), ("age", "duration")


class TableError(ValueError):
    """The error for an invalid prediction table; the message names the first wrong utterance and the way out."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in a `TableError`, and turn every other error that its content causes into one."""
    try:
        yield
    except TableError as error:
        raise TableError(f"{path}: {error}") from error
    except MemoryError as error:
        raise TableError(f"{path} does not fit in memory: read a part of it") from error
    except Exception as error:
        raise TableError(f"{path} cannot be read ({one_line(error)}): write it again, or fetch it again") from error


def read_csv(path: Path) -> pandas.DataFrame:
    """Read a CSV file with any separator; names such as 01 stay as they are written.

    Raises:
        TableError: if it is no CSV file.
    """
    form = {"sep": None, "engine": "python", "encoding": "utf-8-sig"}
    try:
        columns = pandas.read_csv(path, **form, nrows=0).columns
        refuse_many_columns(len(columns))
        unknown = {name: UNKNOWN if name in NAMES else (*UNKNOWN, "NA") for name in columns}
        return pandas.read_csv(path, **form, dtype=dict.fromkeys(NAMES, str), keep_default_na=False, na_values=unknown)
    except (UnicodeDecodeError, pandas.errors.ParserError, pandas.errors.EmptyDataError, csv.Error) as error:
        raise TableError(f"this is not a CSV file in UTF-8 ({one_line(error)})") from error


def read_parquet(path: Path) -> tuple[pandas.DataFrame, Mapping[bytes, bytes]]:
    """Read a Parquet file and its metadata; the checksums of its pages are compared, if it has any.

    Raises:
        TableError: if it is no Parquet file.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
    except pyarrow.ArrowInvalid as error:
        raise TableError(f"this is not a Parquet file ({one_line(error)})") from error
    with file:
        refuse_many_columns(file.metadata.num_columns)
        if file.metadata.num_rows > MOST_ROWS:
            raise TableError(f"it has {file.metadata.num_rows:,} rows, more than {MOST_ROWS:,}: read a part of it")
        table = file.read()
    # Strange types are refused later by their names; pandas would not convert some at all.
    return table.to_pandas(), table.schema.metadata or {}


def refuse_many_columns(count: int) -> None:
    """Raise a `TableError` for more columns than any table of predictions has."""
    if count > MOST_COLUMNS:
        raise TableError(f"it has {count:,} columns, more than {MOST_COLUMNS:,}: keep those of a prediction table")


def refuse_wrong_types(rows: pandas.DataFrame, probabilities: Iterable[str]) -> None:
    """Raise a `TableError` for a column whose values are of another type than the table needs."""
    if doubled := sorted({str(name) for name in rows.columns[rows.columns.duplicated()]}):
        raise TableError(f"the column {doubled[0]} occurs twice: keep one")
    for name in TEXTS:
        kind = pandas.api.types.infer_dtype(rows[name], skipna=True)
        if kind not in ("string", "empty"):
            raise TableError(f"column {name} must hold text, not {kind}: convert it")
    dimensions = [name for one in DIMENSIONS for name in (f"true_{one}", f"predicted_{one}") if name in rows]
    for name in (*WHOLE_NUMBERS, *NUMBERS, *dimensions, *probabilities):
        kind = pandas.api.types.infer_dtype(rows[name], skipna=True)
        what = "probabilities as numbers" if name.startswith("p_") else "numbers"
        if kind not in ("integer", "floating", "mixed-integer-float", "empty", "decimal"):
            raise TableError(f"column {name} must hold {what}, not {kind} ({rows[name].dtype})")
        if name in dimensions and np.isinf(rows[name].astype(np.float64)).any():
            raise TableError(f"column {name} has an infinite value: leave unknown values empty")
        if name in WHOLE_NUMBERS and kind != "integer" and (rows[name].dropna() % 1 != 0).any():
            raise TableError(f"column {name} must hold whole numbers")


def checked_facts(facts: Any) -> dict[str, Any]:
    """Return the metadata of a table, from JSON, with tuples for lists.

    Raises:
        TypeError, ValueError: if a value is of another type.
    """
    if not isinstance(facts, dict):
        raise TypeError(f"an object is needed, not {type(facts).__name__}")
    for name, value in facts.items():
        if name in ("classes", "trained_on", "removed_answers"):
            fits = isinstance(value, list) and all(isinstance(one, str) for one in value)
        elif name in ("synthetic", "multi_label", "cross_validated", "declared_new"):
            fits = isinstance(value, bool)
        elif name in ("dropped", "evaluation_map", "languages", "partial", "scoring"):
            fits = isinstance(value, dict) and all(_fits(name, one) for one in value.values())
        else:
            fits = isinstance(value, str)
        if not fits:
            raise TypeError(f"{name} is {str(value)[:60]!r}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}


def _fits(name: str, value: Any) -> bool:
    if name == "dropped":
        return isinstance(value, dict) and all(isinstance(count, int) for count in value.values())
    if name == "evaluation_map":
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return isinstance(value, str)
