import dataclasses
import json

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predictions import CLASSES, FACTS, make_rows

from ser_hf.evaluation.chapters.risk_coverage import aurc_without_each
from ser_hf.evaluation.chapters.selective import (
    BY_SPEAKERS,
    BY_UTTERANCES,
    WANTED_RISKS,
    conformal_quantile,
    conformal_sets,
    reject_threshold,
    risk_coverage,
    section,
    to_markdown,
)
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.report.figures import reliability_figure, risk_coverage_figure

OUTCOMES = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60)


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_the_curve_is_the_mean_over_all_ways_to_break_ties(outcomes, random):
    confidences, right = map(np.asarray, zip(*outcomes, strict=True))
    curve = risk_coverage(confidences, right)
    for k in range(1, len(outcomes) + 1):  # above the tie all, of the tie the same share of each
        worst = np.sort(confidences)[-k]
        above, tied = confidences > worst, confidences == worst
        errors = (~right[above]).sum() + (k - above.sum()) * (~right[tied]).mean()
        assert curve[k - 1] == pytest.approx(errors / k)
    order = list(range(len(outcomes)))
    random.shuffle(order)
    np.testing.assert_allclose(risk_coverage(confidences[order], right[order]), curve)


def test_no_order_of_confidences_is_better_than_that_of_an_oracle_and_none_worse_than_its_reverse():
    random = np.random.default_rng(0)
    right = random.random(200) < 0.7
    oracle, opposite = risk_coverage(right, right).mean(), risk_coverage(~right, right).mean()
    errors, n = (~right).sum(), len(right)
    assert oracle == pytest.approx(sum(max(0, k - (n - errors)) / k for k in range(1, n + 1)) / n)
    for _ in range(50):
        assert oracle < risk_coverage(random.permutation(n), right).mean() < opposite
    assert risk_coverage(np.zeros(n), right) == pytest.approx(np.full(n, errors / n)), "no order is a random one"


@given(OUTCOMES, st.sampled_from([0.05, 0.2, 0.5]))
def test_the_threshold_answers_as_often_as_its_rule_allows(outcomes, wanted):
    confidences, right = map(np.asarray, zip(*outcomes, strict=True))
    fitting = [
        one for one in confidences
        if ((~right[confidences >= one]).sum() + 1) / ((confidences >= one).sum() + 1) <= wanted
    ]  # fmt: skip
    assert reject_threshold(confidences, right, wanted) == min(fitting, default=None)


def test_few_answers_without_an_error_do_not_prove_a_small_risk():
    assert reject_threshold(np.arange(18), np.ones(18, bool), 0.05) is None
    assert reject_threshold(np.arange(19), np.ones(19, bool), 0.05) == 0


def test_the_wanted_risk_is_kept_on_the_average_where_utterances_are_exchangeable():
    random = np.random.default_rng(0)

    def draw(n):
        confidences = random.random(n)
        return confidences, random.random(n) < confidences

    risks = []
    for _ in range(300):
        threshold = reject_threshold(*draw(240), 0.2)
        confidences, right = draw(2000)
        if threshold is not None:
            risks.append(1 - right[confidences >= threshold].mean())
    assert 0.17 < np.mean(risks) < 0.205


# --- conformal sets ---------------------------------------------------------------------------------------------------


def draw_people(random, speakers, utterances, spread, classes=6):
    """Probabilities of a model that recognises some people worse, true classes, and who speaks."""
    labels = random.integers(0, classes, (speakers, utterances))
    skill = random.normal(1.5, spread, (speakers, 1, 1))
    logits = random.normal(size=(speakers, utterances, classes)) + skill * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return probabilities.reshape(-1, classes), labels.ravel(), np.repeat(np.arange(speakers), utterances)


