"""Sets of classes with a wanted coverage; needs numpy alone, since classifiers give such sets too."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

ROUNDING = 1e-12


def conformal_sets(probabilities: ArrayLike, quantile: float) -> np.ndarray:
    """Return the sets of classes, (utterances, classes), bool: True for each class in the set of an utterance.

    A set has all classes whose probability is 1 - quantile or more (least ambiguous sets), and always the most probable
    one. Of all sets with the same coverage these are the smallest on average, and unlike adaptive sets they need no
    random numbers.

    Source: Sadinle, Lei & Wasserman (2019), arXiv:1609.00451.

    >>> conformal_sets([[0.6, 0.3, 0.1], [0.4, 0.3, 0.3]], 0.7).tolist()
    [[True, True, False], [True, True, True]]
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    sets = probabilities >= 1 - quantile - ROUNDING
    sets[np.arange(len(sets)), probabilities.argmax(axis=1)] = True
    return sets
