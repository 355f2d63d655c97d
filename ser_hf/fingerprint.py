"""Near-duplicates of recordings: trimmed, re-encoded, resampled, louder or softer, yet the same performance.

As in Wang (2003, ISMIR, "An industrial-strength audio search algorithm"), recordings are aligned at anchors, here the
peaks of their loudness, so that trimming does not matter. As in Haitsma & Kalker (2002, ISMIR, "A highly robust audio
fingerprinting system"), the aligned recordings are compared frame by frame: each band of the telephone range against
its neighbours in time and frequency. Two takes of one sentence are never that similar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice

import numpy as np
from scipy.fft import dct, irfft, next_fast_len, rfft
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from .audio import Source, read_audio
from .fingerprint_index import Anchors, alignments, least_overlap

SAMPLING_RATE = 8_000  # Hz: what an 8 kHz copy still holds
HOP_SECONDS = 0.005  # two copies are out of step by half of it at most

# Lowest correlation of a near-duplicate. On RAVDESS, pairs of two takes reach 0.65 (one pair 0.69); copies are above
# it, except for a few copies in Opus at its lowest bit rate. `benchmarks/fingerprint_recall.py` prints the results on
# EMO-DB and nEMO; earlier results on them were known when the threshold was chosen.
THRESHOLD = 0.66

_N_FFT = 256  # samples, 32 ms
_HOP = round(HOP_SECONDS * SAMPLING_RATE)
_BLOCK = 8_192  # frames that are transformed at a time
_SOURCES = 256  # recordings that are read ahead
_BANDS = 24
_LOWEST, _HIGHEST = 250.0, 3400.0  # Hz, the telephone range
_RANGE_DB = 25.0  # below the loudest cell of a recording; every codec changes lower levels
_SILENCE_DB = -80.0  # of a band of a frame: below the rounding of 16 bits
_STEPS = 4  # of a decibel; two of them would lower the similarity of copies by 0.002
_ANCHOR_DISTANCE = 15  # frames to either side in which an anchor is the loudest
_ANCHOR_RANGE_DB = 40.0  # soft syllables are anchors too
_HALF_WINDOW = 50  # frames beside an anchor that its key describes
_KEY_SIDE = 12  # cosines over time, and as many over the bands, in a key
_LIKELY = 0.35  # lowest correlation near the overlap that is computed again from the overlap alone
_SHIFTS = 3  # frames beside the likeliest lag at which recordings are compared
_LINKS = 10  # earlier copies with which a recording is linked at most


@dataclass(frozen=True)
class Fingerprint:
    """The parts of a recording that are compared with other recordings. A second of speech has about 5.3 kB.

    Attributes:
        levels: (frames, bands), uint8: energy of each band, quarter decibels above the lowest level that is kept.
        anchors: (anchors,), int32: the frames at which loudness peaks.
        keys: (anchors, values), int8: the surroundings of each anchor, smoothed, the largest value 127 or -127.
    """

    levels: np.ndarray
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
    """Return the fingerprint of a recording, or of what is there if its end is missing: it may be a copy all the same.

    That of silence has no anchors and matches nothing.

    Raises:
        AudioError: as `read_audio`.
    """
    decibels = _decibels(read_audio(source, sampling_rate=SAMPLING_RATE, allow_truncated=True))
    # 64 dB below the loudest cell: the floor of a window around the softest anchor is hardly lower.
    lowest = max(float(decibels.max()) - 255 / _STEPS, _SILENCE_DB)
    levels = np.rint(_STEPS * np.maximum(decibels - lowest, 0)).astype(np.uint8)
    loudness = gaussian_filter1d(_floored(levels, _ANCHOR_RANGE_DB).mean(axis=1), 8)
    peaks = (loudness == maximum_filter1d(loudness, 2 * _ANCHOR_DISTANCE + 1)) & (loudness > 0.2 * loudness.max())
    # Of a steady tone every frame is as loud as its neighbours: only its first one is an anchor.
    anchors = np.flatnonzero(peaks & (np.diff(loudness, prepend=0) > 0)).astype(np.int32)
    return Fingerprint(levels, anchors, _keys(levels, anchors))


def _decibels(waveform: np.ndarray) -> np.ndarray:
    """Return the energy of each band, (frames, bands), dB, of a waveform, (samples,)."""
    padded = np.pad(waveform, (_N_FFT // 2, _N_FFT))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::_HOP]
    window, blocks = np.hanning(_N_FFT).astype(np.float32), []
    for start in range(0, len(frames), _BLOCK):
        spectrum = np.fft.rfft(frames[start : start + _BLOCK] * window, axis=1)
        blocks.append(10 * np.log10(np.maximum(np.abs(spectrum) ** 2 @ _filters(), 1e-12)))
    return np.concatenate(blocks)


def _keys(levels: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the key of each anchor: the low cosines, over time and bands, of the detail of its surroundings."""
    padded = np.pad(levels, ((_HALF_WINDOW, _HALF_WINDOW), (0, 0)))
    over_time, over_bands = _key_filters()
    keys = np.zeros((len(anchors), _KEY_SIDE**2), np.int8)
    for key, anchor in zip(keys, anchors, strict=True):
        # Each window has its own floor, because trimming may remove the loudest syllable of the recording.
        window = _floored(padded[anchor : anchor + 2 * _HALF_WINDOW])
        values = (over_time @ window @ over_bands).ravel()
        key[:] = np.rint(values * (127 / max(float(np.abs(values).max()), 1e-9)))
    return keys


