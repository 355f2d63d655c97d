"""`ser-hf compare`: comparison of models on the same test utterances, from their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..evaluation.comparisons.compare import compare
from ..evaluation.tables import PredictionTable
from ..report.runs import read_test_table


def compare_runs(runs: Sequence[str], *, metric: str = "uar") -> dict:
    """Return the result of `evaluation.comparisons.compare.compare` for run folders or prediction tables.

    Args:
        runs: one word per model; the seeds of one model are joined by commas. The name of a model is that in its
            predictions, with its folder if two models have the same name.

    Raises:
        ValueError: as `compare`, and if two models have the same name and the same folder names.
        FileNotFoundError, TableError: as `read_test_table`.
    """
    tables = [PredictionTable.pool([read_test_table(run) for run in word.split(",")]) for word in runs]
    models = [table.metadata.model for table in tables]
    names = [
        model if models.count(model) == 1 else f"{model} ({_folders(word)})"
        for word, model in zip(runs, models, strict=True)
    ]
    if len(set(names)) < len(names):
        raise ValueError(
            f"two of the runs {', '.join(runs)} have the same name: pass each run once, or put them into "
            "folders of different names"
        )
    return compare(dict(zip(names, tables, strict=True)), metric=metric)


def _folders(word: str) -> str:
    return " + ".join(Path(run).resolve().name for run in word.split(","))
