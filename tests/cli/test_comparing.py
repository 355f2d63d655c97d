"""`ser-hf compare`, `cross-corpus`, `leaderboard`, and `evaluate` with an evaluation map, as a user types them."""

import dataclasses
import json
import sys

import numpy as np
import pandas
import pytest

from ser_hf.cli.main import main
from ser_hf.evaluation.tables import PredictionTable, TableMetadata
from ser_hf.models.pretrained import build_classifier
from ser_hf.report.report import EvaluationReport
from ser_hf.splits.ledger import Ledger, Training

pytestmark = pytest.mark.slow

CLASSES = ("anger", "neutral", "sadness")
FACTS = TableMetadata("ravdess/si6", "three", CLASSES, model="tiny", trained_on=("ravdess",))


@pytest.fixture
def ser_hf(capsys, monkeypatch):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["ser-hf", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return run


def write_run(folder, *, skill, seed=0, corpus="ravdess", **facts):
    """A run folder with predictions that are right in `skill` of the cases, and their report."""
    random = np.random.default_rng(seed)
    label = np.arange(240) % 3
    answer = np.where(random.random(240) < skill, label, (label + 1) % 3)
    rows = pandas.DataFrame(
        {
            "utterance_id": [f"{corpus}/{number}" for number in range(240)], "corpus": corpus, "language": "en",
            "speaker": [f"{corpus}-{number % 16:02d}" for number in range(240)], "gender": None, "age": None,
            "session": None, "statement": None, "intensity": None, "label_source": "intended", "duration": 2.0,
            "fold": 0, "seed": seed, "label": np.asarray(CLASSES)[label], "prediction": np.asarray(CLASSES)[answer],
            **{f"p_{name}": (answer == number).astype(float) for number, name in enumerate(CLASSES)},
        }
    )  # fmt: skip
    table = PredictionTable(rows, dataclasses.replace(FACTS, **facts))
    table.write(folder / "predictions.parquet")
    EvaluationReport.from_table(table).write(folder)
    return folder


def test_compare_takes_run_folders_tables_and_seeds_joined_by_commas(ser_hf, tmp_path):
    good = [write_run(tmp_path / f"good{seed}", skill=0.9, seed=seed) for seed in range(2)]
    poor = write_run(tmp_path / "poor", skill=0.6, seed=5, model="tinier")
    words = ["compare", f"{good[0]},{good[1]}", poor / "predictions.parquet"]
    code, told, _ = ser_hf(*words, "--json")
    facts = json.loads(told)
    assert (code, facts["n"], facts["speakers"]) == (0, 240, 16)
    assert [(model["name"], model["seeds"]) for model in facts["models"]] == [("tiny", 2), ("tinier", 1)]
    assert facts["pairs"][0]["significant"]
    assert "tiny is better than tinier" in ser_hf(*words, "--metric", "war")[1]
    assert "tiny (good0)" in ser_hf("compare", *good)[1], "two runs of one name are told apart by their folders"


def test_compare_says_in_one_line_what_cannot_be_compared(ser_hf, tmp_path):
    one = write_run(tmp_path / "one", skill=0.9)
    other = write_run(tmp_path / "other", skill=0.9, model="svm", protocol="ravdess/si6+refit")
    for words, message in (
        ([one, other], "tiny and svm cannot be compared: they differ in protocol"),
        ([one], "two or more models"),
        ([one, one], "pass each run once"),
        ([one, tmp_path], "has no predictions.parquet"),
        ([one, other, "--metric", "ece"], "unknown metric 'ece'"),
    ):
        code, _, told = ser_hf("compare", *words)
        assert (code, told.count("\n")) == (1, 1)
        assert message in told


def test_cross_corpus_writes_the_matrix_as_text_numbers_and_picture(ser_hf, tmp_path):
    runs = [
        write_run(tmp_path / "rr", skill=0.8),
        write_run(tmp_path / "re", skill=0.5, corpus="emodb", protocol="emodb/all"),
    ]
    code, told, _ = ser_hf("cross-corpus", *runs, "--out", tmp_path / "out", "--model", "Whisper")
    assert code == 0
    assert "| ravdess | " in told
    assert "Models: Whisper" in told
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "cross_corpus.json", "cross_corpus.md", "cross_corpus.png",
    ]  # fmt: skip
    plain = json.loads((tmp_path / "out/cross_corpus.json").read_text())
    mapped = json.loads(ser_hf("cross-corpus", *runs, "--json", "--evaluation-map", "neutral=anger")[1])
    assert plain["mean_within"] == mapped["mean_within"]
    assert plain["mean_across"] < mapped["mean_across"]
    code, _, told = ser_hf("cross-corpus", *runs, "--evaluation-map", "tired=anger")
    assert (code, told.count("\n")) == (1, 1)


