"""Tables of anybody -> rows of text with the number of their line: CSV in its dialects, Excel, Parquet, JSON Lines.

A row that is shorter or longer than the header is refused with the number that an editor shows, since its values would
stand under other names. Spaces around a value are removed; an empty value is None.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..extras import MissingPackageError, naming_extra
from ..files import one_line
from .utterance import CorpusError

SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".parquet", ".jsonl")
MOST_COLUMNS = 1_000  # far more are a mistake, or meant to harm
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# Tried if a file is not UTF-8, nothing else is said, and exactly one of them makes sense of all names of files.
ENCODINGS = ("cp1252", "cp1250", "cp1251", "cp1254", "cp1253", "gb18030", "shift_jis", "euc_kr", "mac_roman")
_MARKS = (  # byte order marks; that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_PIECE = 5_000  # rows of a Parquet file that are held at a time

Row = tuple[int, dict[str, str | None]]


@dataclass(frozen=True)
class Sheet:
    """A table that was opened.

    Attributes:
        path: the file.
        columns: the names in its header, without spaces around them.
        dialect: how it was read, in words, such as "semicolons, utf-16".
        unit: "line" or "row": the numbers of `rows` are those that an editor or a spreadsheet shows.
        rows: number and values of each row, by column.
    """

    path: Path
    columns: tuple[str, ...]
    dialect: str
    unit: str
    rows: Iterator[Row]


def open_sheet(
    path: Path, *, encoding: str | None = None, fits: Callable[[Iterable[dict[str, str | None]]], bool] | None = None
) -> Sheet:
    """Open a table. Its format is that of its suffix; separator and encoding are found.

    Args:
        encoding: of a text file; default: UTF-8 or UTF-16. Others are tried only with `fits`.
        fits: True if some rows make sense, such as: all files that they name are there.

    Raises:
        MissingPackageError: for Excel or Parquet without the extra `train`.
        CorpusError: if the file cannot be read, or does not tell its encoding. Iteration raises it for a row that does
            not fit the header.
    """
    suffix = path.suffix.lower()
    with _naming(path), naming_extra(f"the table {path}"):
        if suffix == ".parquet":
            return _parquet(path)
        if suffix == ".xlsx":
            return _excel(path)
        if encoding is None:
            encoding = _encoding(path, fits)
        elif not _is_encoding(encoding):
            raise CorpusError(f"{encoding!r} is no encoding that Python knows: use a name such as cp1252 or utf-16")
        return _json_lines(path, encoding) if suffix == ".jsonl" else _text(path, encoding)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in whatever a library says of it."""
    try:
        yield
    except (CorpusError, MissingPackageError):
        raise
    except Exception as error:
        raise CorpusError(f"{path} cannot be read ({one_line(error)}): write it as CSV in UTF-8") from error


# --- text ---


def _text(path: Path, encoding: str) -> Sheet:
    lines = _lines(path, encoding)
    header_line = next((line for line in lines if line.strip(" \t\r\n,;|")), None)
    if header_line is None:
        raise CorpusError(f"{path} cannot be read (it is empty): write a header and a line for each recording")
    separator = max(SEPARATORS, key=lambda one: len(next(csv.reader([header_line], delimiter=one))))
    columns = _header(next(csv.reader([header_line], delimiter=separator, skipinitialspace=True)), path)
    return Sheet(
        path, columns, f"{SEPARATORS[separator]}, {encoding}", "line", _text_rows(path, encoding, separator, columns)
    )


def _text_rows(path: Path, encoding: str, separator: str, columns: tuple[str, ...]) -> Iterator[Row]:
    with _naming(path), path.open(encoding=encoding, newline="") as file:
        reader, begin, is_header = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True), 1, True
        for values in reader:
            number, begin = begin, reader.line_num + 1
            values = [value.strip() for value in values]
            if not any(values):
                continue
            if is_header:
                is_header = False
                continue
            yield number, _fitted(values, columns, f"{path}, line {number}")


def _lines(path: Path, encoding: str) -> Iterator[str]:
    with path.open(encoding=encoding, newline="") as file:
        yield from file


def _fitted(values: list[str], columns: tuple[str, ...], where: str) -> dict[str, str | None]:
    """Return the values by their columns. Empty ones may be too many, as spreadsheets write them, but none too few."""
    if len(values) < len(columns) or any(values[len(columns) :]):
        raise CorpusError(
            f"{where} has {len(values)} values, but the header has {len(columns)} columns ({', '.join(columns)}): "
            "correct this line; a value that holds the separator needs quotes"
        )
    return {name: value or None for name, value in zip(columns, values, strict=False)}


