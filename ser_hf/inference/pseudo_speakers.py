"""Pseudo-speakers: recordings that sound like one person, where no names are known; their number is estimated.

Ward (1963), doi:10.1080/01621459.1963.10500845, joins recordings to groups and groups to larger ones. Two groups stay
apart if their centres are further from each other than 1, the unit of `Voices`, which was chosen on training speakers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from .heads import VoiceVectors
from .predict import predict

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin, PreTrainedModel

LEAST_UTTERANCES = 5  # of a group that can stay apart: the centre of fewer is mostly that of their emotions


def pseudo_speakers(model: PreTrainedModel, extractor: FeatureExtractionMixin, dataset: Dataset) -> np.ndarray:
    """Return the number of a pseudo-speaker for each utterance, (utterances,), from 0; names are not used.

    Raises:
        ModelError: if the model cannot be adapted to a speaker.
    """
    classifier = VoiceVectors(model, extractor)
    return groups_of_voices(predict(classifier, dataset), float(model.voices.within))


def groups_of_voices(vectors: np.ndarray, within: float) -> np.ndarray:
    """Group vectors of `Voices`, (utterances, width) -> (utterances,).

    Args:
        within: mean squared distance of the utterances of one speaker from their centre.

    >>> groups_of_voices(np.repeat([[0.0, 0.0], [2.0, 0.0]], 5, axis=0), within=0.1).tolist()
    [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    """
    count = len(vectors)
    if count < 2:
        return np.zeros(count, int)
    tree = linkage(vectors, "ward")
    sizes = np.concatenate([np.ones(count), tree[:, 3]])
    apart = np.zeros(len(sizes))  # the greatest squared distance of two centres that are joined in a group
    for row, (left, right, height, _) in enumerate(tree):
        left, right = int(left), int(right)
        harmonic = 1 / sizes[left] + 1 / sizes[right]
        # Ward's height tells the distance of the centres; that of two centres of one voice is not zero by chance.
        distance = height**2 * harmonic / 2 - within * harmonic
        if min(sizes[left], sizes[right]) < LEAST_UTTERANCES:
            distance = 0.0
        apart[count + row] = max(distance, apart[left], apart[right])
    found = fcluster(tree, 1.0, "monocrit", monocrit=apart[count:])
    _, first, numbers = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers]
