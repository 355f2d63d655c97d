"""Reading of a release's label files, with checks for damage."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .utterance import CorpusError, EncodingError


def table_rows(
    table: Path,
    columns: Mapping[str, Callable[[str], object]],
    *,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
    errors: str = "strict",
) -> Iterator[dict]:
    """Yield the rows of a label file as dictionaries.

    Args:
        table: a text file whose first line names its columns.
        columns: the required columns, with the function that converts their cells; other columns stay text.
        delimiter, encoding, errors: format of the file.

    Raises:
        CorpusError: if it cannot be read or is not such a table; the message names the table, and the line if possible.
        EncodingError: if it is written in another encoding.
    """
    again = "use the unchanged file of the release"
    lines = _table_lines(table, delimiter, encoding, errors, again)
    _, header = next(lines, (0, []))
    if absent := [column for column in columns if column not in header]:
        raise CorpusError(f"{table} has no column {absent[0]!r}, only {header}: {again}")
    for number, cells in lines:
        if len(cells) != len(header):
            raise CorpusError(
                f"{table}, line {number} has {len(cells)} columns, but its first line has {len(header)} (the file "
                f"may be truncated): {again}"
            )
        row = dict(zip(header, cells, strict=True))
        for column, convert in columns.items():
            try:
                row[column] = convert(row[column])
            except ValueError as error:
                raise CorpusError(
                    f"{table}, line {number}: {column!r} is {row[column]!r} ({error}): {again}"
                ) from error
        yield row


def _table_lines(
    table: Path, delimiter: str, encoding: str, errors: str, again: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that are not empty, with their numbers."""
    try:
        with table.open(encoding=encoding, errors=errors, newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            yield from ((reader.line_num, cells) for cells in reader if cells)
    except OSError as error:
        raise CorpusError(f"{table} cannot be read ({error.strerror}): {again}") from error
    except UnicodeDecodeError as error:  # a program that changed the encoding may have changed more
        raise EncodingError(f"{table} is not written in {encoding} ({error.reason}): {again}") from error
    except csv.Error as error:
        raise CorpusError(f"{table} is not a table ({error}): {again}") from error
