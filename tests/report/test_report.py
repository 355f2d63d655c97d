import dataclasses
import json

import pandas
import pytest
from conftest import ROOT
from predictions import CLASSES, FACTS, make_rows

from ser_hf.cli.report import clips_of
from ser_hf.evaluation.metrics import METRICS
from ser_hf.evaluation.tables import PredictionTable, TableError, TableMetadata
from ser_hf.report.report import EvaluationReport


def test_the_same_table_gives_the_same_files_byte_for_byte(tmp_path):
    """Also after a journey through Parquet, with the utterances in another order, and from a report that was read."""
    dropped = {"ravdess": {"surprise": 2, "calm": 12}, "emodb": {"disgust": 1}}
    table = PredictionTable(make_rows(), dataclasses.replace(FACTS, dropped=dropped))
    table.write(tmp_path / "table.parquet")
    shuffled = PredictionTable(table.rows.sample(frac=1, random_state=0), table.metadata)
    reports = [
        EvaluationReport.from_table(t) for t in (table, PredictionTable.read(tmp_path / "table.parquet"), shuffled)
    ]
    reports[0].write(tmp_path / "first")
    for report in (*reports[1:], EvaluationReport.read(tmp_path / "first/report.json")):
        assert report == reports[0]
        report.write(tmp_path / "again")
        for name in ("report.json", "report.md", "report.html", "metrics.csv", "confusion.png"):
            assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_json_holds_what_a_comparison_needs():
    report = EvaluationReport.from_table(PredictionTable(make_rows(), FACTS)).to_dict()
    assert report["protocol"] == "ravdess/si6"
    assert report["n"] == 120
    assert (report["relation"], report["adaptation"]) == ("held_out", "none")
    assert set(report) >= {
        "schema", "scheme", "rates", "scoring",
        "speakers", "folds", "classes", "dropped", "per_class", "confusion", "corpora", "label_source", "model",
        "synthetic", "interval_method", "per_fold", "per_seed", "chance", "notes", "worst_confusions", "chapters",
    }  # fmt: skip
    assert (report["speakers"], report["folds"]) == (12, 3)
    assert set(report["rates"]) == set(METRICS)
    for rate in report["rates"].values():
        assert rate["interval"][0] < rate["value"] < rate["interval"][1]
    assert report["dropped"] == {"ravdess": {"calm": 12}}
    assert [row["n"] for row in report["per_fold"]] == [40, 40, 40]
    json.dumps(report)


def test_the_page_on_reports_names_every_metric():
    names = ", ".join(f"`{name}`" for name in METRICS)
    page = (ROOT / "docs/report.md").read_text(encoding="utf-8")
    assert f"| `rates` | for each metric ({names}) the" in page, f"write {names} in the row `rates` of docs/report.md"


def test_noise_is_reported_as_chance():
    report = EvaluationReport.from_table(PredictionTable(make_rows(3000, skill=0.0), FACTS))
    assert report.rates["uar"]["interval"][0] < report.chance < report.rates["uar"]["interval"][1]
    assert report.uar == pytest.approx(1 / 3, abs=0.05)


def test_the_headline_says_it_all():
    report = EvaluationReport.from_table(PredictionTable(make_rows(), FACTS))
    low, high = report.rates["uar"]["interval"]
    assert report.headline == (
        f"UAR {report.uar:.3f} [{low:.3f}, {high:.3f}] (95 %, jackknife over 12 speakers, n = 120, ravdess/si6, blind)"
    )
    assert report.to_markdown().startswith(f"**{report.headline}**")
    assert "Dropped by the scheme: ravdess 12 calm." in report.to_markdown()
    assert len(report.to_markdown().splitlines()) <= 45, "one screen"


def test_what_a_reader_must_know_stands_in_the_headline():
    synthetic = TableMetadata("p", "s", CLASSES, synthetic=True, relation="shared")
    report = EvaluationReport.from_table(PredictionTable(make_rows(), synthetic))
    assert "NOT speaker-independent" in report.headline
    assert "SYNTHETIC" in report.headline
    assert any("trained on test speakers" in note for note in report.notes)


def test_a_figure_on_a_part_of_a_corpus_says_so():
    facts = TableMetadata("p", "s", CLASSES, partial={"nemo": "found 1990 of 4481 utterances of nemo"})
    assert "1990 of 4481" in EvaluationReport.from_table(PredictionTable(make_rows(), facts)).to_markdown()


