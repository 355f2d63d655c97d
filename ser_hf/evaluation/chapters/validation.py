"""The validation speakers of a run, on which thresholds are fitted, matched to its test speakers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...splits.relation import Relation
from ..tables import PredictionTable, TableError


def by_model(table: PredictionTable, validation: PredictionTable) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Yield fold, seed, test rows and validation rows (positions) of every model in a table.

    Raises:
        TableError: if the validation table is not of clean recordings of validation speakers; if its protocol, scheme,
            classes or model differ; if it has no rows for a model of the test table; or if an utterance (for a
            speaker-independent test: a speaker) is in both parts of a model.
    """
    _refuse_strangers(table, validation)
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
                "fit on utterances that are not in the test part"
            )
        if table.metadata.relation == Relation.HELD_OUT:
            test_speakers = set(table.rows["speaker"].iloc[test_rows].dropna())
            if shared := sorted(test_speakers.intersection(validation.rows["speaker"].iloc[validation_rows])):
                raise TableError(
                    f"speaker {shared[0]} is in the test and in the validation part of fold {fold} ({len(shared)} "
                    "such), but the test is called speaker-independent: take both from the same runs"
                )
        yield int(fold), int(seed), test_rows, validation_rows


def _refuse_strangers(table: PredictionTable, validation: PredictionTable) -> None:
    """Raise if a validation table has no validation speakers, or is not of the same runs as the test table."""
    facts = validation.metadata
    if facts.part != "validation":
        raise TableError(f"the validation table has {facts.part} speakers: pass one with validation speakers")
    if facts.condition != "clean":
        raise TableError(f"the validation table has recordings under {facts.condition}: fit on clean recordings")
    if facts.evaluation_map:
        raise TableError(
            "the validation table has an evaluation map, with which nothing can be fitted: leave the map out"
        )
    for name in ("protocol", "scheme", "classes", "model"):
        wanted, found = getattr(table.metadata, name), getattr(facts, name)
        if wanted != found:
            raise TableError(
                f"the validation table has the {name} {found!r}, the test table {wanted!r}: take both from the same "
                "runs"
            )
