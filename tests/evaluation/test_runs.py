"""Run folders: what was scored there comes back whole, pools only with its like, and says what is missing."""

import dataclasses

import pytest
from predictions import FACTS, make_rows

from ser_hf.evaluation.runs import RunTables
from ser_hf.evaluation.tables import PredictionTable, TableError


def make_run(fold=0, *, conditions=("noise:10",), validated=True):
    def table(seed, name="test", **facts):
        rows = make_rows(seed=seed).assign(fold=fold)
        for column in ("utterance_id", "speaker"):
            rows[column] = [f"{one}/{name}{fold}" for one in rows[column]]
        return PredictionTable(rows, dataclasses.replace(FACTS, **facts))

    validation = table(1, "validation", part="validation") if validated else None
    return RunTables(table(0), validation, [table(2, condition=condition) for condition in conditions])


def test_a_run_comes_back_from_its_folder_with_every_table(tmp_path):
    run = make_run(conditions=("gsm", "noise:10"))
    run.write(tmp_path)
    again = RunTables.read(tmp_path)
    assert again.report().to_dict() == run.report().to_dict()
    assert [table.metadata.condition for table in again.disturbed] == ["gsm", "noise:10"]
    assert RunTables.read(tmp_path / "predictions.parquet").validation is None


def test_pooled_folds_hold_the_utterances_of_all(tmp_path):
    pooled = RunTables.pool([make_run(0), make_run(1)])
    report = pooled.report()
    assert (report.n, len(report.per_fold), report.selective["n"]) == (240, 2, 240)
    assert report.robustness["conditions"][0]["n"] == 240


def test_one_fold_without_validation_speakers_leaves_the_thresholds_out():
    assert RunTables.pool([make_run(0), make_run(1, validated=False)]).validation is None


def test_runs_under_different_conditions_are_not_pooled():
    with pytest.raises(TableError, match=r"noise:10 and gsm"):
        RunTables.pool([make_run(0), make_run(1, conditions=("gsm",))])


def test_a_validation_table_of_an_earlier_run_does_not_stay(tmp_path):
    make_run().write(tmp_path)
    make_run(validated=False).write(tmp_path)
    assert RunTables.read(tmp_path).validation is None


def test_a_folder_without_predictions_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no predictions\.parquet: name a run folder"):
        RunTables.read(tmp_path)
