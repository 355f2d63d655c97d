import numpy as np
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version
from sklearn.model_selection import StratifiedGroupKFold

from ser_hf import load_corpus, split
from ser_hf.splits.stratified import speaker_folds


@pytest.mark.skipif(Version(sklearn.__version__) < Version("1.8"), reason="earlier ones make other folds")
@pytest.mark.filterwarnings("ignore:The least populated class")
@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(1, 6), st.integers(0, 30), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_the_folds_are_those_of_a_scikit_learn_that_stratifies(count, classes, more, utterances, seed):
    random = np.random.default_rng(seed)
    speakers = random.permutation(np.r_[np.arange(count), random.integers(0, count + more, utterances)])
    labels = random.integers(0, classes, len(speakers))
    labels[:count] = 0  # scikit-learn wants one class that has an utterance for each fold
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=0).split(labels, labels, speakers)
    theirs = np.empty(len(labels), dtype=int)
    for fold, (_, test) in enumerate(folds):
        theirs[test] = fold
    assert (speaker_folds(labels, speakers, count) == theirs).all()


def test_speakers_stay_whole_and_classes_come_out_even():
    random = np.random.default_rng(0)
    speakers = np.repeat(np.arange(40), 25)
    labels = np.concatenate([random.choice(5, 25, p=random.dirichlet(np.ones(5))) for _ in range(40)])
    folds = speaker_folds(labels, speakers, 5)
    assert all(len(set(folds[speakers == one])) == 1 for one in range(40))
    shares = np.stack([np.bincount(labels[folds == fold], minlength=5) for fold in range(5)]) / np.bincount(labels)
    at_random = random.permutation(np.arange(40) % 5)[speakers]
    chance = np.stack([np.bincount(labels[at_random == fold], minlength=5) for fold in range(5)]) / np.bincount(labels)
    assert shares.std(axis=0).mean() < chance.std(axis=0).mean() / 3


def test_a_named_fold_is_these_speakers_and_no_others():
    """Written down: whoever changes it changes what published figures mean."""
    dataset = load_corpus("synthetic")
    test = [set(split(dataset, "synthetic/kfold5", fold)["test"]["speaker"]) for fold in (0, 4)]
    assert test[0] == {f"synthetic-acted{number}" for number in ("00", "01", "06", "09", "11")}
    assert test[1] == {f"synthetic-acted{number}" for number in ("03", "05", "08", "20")}
