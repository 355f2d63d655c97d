"""An index of anchors: it finds recordings that may be copies without a comparison of every pair.

The keys of similar anchors have the same hash with high probability. A hash is a string of codes, and a code is the
nearest of some random directions, as in cross-polytope hashing (Andoni et al., 2015, NeurIPS, "Practical and optimal
LSH for angular distance"). The string is as long as its bucket needs to be small, as in the LSH forest (Bawa, Condie &
Ganesan, 2005, WWW); so the compared pairs grow as the number of anchors, not as its square. As in Wang (2003), other
anchors at the same lag must then agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

SLACK = 4  # frames by which two anchors of one lag may have moved against each other

# Measured on 5,328 much disturbed copies of RAVDESS, EMO-DB and nEMO in one index, with hashes as long as half a
# million anchors need: 8 tables miss 30 copies, 12 miss 24 and 16 miss 21, as many as with short hashes.
_TABLES = 16
_CODES = 6  # of a hash at most
_DIRECTIONS = 32  # of a code
_BUCKET = 64  # anchors; a larger bucket is split by one more code
# Of the similar copies of RAVDESS, EMO-DB and nEMO, the best pair of keys has 0.77 or more, and the agreement is 0.51
# or more. Of other recordings with similar keys, 4 to 8 % reach the agreement.
_SIMILAR = 0.7  # lowest correlation of two keys
_AGREEMENT = 0.4  # lowest mean correlation of the keys at one lag
_LAGS = 8  # of two recordings, those with the most similar anchors
_ROWS = 2048  # anchors of a block, for which candidates are held at a time
_PRODUCTS = 16_384  # pairs of keys that are multiplied at a time
_LEAST_FRAMES, _LEAST_SHARE = 100, 0.6  # what both hold, in frames and as a share of the shorter recording


@dataclass(frozen=True)
class Anchors:
    """The anchors of some recordings, one recording after another.

    Attributes:
        starts: (recordings + 1,): the first anchor of each recording, and the number of anchors.
        frames: (recordings,): the length of each recording.
        times: (anchors,): the frame of each anchor.
        keys: (anchors, values), int8: the surroundings of each anchor, at any scale.
    """

    starts: np.ndarray
    frames: np.ndarray
    times: np.ndarray
    keys: np.ndarray

    @cached_property
    def owner(self) -> np.ndarray:
        """The recording of each anchor, (anchors,)."""
        return np.repeat(np.arange(len(self.frames)), np.diff(self.starts))

    @cached_property
    def norms(self) -> np.ndarray:
        """Lengths of the keys, (anchors,)."""
        return np.sqrt(np.einsum("ij,ij->i", self.keys, self.keys, dtype=np.float32, casting="unsafe"))

    @cached_property
    def stride(self) -> int:
        """Frames from the start of one recording to that of the next, if all stand on one line."""
        return int(self.frames.max(initial=0)) + 2 * SLACK + 1

    @cached_property
    def line(self) -> np.ndarray:
        """The place of each anchor on this line, (anchors,), rising."""
        return self.owner * self.stride + self.times


@dataclass(frozen=True)
class _Table:
    """Anchors in the order of their buckets.

    Attributes:
        order: (anchors,): the anchors; within a bucket, earlier ones are first.
        position: (anchors,): the position of each anchor in `order`.
        begin: (anchors,): the position of the first anchor of the bucket of each anchor.
    """

    order: np.ndarray
    position: np.ndarray
    begin: np.ndarray


def least_overlap(one: np.ndarray | int, other: np.ndarray | int) -> np.ndarray:
    """Return the frames that recordings of some lengths, in frames, must share."""
    return np.maximum(_LEAST_FRAMES, _LEAST_SHARE * np.minimum(one, other))


def alignments(anchors: Anchors) -> Iterator[tuple[int, int, int]]:
    """Yield likely copies as (first, second, lag in frames); the second is the later recording.

    Each pair is yielded once, at its likeliest lag, ordered by the second and then the first recording.
    """
    for later, earlier in compared_pairs(anchors):
        similarity = _correlations(anchors, later, earlier)
        likely = similarity >= _SIMILAR
        later, earlier = later[likely], earlier[likely]
        lags = anchors.times[earlier] - anchors.times[later]
        found = _frequent_lags(anchors, anchors.owner[earlier], anchors.owner[later], lags, similarity[likely])
        agreement = _agreements(anchors, *found)
        agree = np.flatnonzero(agreement >= _AGREEMENT)
        # Stable: of lags with equal agreement, the one with the most similar anchors stays first.
        best = agree[np.lexsort((-agreement[agree], found[0][agree], found[1][agree]))]
        first, second, lag = (column[best] for column in found)
        new = _differs(first) | _differs(second)
        yield from zip(first[new].tolist(), second[new].tolist(), lag[new].tolist(), strict=True)


def compared_pairs(anchors: Anchors) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pairs of anchors that share a bucket as (later, earlier), (pairs,) each, some recordings at a time.

    Every anchor is compared with at most 64 earlier anchors in each of 16 tables. A bucket of more than 64 is left only
    where keys are almost equal, and there these are the 64 earliest.
    """
    tables = [_table(anchors.keys, seed) for seed in range(_TABLES)]
    begin = 0
    while begin < len(anchors.frames):
        end = max(begin + 1, int(np.searchsorted(anchors.starts, anchors.starts[begin] + _ROWS, "right")) - 1)
        rows = np.arange(anchors.starts[begin], anchors.starts[end])
        # The first anchor of the recording of each anchor: only what is before it belongs to an earlier recording.
        own = np.repeat(anchors.starts[begin:end], np.diff(anchors.starts[begin : end + 1]))
        pairs = np.sort(np.concatenate([_before(one, rows, own) for one in tables]))
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # `np.unique` of NumPy 2.4 takes twenty times as long
        yield pairs // len(anchors.keys), pairs % len(anchors.keys)
        begin = end