def _header(names: Iterable[object], path: Path) -> tuple[str, ...]:
    columns = tuple("" if name is None else str(name).strip() for name in names)
    while columns and not columns[-1]:  # a separator at the end of each line
        columns = columns[:-1]
    if len(columns) > MOST_COLUMNS:
        raise CorpusError(f"{path} has {len(columns):,} columns, more than {MOST_COLUMNS:,}: keep those of a recording")
    if doubled := sorted({name for name in columns if columns.count(name) > 1}):
        raise CorpusError(f"{path} has two columns {doubled[0]!r}: rename one of them")
    return columns


def _json_lines(path: Path, encoding: str) -> Sheet:
    def rows() -> Iterator[Row]:
        with _naming(path), path.open(encoding=encoding) as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    facts = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise CorpusError(f"{path}, line {number} is not JSON ({error}): correct this line") from error
                if not isinstance(facts, dict):
                    raise CorpusError(
                        f'{path}, line {number} must be an object such as {{"path": ..., "emotion": ...}}'
                    )
                yield number, {str(name).strip(): as_text(value) for name, value in facts.items()}

    columns = dict.fromkeys(name for _, facts in islice(rows(), 1_000) for name in facts)
    if not columns:
        raise CorpusError(f"{path} cannot be read (it is empty): write an object in each line")
    return Sheet(path, _header(columns, path), f"JSON Lines, {encoding}", "line", rows())


# --- other formats ---


def _parquet(path: Path) -> Sheet:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
    columns = _header(names, path)

    def rows() -> Iterator[Row]:
        with _naming(path), pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            number = 0
            for batch in file.iter_batches(batch_size=_PIECE):
                for facts in batch.to_pylist():
                    number += 1
                    yield number, {name.strip(): as_text(value) for name, value in facts.items()}

    return Sheet(path, columns, "Parquet", "row", rows())


def _excel(path: Path) -> Sheet:
    from openpyxl import load_workbook

    def cells() -> Iterator[tuple[int, list[str]]]:
        with _naming(path):
            book = load_workbook(path, read_only=True, data_only=True)
            try:
                for number, values in enumerate(book.worksheets[0].iter_rows(values_only=True), 1):
                    texts = [as_text(value) or "" for value in values]
                    if any(texts):
                        yield number, texts
            finally:
                book.close()

    first = next(cells(), None)
    if first is None:
        raise CorpusError(
            f"{path} cannot be read (its first sheet is empty): write a header and a row for each recording"
        )
    columns = _header(first[1], path)

    def rows() -> Iterator[Row]:
        for number, values in islice(cells(), 1, None):
            padded = values + [""] * (len(columns) - len(values))  # a sheet ends where its last value is
            yield number, _fitted(padded, columns, f"{path}, row {number}")

    return Sheet(path, columns, "Excel", "row", rows())


def as_text(value: object) -> str | None:
    """Return a cell as text: 3.0 of a spreadsheet is 3, and NaN is what pandas writes for an empty cell."""
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


# --- encodings ---


def _encoding(path: Path, fits: Callable[[Iterable[dict[str, str | None]]], bool] | None) -> str:
    with path.open("rb") as file:
        begin = file.read(4_096)
    for mark, name in _MARKS:
        if begin.startswith(mark):
            return name
    if begin[1::2].count(0) > len(begin) // 4:
        return "utf-16-le"
    if begin[::2].count(0) > len(begin) // 4:
        return "utf-16-be"
    if (where := _undecodable(path, "utf-8")) is None:
        return "utf-8"
    able = [
        name
        for name in ENCODINGS
        if fits is not None and _undecodable(path, name) is None and _makes_sense(path, name, fits)
    ]
    texts = {name: path.read_text(encoding=name) for name in able}
    if len(set(texts.values())) == 1:
        return able[0]
    why = f"and may be {', '.join(able)}" if able else "and its names of files do not tell what it is"
    raise CorpusError(
        f"{path} is not in UTF-8 ({where}), {why}: pass its encoding (--encoding cp1252 for a table of Western "
        "Europe), or save it as UTF-8"
    )


def _makes_sense(path: Path, encoding: str, fits: Callable[[Iterable[dict[str, str | None]]], bool]) -> bool:
    try:
        return fits(row for _, row in _text(path, encoding).rows)
    except CorpusError:
        return False


def _undecodable(path: Path, encoding: str) -> str | None:
    """Say which line is not in an encoding; None if all are."""
    content = path.read_bytes()
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        return f"line {content.count(bytes([10]), 0, error.start) + 1}"
    return None


def _is_encoding(name: str) -> bool:
    try:
        codecs.lookup(name)
    except LookupError:
        return False
    return True