def coverage(random, speakers, spread, trials, utterances=25):
    """Share of trials in which the set holds the true class of one utterance of one new speaker."""
    covered = 0
    for _ in range(trials):
        probabilities, labels, names = draw_people(random, speakers + 1, utterances, spread)
        scores = 1 - probabilities[np.arange(len(labels)), labels]
        heard = names < speakers
        quantile, _ = conformal_quantile(scores[heard], names[heard])
        covered += conformal_sets(probabilities[-1:], quantile)[0, labels[-1]]
    return covered / trials


@pytest.mark.parametrize(("speakers", "spread"), [(4, 0.0), (12, 0.0), (12, 1.5), (40, 1.5)])
def test_new_speakers_are_covered_as_promised(speakers, spread):
    """Four speakers promise it only if they do not differ. 1500 trials: three deviations are 0.023."""
    assert coverage(np.random.default_rng(speakers), speakers, spread, 1500) > 0.90 - 0.023


def test_utterances_of_two_speakers_who_differ_promise_too_much():
    """The reason for counting speakers, and for saying so where there are too few."""
    assert coverage(np.random.default_rng(1), 2, 2.0, 1500) < 0.87


def test_sets_of_exchangeable_utterances_are_no_larger_than_they_must_be():
    found = coverage(np.random.default_rng(5), 8, 0.0, 1500)
    assert 0.90 - 0.023 < found < 0.90 + 1 / 201 + 0.023


@given(st.lists(st.floats(0, 1), min_size=1, max_size=80))
def test_few_speakers_have_the_quantile_of_split_conformal_prediction(scores):
    quantile, exchangeable = conformal_quantile(scores, ["a"] * len(scores))
    rank = int(np.ceil((len(scores) + 1) * 0.9 - 1e-9))
    assert quantile == (sorted(scores)[rank - 1] if rank <= len(scores) else np.inf)
    assert exchangeable == BY_UTTERANCES


def test_nine_speakers_are_enough_and_the_talkative_one_counts_like_the_others():
    scores = np.concatenate([np.full(1000, 0.9), np.linspace(0.1, 0.2, 9)])
    speakers = np.concatenate([np.full(1000, "talkative"), [f"quiet {n}" for n in range(9)]])
    quantile, exchangeable = conformal_quantile(scores, speakers, level=0.8)
    assert (quantile, exchangeable) == (0.2, BY_SPEAKERS)
    assert conformal_quantile(scores, speakers)[0] == 0.9
    assert conformal_quantile(np.zeros(9), range(9))[1] == BY_SPEAKERS
    assert conformal_quantile(np.zeros(8), range(8))[1] == BY_UTTERANCES
    assert conformal_quantile(np.zeros(10), [None, *range(9)])[1] == BY_UTTERANCES, "who speaks must be known"


def test_a_set_is_never_empty_and_holds_all_where_nothing_is_promised():
    probabilities = np.full((1, 4), 0.25)
    assert conformal_sets(probabilities, 0.1).sum() == 1
    assert conformal_sets(probabilities, np.inf).all()


# --- the section of a report ------------------------------------------------------------------------------------------


def make_table(seed, part, speakers=12, utterances=900, skill=1.5):
    rows = make_rows(utterances, speakers, skill, seed)
    rows["utterance_id"], rows["speaker"] = f"{part}-" + rows["utterance_id"], f"{part}-" + rows["speaker"]
    return PredictionTable(rows, dataclasses.replace(FACTS, part=part))


@pytest.fixture(scope="module")
def tables():
    return make_table(0, "test"), make_table(1, "validation")


