"""Answers for any number of recordings as a table on disk."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from glob import escape
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm.auto import tqdm

from ...extras import naming_extra
from ...files import FolderLock, naming_full_disk, whole
from ...models.checkpoint_settings import refuse_values
from ...splits.relation import Adaptation
from .formats import SUFFIXES, write_rows
from .journal import BulkError, Journal
from .recordings import Named
from .scoring import Alone, Block, Online, Scoring

if TYPE_CHECKING:
    from ..classifier import Classifier
    from .on_ray import RayWorkers

COLUMNS = ("file", "emotion", "score", "warning", "error")
_SCORINGS: dict[str, type[Scoring]] = {Adaptation.NONE: Alone, Adaptation.ONLINE: Online}


class Counts(NamedTuple):
    """The number of recordings of a table, of those that could not be scored, and of those that have a warning."""

    recordings: int
    errors: int
    warnings: int


def predict_to_table(
    classifier: Classifier,
    recordings: Iterable[tuple],
    table: Path,
    *,
    adaptation: str = Adaptation.NONE,
    workers: RayWorkers | None = None,
    progress: bool = False,
    **options: Any,
) -> Counts:
    """Classify recordings into a table with the columns `file`, `emotion`, `score`, `warning`, `error`, `p_<class>`.

    A recording that cannot be scored has an `error` and no answer. One whose end is missing is scored, and has a
    `warning`. With `abstain` the emotion may be "unknown"; a column `guess` then says which one is the most probable.
    Memory does not grow with the number of recordings.

    Args:
        recordings: `Recordings`, or the fields of a `Named` for each: its name, the recording as a `Classifier` takes
            it and, if it is known, the speaker.
        table: a file ending in .parquet, .csv or .jsonl. If an earlier run was interrupted, it is gone on with.
        adaptation: "online" to score each recording with the help of the earlier ones of the same speaker, as a
            `Classifier` does; the table then has a column `speaker`.
        workers: processes of a cluster that score; default: this process does. `recordings` must then be something that
            can be sent there and iterated again, such as `Recordings` or a list.
        options: of a `Classifier`, such as `window_seconds` and `abstain`.

    Raises:
        ModelError: for a model that estimates values, or cannot be adapted.
        MissingPackageError: for a .parquet without the extra `train`.
        BulkError: for another suffix, a table that is there already, or an interrupted run with another model or other
            recordings.
        FolderInUseError: if another run writes the table.
        DiskFullError: if the disk has no space; the run can be gone on with.
    """
    table = Path(table)
    if table.suffix.lower() not in SUFFIXES:
        raise BulkError(f"{table} must end in {', '.join(SUFFIXES)}: name it so")
    if table.suffix.lower() == ".parquet":
        with naming_extra(f"the table {table}"):  # not after hours of scoring
            import pyarrow  # noqa: F401
    if adaptation not in _SCORINGS:
        raise ValueError(f"adaptation must be {' or '.join(_SCORINGS)} here, not {adaptation!r}")
    refuse_values(classifier.model.config.name_or_path, classifier.model.config)
    scoring = _SCORINGS[adaptation](classifier, **options)
    labels = list(classifier.labels)
    facts = {
        "model": classifier.digest, "computing": classifier.computing, "labels": labels, "options": options,
        "adaptation": adaptation,
    }  # fmt: skip
    table.parent.mkdir(parents=True, exist_ok=True)
    with naming_full_disk(table.parent, f"the table {table.name}"), _only_writer(table):
        journal = Journal(table, facts)
        left = _after_journal(journal, recordings, scoring)
        if workers is None:
            scored = _scored_here(left, scoring)
        else:
            scored = workers.scored(recordings, journal.done, Journal.BLOCK, facts["model"], type(scoring), options)
        with tqdm(initial=journal.done, unit="recording", disable=not progress, desc="classifying") as bar:
            for block, found in scored:
                journal.add(scoring.rows(block, found))
                bar.update(len(block))
        more = [] if options.get("abstain") is None else ["guess"]
        columns = [COLUMNS[0], *scoring.columns, *COLUMNS[1:], *more, *(f"p_{label}" for label in labels)]
        with whole(table) as unfinished:
            write_rows(map(_with_classes, journal.rows()), unfinished, table.suffix.lower(), columns)
        counts = _counted(journal)
        journal.delete()
    return counts


@contextmanager
def _only_writer(table: Path) -> Iterator[None]:
    """Hold the lock of a table.

    Raises:
        FolderInUseError: if another run has it.
        BulkError: if the table is there already.
    """
    with FolderLock(table, table.with_name(f".{table.name}.lock"), otherwise="name another table") as lock:
        if lock.holders > 1:  # another thread
            raise BulkError(f"this process is already writing {table}: name another table")
        if table.exists():
            raise BulkError(f"{table} is there already: delete it, or name another one")
        for rest in table.parent.glob(f".{'[0-9a-f]' * 32}.{escape(table.name)}"):  # of a run killed in `whole`
            rest.unlink()
        yield


def _after_journal(journal: Journal, recordings: Iterable[tuple], scoring: Scoring) -> Iterator[Named]:
    """Return the recordings that are not in a journal; those that are in it are recalled.

    Raises:
        BulkError: if it was begun with other recordings.
    """
    left = (Named(*one) for one in recordings)
    for row in journal.rows():
        name, _, speaker = next(left, Named("none", None))
        if row["file"] != name:
            raise BulkError(f"{journal.path} was begun with other recordings ({row['file']}, now {name}): delete it")
        if row.get("speaker", speaker) != speaker:
            raise BulkError(
                f"{journal.path} was begun with other speakers ({name} was of {row['speaker']}, now of {speaker}): "
                "delete it"
            )
        scoring.recall(row)
    return left


def _scored_here(recordings: Iterator[Named], scoring: Scoring) -> Iterator[tuple[Block, list[Any]]]:
    while block := list(islice(recordings, Journal.BLOCK)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are in the rows
            scored = scoring.score(block)
        yield block, scored


def _with_classes(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with the probability of each class, and the most probable class."""
    probabilities = {f"p_{label}": score for label, score in row["scores"].items()}
    return {**row, "guess": next(iter(row["scores"]), None), **probabilities}


def _counted(journal: Journal) -> Counts:
    count = errors = warnings = 0
    for row in journal.rows():
        count += 1
        errors += row["error"] is not None
        warnings += row["warning"] is not None
    return Counts(count, errors, warnings)
