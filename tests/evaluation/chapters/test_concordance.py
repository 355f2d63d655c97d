"""The concordance of valence, arousal and dominance: Lin's coefficient, and intervals that hold for other speakers."""

import dataclasses
import json
from io import StringIO

import audmetric
import numpy as np
import pandas
import pytest
from datasets import Value
from hypothesis import given, settings
from hypothesis import strategies as st
from predictions import FACTS, make_rows

from ser_hf.corpora import get_corpus
from ser_hf.evaluation.chapters import dimensions
from ser_hf.evaluation.metrics import ccc_of, concordance_correlation, moments
from ser_hf.evaluation.tables import PredictionTable, TableError
from ser_hf.inference.evaluate import evaluate
from ser_hf.inference.predict import predict_probabilities
from ser_hf.models.pretrained import build_classifier
from ser_hf.report.metrics_csv import to_csv
from ser_hf.report.report import EvaluationReport
from ser_hf.splits.split import get_protocol

VALUES = st.floats(-100, 100, width=32)


def rated(noise=0.1, seed=0, **columns):
    """Rows with arousal by raters and by a model; the estimates of some speakers are too high."""
    rows, random = make_rows(seed=seed), np.random.default_rng(seed)
    true = random.uniform(0, 1, len(rows))
    offsets = dict(zip(sorted(set(rows["speaker"])), random.normal(0, 0.1, 12), strict=True))
    predicted = true + rows["speaker"].map(offsets) + random.normal(0, noise, len(rows))
    return rows.assign(true_arousal=true, predicted_arousal=predicted, **columns)


def of(rows):
    (row,) = dimensions.section(PredictionTable(rows, FACTS))["concordance"]
    return row


@settings(deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=50))
def test_it_is_the_coefficient_of_audmetric(pairs):
    true, predicted = np.transpose(pairs).astype(np.float64)
    ours, theirs = concordance_correlation(true, predicted), audmetric.concordance_cc(true, predicted)
    if np.ptp(pairs) > 1e-3:  # below, both only round
        assert ours == pytest.approx(theirs, abs=1e-9)
    assert np.isnan(ours) or -1 - 1e-9 <= ours <= 1 + 1e-9


def test_it_is_not_defined_for_one_utterance_and_for_one_number():
    for values in ([0.3], [0.3, 0.3, 0.3]):
        assert np.isnan(concordance_correlation(values, values))
        assert np.isnan(audmetric.concordance_cc(values, values))
    assert concordance_correlation([0.1, 0.9], [0.5, 0.5]) == 0.0
    with pytest.raises(ValueError, match=r"of shape \(utterances,\), not \(2,\) and \(1,\)"):
        concordance_correlation([0.1, 0.9], [0.5])
    with pytest.raises(ValueError, match="must be finite"):
        concordance_correlation([0.1, float("nan")], [0.5, 0.5])


def test_leaving_a_speaker_out_is_a_subtraction():
    rows = rated()
    codes, names = pandas.factorize(rows["speaker"])
    sums = moments(rows["true_arousal"].to_numpy(), rows["predicted_arousal"].to_numpy(), codes)
    for number, found in enumerate(ccc_of(sums.sum(axis=0) - sums)):
        others = rows[codes != number]
        assert found == pytest.approx(audmetric.concordance_cc(others["true_arousal"], others["predicted_arousal"]))
    assert len(names) == 12


def test_the_chapter_has_the_coefficient_of_the_utterances_whose_value_is_known():
    rows = rated()
    rows.loc[:9, "true_arousal"] = np.nan
    row = of(rows)
    known = rows[10:]
    assert row["ccc"] == pytest.approx(audmetric.concordance_cc(known["true_arousal"], known["predicted_arousal"]))
    assert (row["dimension"], row["n"], row["unknown"], row["speakers"]) == ("arousal", 110, 10, 12)
    assert row["ccc_interval"][0] < row["ccc"] < row["ccc_interval"][1] <= 1


@pytest.mark.parametrize(("speakers", "noise", "offset"), [(6, 0.1, 0.1), (12, 0.1, 0.2), (24, 0.3, 0.1)])
def test_nine_of_ten_intervals_contain_the_coefficient_of_many_other_speakers(speakers, noise, offset):
    """Speakers whose estimates are all too high or too low are the hard case."""
    random = np.random.default_rng(0)

    def drawn(speakers):
        true = random.uniform(0, 1, (speakers, 20))
        return true, true + random.normal(0, offset, (speakers, 1)) + random.normal(0, noise, true.shape)

    truth = concordance_correlation(*(np.ravel(one) for one in drawn(50_000)))
    names, covered = pandas.Series(np.repeat(range(speakers), 20)), []
    for _ in range(500):
        low, high = dimensions.concordance(*(np.ravel(one) for one in drawn(speakers)), names)[1]
        covered.append(low <= truth <= high)
    assert 0.87 < np.mean(covered) < 0.98