def test_thresholds_and_sets_of_each_fold_come_from_its_validation_speakers(tables):
    table, validation = tables
    found = section(*tables)
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(section(*tables)))
    assert [row["wanted"] for row in found["thresholds"]] == list(WANTED_RISKS)
    for row in found["thresholds"]:
        answered = np.zeros(900, bool)
        for chosen in row["by_model"]:
            mine, here = ((one.rows["fold"] == chosen["fold"]).to_numpy() for one in (validation, table))
            sure, right = validation.probabilities.max(axis=1), validation.predictions == validation.references
            assert chosen["threshold"] == reject_threshold(sure[mine], right[mine], row["wanted"])
            answered |= here & (table.probabilities.max(axis=1) >= (chosen["threshold"] or 2))
        assert row["coverage"] == answered.mean()
        assert row["risk"] == pytest.approx((table.predictions != table.references)[answered].mean())
        assert row["risk_interval"][0] <= row["risk"] <= row["risk_interval"][1]
        assert row["risk"] == pytest.approx(row["wanted"], abs=0.05)
    sets = found["conformal"]
    held = np.zeros((900, 3), bool)
    for chosen in sets["by_model"]:
        mine, here = ((one.rows["fold"] == chosen["fold"]).to_numpy() for one in (validation, table))
        scores = 1 - validation.probabilities[mine, validation.references[mine]]
        assert chosen["quantile"] == conformal_quantile(scores, validation.rows["speaker"][mine])[0]
        held[here] = conformal_sets(table.probabilities[here], chosen["quantile"])
    assert sets["coverage"] == held[np.arange(900), table.references].mean() > 0.9
    assert sets["set_size"] == held.sum(axis=1).mean()
    assert {row["exchangeable"] for row in sets["by_model"]} == {BY_SPEAKERS}
    assert sets["lowest_speaker_coverage"] < sets["coverage"]


def test_the_curve_of_the_section_is_the_curve_at_each_per_cent(tables):
    table, _ = tables
    found = section(table)
    curve = risk_coverage(table.probabilities.max(axis=1), table.predictions == table.references)
    assert found["aurc"] == curve.mean()
    assert [row["risk"] for row in found["curve"]] == [curve[9 * one - 1] for one in range(1, 101)]
    assert (found["thresholds"], found["conformal"]) == ([], None)
    assert found["curve"][-1] == {"coverage": 1.0, "risk": found["risk"]}
    assert found["aurc_of_oracle"] < found["aurc"] < found["risk"]
    assert "there are no validation speakers" in to_markdown(found)[-1]


def test_a_risk_that_no_validation_utterance_supports_answers_nothing():
    found = section(make_table(0, "test", skill=0.0), make_table(1, "validation", skill=0.0))
    strictest = found["thresholds"][0]
    assert (strictest["risk"], strictest["risk_interval"], strictest["coverage"]) == (None, None, 0.0)
    assert {row["threshold"] for row in strictest["by_model"]} == {None}
    assert "| 0.05 | - | 0.000" in "\n".join(to_markdown(found))
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("speakers", "words"),
    [
        (12, "if nothing else was chosen on the validation speakers"),
        (4, "With only 4 validation speakers, no coverage"),
    ],
)
def test_the_report_promises_coverage_only_where_speakers_are_enough(tables, speakers, words):
    found = section(tables[0], make_table(1, "validation", speakers))
    text = "\n".join(to_markdown(found))
    assert words in text
    assert f"{found['conformal']['coverage']:.3f} [" in text
    assert "of 12 speakers" in text


def test_a_model_that_scores_every_emotion_by_itself_has_no_confidence_to_judge(tables):
    from ser_hf.evaluation.chapters import calibration

    several = PredictionTable(tables[0].rows, dataclasses.replace(FACTS, multi_label=True))
    for module_section in (section, calibration.section):
        assert module_section(several, tables[1]) is None
        assert module_section(*tables) is not None


def test_unknown_speakers_leave_rates_without_intervals(tables):
    rows = tables[0].rows.assign(speaker=None)
    found = section(PredictionTable(rows, FACTS), tables[1])
    assert found["aurc_interval"] is None
    assert found["conformal"]["coverage_interval"] is None
    assert found["conformal"]["lowest_speaker_coverage"] is None
    assert "some speakers are unknown" in to_markdown(found)[0]


def test_sets_that_always_hold_the_truth_prove_what_so_many_utterances_prove(tables):
    validation = make_table(1, "validation", skill=-2.0)  # so often wrong that every set is of all classes
    sets = section(make_table(0, "test", speakers=6, utterances=60), validation)["conformal"]
    assert sets["coverage"] == 1
    low, high = sets["coverage_interval"]
    assert 0.89 < low < 0.91 < high == 1


