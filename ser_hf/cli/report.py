"""`ser-hf report`: a run's predictions judged again, without its model and without any recording."""

from __future__ import annotations

from pathlib import Path

from ..evaluation.report import EvaluationReport
from ..evaluation.tables import PredictionTable


def report_run(run: Path, out: Path | None = None) -> EvaluationReport:
    """Writes the report of a run folder (or of a prediction table) anew and returns it.

    Args:
        run: a folder with `predictions.parquet`, or such a file.
        out: where to write; default: beside the predictions.
    """
    table = run / "predictions.parquet" if run.is_dir() else run
    if not table.is_file():
        raise FileNotFoundError(f"{run} holds no predictions.parquet: name a run folder, or a prediction table")
    report = EvaluationReport.from_table(PredictionTable.read(table))
    report.write(out or table.parent)
    return report
