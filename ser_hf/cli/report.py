"""`ser-hf report`: a run's predictions judged again, without its model and without any recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..evaluation.report import EvaluationReport
from ..evaluation.tables import PredictionTable


def report_runs(runs: Sequence[Path], out: Path | None = None) -> EvaluationReport:
    """Writes the report of a run folder (or of a prediction table) anew and returns it.

    Args:
        runs: folders with `predictions.parquet`, or such files; several are pooled, such as the seeds of one model.
        out: where to write; default, for one run: beside the predictions.
    """
    tables = [run / "predictions.parquet" if run.is_dir() else run for run in runs]
    for run, table in zip(runs, tables, strict=True):
        if not table.is_file():
            raise FileNotFoundError(f"{run} holds no predictions.parquet: name a run folder, or a prediction table")
    if out is None and len(tables) > 1:
        raise ValueError("several runs are pooled into a new report: say where with --out FOLDER")
    pooled = PredictionTable.pool([PredictionTable.read(table) for table in tables])
    report = EvaluationReport.from_table(pooled)
    report.write(out or tables[0].parent)
    if out is not None:
        pooled.write(out / "predictions.parquet")
    return report