def test_without_speakers_there_is_no_interval_and_no_claim():
    report = EvaluationReport.from_table(PredictionTable(make_rows(speaker=None), FACTS))
    assert report.rates["uar"]["interval"] is None
    assert report.relation == "unknown"
    assert "the evaluation is not speaker-independent" in report.to_markdown()


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        (make_rows(speakers=1), "Only one speaker: no interval"),
        (make_rows(speakers=2), "Fewer than 4 speakers: the coverage of intervals"),
        (make_rows(speakers=5), "In simulations with 4 speakers (the nearest number below)"),
        (make_rows().query("label != 'anger' or speaker == 'ravdess-00'"), "Only one speaker has utterances of anger"),
        (make_rows().query("label != 'anger'"), "No test utterances of anger"),
    ],
)
def test_a_weak_figure_admits_it(rows, note):
    report = EvaluationReport.from_table(PredictionTable(rows, FACTS))
    assert any(note in sentence for sentence in report.notes)
    assert note in report.to_markdown()


def test_a_strong_figure_needs_no_excuse():
    assert EvaluationReport.from_table(PredictionTable(make_rows(240, speakers=24), FACTS)).notes == []


def test_metadata_that_nobody_knows_are_no_hindrance():
    rows = make_rows(label_source=None, language=None, gender=None, duration=None, statement=None)
    report = EvaluationReport.from_table(PredictionTable(rows, FACTS))
    assert report.label_source == []
    assert "Labels: of unknown source" in report.to_markdown()


def test_a_second_seed_is_no_second_test_set():
    once = PredictionTable(make_rows(), FACTS)
    twice = PredictionTable.pool([once, PredictionTable(once.rows.assign(seed=43), FACTS)])
    report, single = EvaluationReport.from_table(twice), EvaluationReport.from_table(once)
    assert (report.n, report.speakers) == (120, 12)
    assert [row["n"] for row in report.per_fold] == [40, 40, 40]
    assert report.rates["uar"]["interval"] == pytest.approx(single.rates["uar"]["interval"])
    assert any("pooled over 2 seeds" in note for note in report.notes)


def test_the_worst_confusions_are_the_most_frequent_ones_with_their_most_confident_utterance():
    rows = make_rows(600, skill=0.5)
    report = EvaluationReport.from_table(PredictionTable(rows, FACTS))
    shares = {
        (true, predicted): ((rows["label"] == true) & (rows["prediction"] == predicted)).sum()
        / (rows["label"] == true).sum()
        for true in CLASSES
        for predicted in CLASSES
        if true != predicted
    }
    assert [(row["true"], row["predicted"]) for row in report.worst_confusions] == sorted(
        shares, key=lambda pair: (-shares[pair], pair)
    )
    for row in report.worst_confusions:
        same = rows[(rows["label"] == row["true"]) & (rows["prediction"] == row["predicted"])]
        assert row["confidence"] == same[f"p_{row['predicted']}"].max()
        assert row["count"] == len(same)


def test_an_accepted_answer_is_no_confusion():
    rows, judged = make_rows(600, skill=0.5), dataclasses.replace(FACTS, evaluation_map={"anger": ["neutral"]})
    report = EvaluationReport.from_table(PredictionTable(rows, judged))
    assert ("neutral", "anger") not in [(row["true"], row["predicted"]) for row in report.worst_confusions]
    assert report.confusion[1][0] == 0
    assert any("With an evaluation map" in note and "shown as the true emotion" in note for note in report.notes)
    assert report.chapters["calibration"] is None


def test_a_disturbed_test_set_is_called_one():
    noisy = dataclasses.replace(FACTS, condition="noise:10")
    report = EvaluationReport.from_table(PredictionTable(make_rows(), noisy))
    assert "ravdess/si6 under noise:10" in report.headline
    assert report.notes[0] == "The recordings were disturbed: noise:10."


def test_groups_of_any_column_can_be_asked_for():
    table = PredictionTable(make_rows(240, intensity=["normal", "strong"] * 120), FACTS)
    assert EvaluationReport.from_table(table).chapters["fairness"] is None
    assert list(EvaluationReport.from_table(table, by=["intensity"]).chapters["fairness"]) == ["intensity"]
    with pytest.raises(TableError, match="no such column"):
        EvaluationReport.from_table(table, by=["shoe_size"])


def test_a_validation_table_is_no_test():
    with pytest.raises(TableError, match="on whom the model was chosen"):
        EvaluationReport.from_table(PredictionTable(make_rows(), dataclasses.replace(FACTS, part="validation")))