@cache
def _key_filters() -> tuple[np.ndarray, np.ndarray]:
    """Return filters over time, (cosines, frames), and over bands, (bands, cosines), that make a key of a window."""
    frames, bands = np.eye(2 * _HALF_WINDOW, dtype=np.float32), np.eye(_BANDS, dtype=np.float32)
    kept = slice(1, _KEY_SIDE + 1)  # not the mean
    over_time = dct(_change(frames, 3, 10)[::4], axis=0, norm="ortho")[kept]
    return over_time, dct(_contrast(bands), axis=1, norm="ortho")[:, kept]


def _floored(levels: np.ndarray, range_db: float = _RANGE_DB) -> np.ndarray:
    """Return levels above a floor, dB, which is `range_db` below the loudest cell; lower levels become 0."""
    floor = max(float(levels.max()) - _STEPS * range_db, 0)
    return np.maximum(levels.astype(np.float32) - floor, 0) / _STEPS


def detail_around(levels: np.ndarray, frame: int, half: int) -> tuple[np.ndarray, int]:
    """Return the detail of the frames around one, (frames, bands), dB, and its first row in the window of 2 `half`.

    It is computed from these frames alone, so that it does not depend on what was trimmed elsewhere. It is empty if
    there are fewer than 24 frames.
    """
    first, last = max(0, frame - half), min(len(levels), frame + half)
    if last - first < 24:
        return np.zeros((0, _BANDS), np.float32), 0
    return _detail(levels[first:last]), first - (frame - half)


def _detail(levels: np.ndarray) -> np.ndarray:
    """Return levels against their neighbours in time and frequency, (frames, bands), dB; of 24 frames or more.

    This is `_contrast(_change(floored, 1, 5))` in half the time.
    """
    kernel, over_bands = _detail_filters()
    floored, reach = _floored(levels), len(kernel) // 2
    mirrored = np.concatenate([floored[reach - 1 :: -1], floored, floored[: -reach - 1 : -1]])
    size = next_fast_len(len(mirrored), real=True)
    change = irfft(rfft(mirrored, size, axis=0) * rfft(kernel, size)[:, None], size, axis=0)
    return change[2 * reach : 2 * reach + len(floored)] @ over_bands


@cache
def _detail_filters() -> tuple[np.ndarray, np.ndarray]:
    """Return a filter over time, (49,), and one over bands, (bands, bands), that make the detail of levels."""
    impulse = np.zeros((49, 1), np.float32)
    impulse[24] = 1
    return _change(impulse, 1, 5)[:, 0], _contrast(np.eye(_BANDS, dtype=np.float32))


