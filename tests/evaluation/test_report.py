import json

import numpy as np
import pandas
import pytest

from ser_hf.evaluation.forgetting import ForgettingTable
from ser_hf.evaluation.report import EvaluationReport
from ser_hf.evaluation.tables import PredictionTable, TableError, TableMetadata

CLASSES = ("anger", "neutral", "sadness")
FACTS = TableMetadata("ravdess/si6", "three", CLASSES, {"ravdess": {"calm": 12}}, model="tiny")


def make_rows(utterances=120, speakers=12, skill=2.0, seed=0, **columns):
    random = np.random.default_rng(seed)
    labels = np.arange(utterances) % len(CLASSES)
    logits = random.normal(size=(utterances, len(CLASSES))) + skill * np.eye(len(CLASSES))[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = pandas.DataFrame(
        {
            "utterance_id": [f"ravdess/{number}" for number in range(utterances)],
            "corpus": "ravdess", "language": "en",
            "speaker": [f"ravdess-{number % speakers:02d}" for number in range(utterances)],
            "gender": "female", "age": None, "session": None, "statement": "01", "intensity": None,
            "label_source": "intended", "duration": 3.0, "fold": np.arange(utterances) * 3 // utterances, "seed": 42,
            "label": np.asarray(CLASSES)[labels], "prediction": np.asarray(CLASSES)[probabilities.argmax(axis=1)],
        }
    )  # fmt: skip
    for name, column in zip(CLASSES, probabilities.T, strict=True):
        rows[f"p_{name}"] = column
    return rows.assign(**columns)


def test_a_table_returns_from_parquet_as_it_was(tmp_path):
    table = PredictionTable(make_rows(extra="kept"), FACTS)
    table.write(tmp_path / "deep/table.parquet")
    again = PredictionTable.read(tmp_path / "deep/table.parquet")
    pandas.testing.assert_frame_equal(again.rows, table.rows, check_dtype=False)
    assert again.metadata == table.metadata


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.drop(columns="speaker"), "no column speaker"),
        (lambda rows: rows.iloc[:0], "no row"),
        (lambda rows: pandas.concat([rows, rows.iloc[3:5]]), r"ravdess/3 stands twice .*\(2 of 122 rows\)"),
        (lambda rows: rows.replace({"label": {"anger": "angry"}}), "ravdess/0 has a label that is none of anger"),
        (lambda rows: rows.assign(p_anger=np.nan), "outside"),
        (lambda rows: rows.assign(p_anger=rows["p_anger"] / 2), "do not sum to 1"),
        (lambda rows: rows.assign(prediction="neutral"), "not its most probable class"),
    ],
)
def test_a_table_that_cannot_be_believed_is_refused(spoil, message):
    with pytest.raises(TableError, match=message):
        PredictionTable(spoil(make_rows()), FACTS)


def test_files_that_are_no_table_are_told_apart(tmp_path):
    (tmp_path / "text.parquet").write_text("no")
    make_rows().to_parquet(tmp_path / "other.parquet")
    for name, message in (("lost", "there is no"), ("text", "not a Parquet"), ("other", "does not say its protocol")):
        with pytest.raises(TableError, match=message):
            PredictionTable.read(tmp_path / f"{name}.parquet")


def test_folds_are_pooled_and_strangers_are_not():
    rows = make_rows()
    folds = [PredictionTable(rows[rows["fold"] == fold], FACTS) for fold in range(3)]
    assert len(PredictionTable.pool(folds).rows) == 120
    other = TableMetadata("ravdess/loso", "three", CLASSES)
    with pytest.raises(TableError, match="different protocol cannot be pooled: 'ravdess/si6' and 'ravdess/loso'"):
        PredictionTable.pool([folds[0], PredictionTable(folds[1].rows, other)])
    with pytest.raises(TableError, match="stands twice"):
        PredictionTable.pool([folds[0], folds[0]])


def test_the_same_table_gives_the_same_files_byte_for_byte(tmp_path):
    table = PredictionTable(make_rows(), FACTS)
    for folder in ("one", "two"):
        EvaluationReport.from_table(table).write(tmp_path / folder)
    for name in ("report.json", "report.md", "confusion.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert EvaluationReport.read(tmp_path / "one/report.json") == EvaluationReport.from_table(table)


def test_the_json_begins_with_what_a_comparison_needs():
    report = EvaluationReport.from_table(PredictionTable(make_rows(), FACTS)).to_dict()
    assert report["protocol"] == "ravdess/si6"
    assert report["n"] == 120
    assert report["speaker_knowledge"] == "blind"
    assert set(report) >= {"scheme", "uar", "uar_interval", "war", "macro_f1"}
    assert report["uar_interval"][0] < report["uar"] < report["uar_interval"][1]
    assert report["dropped"] == {"ravdess": {"calm": 12}}
    assert [row["n"] for row in report["per_fold"]] == [40, 40, 40]
    json.dumps(report)


def test_noise_is_reported_as_chance():
    report = EvaluationReport.from_table(PredictionTable(make_rows(3000, skill=0.0), FACTS))
    assert report.uar_interval[0] < report.chance < report.uar_interval[1]
    assert report.uar == pytest.approx(1 / 3, abs=0.05)


def test_what_a_reader_must_know_stands_in_the_headline():
    synthetic = TableMetadata("p", "s", CLASSES, synthetic=True, speaker_independent=False)
    report = EvaluationReport.from_table(PredictionTable(make_rows(), synthetic))
    assert "NOT speaker-independent" in report.headline
    assert "SYNTHETIC" in report.headline
    assert any("heard in training" in note for note in report.notes)


def test_a_figure_on_a_part_of_a_corpus_says_so():
    facts = TableMetadata("p", "s", CLASSES, partial={"nemo": "found 1990 of 4481 utterances of nemo"})
    assert "1990 of 4481" in EvaluationReport.from_table(PredictionTable(make_rows(), facts)).to_markdown()


def test_without_speakers_there_is_no_interval_and_no_claim():
    report = EvaluationReport.from_table(PredictionTable(make_rows(speaker=None), FACTS))
    assert report.uar_interval is None
    assert not report.speaker_independent
    assert "nothing here is speaker-independent" in report.to_markdown()


def test_forgetting_is_what_was_lost_since_the_best():
    stages = {"first": (3.0, 0.0), "second": (1.0, 3.0)}
    tables = {}
    for stage, (skill_a, skill_b) in stages.items():
        a, b = make_rows(600, skill=skill_a), make_rows(600, skill=skill_b, seed=1, corpus="emodb")
        b["utterance_id"] = [f"emodb/{number}" for number in range(600)]
        tables[stage] = PredictionTable(pandas.concat([a, b], ignore_index=True), FACTS)
    table = ForgettingTable.from_tables(tables, learnt_in={"ravdess": "first", "emodb": "second"})
    uar = {stage: table.reports[stage]["ravdess"].uar for stage in stages}
    assert table.forgetting("ravdess") == pytest.approx(uar["first"] - uar["second"])
    assert table.forgetting("ravdess") > 0.2
    assert table.forgetting("emodb") == 0
    assert table.to_markdown().count("**") == 4, "the stage in which a corpus was new is bold"
