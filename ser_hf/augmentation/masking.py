"""Masks on features."""

from __future__ import annotations

import numpy as np


def mask_log_mel(
    log_mel: np.ndarray, masks: int, widest_bins: int, widest_frames: int, random: np.random.Generator
) -> np.ndarray:
    """Replace some mel bins and some frames of log-mel features (frames, mel bins) by the mean of all.

    SpecAugment (Park et al. 2019, arXiv:1904.08779) without time warping. The paper masks normalised features with 0,
    which is their mean; here the mean is right before any normalisation.

    Args:
        masks: number of masks over mel bins, and as many over frames.
        widest_bins: a mask covers 0 to so many mel bins.
        widest_frames: a mask covers 0 to so many frames.
    """
    masked = log_mel.copy()
    for rows, widest in ((masked.T, widest_bins), (masked, widest_frames)):  # both are views of the same numbers
        for _ in range(masks):
            width = min(int(random.integers(widest + 1)), len(rows))
            start = int(random.integers(len(rows) - width + 1))
            rows[start : start + width] = log_mel.mean()
    return masked
