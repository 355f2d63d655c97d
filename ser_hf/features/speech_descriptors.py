"""Descriptors of speech, frame by frame: levels, cepstra, contrast, pitch; and their statistics over time.

Where librosa has a function of the same purpose, the numbers are its numbers; tests compare them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from transformers.audio_utils import chroma_filter_bank, mel_filter_bank

STATISTICS = ("mean", "std", "p10", "p50", "p90", "slope")
MEL_BINS = 40
CEPSTRA = 20
# Pitch of speech, from low men to shouting women and children.
MIN_PITCH_HZ, MAX_PITCH_HZ = 60.0, 600.0
PITCH_FADE_HZ = 1000.0, 2000.0
DELTA_FRAMES = 4  # on either side: nine frames, as in librosa.feature.delta
# From Boersma (1993), Proceedings of the Institute of Phonetic Sciences 17: how periodic a voiced frame is, and what an
# octave further down must gain to be believed.
VOICED_STRENGTH, OCTAVE_COST = 0.45, 0.02
# What an octave away from the median pitch of the clip must gain: it takes the place of a path search.
JUMP_COST = 0.15
AMPLITUDE_FLOOR, DYNAMIC_RANGE_DB = 1e-10, 80.0  # of decibels, as librosa's power_to_db


def statistics(frames: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
    """Return the `STATISTICS` of each value over the frames; zeros if there are no frames.

    (frames, values), (frames,) in seconds -> (values * statistics,)
    """
    if len(frames) == 0:
        return torch.zeros(frames.shape[1] * len(STATISTICS))
    mean = frames.mean(dim=0)
    centred = frames - mean
    # Interpolated percentiles, as numpy's: one sort of contiguous columns costs a fraction of a quantile function.
    ordered = torch.from_numpy(np.sort(np.ascontiguousarray(frames.T.numpy()), axis=1))
    positions = torch.tensor([0.1, 0.5, 0.9]) * (len(frames) - 1)
    below, part = positions.long(), positions.frac()
    above = (below + 1).clamp_max(len(frames) - 1)
    percentiles = torch.lerp(ordered[:, below], ordered[:, above], part).T
    times = times - times.mean()
    slope = times @ centred / times.square().sum().clamp_min(1e-6)
    return torch.stack([mean, centred.square().mean(dim=0).sqrt(), *percentiles, slope], dim=1).flatten()


def harmonicity_db(periodicity: torch.Tensor) -> torch.Tensor:
    """Return the harmonics-to-noise ratio in dB, -40 to 40, from the periodicity of frames in [0, 1]."""
    share = periodicity.clamp(1e-4, 1 - 1e-4)
    return 10 * torch.log10(share / (1 - share))


def decibels(power: torch.Tensor) -> torch.Tensor:
    """Return power in dB, at most `DYNAMIC_RANGE_DB` below the loudest value."""
    level = 10 * torch.log10(power.clamp_min(AMPLITUDE_FLOOR))
    return torch.maximum(level, level.max() - DYNAMIC_RANGE_DB)


def contrast(magnitude: torch.Tensor, octaves: Sequence[tuple[int, int, int]]) -> torch.Tensor:
    """Return how far peaks are above valleys in each octave, in dB.  (frames, frequencies) -> (frames, octaves)

    Source: Jiang et al. (2002), "Music type classification by spectral contrast feature".
    """
    columns = []
    for start, end, count in octaves:
        band = magnitude[:, start:end]
        if count == 1:
            peak, valley = band.amax(dim=1), band.amin(dim=1)
        else:
            ordered = torch.from_numpy(np.sort(band.numpy(), axis=1))  # vectorised, and several times faster than topk
            peak, valley = ordered[:, -count:].mean(dim=1), ordered[:, :count].mean(dim=1)
        columns.append(torch.stack([peak, valley]))
    peaks, valleys = torch.stack(columns, dim=-1)
    return decibels(peaks) - decibels(valleys)


# Cached outside the extractor, which stays plain settings: JSON, picklable, and hashed alike by `datasets`.
@lru_cache(maxsize=4)
def filters(sampling_rate: int, n_fft: int) -> dict:
    """Return the matrices that turn spectra into descriptors, the frequencies of the bins in Hz, and the octaves."""
    frequencies = n_fft // 2 + 1
    frequency = torch.linspace(0, sampling_rate / 2, frequencies)
    mel = mel_filter_bank(
        frequencies, MEL_BINS, 0.0, sampling_rate / 2, sampling_rate, norm="slaney", mel_scale="slaney"
    )
    cosines = np.cos(np.pi * np.outer(np.arange(MEL_BINS) + 0.5, np.arange(CEPSTRA)) / MEL_BINS)
    cosines *= np.where(np.arange(CEPSTRA) == 0, np.sqrt(1 / MEL_BINS), np.sqrt(2 / MEL_BINS))
    # The tonal centroids of Harte et al. (2006): fifths, minor and major thirds as circles.
    angles = np.pi * np.outer([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3], np.arange(12))
    angles[::2] -= np.pi / 2
    tonnetz = np.asarray([1, 1, 1, 1, 0.5, 0.5])[:, None] * np.cos(angles)
    # Energies whose ratios eGeMAPS calls alpha ratio (mean levels) and Hammarberg index.
    edges = [(50, 1000), (1000, 5000), (0, 2000), (2000, 5000)]
    bands = torch.stack([((frequency >= low) & (frequency < high)).float() for low, high in edges], dim=1)
    tensors = {"cosines": cosines, "tonnetz": tonnetz.T}
    tensors["energies"] = np.concatenate([mel, chroma_filter_bank(n_fft, 12, sampling_rate).T, bands], axis=1)
    return {
        **{name: torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)) for name, values in tensors.items()},
        "frequency": frequency,
        "moments": torch.stack([frequency, frequency.square()], dim=1),
        "octaves": octaves_below(frequency.numpy(), sampling_rate),
    }


@lru_cache(maxsize=4)
def autocorrelation_matrix(sampling_rate: int, n_fft: int, win_length: int) -> torch.Tensor:
    """Return a matrix from power spectra to autocorrelations, divided by that of the window: (frequencies, lags).

    An offset is left out, because it correlates with itself at every lag. High harmonics are faded out, because their
    sharp peaks fall between the lags; a hard edge would cut through one of them.
    """
    low, high = PITCH_FADE_HZ
    lags = np.arange(lags_of_pitch(sampling_rate)[1] + 1)
    bins = np.arange(int(high * n_fft / sampling_rate) + 1)
    frequency = bins * sampling_rate / n_fft
    fade = np.where(frequency > 30.0, np.cos(np.clip((frequency - low) / (high - low), 0, 1) * np.pi / 2) ** 2, 0.0)
    window = np.zeros(2 * n_fft)
    window[:win_length] = torch.hann_window(win_length)
    of_window = np.fft.irfft(np.abs(np.fft.rfft(window)) ** 2)[lags]
    cosines = np.cos(2 * np.pi * np.outer(bins, lags) / n_fft) / n_fft * 2
    return torch.from_numpy((fade[:, None] * cosines * of_window[0] / of_window).astype(np.float32))


def lags_of_pitch(sampling_rate: int) -> tuple[int, int]:
    """Return the shortest pitch period, and one beyond the longest, in samples."""
    return int(sampling_rate / MAX_PITCH_HZ), int(sampling_rate / MIN_PITCH_HZ) + 2


def octaves_below(frequency: np.ndarray, sampling_rate: int) -> list[tuple[int, int, int]]:
    """Return (first bin, end, 2 % of its bins) of the band from 0 to 200 Hz and of each octave above it."""
    edges = [0.0, *(200.0 * 2.0**n for n in range(16) if 200.0 * 2.0**n < sampling_rate / 2)]
    found = []
    for number, (low, high) in enumerate(pairwise(edges)):
        inside = np.flatnonzero((frequency >= low) & (frequency <= high))
        start, end = inside[0] - (number > 0), inside[-1] + 1
        if number == len(edges) - 2:
            end = len(frequency)
        count = max(1, round(0.02 * (end - start)))
        found.append((int(start), int(end - (number < len(edges) - 2)), count))
    return found
