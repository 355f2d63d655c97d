"""The journal of a table: rows of finished blocks, on disk until the table itself is there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

UNFINISHED = ".unfinished"


class BulkError(ValueError):
    """The error for a table that cannot be written; the message says what to do."""


class Journal:
    """The file `<table>.unfinished` beside a table: facts of the run in the first line, then a row in each.

    Only whole blocks are kept when a run goes on. Batches do not reach over blocks, so that a broken run gives the same
    table as an unbroken one.

    Args:
        table: the table to be.
        facts: what a run must have in common with the one that began the journal.

    Attributes:
        done: number of rows that are there.

    Raises:
        BulkError: if it was begun with other facts, or is damaged.
    """

    BLOCK = 256  # recordings; as many are computed again after an interruption

    def __init__(self, table: Path, facts: dict[str, Any]):
        self.path = table.with_name(table.name + UNFINISHED)
        header, self.done = json.dumps(facts), 0
        if not self._cut_to_whole_blocks():
            self._append([header])
        elif self._parsed(next(self._lines())) != json.loads(header):
            raise BulkError(f"{self.path} was begun with another model or other options: delete it")

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append rows; they are on the disk afterwards."""
        self._append([json.dumps(row) for row in rows])

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield all rows."""
        lines = self._lines()
        next(lines)
        yield from map(self._parsed, lines)

    def delete(self) -> None:
        self.path.unlink()

    def _cut_to_whole_blocks(self) -> bool:
        """Cut off what follows the last whole block; False if not even the facts are there."""
        if not self.path.exists():
            return False
        end = position = rows = 0
        for number, line in enumerate(self._lines()):
            position += len(line)
            if line.endswith(b"\n") and number % self.BLOCK == 0:
                end, rows = position, number
        os.truncate(self.path, end)
        self.done = rows
        return end > 0

    def _lines(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            yield from file

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            return json.loads(line)
        except ValueError as error:
            raise BulkError(f"{self.path} is damaged: delete it, and everything is scored again") from error

    def _append(self, lines: Sequence[str]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
