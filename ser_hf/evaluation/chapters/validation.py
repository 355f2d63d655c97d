"""Validation speakers of a run beside its test speakers: what is fitted on the former, and measured on the latter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..tables import PredictionTable, TableError


def by_model(table: PredictionTable, validation: PredictionTable) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Fold, seed, test rows and validation rows (positions) of every model in a table.

    Raises:
        TableError: if the validation table is not one of clean recordings of validation speakers, if its protocol,
            scheme, classes or model differ, if a model of the test table was not validated, or an utterance (a speaker,
            where the test is of new ones) is in both parts of a model.
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
                "what is fitted on it proves nothing"
            )
        if table.metadata.speaker_independent:
            heard = set(table.rows["speaker"].iloc[test_rows].dropna())
            if shared := sorted(heard.intersection(validation.rows["speaker"].iloc[validation_rows])):
                raise TableError(
                    f"speaker {shared[0]} is in the test and in the validation part of fold {fold} ({len(shared)} "
                    "such), but the test is said to be of new speakers: take both from the same runs"
                )
        yield int(fold), int(seed), test_rows, validation_rows


def _refuse_strangers(table: PredictionTable, validation: PredictionTable) -> None:
    """Raises if a validation table is none, or not of the runs of a test table."""
    facts = validation.metadata
    if facts.part != "validation":
        raise TableError(f"what was given as the validation table is of the {facts.part} speakers: fit on others")
    if facts.condition != "clean":
        raise TableError(f"the validation table is of recordings under {facts.condition}: fit on clean ones")
    if facts.evaluation_map:
        raise TableError(
            "the validation table is judged by an evaluation map, which has no probabilities: leave it out"
        )
    for name in ("protocol", "scheme", "classes", "model"):
        wanted, found = getattr(table.metadata, name), getattr(facts, name)
        if wanted != found:
            raise TableError(
                f"the validation table is of another {name}, {found!r} and not {wanted!r} as the test table: take both "
                "from the same runs"
            )
