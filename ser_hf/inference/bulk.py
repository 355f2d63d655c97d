"""Answers for any number of recordings as a table on disk: in constant memory, and resumable after whatever ends it.

Answers are first written to a journal beside the table, `<table>.unfinished`, block by block. Batches do not reach over
blocks, and only whole blocks are kept when a run goes on, so that a broken run gives the same table as an unbroken one.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from ..extras import naming_extra
from ..files import naming_full_disk, whole
from ..models.checkpoint_settings import refuse_values

if TYPE_CHECKING:
    from .classifier import Answer, Classifier

UNFINISHED = ".unfinished"
BLOCK = 256  # recordings; as many are computed again after an interruption
COLUMNS, TEXTS = ("file", "emotion", "score", "error"), ("file", "emotion", "guess", "error")


class BulkError(ValueError):
    """The error for a table that cannot be written; the message says what to do."""


def predict_to_table(
    classifier: Classifier,
    recordings: Iterable[tuple[str, Any]],
    table: Path,
    *,
    progress: bool = False,
    **options: Any,
) -> tuple[int, int]:
    """Classify recordings into a table with the columns `file`, `emotion`, `score`, `error` and `p_<class>`.

    With `abstain` the emotion may be "unknown"; a column `guess` then says which emotion is the most probable one.

    Args:
        recordings: the name of each recording, and the recording as a `Classifier` takes it.
        table: a file ending in .parquet, .csv or .jsonl. If an earlier run was interrupted, it is gone on with.
        options: of a `Classifier`.

    Returns:
        The number of recordings, and of those that could not be scored: these have an `error` and no answer.

    Raises:
        ModelError: for a model that estimates values.
        MissingPackageError: for a .parquet without the extra `train`.
        BulkError: for another suffix, a table that is there already, or an interrupted run with another model or other
            recordings.
        DiskFullError: if the disk has no space; the run can be gone on with.
    """
    table = Path(table)
    if table.suffix.lower() not in SUFFIXES:
        raise BulkError(f"{table} must end in {', '.join(SUFFIXES)}: name it so")
    if table.suffix.lower() == ".parquet":
        with naming_extra(f"the table {table}"):  # not after hours of scoring
            import pyarrow  # noqa: F401
    refuse_values(classifier.model.config.name_or_path, classifier.model.config)
    if table.exists():
        raise BulkError(f"{table} is there already: delete it, or name another one")
    journal = table.with_name(table.name + UNFINISHED)
    table.parent.mkdir(parents=True, exist_ok=True)
    facts = {"model": classifier.digest, "labels": list(classifier.labels), "options": options}
    with naming_full_disk(table.parent, f"the table {table.name}"):
        done = _names_in(journal, facts)
        recordings = iter(recordings)
        for known, (name, _) in zip(done, islice(recordings, len(done)), strict=False):
            if known != name:
                raise BulkError(f"{journal} was begun with other recordings ({known}, now {name}): delete it")
        with (
            journal.open("a", encoding="utf-8") as file,
            tqdm(initial=len(done), unit="recording", disable=not progress, desc="classifying") as bar,
        ):
            while block := list(islice(recordings, BLOCK)):
                names, sounds = map(list, zip(*block, strict=True))
                answers = classifier(sounds, names=names, on_error="report", **options)
                rows = (_row(name, answer) for name, answer in zip(names, answers, strict=True))
                file.writelines(json.dumps(row) + "\n" for row in rows)
                file.flush()
                os.fsync(file.fileno())
                bar.update(len(block))
        more = ["guess"] if options.get("abstain") is not None else []
        with whole(table) as unfinished:
            columns = [*COLUMNS, *more, *(f"p_{label}" for label in classifier.labels)]
            counts = _write(_rows_of(journal), unfinished, table.suffix.lower(), columns)
    journal.unlink()
    return counts


def _names_in(journal: Path, facts: dict[str, Any]) -> list[str]:
    """Return the recordings of the whole blocks in a journal, after cutting off the rest; begin it if there is none.

    Raises:
        BulkError: if it was begun with other facts.
    """
    facts = json.loads(json.dumps(facts))
    if not journal.exists() or not journal.stat().st_size:
        journal.write_text(json.dumps(facts) + "\n", encoding="utf-8")
        return []
    names, end, position = [], 0, 0
    with journal.open("rb") as file:
        for number, line in enumerate(file):
            if not line.endswith(b"\n"):
                break
            position += len(line)
            content = json.loads(line)
            if number == 0 and content != facts:
                raise BulkError(f"{journal} was begun with another model or other options: delete it")
            if number:
                names.append(content["file"])
            if number % BLOCK == 0:
                end = position
    if not end:
        journal.unlink()
        return _names_in(journal, facts)
    os.truncate(journal, end)
    return names[: len(names) // BLOCK * BLOCK]


def _row(name: str, answer: Answer) -> dict[str, Any]:
    best = {**answer[0], "error": answer[0].get("error")}
    scores = {entry["label"]: entry["score"] for entry in answer if entry["score"] is not None}
    facts = {
        "emotion": best["label"],
        "score": best["score"],
        "guess": next(iter(scores), None),
        "error": best["error"],
    }
    return {"file": name, **facts, "scores": scores}


def _rows_of(journal: Path) -> Iterator[dict[str, Any]]:
    with journal.open(encoding="utf-8") as file:
        next(file)
        for line in file:
            row = json.loads(line)
            scores = row.pop("scores")
            yield {**row, **{f"p_{label}": score for label, score in scores.items()}}


def _write(rows: Iterator[dict[str, Any]], path: Path, suffix: str, columns: Sequence[str]) -> tuple[int, int]:
    """Write rows as a table; return their number, and how many have an error."""
    count = failed = 0
    with _WRITERS[suffix](path, columns) as write:
        while block := list(islice(rows, BLOCK)):
            write([{name: row.get(name) for name in columns} for row in block])
            count, failed = count + len(block), failed + sum(row["error"] is not None for row in block)
    return count, failed


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