def _change(levels: np.ndarray, frames: float, neighbours: float) -> np.ndarray:
    """Return smoothed levels minus those of neighbouring frames."""
    smooth = gaussian_filter1d(levels, frames, axis=0)
    return smooth - gaussian_filter1d(smooth, neighbours, axis=0)


def _contrast(change: np.ndarray) -> np.ndarray:
    """Return levels minus those of neighbouring bands."""
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
    """Return the pairs of recordings of one performance, the most similar first; see `find_matches`.

    This is made for speech: of a steady tone, only the beginning and the end would be compared.
    Fingerprints of 100,000 recordings of two seconds take 220 s on one core and 1.1 GB of memory, and the search 65 s
    and 0.3 GB more. The time of the search grows almost as their number (`benchmarks/fingerprint_growth.py`).

    Raises:
        AudioError: as `read_audio`.
    """
    remaining, prints = iter(sources), []
    with ThreadPoolExecutor() as pool:
        while some := list(islice(remaining, _SOURCES)):
            prints += pool.map(fingerprint, some)
    return find_matches(prints)


def find_matches(prints: Sequence[Fingerprint], *, threshold: float = THRESHOLD) -> list[Match]:
    """Return the pairs of recordings whose similarity reaches a threshold, the most similar first.

    A match shares at least 0.5 s and 60 % of the shorter recording. A recording is linked with ten earlier copies at
    most: 5,000 copies of one recording give 50,000 matches, not 12 million. Which ten they are depends on the order of
    the recordings.
    """
    anchors = Anchors(
        starts=np.cumsum([0, *(len(one.anchors) for one in prints)]),
        frames=np.array([len(one.levels) for one in prints], np.int64),
        times=np.concatenate([np.zeros(0, np.int32), *(one.anchors for one in prints)]),
        keys=np.concatenate([np.zeros((0, _KEY_SIDE**2), np.int8), *(one.keys for one in prints)]),
    )
    matches, links = [], Counter[int]()
    for first, second, lag in alignments(anchors):
        if links[second] < _LINKS:
            similarity, lag, overlap = _compare(prints[first].levels, prints[second].levels, lag)
            if similarity >= threshold:
                links[second] += 1
                seconds = round(lag * HOP_SECONDS, 3), round(overlap * HOP_SECONDS, 3)
                matches.append(Match(first, second, round(similarity, 3), *seconds))
    return sorted(matches, key=lambda match: (-match.similarity, match.first, match.second))


def _compare(first: np.ndarray, second: np.ndarray, lag: int) -> tuple[float, int, int]:
    """Return the correlation of two recordings at the best lag near a given one, that lag, and the frames of overlap.

    Floor and detail are computed from the overlap alone: trimming may remove the loudest syllable, which sets the floor
    of the whole recording. The correlation is -1 if the overlap is too short.
    """
    least = least_overlap(len(first), len(second))
    begin, start = max(0, lag - _SHIFTS), max(0, -lag - _SHIFTS)
    one = _detail(first[begin : len(second) + lag + _SHIFTS])
    other = _detail(second[start : len(first) - lag + _SHIFTS])
    values = []
    for shift in range(lag - _SHIFTS, lag + _SHIFTS + 1):
        left, right = _overlap(one, other, shift - begin + start)
        if len(left) >= least:
            values.append((_correlation(left, right), shift))
    value, lag = max(values, default=(-1.0, lag))
    left, right = _overlap(first, second, lag)
    if value >= _LIKELY:
        value = _correlation(_detail(left), _detail(right))
    return value, lag, len(left)


def _overlap(first: np.ndarray, second: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    begin, end = max(0, lag), min(len(first), len(second) + lag)
    return first[begin : max(begin, end)], second[begin - lag : max(begin, end) - lag]


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    scale = float(np.sqrt(np.vdot(one, one) * np.vdot(other, other)))
    return float(np.vdot(one, other)) / scale if scale > 0 else 0.0