@pytest.mark.parametrize("speaker", [None, "only"])
def test_without_two_known_speakers_there_is_no_interval(speaker):
    row = of(rated(speaker=speaker))
    assert row["ccc"] > 0.5
    assert row["ccc_interval"] is None
    assert row["speakers"] == (None if speaker is None else 1)


def test_a_table_without_values_has_no_chapter_and_constant_values_no_coefficient():
    assert dimensions.section(PredictionTable(make_rows(), FACTS)) is None
    assert dimensions.section(PredictionTable(rated().drop(columns="true_arousal"), FACTS)) is None
    assert dimensions.section(PredictionTable(rated().assign(true_arousal=np.nan), FACTS)) is None
    row = of(make_rows(true_valence=0.5, predicted_valence=0.5))
    assert (row["ccc"], row["ccc_interval"]) == (None, None)
    row = of(rated().assign(predicted_arousal=lambda rows: rows["true_arousal"]))
    assert (row["ccc"], row["ccc_interval"]) == (pytest.approx(1), None)


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(TableError, match="column true_arousal must hold numbers, not string"):
        PredictionTable(rated().assign(true_arousal="high"), FACTS)
    with pytest.raises(TableError, match="column predicted_arousal has an infinite value"):
        PredictionTable(rated().assign(predicted_arousal=np.inf), FACTS)


def test_the_report_has_it_in_every_form(tmp_path):
    report = EvaluationReport.from_table(PredictionTable(rated(true_valence=0.5, predicted_valence=0.5), FACTS))
    report.write(tmp_path)
    (_, arousal) = json.loads((tmp_path / "report.json").read_text())["chapters"]["dimensions"]["concordance"]
    shown = f"{arousal['ccc']:.3f} [{arousal['ccc_interval'][0]:.3f}, {arousal['ccc_interval'][1]:.3f}]"
    assert f"| arousal | 120 | 0 | {shown} |" in (tmp_path / "report.md").read_text()
    assert "| valence | 120 | 0 | - |" in (tmp_path / "report.md").read_text()
    assert shown in (tmp_path / "report.html").read_text()
    rows = pandas.read_csv(StringIO(to_csv(report.to_dict())))
    (row,) = rows[rows["metric"] == "dimensions.concordance.ccc"].to_dict("records")
    assert [row["of"], row["value"], row["low"], row["high"], row["n"]] == [
        "arousal", arousal["ccc"], *arousal["ccc_interval"], 120,
    ]  # fmt: skip


def test_a_table_of_others_is_evaluated_alike(tmp_path):
    columns = ["label", "speaker", "p_anger", "p_neutral", "p_sadness", "true_arousal", "predicted_arousal"]
    rated()[columns].to_csv(tmp_path / "theirs.csv", index=False)
    report = EvaluationReport.from_table(PredictionTable.read(tmp_path / "theirs.csv"))
    (row,) = report.chapters["dimensions"]["concordance"]
    assert row["ccc"] == pytest.approx(of(rated())["ccc"])


def test_evaluation_notes_both_heads_on_the_scale_of_the_corpus(synthetic):
    """From 0 to 1, whatever the scale of the raters was; the probabilities are those without dimensions."""
    few, (lowest, highest) = synthetic.select(range(0, len(synthetic), 40)), get_corpus("iemocap").dimension_range
    rated_set = few.remove_columns(["arousal", "corpus"])
    rated_set = rated_set.add_column("corpus", ["iemocap"] * len(few))
    rated_set = rated_set.add_column("arousal", np.linspace(lowest, highest, len(few)), feature=Value("float32"))
    rated_set.info.description = few.info.description
    assert (lowest, highest) == (1.0, 5.0)
    model, extractor = build_classifier("tiny-whisper", few.features["label"].names, settings={"dimensions": True})
    judged = dict(fold=0, seed=0, model_name="tiny")
    protocol = get_protocol("synthetic/si4")
    rows = evaluate(model, extractor, rated_set, protocol, **judged).rows
    np.testing.assert_allclose(rows["true_arousal"], np.linspace(0, 1, len(few)), atol=1e-6)
    assert rows["true_valence"].isna().all()
    assert rows["predicted_arousal"].between(0, 1).all()
    assert rows["predicted_arousal"].std() > 0
    names = [f"p_{name}" for name in few.features["label"].names]
    np.testing.assert_allclose(rows[names], predict_probabilities(model, extractor, few), atol=1e-6)
    assert not any(name.startswith("true_") for name in evaluate(model, extractor, few, protocol, **judged).rows)


def test_folds_with_and_without_values_are_pooled():
    facts = dataclasses.replace(FACTS)
    rows = rated()
    first, second = (PredictionTable(part, facts) for part in (rows[:60], rows[60:].drop(columns="true_arousal")))
    (row,) = dimensions.section(PredictionTable.pool([first, second]))["concordance"]
    assert (row["n"], row["unknown"]) == (60, 60)
