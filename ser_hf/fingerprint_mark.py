"""Marks of recordings: less than 1 kB each, by which a later copy is known, re-encoded, resampled, trimmed or softer.

A mark describes 1.4 seconds around the loudest anchor of a fingerprint: its key, and one bit for each band of each
10 ms, as in Haitsma & Kalker (2002). It is kept where the recording is not: in the ledger of a model.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

import numpy as np

from .fingerprint import Fingerprint, detail_around

# The share of agreeing bits is (1 + similarity) / 2. Of 251,830 pairs of other recordings of RAVDESS, EMO-DB and nEMO
# the most similar has 0.54 (`benchmarks/copies_by_marks.py`, which prints how many copies are recognised, too).
ALIKE = 0.6
_HALF = 142  # frames of 5 ms to either side of the anchor
_STEP = 2  # frames for each row of bits
_ROWS, _BANDS, _KEY = 2 * _HALF // _STEP, 24, 144
_BYTES = 2 + _KEY + _ROWS * _BANDS // 8
_LIKELY = 0.5  # lowest correlation of the keys of two anchors whose bits are compared
_SHIFTS = (-2, 0, 2)  # frames
_LEAST_ROWS, _LEAST_SHARE = 40, 0.6  # that both recordings must have


def mark_of(fingerprint: Fingerprint) -> str:
    """Return the mark of a recording, as text of 764 characters. That of a recording without anchors is empty."""
    if not len(fingerprint.anchors):
        return ""
    energy = fingerprint.levels.sum(axis=1, dtype=np.int64)
    sums = np.concatenate([[0], np.cumsum(energy)])
    ends = np.minimum(fingerprint.anchors + _HALF, len(energy))
    best = int(np.argmax(sums[ends] - sums[np.maximum(fingerprint.anchors - _HALF, 0)]))
    bits, begin, end = _bits(fingerprint, fingerprint.anchors[best])
    if end - begin < _LEAST_ROWS:
        return ""
    content = bytes([begin, end]) + fingerprint.keys[best].tobytes() + np.packbits(bits > 0).tobytes()
    return urlsafe_b64encode(content).decode()  # without slashes, which would look like paths of this machine


class Marks:
    """Marks of many recordings, to be compared with one recording at a time.

    Raises:
        ValueError: if one is no mark.
    """

    def __init__(self, marks: Sequence[str]):
        content = [urlsafe_b64decode(mark) if mark else bytes(_BYTES) for mark in marks]
        if any(len(one) != _BYTES for one in content):
            raise ValueError(f"a mark has {_BYTES} bytes, in base64; the ledger is damaged, or of another version")
        table = np.frombuffer(b"".join(content), np.uint8).reshape(len(marks), _BYTES)
        rows = np.arange(_ROWS)
        self._inside = (table[:, :1] <= rows) & (rows < table[:, 1:2])
        self._keys = _normalised(table[:, 2 : 2 + _KEY].view(np.int8))
        signs = np.unpackbits(table[:, 2 + _KEY :], axis=1).reshape(len(marks), _ROWS, _BANDS).astype(np.int8) * 2 - 1
        self._signs = (signs * self._inside[:, :, None]).reshape(len(marks), _ROWS * _BANDS)  # 3.4 kB each

    def similarities(self, fingerprint: Fingerprint) -> np.ndarray:
        """Return the similarity of a recording to each mark, (marks,): 1 if all bits agree, 0 if nothing does."""
        best = np.zeros(len(self._keys))
        if not len(fingerprint.anchors):
            return best
        likely = self._keys @ _normalised(fingerprint.keys).T >= _LIKELY  # (marks, anchors)
        least = np.maximum(_LEAST_ROWS, _LEAST_SHARE * self._inside.sum(axis=1))
        for anchor in np.flatnonzero(likely.any(axis=0)):
            known = np.flatnonzero(likely[:, anchor])
            for shift in _SHIFTS:
                signs, begin, end = _bits(fingerprint, fingerprint.anchors[anchor] + shift)
                both = self._inside[known, begin:end].sum(axis=1)
                agreeing = self._signs[known].astype(np.float32) @ signs.ravel() / np.maximum(_BANDS * both, 1)
                best[known] = np.maximum(best[known], np.where(both >= least[known], agreeing, 0))
        return best


def _bits(fingerprint: Fingerprint, frame: int) -> tuple[np.ndarray, int, int]:
    """Return 1 or -1 for each band of each row around a frame, (rows, bands), and the rows within the recording.

    Rows outside are 0.
    """
    signs = np.zeros((2 * _HALF, _BANDS), np.float32)
    detail, begin = detail_around(fingerprint.levels, frame, _HALF)
    signs[begin : begin + len(detail)] = np.where(detail > 0, 1, -1)
    first, last = -(-begin // _STEP), -(-(begin + len(detail)) // _STEP)
    return signs[::_STEP], first, last


def _normalised(keys: np.ndarray) -> np.ndarray:
    values = keys.astype(np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
