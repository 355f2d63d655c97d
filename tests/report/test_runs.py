"""Run folders: what was scored there comes back whole, pools only with its like, and says what is missing."""

import dataclasses

import pytest
from predictions import FACTS, make_rows

from ser_hf.evaluation.tables import PredictionTable
from ser_hf.report.runs import RunTables


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
    assert (report.n, len(report.per_fold), report.chapters["selective"]["n"]) == (240, 2, 240)
    assert report.chapters["robustness"]["conditions"][0]["n"] == 240


def test_one_fold_without_validation_speakers_leaves_the_thresholds_out():
    assert RunTables.pool([make_run(0), make_run(1, validated=False)]).validation is None


@pytest.mark.parametrize("others", [("gsm",), (), ("gsm", "noise:10")])
def test_a_condition_is_pooled_where_every_run_was_heard_under_it(others):
    runs = [make_run(0), make_run(1, conditions=others)]
    for order in (runs, runs[::-1]):
        pooled = RunTables.pool(order)
        assert [table.metadata.condition for table in pooled.disturbed] == [
            name for name in others if name == "noise:10"
        ]


def test_nothing_of_an_earlier_run_stays(tmp_path):
    make_run(conditions=("noise:10", "clip:10")).write(tmp_path)
    make_run(conditions=("gsm",), validated=False).write(tmp_path)
    again = RunTables.read(tmp_path)
    assert again.validation is None
    assert [table.metadata.condition for table in again.disturbed] == ["gsm"]


def test_the_order_in_which_conditions_were_scored_is_nothing_to_the_report(tmp_path):
    run = make_run(conditions=("noise:20", "gsm", "noise:0", "noise:10"))
    run.write(tmp_path)
    assert RunTables.read(tmp_path).report() == run.report()


def test_a_folder_without_predictions_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no predictions\.parquet: pass a run folder"):
        RunTables.read(tmp_path)
