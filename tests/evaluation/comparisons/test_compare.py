import dataclasses

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predictions import CLASSES, FACTS, difference_of, make_rows
from scipy import stats

from ser_hf.evaluation.comparisons.compare import _holm, compare, p_value, to_markdown
from ser_hf.evaluation.intervals import confusion_by_speaker, paired_difference
from ser_hf.evaluation.metrics import METRICS, war_of
from ser_hf.evaluation.tables import PredictionTable, TableError


def table(rows=None, **facts):
    return PredictionTable(make_rows() if rows is None else rows, dataclasses.replace(FACTS, **facts))


def answers(labels, right):
    """Rows of whole certainty in the true class where `right`, else in the next one."""
    number = (pandas.Index(CLASSES).get_indexer(labels) + ~np.asarray(right)) % len(CLASSES)
    return {"prediction": np.asarray(CLASSES)[number], **{f"p_{name}": number == k for k, name in enumerate(CLASSES)}}


def model(random, speakers=10, each=12, skill=0.6, spread=0.1):
    """A table in which people differ in how well they are recognised."""
    rows = make_rows(speakers * each, speakers)
    chance = np.clip(random.normal(skill, spread, speakers), 0, 1)[np.arange(len(rows)) % speakers]
    return rows.assign(**{name: np.asarray(column, dtype=float) if name[:2] == "p_" else column for name, column in
                          answers(rows["label"], random.random(len(rows)) < chance).items()})  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_does_not_differ_from_itself(metric):
    pair = difference_of(table(), table(), metric=metric)
    assert (pair["difference"], pair["p"], pair["significant"]) == (0, 1, False)
    assert pair["interval"] is None, "that no speaker differs proves nothing of others"
    assert "there is no interval, because the difference is the same for every speaker" in pair["verdict"]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("speakers", [6, 12, 20])
def test_exchanging_the_models_turns_the_sign_and_nothing_else(metric, speakers):
    one, two = table(make_rows(speakers=speakers)), table(make_rows(speakers=speakers, skill=1.0, seed=1))
    there, back = difference_of(one, two, metric=metric), difference_of(two, one, metric=metric)
    assert there["difference"] == pytest.approx(-back["difference"])
    assert there["p"] == back["p"]
    assert there["interval"] == pytest.approx([-end for end in reversed(back["interval"])])


