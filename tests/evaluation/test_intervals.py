import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from ser_hf.evaluation.intervals import confusion_by_speaker, speaker_interval
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
    centre = of_ids(references, predictions)
    reach = student.ppf(0.975, len(names) - 1) * error
    assert speaker_interval(of_confusion, references, predictions, speakers) == pytest.approx(
        (max(0, centre - reach), min(1, centre + reach)), abs=1e-9
    )


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
    assert 0.92 < covered / 600 < 0.98


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


def test_a_higher_level_is_a_wider_interval():
    corpus = simulate(np.random.default_rng(0), 12)
    (low90, high90), (low99, high99) = (speaker_interval(uar_of, *corpus, level=level) for level in (0.9, 0.99))
    assert low99 < low90 < high90 < high99


@pytest.mark.parametrize("speakers", [["a", "a", "a"], ["a", "b", None], [1.0, 2.0, np.nan]])
def test_one_speaker_or_an_unknown_one_has_no_interval(speakers):
    assert speaker_interval(uar_of, [0, 1, 1], [0, 1, 0], speakers) is None


def test_what_is_no_question_is_refused():
    with pytest.raises(ValueError, match=r"share in \(0, 1\), not 95"):
        speaker_interval(uar_of, [0, 1], [0, 1], ["a", "b"], level=95)
    with pytest.raises(ValueError, match="name one for each utterance"):
        speaker_interval(uar_of, [0, 1], [0, 1], ["a"])


def test_91_speakers_and_7442_utterances_take_a_fraction_of_a_second():
    random = np.random.default_rng(0)
    ids = random.integers(0, 6, (2, 7442))
    speakers = random.integers(0, 91, 7442).astype(str).astype(object)
    begin = time.perf_counter()
    speaker_interval(uar_of, *ids, speakers)
    assert time.perf_counter() - begin < 0.5