def _before(one: _Table, rows: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return row x anchors + anchor for the first anchors in the bucket of each row that are before `own`."""
    begin = one.begin[rows]
    number, within = _ragged(np.minimum(one.position[rows] - begin, _BUCKET))
    earlier = one.order[begin[number] + within]
    other = earlier < own[number]
    return rows[number[other]].astype(np.int64) * len(one.order) + earlier[other]


def _table(keys: np.ndarray, seed: int) -> _Table:
    """Return a table of keys, (anchors, values) of type int8, from random directions."""
    random = np.random.default_rng(seed)
    bucket = np.zeros(len(keys), np.int64)
    for _ in range(_CODES):
        large = np.flatnonzero(np.bincount(bucket)[bucket] > _BUCKET) if len(keys) else ()
        if not len(large):
            break
        # Products of integers are exact in any order, so that equal keys have equal codes on every machine.
        directions = random.choice(np.float32([-1, 1]), (keys.shape[1], _DIRECTIONS))
        code = np.zeros(len(keys), np.int64)
        for start in range(0, len(large), _PRODUCTS):
            part = large[start : start + _PRODUCTS]
            code[part] = 1 + np.argmax(keys[part].astype(np.float32) @ directions, axis=1)
        bucket = np.unique(bucket * (_DIRECTIONS + 1) + code, return_inverse=True)[1]
    order = np.argsort(bucket, kind="stable").astype(np.int32)
    position = np.empty_like(order)
    position[order] = np.arange(len(order), dtype=np.int32)
    sizes = np.bincount(bucket)
    return _Table(order, position, (np.cumsum(sizes) - sizes).astype(np.int32)[bucket])


def _ragged(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return 0, 0, 1, 1, 1... and 0, 1, 0, 1, 2... for the counts 2, 3..."""
    number = np.repeat(np.arange(len(counts)), counts)
    return number, np.arange(len(number)) - np.repeat(np.cumsum(counts) - counts, counts)


def _differs(column: np.ndarray) -> np.ndarray:
    """Return True where a value differs from the one before it, and for the first, (rows,)."""
    return np.concatenate([np.ones(min(1, len(column)), bool), column[1:] != column[:-1]])


def _correlations(anchors: Anchors, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the correlations of the keys of some anchors with those of as many others, (pairs,)."""
    products = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _PRODUCTS):
        part = slice(start, start + _PRODUCTS)
        one, other = anchors.keys[rows[part]].astype(np.float32), anchors.keys[others[part]].astype(np.float32)
        products[part] = np.einsum("ij,ij->i", one, other)
    return products / np.maximum(anchors.norms[rows] * anchors.norms[others], 1)


def _frequent_lags(
    anchors: Anchors, first: np.ndarray, second: np.ndarray, lag: np.ndarray, similarity: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return first, second and lag, (candidates,) each: for every pair, the lags with the most similar anchors."""
    enough = np.minimum(anchors.frames[first], anchors.frames[second] + lag) - np.maximum(0, lag)
    enough = enough + SLACK >= least_overlap(anchors.frames[first], anchors.frames[second])
    first, second, lag, similarity = first[enough], second[enough], lag[enough], similarity[enough]
    order = np.lexsort((lag, first, second))
    first, second, lag, similarity = first[order], second[order], lag[order], similarity[order]
    new = _differs(first) | _differs(second) | _differs(lag)
    weight = np.bincount(np.cumsum(new) - 1, similarity, minlength=0)
    first, second, lag = first[new], second[new], lag[new]
    order = np.lexsort((lag, -weight, first, second))
    first, second, lag = first[order], second[order], lag[order]
    new = _differs(first) | _differs(second)
    rank = np.arange(len(first)) - np.flatnonzero(new)[np.cumsum(new) - 1]
    return first[rank < _LAGS], second[rank < _LAGS], lag[rank < _LAGS]


def _agreements(anchors: Anchors, first: np.ndarray, second: np.ndarray, lag: np.ndarray) -> np.ndarray:
    """Return the mean correlation of the keys of both recordings at a lag, (candidates,).

    An anchor without a counterpart counts as 0; the mean is that of the recording with fewer anchors in the overlap.
    """
    counts = np.diff(anchors.starts)
    swap = counts[first] < counts[second]
    few, many = np.where(swap, first, second), np.where(swap, second, first)
    shift = np.where(swap, -lag, lag)  # from a frame of the one to the same moment in the other
    line, start = anchors.line, many * anchors.stride
    number, within = _ragged(counts[few])
    rows = anchors.starts[few[number]] + within
    wanted = anchors.times[rows] + shift[number]
    other = np.searchsorted(line, start[number] + wanted - SLACK)
    near = other < anchors.starts[many[number] + 1]
    near[near] = np.abs(anchors.times[other[near]] - wanted[near]) <= SLACK
    values = np.maximum(_correlations(anchors, rows[near], other[near]), 0)
    total = np.bincount(number[near], values, minlength=len(few))
    inside = (wanted >= 0) & (wanted < anchors.frames[many[number]])
    in_few = np.bincount(number[inside], minlength=len(few))
    begin, end = np.maximum(0, shift), np.minimum(anchors.frames[many], anchors.frames[few] + shift)
    in_many = np.searchsorted(line, start + end) - np.searchsorted(line, start + begin)
    return total / np.maximum(1, np.minimum(in_few, in_many))
