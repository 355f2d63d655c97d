"""Folds of whole speakers, with classes as even as possible."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def speaker_folds(labels: ArrayLike, speakers: ArrayLike, count: int) -> np.ndarray:
    """Return the fold of each utterance, 0 to `count` - 1, shape (utterances,); each speaker is in one fold.

    Speakers are assigned one by one, those with the most uneven classes first. Each goes to the fold for which the
    shares of the classes over the folds become most even; of two equal folds, to the smaller one.

    This is not left to a library, because a protocol must give the same folds everywhere: StratifiedGroupKFold of
    scikit-learn with `shuffle` gave other and uneven folds before version 1.8. These folds are those of 1.8.

    Args:
        labels: class of each utterance, any values.
        speakers: speaker of each utterance, same shape; at least `count` different ones.

    >>> speaker_folds(["a", "b"] * 4, [1, 1, 2, 2, 3, 3, 4, 4], 2).tolist()
    [1, 1, 0, 0, 0, 0, 1, 1]
    """
    classes, speaker_of = (np.unique(ids, return_inverse=True)[1] for ids in (labels, speakers))
    counts = np.zeros((speaker_of.max() + 1, classes.max() + 1))
    np.add.at(counts, (speaker_of, classes), 1)
    # numpy never changes the numbers of this generator; they order speakers with equally uneven classes.
    shuffled = np.random.RandomState(0).permutation(len(counts))
    uneven_first = shuffled[np.argsort(-counts[shuffled].std(axis=1), kind="stable")]
    in_folds, fold_of = np.zeros((count, counts.shape[1])), np.empty(len(counts), dtype=int)
    for speaker in uneven_first:
        chosen = fold_of[speaker] = _most_even(in_folds, counts[speaker], counts.sum(axis=0))
        in_folds[chosen] += counts[speaker]
    return fold_of[speaker_of]


def _most_even(in_folds: np.ndarray, more: np.ndarray, whole: np.ndarray) -> int:
    """Return the best fold for further utterances; `in_folds` (folds, classes), the others (classes,)."""
    best, least, smallest = 0, np.inf, np.inf
    for fold, size in enumerate(in_folds.sum(axis=1)):
        tried = in_folds.copy()
        tried[fold] += more
        unevenness = (tried / whole).std(axis=0).mean()
        if unevenness < least or (np.isclose(unevenness, least) and size < smallest):
            best, least, smallest = fold, unevenness, size
    return best
