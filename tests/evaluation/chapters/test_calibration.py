import dataclasses
import json

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predictions import CLASSES, FACTS, make_rows
from scipy.stats import t as student
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss, mean_squared_error

from ser_hf.evaluation.chapters.calibration import (
    FITTED,
    FOLDED,
    TEMPERATURES,
    brier_score,
    expected_by_chance,
    expected_calibration_error,
    fit_temperature,
    section,
    tempered,
    to_markdown,
)
from ser_hf.evaluation.intervals import jackknife_interval, mean_over_speakers
from ser_hf.evaluation.tables import PredictionTable, TableError
from ser_hf.report.figures import reliability_figure, save_figure


def simulate(utterances, classes=5, temperature=1.0, spread=2.0, seed=0):
    """Probabilities from which the labels are drawn, handed out with their logits divided by a temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, spread, (utterances, classes))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (true.cumsum(axis=1) < random.random((utterances, 1))).sum(axis=1).clip(max=classes - 1)
    return tempered(true, temperature), labels


def slow_ece(probabilities, references, bins):
    """The definition, bin by bin, for confidences that are all different."""
    order = sorted(range(len(references)), key=lambda number: max(probabilities[number]))
    total = 0.0
    for one in range(bins):
        members = order[one * len(order) // bins : (one + 1) * len(order) // bins]
        if members:
            confidence = sum(max(probabilities[number]) for number in members) / len(members)
            right = sum(int(np.argmax(probabilities[number])) == references[number] for number in members)
            total += len(members) / len(order) * abs(confidence - right / len(members))
    return total


DRAWS = st.tuples(st.integers(1, 300), st.integers(2, 8), st.floats(0.3, 4.0), st.integers(0, 1000))


@given(DRAWS, st.integers(1, 20))
def test_ece_is_its_definition(draw, bins):
    utterances, classes, temperature, seed = draw
    probabilities, labels = simulate(utterances, classes, temperature, seed=seed)
    assert expected_calibration_error(probabilities, labels, bins) == pytest.approx(
        slow_ece(probabilities.tolist(), labels.tolist(), bins), abs=1e-9
    )


@given(st.integers(30, 300), st.integers(0, 1000))
def test_ece_of_two_classes_agrees_with_the_quantile_bins_of_scikit_learn(utterances, seed):
    bins, number = 10, 10 * (utterances // 10)  # bins of exactly equal mass, which is where both definitions meet
    probabilities, labels = simulate(number, 2, seed=seed)
    confidences, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    accuracy, confidence = calibration_curve(right, confidences, n_bins=bins, strategy="quantile")
    if len(accuracy) == bins:
        expected = np.abs(accuracy - confidence).mean()
        assert expected_calibration_error(probabilities, labels, bins) == pytest.approx(
            expected, abs=2.0 / number * bins
        )


@given(DRAWS, st.randoms(use_true_random=False))
def test_ece_and_brier_depend_neither_on_the_order_of_utterances_nor_on_ties(draw, random):
    utterances, classes, temperature, seed = draw
    probabilities, labels = simulate(utterances, classes, temperature, seed=seed)
    probabilities = probabilities[np.random.default_rng(seed).integers(0, 5, utterances) % utterances]  # many ties
    order = list(range(utterances))
    random.shuffle(order)
    for measure, highest in ((expected_calibration_error, 1), (brier_score, 2)):
        value = measure(probabilities, labels)
        assert 0 <= value <= highest
        assert measure(probabilities[order], labels[order]) == pytest.approx(value, abs=1e-12)


@given(DRAWS)
def test_brier_agrees_with_scikit_learn(draw):
    probabilities, labels = simulate(draw[0], draw[1], draw[2], seed=draw[3])
    # Over several classes it is the sum of the squared errors: brier_score_loss takes them from scikit-learn 1.7 on.
    expected = draw[1] * mean_squared_error(np.eye(draw[1])[labels], probabilities)
    assert brier_score(probabilities, labels) == pytest.approx(expected)


def test_the_range_of_the_brier_score_is_reached():
    certain = np.eye(3)
    assert brier_score(certain, [0, 1, 2]) == 0
    assert brier_score(certain, [1, 2, 0]) == 2
    assert brier_score(np.full((4, 8), 1 / 8), [0, 1, 2, 3]) == pytest.approx(1 - 1 / 8)


@pytest.mark.parametrize("temperature", [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5])
def test_the_temperature_that_spoilt_a_calibrated_model_is_found(temperature):
    probabilities, labels = simulate(20_000, temperature=temperature)
    assert fit_temperature(probabilities, labels) == pytest.approx(1 / temperature, rel=0.03)
    mended = tempered(probabilities, fit_temperature(probabilities, labels))
    assert expected_calibration_error(mended, labels) < 0.015


@settings(deadline=None, max_examples=40)
@given(DRAWS)
def test_no_temperature_is_more_likely_than_the_fitted_one(draw):
    """But for the one imagined error, which is worth less the more utterances there are."""
    utterances, classes, temperature, seed = draw
    probabilities, labels = simulate(utterances + 50, classes, temperature, seed=seed)

    def loss(one):
        return log_loss(labels, tempered(probabilities, one), labels=range(classes))

    fitted = loss(fit_temperature(probabilities, labels))
    slack = 12 / len(labels)  # of its log probability under the best temperature
    assert all(fitted < loss(one) + slack for one in np.geomspace(*TEMPERATURES, 15))


def test_validation_speakers_who_are_all_recognised_do_not_make_a_model_infinitely_sure():
    probabilities = np.tile([0.8, 0.1, 0.1], (50, 1))
    temperature = fit_temperature(probabilities, np.zeros(50, int))
    assert TEMPERATURES[0] * 2 < temperature < 1
    assert 0.97 < tempered(probabilities, temperature)[0, 0] < 0.99, "51 utterances, one of them wrong"


def test_a_probability_that_was_rounded_to_zero_does_not_outweigh_the_rest():
    probabilities, labels = simulate(500)
    rounded = probabilities.copy()
    rounded[0] = np.eye(5)[(labels[0] + 1) % 5]
    assert fit_temperature(rounded, labels) == pytest.approx(fit_temperature(probabilities, labels), rel=0.1)
    decimals = probabilities.round(3)
    calm = fit_temperature(decimals, labels)
    assert calm == pytest.approx(fit_temperature(probabilities, labels), rel=0.02)
    decimals[0] = rounded[0]
    assert fit_temperature(decimals, labels) == pytest.approx(calm, rel=0.05)


def test_answers_without_any_probability_between_0_and_1_have_a_finite_temperature():
    labels = np.arange(40) % 4
    for answers in (labels, (labels + (labels == 0)) % 4, (labels + 1) % 4):
        assert TEMPERATURES[0] <= fit_temperature(np.eye(4)[answers], labels) <= TEMPERATURES[1]


@given(DRAWS, st.floats(0.2, 5.0))
def test_a_temperature_is_undone_by_its_inverse_and_keeps_every_ranking(draw, temperature):
    probabilities, _ = simulate(draw[0], draw[1], seed=draw[3])
    changed = tempered(probabilities, temperature)
    np.testing.assert_allclose(changed.sum(axis=1), 1)
    np.testing.assert_allclose(tempered(changed, 1 / temperature), probabilities, atol=1e-9)
    assert (changed.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_tempered_is_the_softmax_of_divided_logits_also_where_a_class_is_impossible():
    logits = np.asarray([[3.0, 1.0, -2.0]])
    softmax = np.exp(logits) / np.exp(logits).sum()
    expected = np.exp(logits / 1.7) / np.exp(logits / 1.7).sum()
    np.testing.assert_allclose(tempered(softmax, 1.7), expected)
    np.testing.assert_allclose(tempered([[0.5, 0.5, 0.0]], 3.0), [[0.5, 0.5, 0.0]])


def test_a_perfectly_calibrated_model_shows_the_ece_that_is_expected_of_it():
    """Over forty of them; an overconfident one shows more than 95 % of such."""
    found, means, highest = [], [], []
    for seed in range(40):
        probabilities, labels = simulate(300, seed=seed)
        found.append(expected_calibration_error(probabilities, labels))
        mean, quantile = expected_by_chance(probabilities.max(axis=1))
        means.append(mean)
        highest.append(quantile)
    assert np.mean(found) == pytest.approx(np.mean(means), rel=0.08)
    assert np.mean(np.asarray(found) <= highest) >= 0.85
    sure, labels = simulate(300, temperature=0.4)
    assert expected_calibration_error(sure, labels) > expected_by_chance(sure.max(axis=1))[1]


def test_rows_of_one_utterance_under_several_seeds_are_not_more_evidence():
    probabilities, _ = simulate(200)
    once, _ = expected_by_chance(probabilities.max(axis=1))
    thrice, _ = expected_by_chance(np.tile(probabilities.max(axis=1), 3), utterances=np.tile(np.arange(200), 3))
    independent, _ = expected_by_chance(np.tile(probabilities.max(axis=1), 3))
    assert thrice == pytest.approx(once, rel=0.15)
    assert independent < 0.8 * once


def test_an_interval_around_the_ece_would_miss_it():
    """Calibrated models, whose true ECE is 0: the jackknife over speakers holds it almost never."""
    held = 0
    for seed in range(40):
        probabilities, labels = simulate(480, seed=seed)
        speakers = np.arange(480) % 24
        others = [speakers != one for one in range(24)]
        without_each = [expected_calibration_error(probabilities[rows], labels[rows]) for rows in others]
        low, _ = jackknife_interval(expected_calibration_error(probabilities, labels), without_each)
        held += low <= 0
    assert held < 20


def test_the_interval_leaves_each_speaker_out():
    random = np.random.default_rng(0)
    values, speakers = random.random(60), random.integers(0, 6, 60)
    without = [values[speakers != one].mean() for one in range(6)]
    reach = student.ppf(0.975, 5) * np.sqrt(5 / 6 * np.sum((np.asarray(without) - np.mean(without)) ** 2))
    low, high = mean_over_speakers(values, speakers)
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach))
    assert mean_over_speakers(values, ["a"] * 60) is None
    assert mean_over_speakers(values, [None, *speakers[1:]]) is None


# --- the section of a report ------------------------------------------------------------------------------------------


def overconfident(temperature=0.4, utterances=900, seed=0, validation=False, **columns):
    rows = make_rows(utterances, speakers=12, skill=1.0, seed=seed, **columns)
    names = [f"p_{name}" for name in CLASSES]
    rows[names] = tempered(rows[names].to_numpy(), temperature)
    if not validation:
        return PredictionTable(rows, FACTS)
    rows["utterance_id"], rows["speaker"] = "other-" + rows["utterance_id"], "other-" + rows["speaker"]
    return PredictionTable(rows, dataclasses.replace(FACTS, part="validation"))


def test_a_temperature_is_fitted_on_the_validation_speakers_of_each_fold_and_judged_on_the_test_speakers():
    table, validation = overconfident(), overconfident(seed=1, validation=True)
    found = section(table, validation)
    assert found["temperature"] == FITTED
    assert [row["fold"] for row in found["temperatures"]] == [0, 1, 2]
    for row in found["temperatures"]:
        chosen = (validation.rows["fold"] == row["fold"]).to_numpy()
        wanted = fit_temperature(validation.probabilities[chosen], validation.references[chosen])
        assert row["temperature"] == pytest.approx(wanted)
    before, after = found["before"], found["after"]
    assert before["ece"] == expected_calibration_error(table.probabilities, table.references)
    assert before["brier"] == pytest.approx(brier_score(table.probabilities, table.references))
    assert before["ece"] > 0.1 > 2 * after["ece"]
    assert after["brier"] < before["brier"]
    for state in (before, after):
        assert sum(row["n"] for row in state["reliability"]) == 900
        gaps = [row["n"] / 900 * abs(row["confidence"] - row["accuracy"]) for row in state["reliability"]]
        assert sum(gaps) == pytest.approx(state["ece"])
        low, high = state["brier_interval"]
        assert low <= state["brier"] <= high
        assert "ece_interval" not in state
    assert json.loads(json.dumps(found))["temperatures"] == found["temperatures"]


def test_what_was_folded_into_the_model_is_undone_for_before():
    plain, validation = overconfident(), overconfident(seed=1, validation=True)
    fitted = section(plain, validation)
    rows = plain.rows.copy()
    by_fold = {row["fold"]: row["temperature"] for row in fitted["temperatures"]}
    rows["temperature"] = rows["fold"].map(by_fold)
    names = [f"p_{name}" for name in CLASSES]
    rows[names] = tempered(plain.probabilities, rows["temperature"].to_numpy())
    folded = section(PredictionTable(rows, FACTS), validation)
    assert folded["temperature"] == FOLDED
    assert folded["temperatures"] == fitted["temperatures"]
    for name in ("ece", "brier", "brier_interval", "ece_by_chance"):
        assert folded["before"][name] == pytest.approx(fitted["before"][name])
        assert folded["after"][name] == pytest.approx(fitted["after"][name])


def test_a_temperature_of_1_that_was_folded_is_not_fitted_again():
    table = overconfident()
    validation = overconfident(seed=1, validation=True)
    found = section(PredictionTable(table.rows.assign(temperature=1.0), FACTS), validation)
    assert found["temperature"] == FOLDED
    assert found["before"]["ece"] == pytest.approx(found["after"]["ece"])
    assert {row["temperature"] for row in found["temperatures"]} == {1.0}


def test_a_fold_without_a_temperature_beside_others_that_have_one_gets_none():
    table = overconfident()
    temperature = table.rows["fold"].map({0: 2.0, 1: np.nan, 2: 3.0})
    found = section(PredictionTable(table.rows.assign(temperature=temperature), FACTS))
    assert [row["temperature"] for row in found["temperatures"]] == [2.0, None, 3.0]
    text = "\n".join(to_markdown(found))
    assert "Temperature 2.00 to 3.00, one per fold and seed" in text
    assert "No temperature in fold 1: before and after are the same there." in text
    json.dumps(found, allow_nan=False)


def test_without_temperature_and_validation_the_probabilities_are_judged_as_they_are():
    table = overconfident()
    found = section(table)
    assert (found["temperature"], found["after"], found["temperatures"]) == (None, None, [])
    assert section(PredictionTable(table.rows.assign(temperature=np.nan), FACTS)) == found, "a fold of before"
    assert "No temperature" in "\n".join(to_markdown(found))
    assert section(PredictionTable(table.rows.assign(speaker=None), FACTS))["before"]["brier_interval"] is None


def test_the_report_says_which_temperature_it_was_and_what_chance_alone_would_show():
    found = section(overconfident(), overconfident(seed=1, validation=True))
    text = "\n".join(to_markdown(found))
    assert FITTED in text
    assert f"| before | {found['before']['ece']:.3f} | {found['before']['ece_by_chance']:.3f} (95 %: up to" in text
    assert f"{found['after']['ece_by_chance']:.3f}" in text
    assert "n = 900 utterances of 12 speakers" in text


def test_what_does_not_belong_together_is_refused():
    table, validation = overconfident(), overconfident(seed=1, validation=True)
    with pytest.raises(TableError, match="no utterance of fold 2, seed 42"):
        section(table, PredictionTable(validation.rows[validation.rows["fold"] < 2], validation.metadata))
    same = PredictionTable(table.rows, validation.metadata)
    with pytest.raises(TableError, match="ravdess/0 is in the test and in the validation part of fold 0"):
        section(table, same)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"part": "test"}, "has test speakers: pass one with validation"),
        ({"condition": "noise:0"}, "has recordings under noise:0: fit on clean"),
        ({"evaluation_map": {"anger": ("sadness",)}}, "has an evaluation map"),
        (
            {"protocol": "ravdess/si24"},
            "the protocol 'ravdess/si24', the test table 'ravdess/si6'",
        ),
        ({"scheme": "four"}, "the scheme 'four', the test table 'three'"),
        ({"classes": CLASSES[::-1]}, "the classes .*: take both from the same runs"),
        ({"model": "huge"}, "the model 'huge', the test table 'tiny'"),
    ],
)
def test_a_validation_table_of_something_else_is_refused(facts, sentence):
    table, validation = overconfident(), overconfident(seed=1, validation=True)
    other = PredictionTable(validation.rows, dataclasses.replace(validation.metadata, **facts))
    with pytest.raises(TableError, match=sentence):
        section(table, other)


def test_validation_and_test_share_speakers_only_where_the_test_is_not_of_new_ones():
    table, validation = overconfident(), overconfident(seed=1, validation=True)
    known = PredictionTable(validation.rows.assign(speaker=table.rows["speaker"]), validation.metadata)
    with pytest.raises(
        TableError, match=r"speaker ravdess-00 is in the test and in the validation part of fold 0 \(12"
    ):
        section(table, known)
    heard = PredictionTable(table.rows, dataclasses.replace(FACTS, relation="shared"))
    assert section(heard, known)["temperature"] == FITTED


@pytest.mark.parametrize("measure", [expected_calibration_error, brier_score, fit_temperature])
def test_what_is_no_question_is_refused(measure):
    with pytest.raises(ValueError, match=r"not \(2, 2\) and \(3,\)"):
        measure(np.full((2, 2), 0.5), [0, 1, 1])
    with pytest.raises(ValueError, match="no utterance"):
        measure(np.empty((0, 2)), [])
    with pytest.raises(ValueError, match="bins must be 1 or more, not 0"):
        expected_calibration_error([[0.5, 0.5]], [0], bins=0)


@pytest.mark.parametrize("validated", [True, False])
def test_the_picture_holds_every_bin(validated, tmp_path):
    found = section(overconfident(), overconfident(seed=1, validation=True) if validated else None)
    figure = reliability_figure(found)
    (axes,) = figure.axes
    states = [found["before"], *([found["after"]] if validated else [])]
    assert len(axes.collections) == len(states)
    for points, state in zip(axes.collections, states, strict=True):
        expected = [(row["confidence"], row["accuracy"]) for row in state["reliability"]]
        np.testing.assert_allclose(points.get_offsets(), expected)
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words[-1].endswith(f"ECE {states[-1]['ece']:.3f} (a perfect one: {states[-1]['ece_by_chance']:.3f})")
    save_figure(figure, tmp_path / "one.png")
    save_figure(reliability_figure(found), tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_a_validation_part_may_hear_an_utterance_in_several_folds_but_a_test_only_once():
    rows = overconfident(validation=True).rows.query("fold == 0")
    both = pandas.concat([rows, rows.assign(fold=1)], ignore_index=True)
    assert len(PredictionTable(both, dataclasses.replace(FACTS, part="validation")).rows) == 600
    with pytest.raises(TableError, match="occurs twice"):
        PredictionTable(both, FACTS)
