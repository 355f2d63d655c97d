"""Answers that were made with the number of utterances of each emotion of a speaker are told from honest ones."""

from dataclasses import replace

import numpy as np
import pandas
import pytest
from predictions import FACTS, make_rows
from scipy.optimize import linear_sum_assignment

from ser_hf.evaluation.tables import PredictionTable
from ser_hf.files import ADAPTATIONS, TEST
from ser_hf.inspection.class_counts import known_class_counts

CLASSES = np.array(FACTS.classes)


def answered(counts_are_known, seed, skill=1.5):
    """Rows of 120 utterances that are answered by the best score, or by the best scores that fit the counts."""
    rows, random = make_rows(speakers=10, seed=seed, fold=0), np.random.default_rng(seed)
    scores = random.normal(size=(len(rows), len(CLASSES))) + skill * (rows["label"].to_numpy()[:, None] == CLASSES)
    rows["prediction"] = CLASSES[scores.argmax(axis=1)]
    if counts_are_known:
        for numbers in rows.groupby("speaker").indices.values():
            places = np.searchsorted(CLASSES, np.sort(rows["label"].to_numpy()[numbers]))
            _, chosen = linear_sum_assignment(-scores[numbers][:, places])
            rows.loc[numbers, "prediction"] = CLASSES[places[chosen]]
    for name in CLASSES:
        rows[f"p_{name}"] = np.where(rows["prediction"] == name, 0.8, 0.1)
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_answers_with_known_counts_are_found_and_others_are_not(seed):
    (found,) = known_class_counts(answered(True, seed))
    assert found.severity == "error"
    assert known_class_counts(answered(False, seed)) == []


@pytest.mark.parametrize("seed", range(20))
def test_small_tables_and_draws_of_few_speakers_are_not_accused(seed):
    """Two errors of a speaker cancel out now and then, and ten draws of one model are no ten speakers."""
    random = np.random.default_rng(seed)
    rows = make_rows(utterances=12, speakers=3, seed=seed, fold=0)
    rows["label"] = CLASSES[random.integers(0, 2, 12)]
    rows["prediction"] = CLASSES[random.integers(0, 2, 12)]
    assert known_class_counts(rows) == []
    swapped = make_rows(utterances=30, speakers=10, fold=0)
    rows = swapped[swapped["speaker"].isin(["ravdess-00", "ravdess-01"])]
    rows = rows.assign(prediction=np.roll(rows["label"].to_numpy(), 2))
    draws = pandas.concat([rows.assign(seed=draw) for draw in range(10)])
    assert known_class_counts(draws) == []


def test_without_errors_or_names_nothing_can_be_said():
    rows = answered(True, 0)
    assert known_class_counts(rows.assign(prediction=rows["label"])) == []
    assert known_class_counts(rows.assign(speaker=None)) == []


def test_an_adapted_table_beside_the_table_of_a_run_is_audited_too(tmp_path, run_verb):
    PredictionTable(answered(False, 1), FACTS).write(tmp_path / TEST)
    (tmp_path / ADAPTATIONS).mkdir()
    adapted = replace(FACTS, adaptation="transductive")
    PredictionTable(answered(True, 1), adapted).write(tmp_path / ADAPTATIONS / "transductive.parquet")
    code, told, _ = run_verb("audit", str(tmp_path))
    assert code == 1
    assert "class-counts-known: the answers of" in told
