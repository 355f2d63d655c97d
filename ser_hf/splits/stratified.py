"""Folds of whole speakers whose classes are as even as that allows."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def speaker_folds(labels: ArrayLike, speakers: ArrayLike, count: int) -> np.ndarray:
    """The fold of each utterance, 0 to `count` - 1, shape (utterances,): all utterances of a speaker are in one.

    Speakers are dealt out one by one, those with the most uneven classes first. Each goes to the fold that leaves the
    shares of the classes most even over the folds; of two such folds, to the smaller one.

    A protocol must be one division everywhere, and is therefore not left to a library: StratifiedGroupKFold of
    scikit-learn with `shuffle` gave other folds, and uneven ones, before version 1.8. These are those of 1.8.

    Args:
        labels: class of each utterance, any values.
        speakers: who speaks, same shape; at least `count` different ones.

    >>> speaker_folds(["a", "b"] * 4, [1, 1, 2, 2, 3, 3, 4, 4], 2).tolist()
    [1, 1, 0, 0, 0, 0, 1, 1]
    """
    classes, speaker_of = (np.unique(ids, return_inverse=True)[1] for ids in (labels, speakers))
    counts = np.zeros((speaker_of.max() + 1, classes.max() + 1))
    np.add.at(counts, (speaker_of, classes), 1)
    # The stream of this generator is frozen in numpy; speakers with equally uneven classes come in its order.
    shuffled = np.random.RandomState(0).permutation(len(counts))
    uneven_first = shuffled[np.argsort(-counts[shuffled].std(axis=1), kind="stable")]
    in_folds, fold_of = np.zeros((count, counts.shape[1])), np.empty(len(counts), dtype=int)
    for speaker in uneven_first:
        chosen = fold_of[speaker] = _most_even(in_folds, counts[speaker], counts.sum(axis=0))
        in_folds[chosen] += counts[speaker]
    return fold_of[speaker_of]


def _most_even(in_folds: np.ndarray, more: np.ndarray, whole: np.ndarray) -> int:
    """The fold that further utterances are to join; `in_folds` (folds, classes), the others (classes,)."""
    best, least, smallest = 0, np.inf, np.inf
    for fold, size in enumerate(in_folds.sum(axis=1)):
        tried = in_folds.copy()
        tried[fold] += more
        unevenness = (tried / whole).std(axis=0).mean()
        if unevenness < least or (np.isclose(unevenness, least) and size < smallest):
            best, least, smallest = fold, unevenness, size
    return best
