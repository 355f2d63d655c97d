import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_ind
from scipy.stats import t as student

from ser_hf.evaluation.intervals import (
    COVERAGE,
    LEAST_COVERAGE,
    caution,
    caution_of_all,
    confusion_by_speaker,
    jackknife_interval,
    mean_interval,
    rate_interval,
    share_interval,
    speaker_interval,
)
from ser_hf.evaluation.metrics import (
    macro_f1,
    macro_f1_of,
    uar_of,
    unweighted_average_recall,
    war_of,
    weighted_average_recall,
)


def simulate(random, speakers, utterances=40, classes=4, spread=0.8):
    """Speakers differ in how well they are recognised, so their utterances err together."""
    skill = random.normal(0.6, spread, speakers)
    references = np.tile(np.arange(classes), (speakers, utterances // classes))
    right = random.random(references.shape) < 1 / (1 + np.exp(-skill[:, None]))
    wrong = (references + random.integers(1, classes, references.shape)) % classes
    names = np.repeat(np.arange(speakers), utterances)
    return references.ravel(), np.where(right, references, wrong).ravel(), names


def bootstrap_interval(random, confusions, samples=300):
    """The 95 % percentile bootstrap over speakers: the usual method, and the one to beat."""
    speakers = len(confusions)
    drawn = random.multinomial(speakers, np.full(speakers, 1 / speakers), samples)
    return np.quantile(uar_of(np.einsum("sk,ktp->stp", drawn, confusions)), [0.025, 0.975])


THOUSANDTHS = st.integers(0, 1000).map(lambda number: number / 1000)
UTTERANCES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from("abcde")), min_size=2)


@given(UTTERANCES)
@pytest.mark.parametrize(
    ("of_confusion", "of_ids"),
    [(uar_of, unweighted_average_recall), (war_of, weighted_average_recall), (macro_f1_of, macro_f1)],
)
def test_the_interval_is_the_jackknife_that_leaves_each_speaker_out(of_confusion, of_ids, utterances):
    """By brute force, on any data: speakers with one utterance, classes that only one speaker utters."""
    references, predictions, speakers = map(np.asarray, zip(*utterances, strict=True))
    names = sorted(set(speakers))
    if len(names) < 2:
        assert speaker_interval(of_confusion, references, predictions, speakers) is None
        return
    without = [of_ids(references[speakers != name], predictions[speakers != name]) for name in names]
    error = np.sqrt((len(names) - 1) ** 2 / len(names) * np.var(without, ddof=1))
    counts = np.unique(references, return_counts=True)[1]
    most = counts.sum() if of_confusion is war_of else len(counts) ** 2 / (1 / counts).sum()
    wanted = rate_interval(of_ids(references, predictions), error, speakers=len(names), utterances=most)
    told = speaker_interval(of_confusion, references, predictions, speakers)
    assert told == pytest.approx(tuple(map(float, wanted)), abs=1e-6)


@given(st.integers(0, 200), st.integers(1, 200), st.sampled_from([0.8, 0.95, 0.99]))
def test_with_many_speakers_who_differ_by_chance_alone_it_is_the_exact_binomial_interval(right, utterances, level):
    """With scipy's Clopper-Pearson interval as the oracle."""
    right = min(right, utterances)
    rate = right / utterances
    exact = binomtest(right, utterances).proportion_ci(level)
    by_chance = np.sqrt(rate * (1 - rate) / utterances)
    told = rate_interval(rate, by_chance, speakers=10**9, utterances=utterances, level=level)
    assert tuple(map(float, told)) == pytest.approx((exact.low, exact.high), abs=1e-6)


@given(THOUSANDTHS, THOUSANDTHS, st.integers(2, 100), st.integers(1, 10_000))
def test_an_interval_lies_within_0_and_1_holds_the_rate_and_is_never_without_width(rate, error, speakers, utterances):
    low, high = rate_interval(rate, error, speakers=speakers, utterances=utterances)
    assert 0 <= low <= rate + 1e-9
    assert rate - 1e-9 <= high <= 1
    assert high > low


