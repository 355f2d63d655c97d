"""Near-duplicates of recordings: trimmed, re-encoded, resampled, louder or softer, yet the same performance.

As in Wang (2003, ISMIR, "An industrial-strength audio search algorithm"), recordings are aligned at anchors, here the
peaks of their loudness, so that trimming does not matter. As in Haitsma & Kalker (2002, ISMIR, "A highly robust audio
fingerprinting system"), the aligned recordings are compared frame by frame: each band of the telephone range against
its neighbours in time and frequency. Two takes of one sentence are never that similar.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from .audio import Source, read_audio

SAMPLING_RATE = 8_000  # Hz: what an 8 kHz copy still holds
HOP_SECONDS = 0.005  # two copies are out of step by half of it at most

# Lowest correlation of a near-duplicate. On RAVDESS, pairs of two takes reach 0.65 (one pair 0.69); copies are above
# it, except for a few copies in Opus at its lowest bit rate. `benchmarks/fingerprint_recall.py` prints the results on
# EMO-DB and nEMO; earlier results on them were known when the threshold was chosen.
THRESHOLD = 0.66

_N_FFT = 256  # samples, 32 ms
_HOP = round(HOP_SECONDS * SAMPLING_RATE)
_BANDS = 24
_LOWEST, _HIGHEST = 250.0, 3400.0  # Hz, the telephone range
_RANGE_DB = 25.0  # below the loudest cell of a recording; every codec changes lower levels
_SILENCE_DB = -80.0  # of a band of a frame: below the rounding of 16 bits
_ANCHOR_DISTANCE = 15  # frames to either side in which an anchor is the loudest
_ANCHOR_RANGE_DB = 40.0  # soft syllables are anchors too
_HALF_WINDOW = 50  # frames beside an anchor that its key describes
_CANDIDATE = 0.5  # lowest correlation of two keys that is looked at closely
_LIKELY = 0.35  # lowest correlation of the whole details that is compared again, over the overlap alone
_SLACK = 3  # frames by which an anchor may have moved
_LEAST_FRAMES, _LEAST_SHARE = 100, 0.6  # what both hold, in frames and as a share of the shorter recording


@dataclass(frozen=True)
class Fingerprint:
    """The parts of a recording that are compared with other recordings.

    Attributes:
        decibels: (frames, bands), float16: energy of each band.
        detail: (frames, bands), float16: the same, floored, against its neighbours in time and frequency, dB.
        anchors: (anchors,): the frames at which loudness peaks.
        keys: (anchors, values), float32, rows of unit length: the surroundings of each anchor, somewhat smoothed.
    """

    decibels: np.ndarray
    detail: np.ndarray
    anchors: np.ndarray
    keys: np.ndarray


@dataclass(frozen=True)
class Match:
    """Two recordings of one performance.

    Attributes:
        first, second: their positions in the sequence that was searched.
        similarity: correlation of their details at the best alignment, at least `THRESHOLD`.
        lag_seconds: start of the second within the first; negative if the first starts within the second.
        overlap_seconds: duration of the part that both have.
    """

    first: int
    second: int
    similarity: float
    lag_seconds: float
    overlap_seconds: float


def fingerprint(source: Source) -> Fingerprint:
    """Return the fingerprint of a recording. That of silence has no anchors and matches nothing.

    Raises:
        AudioError: as `read_audio`.
    """
    waveform = np.pad(read_audio(source, sampling_rate=SAMPLING_RATE), (_N_FFT // 2, _N_FFT))
    frames = np.lib.stride_tricks.sliding_window_view(waveform, _N_FFT)[::_HOP]
    energies = np.abs(np.fft.rfft(frames * np.hanning(_N_FFT).astype(np.float32), axis=1)) ** 2 @ _filters()
    decibels = 10 * np.log10(np.maximum(energies, 1e-12)).astype(np.float32)
    loudness = gaussian_filter1d(_floored(decibels, _ANCHOR_RANGE_DB).mean(axis=1), 8)
    anchors = np.flatnonzero(
        (loudness == maximum_filter1d(loudness, 2 * _ANCHOR_DISTANCE + 1)) & (loudness > 0.2 * loudness.max())
    )
    padded = np.pad(decibels, ((_HALF_WINDOW, _HALF_WINDOW), (0, 0)), constant_values=-np.inf)
    keys = np.zeros((len(anchors), 2 * _HALF_WINDOW // 4 * _BANDS), np.float32)
    for key, anchor in zip(keys, anchors, strict=True):
        # Each window has its own floor, because trimming may remove the loudest syllable of the recording.
        window = _floored(padded[anchor : anchor + 2 * _HALF_WINDOW])
        key[:] = _against_neighbours(window, 3, 10)[::4].ravel()
    keys /= np.maximum(np.linalg.norm(keys, axis=1, keepdims=True), 1e-9)
    return Fingerprint(decibels.astype(np.float16), _detail(_floored(decibels)).astype(np.float16), anchors, keys)


def _floored(decibels: np.ndarray, range_db: float = _RANGE_DB) -> np.ndarray:
    """Return levels above a floor, which is `range_db` below the loudest cell; lower levels become 0."""
    return np.maximum(decibels - max(decibels.max() - range_db, _SILENCE_DB), 0)


def _detail(level: np.ndarray) -> np.ndarray:
    return _against_neighbours(level, 1, 5)


def _against_neighbours(level: np.ndarray, frames: float, neighbours: float) -> np.ndarray:
    """Return smoothed levels minus those of neighbouring frames, then minus those of neighbouring bands."""
    smooth = gaussian_filter1d(level, frames, axis=0)
    change = smooth - gaussian_filter1d(smooth, neighbours, axis=0)
    return change - gaussian_filter1d(change, 2, axis=1)


@cache
def _filters() -> np.ndarray:
    """Return triangular filters, equally wide on the mel scale, (bins, bands)."""
    mel = np.linspace(*(2595 * np.log10(1 + hertz / 700) for hertz in (_LOWEST, _HIGHEST)), _BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hertz = np.fft.rfftfreq(_N_FFT, 1 / SAMPLING_RATE)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def near_duplicates(sources: Iterable[Source]) -> list[Match]:
    """Return all pairs of recordings of one performance, the most similar first.

    This is made for speech: of a steady tone, only the beginning and the end would be compared.
    A second of speech needs about 50 kB of memory. All pairs of 2,000 utterances take twelve seconds on one core;
    the time grows with the square of their number, so that 10,000 utterances take some minutes.

    Raises:
        AudioError: as `read_audio`.
    """
    with ThreadPoolExecutor() as pool:
        return find_matches(list(pool.map(fingerprint, sources)))


def find_matches(prints: Sequence[Fingerprint], *, threshold: float = THRESHOLD) -> list[Match]:
    """Return `near_duplicates` from fingerprints. A match shares at least 0.5 s and 60 % of the shorter recording."""
    likely: dict[tuple[int, int], tuple[float, int]] = {}
    for first, second, lag in _candidates(prints):
        value, shift = _align(prints[first].detail, prints[second].detail, lag)
        if value >= _LIKELY and value > likely.get((first, second), (-1.0, 0))[0]:
            likely[first, second] = value, shift
    matches = []
    for (first, second), (_, lag) in likely.items():
        value, overlap = _compare_overlap(prints[first].decibels, prints[second].decibels, lag)
        if value >= threshold:
            seconds = round(lag * HOP_SECONDS, 3), round(overlap * HOP_SECONDS, 3)
            matches.append(Match(first, second, round(value, 3), *seconds))
    return sorted(matches, key=lambda match: (-match.similarity, match.first, match.second))


def _candidates(prints: Sequence[Fingerprint]) -> list[tuple[int, int, int]]:
    """Return pairs with similar anchors as (first, second, lag in frames); the second is later in the sequence."""
    used = [number for number, one in enumerate(prints) if len(one.anchors)]
    if not used:
        return []
    owner = np.repeat(used, [len(prints[number].anchors) for number in used])
    anchor = np.concatenate([prints[number].anchors for number in used])
    keys = np.concatenate([prints[number].keys for number in used])
    found = set()
    for start in range(0, len(keys), 512):
        rows, columns = np.nonzero(keys[start : start + 512] @ keys[start:].T >= _CANDIDATE)
        rows, columns = rows + start, columns + start
        apart = owner[rows] < owner[columns]
        rows, columns = rows[apart], columns[apart]
        lags = anchor[rows] - anchor[columns]
        found.update(zip(owner[rows].tolist(), owner[columns].tolist(), lags.tolist(), strict=True))
    return sorted(found)


def _align(first: np.ndarray, second: np.ndarray, lag: int) -> tuple[float, int]:
    """Return the highest correlation of two details near a lag, and that lag; -1 if the overlap is too short."""
    first, second = first.astype(np.float32), second.astype(np.float32)
    least = max(_LEAST_FRAMES, _LEAST_SHARE * min(len(first), len(second)))
    best = (-1.0, lag)
    for shift in range(lag - _SLACK, lag + _SLACK + 1):
        one, other = _overlap(first, second, shift)
        if len(one) >= least:
            best = max(best, (_correlation(one, other), shift))
    return best


def _compare_overlap(first: np.ndarray, second: np.ndarray, lag: int) -> tuple[float, int]:
    """Return the correlation of the part that both recordings have, and the frames of this part.

    Floor and detail are computed from this part alone: trimming may remove the loudest syllable, which sets the floor
    of the whole recording.
    """
    one, other = _overlap(first.astype(np.float32), second.astype(np.float32), lag)
    return _correlation(_detail(_floored(one)), _detail(_floored(other))), len(one)


def _overlap(first: np.ndarray, second: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    begin, end = max(0, lag), min(len(first), len(second) + lag)
    return first[begin : max(begin, end)], second[begin - lag : max(begin, end) - lag]


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    scale = float(np.sqrt(np.vdot(one, one) * np.vdot(other, other)))
    return float(np.vdot(one, other)) / scale if scale > 0 else 0.0
