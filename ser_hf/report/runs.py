"""The prediction tables of a run folder: test speakers, validation speakers, and disturbed recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..evaluation.chapters import Tables
from ..evaluation.tables import PredictionTable
from ..files import ADAPTATIONS, CONDITIONS, TEST, VALIDATION
from .report import EvaluationReport

BESIDE = (CONDITIONS, ADAPTATIONS)  # folders of tables of the same test set, in the order of `Tables`


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
            *([PredictionTable.read(file) for file in sorted((run / name).glob("*.parquet"))] for name in BESIDE),
        )

    @classmethod
    def pool(cls, runs: Sequence[RunTables]) -> RunTables:
        """Pool folds and seeds of one protocol. Validation, conditions and adaptations are kept if all runs have them.

        Raises:
            TableError: as `PredictionTable.pool`.
        """
        validation = [run.validation for run in runs]
        return cls(
            PredictionTable.pool([run.test for run in runs]),
            None if any(table is None for table in validation) else PredictionTable.pool(validation),
            _pool_alike([{table.metadata.condition: table for table in run.disturbed} for run in runs]),
            _pool_alike([{table.metadata.adaptation: table for table in run.adapted} for run in runs]),
        )

    def write(self, run: str | Path) -> None:
        """Write the tables into a folder. The test speakers come last: a folder with their table is finished."""
        run = Path(run)
        for stale in (run / VALIDATION, *(file for name in BESIDE for file in (run / name).glob("*.parquet"))):
            # of an earlier run
            stale.unlink(missing_ok=True)
        if self.validation is not None:
            self.validation.write(run / VALIDATION)
        for table in self.disturbed:
            table.write(run / CONDITIONS / f"{table.metadata.condition.replace(':', '_')}.parquet")
        for table in self.adapted:
            table.write(run / ADAPTATIONS / f"{table.metadata.adaptation}.parquet")
        self.test.write(run / TEST)

    def report(self, by: Sequence[str] = ()) -> EvaluationReport:
        """Return the report of these tables; `by` as in `EvaluationReport.from_table`."""
        return EvaluationReport.from_table(
            self.test, validation=self.validation, disturbed=self.disturbed, adapted=self.adapted, by=by
        )


def _pool_alike(runs: Sequence[Mapping[str, PredictionTable]]) -> list[PredictionTable]:
    """Pool the tables that all runs have by the same name."""
    everywhere = [name for name in runs[0] if all(name in tables for tables in runs)]
    return [PredictionTable.pool([tables[name] for tables in runs]) for name in everywhere]


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
