"""Validation speakers of a run beside its test speakers: what is fitted on the former, and measured on the latter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .tables import PredictionTable, TableError

VALIDATION_FILE = "validation.parquet"


def read_validation(folder: str | Path) -> PredictionTable | None:
    """The validation table of a run folder; None where it has none.

    A run has none if its validation speakers trained too, or if it was made before there were such tables.
    """
    path = Path(folder, VALIDATION_FILE)
    return PredictionTable.read(path) if path.exists() else None


def pool_validations(tables: Sequence[PredictionTable | None]) -> PredictionTable | None:
    """Validation tables of folds and seeds as one; None if one of them has none, for which nothing could be fitted."""
    return None if any(table is None for table in tables) else PredictionTable.pool(tables)


def by_model(table: PredictionTable, validation: PredictionTable) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Fold, seed, test rows and validation rows (positions) of every model in a table.

    Raises:
        TableError: if the classes differ, a model of the test table was not validated, or an utterance is in both parts
            of a model.
    """
    if table.metadata.classes != validation.metadata.classes:
        raise TableError(
            f"the validation table has the classes {', '.join(validation.metadata.classes)}, the test table "
            f"{', '.join(table.metadata.classes)}: take both from the same runs"
        )
    validated = validation.rows.groupby(["fold", "seed"]).indices
    for (fold, seed), test_rows in sorted(table.rows.groupby(["fold", "seed"]).indices.items()):
        if (fold, seed) not in validated:
            raise TableError(
                f"the validation table has no utterance of fold {fold}, seed {seed}: take both from the same runs"
            )
        validation_rows = validated[fold, seed]
        tested = set(table.rows["utterance_id"].iloc[test_rows])
        if shared := sorted(tested.intersection(validation.rows["utterance_id"].iloc[validation_rows])):
            raise TableError(
                f"utterance {shared[0]} is in the test and in the validation part of fold {fold} ({len(shared)} such): "
                "what is fitted on it proves nothing"
            )
        yield int(fold), int(seed), test_rows, validation_rows