def test_every_rate_of_a_report_is_a_row_of_the_csv(tmp_path):
    report = EvaluationReport.from_table(PredictionTable(make_rows(), FACTS))
    report.write(tmp_path)
    rows = pandas.read_csv(tmp_path / "metrics.csv", float_precision="round_trip")
    rows = rows.set_index(["metric", "of"], drop=False)
    assert not rows.index.duplicated().any()
    pooled = rows[rows["of"].isna()].set_index("metric")
    assert pooled.loc["uar", "value"] == report.uar
    assert list(pooled.loc["uar", ["low", "high"]]) == report.rates["uar"]["interval"]
    assert pooled.loc["calibration.before.ece", "value"] == report.chapters["calibration"]["before"]["ece"]
    folds = rows[rows["metric"] == "per_fold.uar"]
    assert folds["value"].tolist() == [row["uar"] for row in report.per_fold]
    assert folds["of"].tolist() == ["fold 0", "fold 1", "fold 2"]


def test_a_report_of_the_first_schema_is_read_with_the_same_figures(tmp_path):
    report = EvaluationReport.from_table(PredictionTable(make_rows(), FACTS))
    facts = report.to_dict()
    del facts["schema"], facts["scoring"]
    for name, rate in facts.pop("rates").items():
        facts |= {name: rate["value"], f"{name}_interval": rate["interval"]}
    facts |= facts.pop("chapters")
    (tmp_path / "report.json").write_text(json.dumps(facts))
    assert EvaluationReport.read(tmp_path / "report.json") == report


def test_a_report_of_a_later_schema_is_refused(tmp_path):
    facts = EvaluationReport.from_table(PredictionTable(make_rows(), FACTS)).to_dict() | {"schema": 99}
    (tmp_path / "report.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="schema 99"):
        EvaluationReport.read(tmp_path / "report.json")


def test_a_file_that_is_no_report_says_so(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"uar": 0.5}))
    with pytest.raises(ValueError, match=r"not a report of this version .*protocol.* write it again"):
        EvaluationReport.read(path)


def test_the_same_perfect_answers_under_more_seeds_prove_nothing_more():
    rows = make_rows(60, skill=50.0)
    one = EvaluationReport.from_table(PredictionTable(rows, FACTS))
    seeds = pandas.concat([rows.assign(seed=seed) for seed in range(5)], ignore_index=True)
    five = EvaluationReport.from_table(PredictionTable(seeds, FACTS))
    assert one.uar == 1
    for name in ("uar", "war"):
        assert five.rates[name]["interval"] == pytest.approx(one.rates[name]["interval"])


def test_recordings_of_a_corpus_whose_labels_the_report_does_not_know_are_refused(tmp_path):
    report = EvaluationReport.from_table(PredictionTable(make_rows(label_source="acted"), FACTS))
    with pytest.raises(
        ValueError,
        match=r"crema_d=.*: the report uses acted labels, but crema_d has intended, .* ravdess",
    ):
        clips_of(report, {"crema_d": tmp_path})


def test_a_report_says_what_was_trained_on_what_was_removed_and_whose_word_it_trusts(tmp_path):
    facts = dataclasses.replace(
        FACTS,
        trained_on=("emodb", "mine"),
        languages={"emodb": "de", "ravdess": "en"},
        removed_answers=("calm", "fear"),
        declared_new=True,
    )
    table = PredictionTable(make_rows(), facts)
    table.write(tmp_path / "table.parquet")
    report = EvaluationReport.from_table(PredictionTable.read(tmp_path / "table.parquet"))
    text = report.to_markdown()
    assert "Trained on emodb (German), mine, evaluated on ravdess (English)." in text
    assert "The model also answers calm, fear, which the scheme does not have" in text
    assert "is the word of its user; it was not checked" in text
    assert "blind by declaration" in report.headline


def test_a_model_that_always_gives_the_same_answer_is_told():
    constant = {f"p_{name}": float(name == "neutral") for name in CLASSES}
    report = EvaluationReport.from_table(PredictionTable(make_rows(prediction="neutral", **constant), FACTS))
    assert any("the same answer, neutral, to every utterance" in note for note in report.notes)
    assert not any("the same answer" in note for note in EvaluationReport.from_table(_table()).notes)


def _table():
    return PredictionTable(make_rows(), FACTS)


def test_unusable_recordings_are_not_blamed_on_the_scheme():
    facts = dataclasses.replace(FACTS, dropped={"ravdess": {"calm": 12, "unusable": 3}})
    text = EvaluationReport.from_table(PredictionTable(make_rows(), facts)).to_markdown()
    assert "Dropped by the scheme: ravdess 12 calm. Unusable and left out: 3 of ravdess." in text
