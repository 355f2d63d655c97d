from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ser_hf.data.balance import (
    UtteranceSampler,
    balancing_groups,
    class_weights,
    corpus_weights,
    draw,
    epoch_length,
    sampling_weights,
)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=60))
def test_every_group_has_the_same_share(groups):
    shares = Counter()
    for group, weight in zip(groups, sampling_weights(groups), strict=True):
        shares[group] += weight
    assert np.allclose(list(shares.values()), 1 / len(shares))


@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=50), st.integers(1, 200), st.integers(0, 1000))
def test_nobody_is_drawn_more_or_less_often_than_the_weight_asks(weights, count, seed):
    weights = np.asarray(weights)
    drawn = np.bincount(draw(weights, count, torch.Generator().manual_seed(seed)), minlength=len(weights))
    expected = weights / weights.sum() * count
    assert drawn.sum() == count
    assert (drawn >= np.floor(expected - 1e-6)).all()
    assert (drawn <= np.ceil(expected + 1e-6)).all()


def test_equal_weights_draw_everyone_once_in_another_order_each_epoch():
    sampler = UtteranceSampler(np.ones(1000), 1000, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(1000))
    assert first != second


def test_the_draw_depends_on_seed_and_epoch_alone():
    one, other = (UtteranceSampler(np.arange(1, 100), 300, seed=7, lengths=range(99), batch_size=8) for _ in "ab")
    list(one)  # an epoch that the other never saw
    for sampler in (one, other):
        sampler.set_epoch(3)
    assert list(one) == list(other)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=300), st.integers(1, 16))
def test_grouping_by_length_changes_the_order_and_nothing_else(lengths, batch_size):
    sampler = UtteranceSampler(np.ones(len(lengths)), len(lengths), seed=0, lengths=lengths, batch_size=batch_size)
    assert sorted(sampler) == list(range(len(lengths)))


def test_batches_of_similar_length_carry_little_padding():
    lengths = np.random.default_rng(0).lognormal(1, 0.6, 2000)

    def padding(sampler):
        batches = np.split(lengths[list(sampler)], range(16, 2000, 16))
        padded = sum(batch.max() * len(batch) for batch in batches)
        return padded / lengths.sum() - 1

    grouped = padding(UtteranceSampler(np.ones(2000), 2000, seed=0, lengths=lengths, batch_size=16))
    random = padding(UtteranceSampler(np.ones(2000), 2000, seed=0))
    assert grouped < 0.15 < 0.8 < random


def test_balancing_over_class_and_corpus_reaches_every_pair():
    labels, corpora = [0] * 90 + [1] * 9 + [0], ["a"] * 90 + ["b"] * 10
    weights = sampling_weights(balancing_groups(labels, corpora, "class_and_corpus"))
    drawn = draw(weights, 300, torch.Generator().manual_seed(0))
    pairs = Counter((labels[row], corpora[row]) for row in drawn)
    assert pairs == {(0, "a"): 100, (1, "b"): 100, (0, "b"): 100}
    with pytest.raises(ValueError, match="must be one of none, class, corpus"):
        balancing_groups(labels, corpora, "speaker")


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80))
def test_class_weights_are_one_on_average_and_equalise_the_classes(labels):
    weights = class_weights(labels, 6)
    assert np.mean(weights[labels]) == pytest.approx(1)
    totals = np.bincount(labels, minlength=6) * weights
    assert np.allclose(totals[totals > 0], len(labels) / len(set(labels)))


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc"), st.integers(1, 4)), min_size=1, max_size=60))
def test_weights_equalise_what_is_drawn_as_they_would_rows_that_stand_so_often(utterances):
    labels, corpora, drawn = map(list, zip(*utterances, strict=True))
    often, often_of = np.repeat(labels, drawn), np.repeat(corpora, drawn)
    share = np.asarray(drawn) / sum(drawn)
    assert np.allclose(class_weights(labels, 4, drawn=share), class_weights(often, 4))
    for within in ("corpus", "class_and_corpus"):
        weights = corpus_weights(labels, corpora, 4, within=within, drawn=share)
        assert np.allclose(weights, corpus_weights(often, often_of, 4, within=within))


@pytest.mark.parametrize("balance", ["class", "corpus", "class_and_corpus"])
def test_oversampling_leaves_nothing_out_and_undersampling_repeats_nothing(balance):
    labels, corpora = [0] * 90 + [1] * 9 + [0], ["a"] * 90 + ["b"] * 10
    groups = balancing_groups(labels, corpora, balance)
    sizes = Counter(groups.tolist())
    for kind, each in (("oversampling", max(sizes.values())), ("undersampling", min(sizes.values()))):
        count = epoch_length(groups, kind)
        assert count == each * len(sizes)
        drawn = np.bincount(list(UtteranceSampler(sampling_weights(groups), count, seed=0)), minlength=100)
        assert all(drawn[groups == group].sum() == each for group in sizes)
        largest = max(sizes, key=sizes.get)
        assert (drawn[groups == largest].max() if kind == "oversampling" else drawn.max()) == 1
        assert drawn.min() == (1 if kind == "oversampling" else 0)
    assert epoch_length(groups, "resampling") == 100
    with pytest.raises(ValueError, match="must be one of resampling, oversampling, undersampling"):
        epoch_length(groups, "copying")


@given(st.lists(st.floats(0.01, 5), min_size=1, max_size=50), st.integers(1, 50), st.integers(0, 1000))
def test_what_weighs_nothing_is_never_drawn(weights, nothing, seed):
    weights = np.asarray([*weights, *[0.0] * nothing])
    drawn = draw(weights, 200, torch.Generator().manual_seed(seed))
    assert (weights[drawn] > 0).all()


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abc")), min_size=1, max_size=80))
def test_corpus_weights_are_one_on_average_and_equalise_corpora_or_their_classes(pairs):
    labels, corpora = map(list, zip(*pairs, strict=True))
    names, corpus = np.unique(corpora, return_inverse=True)
    for within in ("corpus", "class_and_corpus"):
        weights = corpus_weights(labels, corpora, 5, within=within)
        assert weights.shape == (len(names), 5)
        each = weights[corpus, labels]
        assert each.mean() == pytest.approx(1)
        groups = balancing_groups(labels, corpora, within)
        totals = [each[groups == group].sum() for group in np.unique(groups)]
        assert totals == pytest.approx([len(labels) / len(totals)] * len(totals))
    if len(names) == 1:
        assert np.allclose(weights[0], class_weights(labels, 5))
