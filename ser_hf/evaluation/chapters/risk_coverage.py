"""The risk-coverage curve of a model that may decline to answer, and its area without each speaker."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def risk_coverage(confidences: ArrayLike, right: ArrayLike) -> np.ndarray:
    """Return the share of errors among the k most confident utterances, for every k from 1 on, shape (utterances,).

    Utterances of equal confidence share their errors evenly, so that the order of a table does not matter. Coverage is
    k / utterances; the mean of the curve is its area (AURC), 0 at best.

    Source: El-Yaniv & Wiener (2010), JMLR 11; the area: Geifman et al. (2019), arXiv:1805.08206.

    >>> risk_coverage([0.9, 0.8, 0.7, 0.6], [True, True, False, True]).round(2).tolist()
    [0.0, 0.0, 0.33, 0.25]
    """
    ranks, errors = ranks_and_errors(confidences, right)
    errors_each = np.bincount(ranks, weights=errors) / np.bincount(ranks)
    return np.cumsum(errors_each[np.sort(ranks)]) / np.arange(1, len(ranks) + 1)


def aurc_without_each(confidences: ArrayLike, right: ArrayLike, speakers: ArrayLike) -> np.ndarray:
    """Return the mean of `risk_coverage` over the utterances of all speakers but one, for each, shape (speakers,).

    One sorting serves all speakers. Where `gone` utterances of a speaker are more confident, `gone_errors` of them
    wrong, the curve at rank k becomes (errors up to k - gone_errors) / (k - gone). Both numbers are constant between
    two utterances of the speaker, so that differences of prefix sums give the area there; the sums are made once for
    each value of `gone`. This takes utterances times (most utterances of a speaker) steps, not utterances times
    speakers.

    Args:
        speakers: number of the speaker of each utterance, from 0 on, shape (utterances,); at least two speakers.

    >>> aurc_without_each([0.9, 0.8, 0.7], [True, False, True], [0, 1, 1]).tolist()
    [0.75, 0.0]
    """
    ranks, errors = ranks_and_errors(confidences, right)
    speakers = np.asarray(speakers, dtype=np.int64)
    if speakers.max() < np.bincount(speakers).max():  # few speakers of many utterances: sorting for each is quicker
        confidences, right = np.asarray(confidences), np.asarray(right)
        others = (speakers != one for one in range(speakers.max() + 1))
        return np.array([risk_coverage(confidences[chosen], right[chosen]).mean() for chosen in others])
    count, sizes = len(ranks), np.bincount(ranks)
    ends = np.cumsum(sizes)
    begins = ends - sizes
    wrong = np.bincount(ranks, weights=errors)
    wrong_before = np.cumsum(wrong) - wrong
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, count + 1))])

    # One entry for each speaker and each rank that this speaker has: own utterances and errors there and before.
    entries, inverse = np.unique(speakers * len(sizes) + ranks, return_inverse=True)
    speaker, rank = entries // len(sizes), entries % len(sizes)
    own, own_errors = np.bincount(inverse), np.bincount(inverse, weights=errors)
    first = np.searchsorted(speaker, np.arange(speaker.max() + 1))
    gone, gone_errors = (_before_within(values, first, speaker) for values in (own, own_errors))

    # At these ranks, the errors of the others are shared evenly among them: e(k) = e(begin) + share (k - begin).
    left, begin = sizes[rank] - own, begins[rank] - gone
    share = (wrong[rank] - own_errors) / np.maximum(left, 1)
    offset = wrong_before[rank] - gone_errors - share * begin
    pieces = left * share + offset * (harmonic[begin + left] - harmonic[begin])
    area = np.bincount(speaker, pieces)

    # Between these ranks, from the end of one to the beginning of the next, and after the last.
    previous_end = np.concatenate([[0], ends[rank[:-1]]])
    previous_end[first] = 0
    totals, total_errors = np.bincount(speakers), np.bincount(speakers, weights=errors)
    low = np.concatenate([previous_end, ends[rank[np.append(first[1:], len(rank)) - 1]]])
    high = np.concatenate([begins[rank], np.full(len(first), count)])
    gone, gone_errors = np.concatenate([gone, totals]), np.concatenate([gone_errors, total_errors])
    of = np.concatenate([speaker, np.arange(len(first))])
    errors_up_to = np.cumsum(np.repeat(wrong / sizes, sizes))
    for number in np.unique(gone):
        chosen = gone == number
        a, b = low[chosen], high[chosen]
        moved = np.maximum(np.arange(1, count + 1) - number, 1)  # no piece begins before that many have gone
        prefix = np.concatenate([[0.0], np.cumsum(errors_up_to / moved)])
        pieces = prefix[b] - prefix[a] - gone_errors[chosen] * (harmonic[b - number] - harmonic[a - number])
        area += np.bincount(of[chosen], pieces, minlength=len(area))
    return area / (count - totals)


def _before_within(values: np.ndarray, first: np.ndarray, speaker: np.ndarray) -> np.ndarray:
    """Return the sum of the earlier values of the same speaker, for each entry; `first` is each speaker's first."""
    before = np.cumsum(values) - values
    return before - before[first][speaker]


def ranks_and_errors(confidences: ArrayLike, right: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank of each utterance (0: most confident; equal confidences share a rank), and 1.0 where wrong."""
    confidences, right = np.asarray(confidences, dtype=np.float64), np.asarray(right)
    if confidences.ndim != 1 or confidences.shape != right.shape:
        raise ValueError(f"{confidences.shape} confidences but {right.shape} outcomes: pass one of each per utterance")
    if not len(right):
        raise ValueError("there are no utterances to evaluate: pass at least one")
    return np.unique(-confidences, return_inverse=True)[1], 1.0 - right.astype(bool)
