"""Fitting of `Voices`: what the utterances of one person have in common, for the grouping of unknown speakers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score

from ...inference.offsets import mean_of_group
from ...inference.pseudo_speakers import groups_of_voices
from .discriminant import Part

if TYPE_CHECKING:
    from ...models.speech.modeling_lda import Voices

# Candidates: squared distance of two centres of one voice, where that of two training speakers is 1 on the average.
FARTHEST = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2)


def fit_voices(voices: Voices, statistics: torch.Tensor, speakers: np.ndarray, fold_of: np.ndarray) -> None:
    """Fit the projection to the speakers of a training part, in place.

    The distance from which centres belong to two people is the one that groups held-out training speakers best: those
    of a fold together, and each alone.

    Args:
        statistics: the output of `embed`, (utterances, 2, layers + 1, 2 hidden).
        speakers: names, (utterances,), each known.
        fold_of: the inner fold of each utterance, (utterances,).
    """
    agreements = []
    for fold in np.unique(fold_of):
        held = fold_of == fold
        _project(voices, statistics[torch.from_numpy(~held)], speakers[~held])
        vectors, names = voices(statistics[torch.from_numpy(held)]).double().numpy(), speakers[held]
        groups = [np.ones(len(names), bool), *(names == name for name in np.unique(names))]
        within = float(voices.within)
        agreements += [
            [
                adjusted_rand_score(names[rows], groups_of_voices(vectors[rows] / np.sqrt(far), within / far))
                for far in FARTHEST
            ]
            for rows in groups
        ]
    _project(voices, statistics, speakers)
    farthest = FARTHEST[int(np.mean(agreements, axis=0).argmax())]
    voices.unit.mul_(np.sqrt(farthest))
    voices.within.div_(farthest)


def _project(voices: Voices, statistics: torch.Tensor, speakers: np.ndarray) -> None:
    """Fit the projection; the unit is the distance of two training speakers."""
    part = Part.standardised(voices.means(statistics).double().numpy())
    own = part.rows - mean_of_group(part.rows, speakers)
    variances, directions = np.linalg.eigh(own.T @ own)
    most = [k for k in np.argsort(-variances)[: len(voices.removed)] if variances[k] > 1e-8 * variances[-1]]
    voices.reset()
    voices.mean.copy_(torch.from_numpy(part.mean))
    voices.scale.copy_(torch.from_numpy(part.scale))
    voices.removed[: len(most)] = torch.from_numpy((part.basis @ directions[:, most]).T)

    projected = voices(statistics).double().numpy()
    centres = mean_of_group(projected, speakers)
    _, first = np.unique(speakers, return_index=True)
    between = 2 * centres[first].var(axis=0, ddof=1).sum()
    voices.unit.fill_(np.sqrt(between))
    voices.within.fill_(((projected - centres) ** 2).sum(axis=1).mean() / between)
