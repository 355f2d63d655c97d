"""Mixtures of two utterances: of their waveforms (samples,) or of their log-mel features (frames, mel bins)."""

from __future__ import annotations

import numpy as np


def mix_up(own: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Return share * own + (1 - share) * other; `other` is repeated or cut to the length of `own`.

    Source: MixUp, Zhang et al. 2018, arXiv:1710.09412.
    """
    return (share * own + (1 - share) * _as_long_as(own, other)).astype(own.dtype)


def cut_in(own: np.ndarray, other: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Replace a random stretch of `own` by the same stretch of `other`, repeated if it is shorter.

    `own` keeps the share, in [0, 1].

    Source: CutMix, Yun et al. 2019, arXiv:1905.04899, in time only.
    """
    other, width = _as_long_as(own, other), round((1 - share) * len(own))
    start = int(random.integers(len(own) - width + 1))
    mixed = own.copy()
    mixed[start : start + width] = other[start : start + width]
    return mixed


def _as_long_as(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    return other[np.arange(len(own)) % len(other)]