@given(THOUSANDTHS, THOUSANDTHS, st.integers(2, 50), st.integers(1, 1000))
def test_an_interval_of_errors_is_the_mirror_of_that_of_hits(rate, error, speakers, utterances):
    low, high = rate_interval(rate, error, speakers=speakers, utterances=utterances)
    least, most = rate_interval(1 - rate, error, speakers=speakers, utterances=utterances)
    assert (1 - high, 1 - low) == (pytest.approx(float(least), abs=1e-6), pytest.approx(float(most), abs=1e-6))


def test_an_error_of_rounding_counts_as_none():
    exact = rate_interval(0.7, 0.0, speakers=4, utterances=40)
    assert rate_interval(0.7, 1e-17, speakers=4, utterances=40) == exact


def test_no_error_proves_less_from_fewer_utterances_and_fewer_speakers():
    def low(speakers, each):
        ids = np.tile(np.arange(4), speakers * each)
        names = np.repeat(np.arange(speakers), 4 * each)
        bound, high = speaker_interval(uar_of, ids, ids, names)
        assert high == 1
        return bound

    assert 0 < low(4, 1) < low(4, 15) < low(10, 15) < low(91, 15) < 1


def test_the_interval_of_any_statistic_is_the_symmetric_jackknife_cut_at_its_bounds():
    random = np.random.default_rng(0)
    heard = random.normal(0.1, 1, 12)
    without = (heard.sum() - heard) / 11
    reach = student.ppf(0.975, 11) * heard.std(ddof=1) / np.sqrt(12)  # the jackknife of a mean is its standard error
    low, high = heard.mean() - reach, heard.mean() + reach
    assert jackknife_interval(heard.mean(), without, None) == pytest.approx((low, high))
    assert jackknife_interval(heard.mean(), without, (0.0, 0.2)) == (0.0, 0.2)
    assert jackknife_interval(heard.mean(), without, (-1.0, 1.0), 0.5)[1] < high
    assert jackknife_interval(0.5, [0.5]) is jackknife_interval(0.1, [0.1, 0.1 + 1e-17, 0.1]) is None
    assert jackknife_interval(0.5, [0.4, np.nan]) is None
    assert jackknife_interval(np.nan, [0.4, 0.6]) is None
    with pytest.raises(ValueError, match=r"must be in \(0, 1\)"):
        jackknife_interval(0.5, [0.4, 0.6], level=1.0)


def test_the_interval_of_a_share_is_that_of_an_accuracy():
    references, predictions, speakers = simulate(np.random.default_rng(0), 12)
    share = share_interval(references == predictions, speakers)
    assert share == pytest.approx(speaker_interval(war_of, references, predictions, speakers))
    rare = np.tile([0] * 98 + [1] * 2, 40)  # classes of any size are one accuracy
    hits, forty = np.random.default_rng(0).random(4000) < 0.7, np.repeat(np.arange(40), 100)
    accuracy = speaker_interval(war_of, rare, np.where(hits, rare, 1 - rare), forty)
    assert accuracy == pytest.approx(share_interval(hits, forty))
    assert accuracy[1] - accuracy[0] < 0.04
    assert share_interval([True, False], ["a", None]) is share_interval([], []) is None


def test_where_all_are_covered_the_interval_of_the_share_says_what_so_many_prove():
    low, high = share_interval(np.ones(60, bool), np.repeat(np.arange(6), 10))
    assert 0.89 < low < 0.91 < high == 1


def test_shares_of_ten_speakers_near_the_ceiling_are_covered_where_the_symmetric_interval_falls_short():
    """True share 0.95, utterances of a speaker correlated by 0.05: what conformal coverage looks like."""
    random, told, symmetric = np.random.default_rng(0), 0, 0
    speakers = np.repeat(np.arange(10), 25)
    for _ in range(600):
        own = np.clip(random.beta(0.95 * 19, 0.05 * 19, 10), 0, 1)
        counted = random.random(250) < own[speakers]
        low, high = share_interval(counted, speakers)
        told += low <= 0.95 <= high
        without = [counted[speakers != one].mean() for one in range(10)]
        low, high = jackknife_interval(counted.mean(), without) or (1, 1)
        symmetric += low <= 0.95 <= high
    assert told / 600 > 0.93 > 0.92 > symmetric / 600