def test_a_second_seed_of_the_same_answers_changes_no_interval_of_a_share(tables):
    table, validation = tables
    doubled = [
        PredictionTable(pandas.concat([one.rows, one.rows.assign(seed=7)], ignore_index=True), one.metadata)
        for one in tables
    ]
    once, twice = section(table, validation), section(*doubled)
    for one, other in zip(once["thresholds"], twice["thresholds"], strict=True):
        assert other["risk_interval"] == pytest.approx(one["risk_interval"])
        assert other["coverage_interval"] == pytest.approx(one["coverage_interval"])
    assert twice["conformal"]["coverage_interval"] == pytest.approx(once["conformal"]["coverage_interval"])


def test_the_picture_holds_the_curve_and_what_the_thresholds_gave(tables):
    found = section(*tables)
    (axes,) = risk_coverage_figure(found).axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [(row["coverage"], row["risk"]) for row in found["curve"]])
    dots = axes.lines[-1].get_xydata()
    np.testing.assert_allclose(dots, [(row["coverage"], row["risk"]) for row in found["thresholds"]])
    assert axes.get_ylim()[1] >= dots[:, 1].max()
    (axes,) = risk_coverage_figure(section(tables[0])).axes
    assert len(axes.lines) == 2


def test_a_perfect_model_has_a_section_and_pictures_too(tables):
    rows = tables[0].rows.copy()
    rows[[f"p_{name}" for name in CLASSES]] = pandas.get_dummies(rows["label"])[list(CLASSES)].astype(float)
    table = PredictionTable(rows.assign(prediction=rows["label"]), FACTS)
    found = section(table, tables[1])
    assert (found["risk"], found["aurc"], found["conformal"]["set_size"]) == (0, 0, 1)
    assert risk_coverage_figure(found).axes[0].get_ylim() == pytest.approx((0, 0.3))
    from ser_hf.evaluation.chapters import calibration

    assert reliability_figure(calibration.section(table)).axes


def test_what_is_no_question_is_refused():
    with pytest.raises(ValueError, match=r"must be in \(0, 1\), not 5"):
        reject_threshold([0.5], [True], 5)
    with pytest.raises(ValueError, match=r"must be in \(0, 1\), not 90"):
        conformal_quantile([0.5], ["a"], level=90)
    with pytest.raises(ValueError, match="one of each per utterance"):
        risk_coverage([0.5, 0.6], [True])
    with pytest.raises(ValueError, match="no utterance"):
        risk_coverage([], [])


@given(st.integers(2, 60), st.integers(2, 8), st.sampled_from([2, 5, 10**6]), st.integers(0, 2**31))
def test_the_area_without_each_speaker_is_that_of_the_others(utterances, speakers, values, seed):
    """Also with ties between speakers and within one."""
    random = np.random.default_rng(seed)
    _, speaker = np.unique(np.r_[0, 1, random.integers(0, speakers, utterances)], return_inverse=True)
    confidences, right = random.integers(0, values, len(speaker)) / values, random.random(len(speaker)) < 0.7
    expected = [risk_coverage(confidences[speaker != one], right[speaker != one]).mean() for one in np.unique(speaker)]
    np.testing.assert_allclose(aurc_without_each(confidences, right, speaker), expected, atol=1e-12)


def test_one_sorting_serves_a_thousand_speakers(monkeypatch):
    """The steps grow with utterances times those of one speaker, not times speakers."""
    sorted_times, unique = [], np.unique
    monkeypatch.setattr(np, "unique", lambda *args, **kwargs: sorted_times.append(1) or unique(*args, **kwargs))
    random = np.random.default_rng(0)
    for speakers in (100, 1_000):
        before = len(sorted_times)
        aurc_without_each(
            random.random(3 * speakers), random.random(3 * speakers) < 0.7, np.arange(3 * speakers) % speakers
        )
        assert len(sorted_times) - before <= 4