def test_leaderboard_ranks_a_folder_and_writes_it(ser_hf, tmp_path):
    for name, skill in (("poor", 0.4), ("good", 0.9)):
        write_run(tmp_path / "runs" / name, skill=skill, model=name)
    write_run(tmp_path / "runs/refitted", skill=0.9, protocol="ravdess/si6+refit")
    code, told, _ = ser_hf("leaderboard", tmp_path / "runs", "--out", tmp_path / "out")
    assert code == 0
    assert told == (tmp_path / "out/leaderboard.md").read_text()
    boards = json.loads((tmp_path / "out/leaderboard.json").read_text())["tables"]
    assert [[row["name"] for row in board["entries"]] for board in boards] == [["good", "poor"], ["refitted"]]
    assert ser_hf("leaderboard", tmp_path / "nothing")[0] == 1


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """A run over two folds, of a model that knows boredom and has never heard the synthetic corpus."""
    run = tmp_path_factory.mktemp("runs") / "run"
    for fold in range(2):
        model, extractor = build_classifier("tiny-hubert", ["anger", "boredom", "happiness"])
        for part in (model, extractor):
            part.save_pretrained(run / f"fold{fold}")
        heard = {"train": ["emodb-03"], "validation": ["emodb-08"]}
        Ledger(
            (
                Training(
                    ("emodb/pairs5",), fold, 42 + fold, "emodb7", ("emodb",), heard, {"train": [], "validation": []}
                ),
            )
        ).write(run / f"fold{fold}")
    return run


def test_a_head_is_judged_on_emotions_that_it_does_not_have(ser_hf, folds, tmp_path):
    words = ["evaluate", folds, "--corpus", "synthetic"]
    code, _, told = ser_hf(*words, "--scheme", "five")
    assert code == 1
    assert "no label for fear, neutral, sadness" in told
    assert "--evaluation_map" in told
    code, told, error = ser_hf(*words, "--evaluation-map", "boredom=neutral|sadness", "--out", tmp_path, "--json")
    assert code == 0, error
    table = PredictionTable.read(tmp_path / "predictions.parquet")
    facts = table.metadata
    assert facts.classes == ("anger", "fear", "happiness", "neutral", "sadness", "boredom")
    assert facts.scheme == "five", "the corpus keeps its own scheme, not that of the training"
    assert (facts.evaluation_map, facts.trained_on) == ({"boredom": ("neutral", "sadness")}, ("emodb",))
    assert (facts.model, set(table.rows["seed"])) == ("run/fold0", {42})
    assert not table.rows[["p_fear", "p_neutral", "p_sadness"]].to_numpy().any()
    assert set(table.rows["prediction"]) <= {"anger", "boredom", "happiness"}
    right = (table.rows["label"] == table.rows["prediction"]) | (
        (table.rows["prediction"] == "boredom") & table.rows["label"].isin(["neutral", "sadness"])
    )
    assert json.loads(told)["rates"]["war"]["value"] == pytest.approx(right.mean())
    assert table.chance == 2 / 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--evaluation_map", "calm=neutral"], "the model has no label 'calm', only anger, boredom, happiness"),
        (["--evaluation_map", "boredom=disgust"], "'disgust' is not a class of the scheme, which has anger, fear"),
        (["--evaluation_map", "boredom=neutral", "--fold", "2"], "has no model of fold 2, only fold0, fold1"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused(ser_hf, folds, words, message):
    code, _, told = ser_hf("evaluate", folds, "--corpus", "synthetic", *words)
    assert code == 1
    assert message in told


def test_of_a_run_over_folds_the_model_of_the_fold_named_is_taken(ser_hf, folds, tmp_path):
    words = ["--corpus", "synthetic", "--evaluation_map", "boredom=neutral", "--out"]
    assert ser_hf("evaluate", folds, "--fold", "1", *words, tmp_path / "named")[0] == 0
    assert ser_hf("evaluate", folds / "fold1", *words, tmp_path / "itself")[0] == 0
    named, itself = (PredictionTable.read(tmp_path / name / "predictions.parquet") for name in ("named", "itself"))
    pandas.testing.assert_frame_equal(named.rows, itself.rows)
    assert named.metadata == itself.metadata
    assert named.metadata.model == "run/fold1"
