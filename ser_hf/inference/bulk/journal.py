"""The journal of a table: rows of finished blocks, on disk until the table itself is there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
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
        self.done = 0
        self._unwritten = [facts]  # until there are rows: a run that fails before leaves nothing
        if self.path.exists() and self._cut_to_whole_blocks():
            if self._parsed(next(self._lines())) != json.loads(json.dumps(facts)):
                raise BulkError(f"{self.path} was begun with another model or other options: delete it")
            self._unwritten = []

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append rows; they are on the disk afterwards."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in (*self._unwritten, *rows))
            file.flush()
            os.fsync(file.fileno())
        self._unwritten = []

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield all rows."""
        yield from map(self._parsed, islice(self._lines(), 1, None))

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)

    def _cut_to_whole_blocks(self) -> bool:
        """Cut off what follows the last whole block; False if not even the facts are there."""
        end = position = rows = 0
        for number, line in enumerate(self._lines()):
            position += len(line)
            if line.endswith(b"\n") and number % self.BLOCK == 0:
                end, rows = position, number
        os.truncate(self.path, end)
        self.done = rows
        return end > 0

    def _lines(self) -> Iterator[bytes]:
        if self.path.exists():
            with self.path.open("rb") as file:
                yield from file

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            return json.loads(line)
        except ValueError as error:
            raise BulkError(f"{self.path} is damaged: delete it, and everything is scored again") from error
