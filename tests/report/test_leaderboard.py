import dataclasses
import json

import pytest
from predictions import FACTS, difference_of, make_rows

from ser_hf.evaluation.tables import PredictionTable
from ser_hf.report.leaderboard import leaderboard, to_markdown
from ser_hf.report.report import EvaluationReport


@pytest.fixture
def put(tmp_path):
    """Writes a run folder: its report, with or without its predictions."""

    def write(name, rows=None, *, with_table=True, cost=None, **facts):
        table = PredictionTable(make_rows() if rows is None else rows, dataclasses.replace(FACTS, model=name, **facts))
        folder = tmp_path / name
        folder.mkdir()
        report = EvaluationReport.from_table(table)
        (folder / "report.json").write_text(json.dumps(report.to_dict()))
        if with_table:
            table.write(folder / "predictions.parquet")
        if cost is not None:
            (folder / "cost.json").write_text(json.dumps(cost))
        return table

    return write


def test_models_are_ranked_by_uar_and_share_a_rank_where_no_difference_is_shown(put, tmp_path):
    tables = {
        name: put(name, make_rows(360, skill=skill, seed=seed))
        for seed, (name, skill) in enumerate({"best": 3.0, "as good": 2.95, "middle": 1.2, "poor": 0.0}.items())
    }
    (board,) = leaderboard(tmp_path)["tables"]
    rows = board["entries"]
    assert [row["uar"] for row in rows] == sorted((row["uar"] for row in rows), reverse=True)
    assert [row["rank"] for row in rows] == [1, 1, 3, 4]
    assert [row["tied"] for row in rows] == [False, True, False, False]
    names = [row["name"] for row in rows]
    assert {names[0], names[1]} == {"best", "as good"}
    assert [row["p"] for row in rows] == [
        None,
        *(difference_of(tables[leader], tables[other])["p"] for leader, other in
          ((names[0], names[1]), (names[0], "middle"), ("middle", "poor"))),
    ]  # fmt: skip
    assert rows[1]["p"] > 0.05 > rows[2]["p"]


def test_without_predictions_a_tie_cannot_be_told(put, tmp_path):
    put("a", make_rows(skill=3.0))
    put("b", make_rows(skill=2.9, seed=1), with_table=False)
    put("c", make_rows(skill=0.0, seed=1))
    (board,) = leaderboard(tmp_path)["tables"]
    by_name = {row["name"]: row for row in board["entries"]}
    assert (by_name["b"]["p"], by_name["b"]["tied"]) == (None, None)
    assert (by_name["c"]["p"], by_name["c"]["tied"]) == (None, None), "the one above it has no predictions"
    assert f"| {by_name['b']['rank']} | b: b | {by_name['b']['uar']:.3f} [" in "\n".join(
        to_markdown({"tables": [board]})
    )


def test_a_pair_that_cannot_be_compared_costs_its_tie_and_not_the_table(put, tmp_path):
    put("a", make_rows(skill=50.0))
    put("b", make_rows(seed=1).assign(utterance_id=[f"ravdess/x{number}" for number in range(120)]))
    put("c", make_rows(skill=0.0, seed=2))
    (board,) = leaderboard(tmp_path)["tables"]
    assert [row["name"] for row in board["entries"]] == ["a", "b", "c"]
    second = board["entries"][1]
    assert (second["rank"], second["tied"], second["p"]) == (2, None, None)
    assert "a and b cannot be compared: 240 utterances are in only one of them" in second["note"]
    text = "\n".join(to_markdown({"tables": [board]}))
    assert f"* Unknown if b shares a rank: {second['note']}." in text
    assert "| - | - | - | - |" in text


def test_a_dash_of_a_metric_that_a_report_lacks_is_explained(put, tmp_path):
    put("a")
    facts = leaderboard(tmp_path)
    assert "A dash in Macro F1" not in "\n".join(to_markdown(facts))
    del facts["tables"][0]["entries"][0]["rates"]["macro_f1"]
    assert "* A dash in Macro F1: the report is older than the metric." in "\n".join(to_markdown(facts))


