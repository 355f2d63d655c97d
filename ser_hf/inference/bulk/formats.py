"""The formats of a table of answers, written row by row."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

TEXTS = ("file", "speaker", "emotion", "guess", "warning", "error")
_ROWS = 256  # that are written at once


def write_rows(rows: Iterable[dict[str, Any]], path: Path, suffix: str, columns: Sequence[str]) -> None:
    """Write the columns of rows as a table; a value that a row does not have is empty."""
    rows = iter(rows)
    with _WRITERS[suffix](path, columns) as write:
        while block := list(islice(rows, _ROWS)):
            write([{name: row.get(name) for name in columns} for row in block])


@contextmanager
def _parquet(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    schema = pyarrow.schema([(name, pyarrow.string() if name in TEXTS else pyarrow.float64()) for name in columns])
    with ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(pyarrow.Table.from_pylist(rows, schema))


@contextmanager
def _csv(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        yield writer.writerows


@contextmanager
def _json_lines(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:
        yield lambda rows: file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


Write = Callable[[list[dict[str, Any]]], object]
_WRITERS = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines}
SUFFIXES = tuple(_WRITERS)
