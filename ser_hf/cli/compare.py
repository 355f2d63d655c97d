"""`ser-hf compare`: comparison of models on the same test utterances, from their predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..evaluation.comparisons.compare import compare
from ..evaluation.tables import PredictionTable
from ..files import TEST


def compare_runs(runs: Sequence[str], *, metric: str = "uar") -> dict:
    """Return the result of `evaluation.comparisons.compare.compare` for run folders or prediction tables.

    Args:
        runs: one word per model; the seeds of one model are joined by commas. The name of a model is that in its
            predictions, with its folder if two models have the same name.
    """
    tables = [PredictionTable.pool([read_table(Path(run)) for run in word.split(",")]) for word in runs]
    called = Counter(table.metadata.model for table in tables)
    names = [
        table.metadata.model if called[table.metadata.model] == 1 else f"{table.metadata.model} ({_folders(word)})"
        for word, table in zip(runs, tables, strict=True)
    ]
    if len(set(names)) < len(names):
        raise ValueError(
            f"two of the runs {', '.join(runs)} have the same name: pass each run once, or put them into "
            "folders of different names"
        )
    return compare(dict(zip(names, tables, strict=True)), metric=metric)


def _folders(word: str) -> str:
    return " + ".join(Path(run).resolve().name for run in word.split(","))


def read_table(run: Path) -> PredictionTable:
    """Read the predictions of a run folder, or a prediction table."""
    table = run / TEST if run.is_dir() else run
    if not table.is_file():
        raise FileNotFoundError(f"{run} has no predictions.parquet: pass a run folder, or a prediction table")
    return PredictionTable.read(table)