@pytest.mark.parametrize("speakers", [4, 9, 10, 23, 24, 91, 500])
@pytest.mark.parametrize("rate", [0.05, 0.5, 0.63, 0.86, 0.97, 1.0])
def test_the_report_is_told_wherever_simulated_coverage_is_below_93_percent(speakers, rate):
    row = COVERAGE[max(count for count in COVERAGE if count <= speakers)]
    least = min(row[min(row, key=lambda near: abs(near - rate))])
    told = caution(speakers, rate)
    assert (told is None) == (least >= LEAST_COVERAGE)
    if told is not None:
        assert f"{100 * least:.1f} %" in told


def test_many_speakers_need_no_caution_and_nine_do():
    assert caution(91, 0.9) is None
    assert caution(24, 0.5) is None
    assert "78.8 % if one speaker in seven" in caution(9, 0.75)
    assert caution(1, 0.9) is caution(None, 0.9) is None


@pytest.mark.parametrize("speakers", [2, 3])
def test_no_figure_is_claimed_for_fewer_speakers_than_were_simulated(speakers):
    told = caution(speakers, 0.75)
    assert "Fewer than 4 speakers" in told
    assert "not simulated" in told
    assert "81.2" not in told


def test_a_table_of_intervals_is_cautioned_once_for_all_its_rows():
    assert caution_of_all([(91, 0.5), (24, 0.5), (1, 0.5), (None, 0.5)]) is None
    assert caution_of_all([(91, 0.5), (10, 0.5)]) == "Intervals over 10 speakers may be too narrow."
    assert caution_of_all([(3, 0.5), (10, 0.75)]) == "Intervals over 3 speakers may be too narrow."


