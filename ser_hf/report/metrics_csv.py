"""Every number of a report as one row, for spreadsheets and statistics programs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Any

# Keys of a list's rows that distinguish them, and are not measured: words, and numbers.
WORDS, NUMBERS = ("class", "group", "condition", "dimension", "true", "predicted"), ("fold", "seed", "wanted")
COLUMNS = ("metric", "of", "value", "low", "high", "n")


def to_csv(report: dict[str, Any]) -> str:
    """Return the numbers of `EvaluationReport.to_dict` as CSV lines with the columns `COLUMNS`.

    `metric` is the place in the JSON, such as `calibration.ece`; `of` distinguishes the rows of a list, for example by
    fold or class; then follow value, interval and number of utterances.

    >>> rates = {"uar": {"value": 0.5, "interval": [0.4, 0.6]}}
    >>> print(to_csv({"n": 8, "rates": rates, "per_fold": [{"fold": 1, "n": 4, "uar": 0.25}]}))
    metric,of,value,low,high,n
    uar,,0.5,0.4,0.6,8
    per_fold.uar,fold 1,0.25,,,4
    <BLANKLINE>
    """
    file = StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in _rows(report, "", "", report["n"]):
        writer.writerow([_no_formula(cell) if isinstance(cell, str) else cell for cell in row])
    return file.getvalue()


def _rows(values: dict[str, Any], place: str, of: str, n: int) -> Iterator[tuple]:
    n = values.get("n", n)
    for key, value in values.items():
        name = f"{place}.{key}" if place else key
        if key == "rates":
            for metric, rate in value.items():
                yield metric, of, rate["value"], *(rate["interval"] or (None, None)), n
        elif key == "chapters":
            yield from _rows({chapter: section for chapter, section in value.items() if section}, place, of, n)
        elif isinstance(value, dict):
            yield from _rows(value, name, of, n)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, row in enumerate(value):
                yield from _rows(row, name, " ".join(filter(None, (of, _called(row, number)))), n)
        elif key == "confusion":
            for true, counts in zip(values["classes"], value, strict=True):
                for predicted, count in zip(values["classes"], counts, strict=True):
                    yield name, f"{true} taken for {predicted}", count, None, None, n
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and key not in ("schema", "n", *NUMBERS):
            low, high = values.get(f"{key}_interval") or (None, None)
            yield name, of, value, low, high, n


def _no_formula(text: str) -> str:
    """Return the text of a cell that no spreadsheet takes for a formula: a name of a class may begin with =.

    Source: OWASP, CSV Injection.
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _called(row: dict[str, Any], number: int) -> str:
    """Return the name of a row in a list: its fold, seed or wanted risk, else its words, else its place."""
    named = [f"{key} {row[key]}" for key in NUMBERS if key in row]
    words = [value for key, value in row.items() if isinstance(value, str) and key in WORDS]
    return " ".join(named or words) or str(number)
