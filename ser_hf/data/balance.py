"""Balancing without copies, by the number of draws of each utterance or by the weight of its class in the loss.

Balancing happens in the training part's sampler, after the split by construction: nothing is ever duplicated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import Sampler

BALANCE = ("none", "class", "corpus", "class_and_corpus")
BALANCE_BY = ("resampling", "oversampling", "undersampling")


def sampling_weights(groups: ArrayLike) -> np.ndarray:
    """Return weights under which every group is drawn equally often; they sum to 1.

    >>> sampling_weights(["anger", "anger", "anger", "fear"]).round(3).tolist()
    [0.167, 0.167, 0.167, 0.5]
    """
    _, group, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return (1 / (len(sizes) * sizes))[group]


def balancing_groups(labels: ArrayLike, corpora: ArrayLike, balance: str) -> np.ndarray:
    """Return the group of each utterance under a kind of balancing (`BALANCE`)."""
    if balance not in BALANCE:
        raise ValueError(f"balance must be one of {', '.join(BALANCE)}, not {balance!r}")
    labels = np.asarray(labels)
    if balance == "none":
        return np.arange(len(labels))
    _, corpus = np.unique(np.asarray(corpora), return_inverse=True)
    return {"class": labels, "corpus": corpus, "class_and_corpus": corpus * (labels.max() + 1) + labels}[balance]


def epoch_length(groups: ArrayLike, balance_by: str) -> int:
    """Return the number of draws of an epoch in which every group is drawn equally often (`BALANCE_BY`).

    "resampling": the number of utterances. "oversampling": every group is drawn as often as the largest group has
    utterances, and each of these once. "undersampling": as often as the smallest group has utterances, so that each
    epoch draws another part of the larger groups.

    >>> [epoch_length(["anger", "anger", "anger", "fear"], kind) for kind in BALANCE_BY]
    [4, 6, 2]
    """
    if balance_by not in BALANCE_BY:
        raise ValueError(f"balance_by must be one of {', '.join(BALANCE_BY)}, not {balance_by!r}")
    _, sizes = np.unique(np.asarray(groups), return_counts=True)
    each = {"resampling": sizes.mean(), "oversampling": sizes.max(), "undersampling": sizes.min()}[balance_by]
    return round(len(sizes) * each)


def class_weights(labels: Sequence[int], num_classes: int, *, drawn: ArrayLike | None = None) -> np.ndarray:
    """Return loss weights inverse to class frequency, 1 on average over all draws; absent classes get 0.

    Args:
        drawn: number of draws of each utterance relative to the others, as in the rehearsal of a curriculum; default:
            all are drawn equally often.

    >>> class_weights([0, 0, 0, 1], 2).round(3).tolist()
    [0.667, 2.0]
    """
    drawn = _relative(drawn, len(labels))
    counts = np.bincount(np.asarray(labels), drawn, minlength=num_classes)
    present = np.count_nonzero(counts)
    return np.divide(drawn.sum(), present * counts, out=np.zeros(num_classes), where=counts > 0)


def corpus_weights(
    labels: Sequence[int], corpora: ArrayLike, num_classes: int, *, within: str, drawn: ArrayLike | None = None
) -> np.ndarray:
    """Return loss weights inverse to the frequency of each corpus, 1 on average over all draws, (corpora, classes).

    Args:
        within: "corpus": all utterances of a corpus weigh the same; "class_and_corpus": those of each class of each
            corpus do, and where a corpus lacks a class the weight is 0.
        drawn: as in `class_weights`.

    Returns:
        A row for each corpus, in alphabetical order.

    >>> corpus_weights([0, 0, 0, 1], ["a", "a", "b", "b"], 2, within="class_and_corpus").round(3).tolist()
    [[0.667, 0.0], [1.333, 1.333]]
    """
    drawn = _relative(drawn, len(labels))
    names, corpus = np.unique(np.asarray(corpora), return_inverse=True)
    counts = np.bincount(corpus * num_classes + np.asarray(labels), drawn, minlength=len(names) * num_classes)
    counts = counts.reshape(len(names), num_classes)
    if within == "corpus":
        counts = np.repeat(counts.sum(axis=1, keepdims=True), num_classes, axis=1)
        present = len(names)
    else:
        present = np.count_nonzero(counts)
    return np.divide(drawn.sum(), present * counts, out=np.zeros(counts.shape), where=counts > 0)


def _relative(drawn: ArrayLike | None, count: int) -> np.ndarray:
    """Return the number of draws of each utterance relative to the most frequent one; 1 for all by default."""
    drawn = np.ones(count) if drawn is None else np.asarray(drawn, dtype=np.float64)
    return drawn / drawn.max()


def draw(weights: np.ndarray, count: int, generator: torch.Generator) -> np.ndarray:
    """Return `count` indices in random order, each in proportion to its weight, rounded up or down at random.

    Systematic resampling: an utterance whose expected number of draws is a whole number is drawn exactly that often, so
    equal weights give a permutation. Source: Kitagawa (1996), J. Comput. Graph. Stat. 5(1), appendix.

    >>> sorted(draw(np.ones(4), 4, torch.Generator().manual_seed(0)).tolist())
    [0, 1, 2, 3]
    """
    order = torch.randperm(len(weights), generator=generator).numpy()
    # The rounding keeps sums such as 10 * 0.1 on the whole number that they mean.
    edges = np.cumsum(weights[order]).round(12) / weights.sum().round(12) * count
    edges[edges == edges[-1]] = count  # all of these: the last ones may weigh nothing, and are then not drawn
    offset = torch.rand((), generator=generator, dtype=torch.float64).item()
    chosen = order[np.searchsorted(edges, np.arange(count) + offset, side="right")]
    return chosen[torch.randperm(count, generator=generator).numpy()]


@dataclass(frozen=True)
class Pace:
    """A pace: at first only the easiest share of each group is drawn, and all utterances after some epochs.

    Attributes:
        places: rank of each utterance in its group, in [0, 1); the easiest is 0 and is always drawn.
        groups: of each utterance, such as its class: within a group the easier ones come first, and the group is drawn
            as often as without a pace.
        start: share of each group that the first epoch draws, in (0, 1].
        epochs: after so many all are drawn; in between the share grows evenly.
    """

    places: np.ndarray
    groups: np.ndarray
    start: float
    epochs: float

    def share(self, epoch: int) -> float:
        return min(1.0, self.start + (1 - self.start) * epoch / self.epochs)

    def weights(self, weights: np.ndarray, epoch: int) -> np.ndarray:
        """Return the weights of an epoch: 0 for utterances that come later; the others of the group get theirs."""
        early = np.where(self.places < self.share(epoch), weights, 0.0)
        _, group = np.unique(self.groups, return_inverse=True)
        whole, part = np.bincount(group, weights), np.bincount(group, early)
        return early * np.divide(whole, part, out=np.zeros(len(part)), where=part > 0)[group]


def easiest_first(difficulty: ArrayLike, groups: ArrayLike, *, seed: int) -> np.ndarray:
    """Return the rank of each utterance in its group, in [0, 1), the easiest at 0, for a `Pace`.

    Equally difficult utterances are ranked at random; in the order of the files, the first speakers would be easiest.

    >>> easiest_first([3.0, 1.0, 2.0, 9.0], ["a", "a", "a", "b"], seed=0).round(2).tolist()
    [0.67, 0.0, 0.33, 0.0]
    """
    difficulty, groups = np.asarray(difficulty, dtype=np.float64), np.asarray(groups)
    places = np.empty(len(difficulty))
    ties = np.random.default_rng(seed).permutation(len(difficulty))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        order = rows[np.lexsort((ties[rows], difficulty[rows]))]
        places[order] = np.arange(len(rows)) / len(rows)
    return places


class UtteranceSampler(Sampler[int]):
    """A sampler of weighted utterances, in batches of similar length if lengths are given.

    The draw depends on (seed, epoch) alone, so a resumed run sees what an unbroken one would have seen.

    Args:
        weights: expected number of draws of each utterance relative to the others, (utterances,).
        count: utterances per epoch.
        lengths: durations of the utterances in any unit; None draws batches without regard to length.
        batch_size: utterances per batch over all processes; used with `lengths` alone.
        pace: the utterances that each epoch draws; default: all. The number of draws does not change.
    """

    # Batches are formed within stretches of this many, so that their make-up still changes from epoch to epoch.
    BATCHES_PER_STRETCH = 16

    def __init__(
        self,
        weights: np.ndarray,
        count: int,
        *,
        seed: int,
        lengths: Sequence[float] | None = None,
        batch_size: int = 1,
        pace: Pace | None = None,
    ):
        self.pace = pace
        self.weights = np.asarray(weights, dtype=np.float64)
        self.count, self.seed, self.batch_size, self.epoch = count, seed, batch_size, 0
        self.lengths = None if lengths is None else np.asarray(lengths)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        seed = int(np.random.SeedSequence([self.seed, self.epoch]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        weights = self.weights if self.pace is None else self.pace.weights(self.weights, self.epoch)
        indices = draw(weights, self.count, generator)
        if self.lengths is not None:
            indices = self._group_by_length(indices, generator)
        for start in range(0, len(indices), 10_000):  # a list of all would be ten times as large as the array
            yield from indices[start : start + 10_000].tolist()

    def _group_by_length(self, indices: np.ndarray, generator: torch.Generator) -> np.ndarray:
        stretch = self.BATCHES_PER_STRETCH * self.batch_size
        batches = []
        for start in range(0, len(indices), stretch):
            part = indices[start : start + stretch]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            batches += np.split(part, range(self.batch_size, len(part), self.batch_size))
        # A last, smaller batch stays last: in the middle it would shift the borders of all that follow.
        whole = batches[:-1]
        order = torch.randperm(len(whole), generator=generator).tolist()
        return np.concatenate([*(whole[position] for position in order), batches[-1]])