def hard_world(random, speakers, utterances=60, classes=4):
    """15 % of the speakers are recognised half as well as the rest; UAR 0.75 over all."""
    easy = (0.75 - 0.15 * 0.375) / 0.85
    skill = np.where(random.random(speakers) < 0.15, 0.375, easy)
    references = np.tile(np.arange(classes), (speakers, utterances // classes))
    right = random.random(references.shape) < skill[:, None]
    wrong = (references + 1) % classes
    return references.ravel(), np.where(right, references, wrong).ravel(), np.repeat(np.arange(speakers), utterances)


@pytest.mark.parametrize(("speakers", "least", "most"), [(10, 0.75, 0.88), (24, 0.90, 0.96)])
def test_the_simulated_coverage_where_one_speaker_in_seven_is_hard_is_what_the_caution_says(speakers, least, most):
    random = np.random.default_rng(speakers)
    spans = [speaker_interval(uar_of, *hard_world(random, speakers)) for _ in range(500)]
    assert least < np.mean([low <= 0.75 <= high for low, high in spans]) < most
    assert least < COVERAGE[speakers][0.75][1] < most


@pytest.mark.parametrize("speakers", [4, 10, 24, 91])
def test_intervals_cover_what_other_speakers_give(speakers):
    """95 % nominal; over 600 simulated corpora whose utterances are correlated within speakers."""
    random = np.random.default_rng(speakers)
    references, predictions, _ = simulate(random, 20_000)
    truth = weighted_average_recall(references, predictions)  # classes are equally frequent, so UAR is WAR
    covered = 0
    for _ in range(600):
        low, high = speaker_interval(uar_of, *simulate(random, speakers))
        covered += low <= truth <= high
    assert 0.93 < covered / 600 < 0.98


def test_the_percentile_bootstrap_covers_less():
    """The reason for the jackknife: with ten speakers, seen on the same corpora."""
    random = np.random.default_rng(0)
    truth = weighted_average_recall(*simulate(random, 20_000)[:2])
    covered = np.zeros(2)
    for _ in range(600):
        corpus = simulate(random, 10)
        spans = speaker_interval(uar_of, *corpus), bootstrap_interval(random, confusion_by_speaker(*corpus))
        covered += [low <= truth <= high for low, high in spans]
    assert covered[0] / 600 > 0.93 > 0.92 > covered[1] / 600


def test_the_interval_is_as_wide_for_more_utterances_of_the_same_speakers_but_narrower_for_more_speakers():
    def width(speakers, utterances):
        random = np.random.default_rng(0)
        spans = [speaker_interval(uar_of, *simulate(random, speakers, utterances, spread=1.5)) for _ in range(30)]
        return np.mean([high - low for low, high in spans])

    assert width(10, 400) > 0.8 * width(10, 40)
    assert width(40, 40) < 0.6 * width(10, 40)


def test_the_same_predictions_under_a_second_seed_make_no_interval_narrower():
    corpus = simulate(np.random.default_rng(0), 12)
    doubled = [np.tile(column, 2) for column in corpus]
    assert speaker_interval(uar_of, *doubled) == pytest.approx(speaker_interval(uar_of, *corpus))


@pytest.mark.parametrize("seeds", [2, 10])
def test_seeds_prove_no_more_than_one_of_them_also_where_every_answer_is_right(seeds):
    """Four speakers, 16 utterances each, all right: ten seeds as 640 utterances would prove 0.985, not 0.859."""
    references = np.tile(np.arange(4), 16)
    speakers = np.repeat(np.arange(4), 16)
    once = speaker_interval(uar_of, references, references, speakers)
    many, names = np.tile(references, seeds), np.tile(speakers, seeds)
    ids = np.tile(np.arange(64), seeds)
    assert speaker_interval(uar_of, many, many, names, utterances=ids) == pytest.approx(once)
    assert speaker_interval(uar_of, many, many, names)[0] > once[0], "without ids every row counts"
    assert once[0] == pytest.approx(0.859, abs=0.001)


def test_identical_seeds_near_the_ceiling_do_not_cost_coverage():
    """Ten speakers at 0.99 under five seeds that answer alike, most often without any error."""
    random, told, naive = np.random.default_rng(0), 0, 0
    for _ in range(400):
        references = np.tile(np.arange(4), 40)
        wrong = random.random(160) > 0.99
        corpus = references, (references + wrong) % 4, np.repeat(np.arange(10), 16)
        seeds = [np.tile(column, 5) for column in corpus]
        told += speaker_interval(uar_of, *seeds, utterances=np.tile(np.arange(160), 5))[0] <= 0.99
        naive += speaker_interval(uar_of, *seeds)[0] <= 0.99
    assert told / 400 > 0.93 > 0.9 > naive / 400


def test_a_higher_level_is_a_wider_interval():
    corpus = simulate(np.random.default_rng(0), 12)
    (low90, high90), (low99, high99) = (speaker_interval(uar_of, *corpus, level=level) for level in (0.9, 0.99))
    assert low99 < low90 < high90 < high99


@pytest.mark.parametrize("speakers", [["a", "a", "a"], ["a", "b", None], [1.0, 2.0, np.nan]])
def test_one_speaker_or_an_unknown_one_has_no_interval(speakers):
    assert speaker_interval(uar_of, [0, 1, 1], [0, 1, 0], speakers) is None


def test_what_is_no_question_is_refused():
    with pytest.raises(ValueError, match=r"must be in \(0, 1\), not 95"):
        speaker_interval(uar_of, [0, 1], [0, 1], ["a", "b"], level=95)
    with pytest.raises(ValueError, match="pass one speaker per row"):
        speaker_interval(uar_of, [0, 1], [0, 1], ["a"])
    with pytest.raises(ValueError, match="2 references but 1 utterances"):
        speaker_interval(uar_of, [0, 1], [0, 1], ["a", "b"], utterances=["one"])


def test_91_speakers_and_7442_utterances_take_a_fraction_of_a_second():
    random = np.random.default_rng(0)
    ids = random.integers(0, 6, (2, 7442))
    speakers = random.integers(0, 91, 7442).astype(str).astype(object)
    begin = time.perf_counter()
    speaker_interval(uar_of, *ids, speakers)
    assert time.perf_counter() - begin < 0.5


def test_the_interval_of_a_mean_over_corpora_is_that_of_welch():
    """Means of speakers' values, in two corpora of unlike size and spread; scipy gives the interval of their sum."""
    random = np.random.default_rng(0)
    one, two = random.normal(0.5, 0.01, 30), random.normal(0.6, 0.1, 4)
    left_out = [[np.delete(values, row).mean() for row in range(len(values))] for values in (one, two)]
    expected = ttest_ind(one, -two, equal_var=False).confidence_interval(0.95)
    low, high = mean_interval([one.mean(), two.mean()], left_out)
    assert (low, high) == pytest.approx((expected.low / 2, expected.high / 2))
