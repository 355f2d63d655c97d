"""Balancing without copies: how often each utterance is drawn, and which weight its class has in the loss.

Balancing happens in the training part's sampler, after the split by construction: nothing is ever duplicated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import Sampler

BALANCE = ("none", "class", "corpus", "class_and_corpus")


def sampling_weights(groups: ArrayLike) -> np.ndarray:
    """Weights under which every group is drawn equally often; they sum to 1.

    >>> sampling_weights(["anger", "anger", "anger", "fear"]).round(3).tolist()
    [0.167, 0.167, 0.167, 0.5]
    """
    _, group, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return (1 / (len(sizes) * sizes))[group]


def balancing_groups(labels: ArrayLike, corpora: ArrayLike, balance: str) -> np.ndarray:
    """The group of each utterance under a kind of balancing (`BALANCE`)."""
    if balance not in BALANCE:
        raise ValueError(f"balance is {balance!r}, wanted one of {', '.join(BALANCE)}")
    labels = np.asarray(labels)
    if balance == "none":
        return np.arange(len(labels))
    _, corpus = np.unique(np.asarray(corpora), return_inverse=True)
    return {"class": labels, "corpus": corpus, "class_and_corpus": corpus * (labels.max() + 1) + labels}[balance]


def class_weights(labels: Sequence[int], num_classes: int) -> np.ndarray:
    """Loss weights inverse to class frequency, 1 on average over the utterances; classes without one weigh 0.

    >>> class_weights([0, 0, 0, 1], 2).round(3).tolist()
    [0.667, 2.0]
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = np.count_nonzero(counts)
    return np.divide(len(labels), present * counts, out=np.zeros(num_classes), where=counts > 0)


def draw(weights: np.ndarray, count: int, generator: torch.Generator) -> np.ndarray:
    """`count` indices in random order, each as often as its weight asks, rounded up or down at random.

    Systematic resampling: an utterance whose expected number of draws is a whole number is drawn exactly that often, so
    equal weights give a permutation. Source: Kitagawa (1996), J. Comput. Graph. Stat. 5(1), appendix.

    >>> sorted(draw(np.ones(4), 4, torch.Generator().manual_seed(0)).tolist())
    [0, 1, 2, 3]
    """
    order = torch.randperm(len(weights), generator=generator).numpy()
    # The rounding keeps sums such as 10 * 0.1 on the whole number that they mean.
    edges = np.cumsum(weights[order]).round(12) / weights.sum().round(12) * count
    edges[-1] = count
    offset = torch.rand((), generator=generator, dtype=torch.float64).item()
    chosen = order[np.searchsorted(edges, np.arange(count) + offset, side="right")]
    return chosen[torch.randperm(count, generator=generator).numpy()]


class UtteranceSampler(Sampler[int]):
    """One epoch's utterances: weighted, and in batches of similar length if lengths are given.

    The draw depends on (seed, epoch) alone, so a resumed run sees what an unbroken one would have seen.

    Args:
        weights: how often each utterance is wanted, relative to the others, (utterances,).
        count: utterances per epoch.
        lengths: durations of the utterances in any unit; None draws batches without regard to length.
        batch_size: utterances per batch over all processes; used with `lengths` alone.
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
    ):
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
        indices = draw(self.weights, self.count, generator)
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
