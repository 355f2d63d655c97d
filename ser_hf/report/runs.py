"""The prediction tables of a run folder: test speakers, validation speakers, and disturbed recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..evaluation.chapters import Tables
from ..evaluation.tables import PredictionTable
from ..files import CONDITIONS, TEST, VALIDATION
from .report import EvaluationReport


@dataclass(frozen=True)
class RunTables(Tables):
    """The prediction tables of a run, and their files in its folder."""

    @classmethod
    def read(cls, run: str | Path) -> RunTables:
        """Read the tables of a run folder, or a single table of test speakers.

        Raises:
            FileNotFoundError: if there is no table.
            TableError: as `PredictionTable.read`.
        """
        run = Path(run)
        return cls(
            read_test_table(run),
            PredictionTable.read(run / VALIDATION) if (run / VALIDATION).is_file() else None,
            [PredictionTable.read(file) for file in sorted((run / CONDITIONS).glob("*.parquet"))],
        )

    @classmethod
    def pool(cls, runs: Sequence[RunTables]) -> RunTables:
        """Pool folds and seeds of one protocol. Validation and conditions are kept if all runs have them.

        Raises:
            TableError: as `PredictionTable.pool`.
        """
        validation = [run.validation for run in runs]
        disturbed = [{table.metadata.condition: table for table in run.disturbed} for run in runs]
        everywhere = [name for name in disturbed[0] if all(name in tables for tables in disturbed)]
        return cls(
            PredictionTable.pool([run.test for run in runs]),
            None if any(table is None for table in validation) else PredictionTable.pool(validation),
            [PredictionTable.pool([tables[name] for tables in disturbed]) for name in everywhere],
        )

    def write(self, run: str | Path) -> None:
        """Write the tables into a folder. The test speakers come last: a folder with their table is finished."""
        run = Path(run)
        for stale in (run / VALIDATION, *(run / CONDITIONS).glob("*.parquet")):  # of an earlier run
            stale.unlink(missing_ok=True)
        if self.validation is not None:
            self.validation.write(run / VALIDATION)
        for table in self.disturbed:
            table.write(run / CONDITIONS / f"{table.metadata.condition.replace(':', '_')}.parquet")
        self.test.write(run / TEST)

    def report(self, by: Sequence[str] = ()) -> EvaluationReport:
        """Return the report of these tables; `by` as in `EvaluationReport.from_table`."""
        return EvaluationReport.from_table(self.test, validation=self.validation, disturbed=self.disturbed, by=by)


def read_test_table(run: str | Path) -> PredictionTable:
    """Read the table of the test speakers of a run folder, or a single table.

    Raises:
        FileNotFoundError: if there is no table.
        TableError: as `PredictionTable.read`.
    """
    table = Path(run, TEST) if Path(run).is_dir() else Path(run)
    if not table.is_file():
        raise FileNotFoundError(f"{run} has no {TEST}: pass a run folder, or a prediction table")
    return PredictionTable.read(table)