def test_where_speakers_weigh_the_same_it_is_the_paired_t_interval_and_the_exact_permutation_test_of_scipy():
    """Ten speakers with twelve utterances each: the accuracy is the mean of the speakers' accuracies."""
    random = np.random.default_rng(1)
    one, two = model(random, skill=0.75), model(random, skill=0.6)
    accuracies = [(rows["label"] == rows["prediction"]).groupby(rows["speaker"]).mean() for rows in (one, two)]
    pair = difference_of(table(one), table(two), metric="war")
    assert pair["interval"] == pytest.approx(tuple(stats.ttest_rel(*accuracies).confidence_interval(0.95)))
    exact = stats.permutation_test(
        accuracies, lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=np.inf,
    )  # fmt: skip
    assert pair["p"] == pytest.approx(exact.pvalue)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_the_p_value_is_that_of_every_exchange_made_by_hand(seed, speakers):
    """On the UAR, which is no mean over speakers, of speakers that lack classes."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, 3, (3, 20))
    names = np.concatenate([np.arange(speakers), random.integers(0, speakers, 20 - speakers)])
    whole = [[*ids[0], 2], [*ids[1], 2], [*ids[2], 2], [*names, 0]]  # every matrix has all classes
    first, second = (confusion_by_speaker(whole[0], whole[number], whole[3]) for number in (1, 2))
    uar = METRICS["uar"]
    observed = abs(paired_difference(uar, first, second)[0])
    larger = 0
    for code in range(2**speakers):
        swap = [(code >> bit) & 1 for bit in range(speakers)]
        one = sum(second[s] if swap[s] else first[s] for s in range(speakers))
        two = sum(first[s] if swap[s] else second[s] for s in range(speakers))
        larger += abs(uar(one) - uar(two)) >= observed - 1e-9
    assert p_value(uar, first, second) == pytest.approx(larger / 2**speakers)


@pytest.mark.parametrize("speakers", [8, 20])
def test_equally_good_models_are_told_apart_no_more_often_than_one_time_in_twenty(speakers):
    """Two models whose errors fall on the same difficult speakers, 300 times: paired, the test holds its level."""
    random = np.random.default_rng(speakers)
    labels = np.repeat(np.arange(3), 10)
    found, narrower = 0, 0
    for _ in range(300):
        chance = np.clip(random.normal(0.6, 0.2, (speakers, 1)), 0, 1)
        confusions = []
        for _ in range(2):
            right = random.random((speakers, 30)) < chance
            wrong = np.where(right, labels, (labels + 1) % 3)
            confusions.append(
                confusion_by_speaker(np.tile(labels, speakers), wrong.ravel(), np.repeat(np.arange(speakers), 30))
            )
        found += p_value(war_of, *confusions) < 0.05
        means = [war_of(one) for one in confusions]
        narrower += np.std(means[0] - means[1], ddof=1) < np.hypot(*(np.std(mean, ddof=1) for mean in means))
    assert found / 300 < 0.08
    assert narrower > 250, "unpaired, the difficult speakers would hide a difference"


def test_a_difference_that_is_there_is_found():
    random = np.random.default_rng(0)
    found = compare({"good": table(model(random, 20, 30, 0.75)), "poor": table(model(random, 20, 30, 0.55))})
    pair = found["pairs"][0]
    assert pair["significant"]
    assert pair["p"] < 0.01
    assert pair["interval"][0] > 0.05
    assert pair["verdict"].startswith("good is better than poor (p = ")
    assert "| good | poor | +" in "\n".join(to_markdown(found))


def test_with_few_speakers_it_is_said_that_nothing_can_be_told():
    """Five speakers: the smallest p is 2 / 32, whatever the models do."""
    perfect = make_rows(speakers=5, skill=50.0)
    pair = difference_of(table(perfect), table(make_rows(speakers=5, skill=0.0)))
    assert pair["p"] == pytest.approx(2 / 32)
    assert pair["significant"] is None
    assert "with 5 speakers, p cannot be below 0.062" in pair["verdict"]
    alone = difference_of(table(make_rows(speakers=1)), table(make_rows(speakers=1, skill=0.0)))
    assert (alone["p"], alone["interval"], alone["significant"]) == (None, None, None)
    assert "there is only one speaker" in alone["verdict"]
    assert difference_of(table(make_rows(speakers=6, skill=50.0)), table(make_rows(speakers=6, skill=0.0)))[
        "significant"
    ]


def test_two_seeds_against_three_weigh_every_utterance_once_in_whatever_order_they_are_pooled():
    rows = [make_rows(seed=number).assign(seed=number) for number in range(3)]
    tables = [table(one) for one in rows]
    two, three = PredictionTable.pool(tables[:2]), PredictionTable.pool(tables)
    pair = difference_of(three, two)
    assert pair == difference_of(PredictionTable.pool(tables[::-1]), PredictionTable.pool(tables[1::-1]))
    alone = difference_of(tables[0], tables[2])
    doubled = PredictionTable.pool([tables[0], table(rows[0].assign(seed=7))])
    assert difference_of(doubled, tables[2])["p"] == alone["p"], "the same answers twice are no evidence"
    assert difference_of(doubled, tables[2])["interval"] == pytest.approx(alone["interval"])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_many_pairs_are_corrected_as_holm_does_it(chances):
    """By its definition: the k-th smallest is multiplied by the number of those that are left, and none falls below a
    smaller one."""
    corrected, least, order = _holm(chances), 0.0, np.argsort(chances, kind="stable")
    for place, number in enumerate(order):
        least = max(least, min(1.0, (len(chances) - place) * chances[number]))
        assert corrected[number] == pytest.approx(least)


def test_three_models_make_three_pairs():
    found = compare({name: table(make_rows(seed=number)) for number, name in enumerate("abc")}, metric="macro_f1")
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert all(pair["p_holm"] >= pair["p"] for pair in found["pairs"])
    few = compare(
        {name: table(make_rows(speakers=6, skill=skill)) for name, skill in zip("abc", (50, 0, 0), strict=True)}
    )
    assert few["pairs"][0]["p"] == pytest.approx(2 / 64)
    assert few["pairs"][0]["significant"] is None, "corrected for three pairs, six speakers cannot reach 0.05"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: table(protocol="ravdess/si6+refit"), "differ in protocol, 'ravdess/si6' and 'ravdess/si6.refit'"),
        (lambda: table(part="validation"), "b has predictions for the validation speakers, on whom"),
        (lambda: table(scheme="four"), "differ in scheme, 'three' and 'four'"),
        (lambda: table(evaluation_map={"anger": ("sadness",)}), "evaluation map, none and anger as sadness"),
        (lambda: table(make_rows(label_source="voice")), "label source of ravdess/0 is 'intended' in one and 'voice'"),
        (lambda: table(make_rows(speaker=None)), "some speakers of b are unknown"),
        (lambda: table(make_rows(60)), "60 utterances are in only one of them, such as ravdess/100; a has the folds"),
        (
            lambda: table(make_rows().assign(label=lambda rows: rows["label"].replace("anger", "neutral"))),
            r"the label of ravdess/0 is 'anger' in one and 'neutral' in the other \[40 of 120 utterances\]",
        ),
        (lambda: table(make_rows(p_calm=0.0), classes=(*CLASSES, "calm")), "only one of them has the class calm"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_and_what_differs_is_named(other, message):
    with pytest.raises(TableError, match=f"a and b cannot be compared: .*{message}"):
        compare({"a": table(), "b": other()})


def test_two_tables_of_validation_speakers_are_no_comparison_either():
    with pytest.raises(TableError, match="a has predictions for the validation speakers"):
        compare({"a": table(part="validation"), "b": table(part="validation")})


def test_the_order_of_classes_and_rows_means_nothing():
    rows = make_rows(skill=1.0, seed=1)
    turned = table(rows.sample(frac=1, random_state=0), classes=CLASSES[::-1])
    assert difference_of(table(), turned) == difference_of(table(), table(rows))


@pytest.mark.parametrize(
    ("fact", "value"), [("relation", "shared"), ("relation", "unknown"), ("adaptation", "enrolled-10")]
)
def test_models_that_know_the_test_speakers_differently_are_not_compared(fact, value):
    with pytest.raises(TableError, match=f"they differ in {fact}, .* and {value!r}"):
        compare({"a": table(), "b": table(**{fact: value})})
    assert compare({"a": table(**{fact: value}), "b": table(**{fact: value})})["pairs"]


def test_different_conditions_are_said():
    found = compare({"a": table(), "b": table(condition="telephone band")})
    assert "The models were evaluated under different conditions: a: clean, b: telephone band." in found["notes"]


def test_questions_without_an_answer():
    with pytest.raises(ValueError, match="two or more models"):
        compare({"a": table()})
    with pytest.raises(ValueError, match="unknown metric 'ece'"):
        compare({"a": table(), "b": table()}, metric="ece")
