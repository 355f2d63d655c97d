"""Validation speakers of a run beside its test speakers: what is fitted on the former, and measured on the latter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .tables import PredictionTable, TableError


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