@pytest.mark.parametrize("with_table", [True, False], ids=["with predictions", "reports alone"])
@pytest.mark.parametrize(
    "facts",
    [
        dict(protocol="ravdess/si6+refit"),
        dict(scheme="four"),
        dict(rows=make_rows(label_source="voice")),
        dict(rows=make_rows(speaker=None)),
        dict(relation="shared"),
        dict(adaptation="enrolled-10"),
        dict(rows=make_rows(90)),
        dict(rows=make_rows().query("fold < 2")),
        dict(condition="telephone band"),
        dict(evaluation_map={"anger": ("sadness",)}),
    ],
    ids=[
        "protocol", "scheme", "label source", "unknown speakers", "relation", "adaptation", "utterances", "folds",
        "condition", "evaluation map",
    ],
)  # fmt: skip
def test_what_is_judged_otherwise_is_ranked_apart(put, tmp_path, facts, with_table):
    put("one")
    put("other", **facts, with_table=with_table)
    boards = leaderboard(tmp_path)["tables"]
    assert sorted(row["name"] for board in boards for row in board["entries"]) == ["one", "other"]
    assert [len(board["entries"]) for board in boards] == [1, 1]
    assert [board["entries"][0]["rank"] for board in boards] == [1, 1]


def test_a_run_over_some_folds_stands_below_the_whole_protocol_and_says_so(put, tmp_path):
    put("a whole", make_rows(skill=0.5))
    put("part", make_rows(skill=50.0).query("fold < 2"))
    whole, part = leaderboard(tmp_path)["tables"]
    assert ([whole["folds"], whole["partial"]], [part["folds"], part["partial"]]) == (
        [[0, 1, 2], False],
        [[0, 1], True],
    )
    text = "\n".join(to_markdown({"tables": [whole, part]}))
    assert "`ravdess/si6`, folds 0 1 2, scheme `three`, intended labels, n = 120" in text
    assert "`ravdess/si6`, folds 0 1 only, scheme `three`" in text


def test_the_ranking_does_not_depend_on_the_names_of_folders(put, tmp_path):
    skills = [2.0, 1.9, 0.5, 0.1]
    for number, skill in enumerate(skills):
        put(f"x{number}", make_rows(360, skill=skill, seed=number))
    before = leaderboard(tmp_path)["tables"][0]["entries"]
    for number in range(4):
        (tmp_path / f"x{number}").rename(tmp_path / f"y{3 - number}")
    after = leaderboard(tmp_path)["tables"][0]["entries"]
    same = ("rank", "model", "uar", "p", "tied")
    assert [[row[name] for name in same] for row in before] == [[row[name] for name in same] for row in after]


def test_size_and_speed_are_those_of_the_cost_beside_the_report(put, tmp_path):
    put("a", make_rows(skill=2.0), cost={"numbers": 21133839, "epoch_seconds": 0.87, "epochs": 80.0})
    put("b", make_rows(skill=1.0), cost={"numbers": 1227381, "epoch_seconds": None, "epochs": None})
    facts = leaderboard(tmp_path)
    text = "\n".join(to_markdown(facts))
    assert "| 21.13 M | 0.9 | 80 |" in text
    assert "| 1.23 M | - | - |" in text
    assert json.loads(json.dumps(facts, allow_nan=False)) == json.loads(json.dumps(leaderboard(tmp_path)))


def test_what_cannot_be_ranked_is_refused(put, tmp_path):
    with pytest.raises(FileNotFoundError, match="has no run folder with a report"):
        leaderboard(tmp_path)
    put("a")
    PredictionTable(make_rows(60), FACTS).write(tmp_path / "a/predictions.parquet")
    with pytest.raises(ValueError, match="does not match the predictions beside it"):
        leaderboard(tmp_path)
    PredictionTable(make_rows(), dataclasses.replace(FACTS, condition="telephone band")).write(
        tmp_path / "a/predictions.parquet"
    )
    with pytest.raises(ValueError, match="does not match the predictions beside it"):
        leaderboard(tmp_path)
    (tmp_path / "a/report.json").write_text('{"uar": 0.9}')
    with pytest.raises(ValueError, match="not a report of this version"):
        leaderboard(tmp_path)


@pytest.mark.parametrize(("content", "says"), [('{"uar": ', r"a.report\.json is not JSON"), ("[]", "is not a report")])
def test_a_damaged_report_is_named_with_the_way_out(put, tmp_path, content, says):
    put("a")
    (tmp_path / "a/report.json").write_text(content)
    with pytest.raises(ValueError, match=f"{says}.*`ser-hf report`"):
        leaderboard(tmp_path)


def test_a_damaged_cost_is_named(put, tmp_path):
    put("a")
    (tmp_path / "a/cost.json").write_text("{")
    with pytest.raises(ValueError, match=r"cost\.json is not JSON .*remove it"):
        leaderboard(tmp_path)


@pytest.mark.parametrize("fact", ["declared_new", "cross_validated"])
def test_no_two_tables_have_the_same_heading(put, tmp_path, fact):
    put("a")
    put("b", **{fact: True})
    headings = [line for line in to_markdown(leaderboard(tmp_path)) if line.startswith("## ")]
    assert len(set(headings)) == 2
