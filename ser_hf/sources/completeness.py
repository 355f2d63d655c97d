"""Completeness of a corpus: counts of a folder are compared with the size of the release."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from glob import escape
from pathlib import Path

from .folders import matching
from .roots import find_root
from .spec import CorpusSpec, read_utterances
from .utterance import CorpusError, Utterance


def read_corpus(
    spec: CorpusSpec,
    root: str | os.PathLike | None = None,
    *,
    label_source: str | None = None,
    allow_partial: bool = False,
) -> list[Utterance]:
    """Return all utterances of a corpus under a root, checked against the size of its release.

    Raises:
        CorpusError: if the folder does not hold the corpus, if it is incomplete and `allow_partial` is False, or if the
            label source is not named (see `read_utterances`).
    """
    root = find_root(spec, root)
    utterances = list(read_utterances(spec, root, label_source))
    check_complete(spec, root, Counter(utterance.speaker for utterance in utterances), allow_partial=allow_partial)
    return utterances


def check_complete(spec: CorpusSpec, root: Path, counts: Counter, *, allow_partial: bool) -> str | None:
    """Return a clause about the missing part of a corpus, from its utterances per speaker; None if it is complete.

    If releases differ in size, the label files under the root are used.

    Raises:
        CorpusError: if there are no utterances, or if the corpus is incomplete and `allow_partial` is False.
    """
    if not counts:
        raise CorpusError(f"there are no utterances of {spec.name} under {root}")
    # In the release, or below a folder more in copies on data-sharing sites.
    places = [(escape(place), f"*/{escape(place)}") for place in excluded_places(spec)]
    there = sum(any(matching(root, layouts).values()) for layouts in places)
    shortfall = _missing(spec, counts, there) or _unrecorded(spec, root)
    if shortfall is not None and not allow_partial:
        raise CorpusError(f"{shortfall} under {root}. Complete the corpus, or use a part of it with --allow_partial.")
    return shortfall


def missing(spec: CorpusSpec, utterances: Iterable[Utterance]) -> str | None:
    """Return a clause about the missing part of a corpus; None if it is complete (or more), or has no fixed size.

    `check_complete` finds more: it uses the label files, too.

    >>> from ser_hf.corpora import get_corpus
    >>> missing(get_corpus("emodb"), [Utterance(Path("03a01Fa.wav"), "happiness", "F", speaker="03")] * 500)
    'found 500 of 535 utterances of emodb (no speaker 08, 09, 10, 11, 12, 13, 14, 15, 16)'
    """
    utterances, places = list(utterances), tuple(f"/{place}" for place in excluded_places(spec))
    there = sum(utterance.path.with_suffix("").as_posix().endswith(places) for utterance in utterances)
    return _missing(spec, Counter(utterance.speaker for utterance in utterances), there)


def excluded_places(spec: CorpusSpec) -> list[str]:
    """Return the paths of the excluded recordings of a corpus below its folder, without suffix."""
    return [identity.partition("/")[2] for identity in spec.excluded]


def _missing(spec: CorpusSpec, counts: Counter, excluded: int) -> str | None:
    """Return the clause of `missing`. `excluded` recordings are in the counts, but must not replace missing ones."""
    if spec.utterances is None or counts.total() - excluded >= spec.utterances - len(spec.excluded):
        return None
    absent = [speaker for speaker in spec.speakers if speaker not in counts]
    short = [
        f"{counts[speaker]} of {size} of speaker {speaker}"
        for speaker, size in spec.speakers.items()
        if size is not None and 0 < counts[speaker] < size
    ]
    details = ([f"no speaker {', '.join(absent)}"] if absent else []) + short
    found = f"found {counts.total()} of {spec.utterances} utterances of {spec.name}"
    return f"{found} ({'; '.join(details)})" if details else found


def unrecorded(spec: CorpusSpec, root: Path) -> list[str]:
    """Return file stems that a release without fixed size names but a root lacks; empty if the size is known."""
    return [] if spec.utterances is not None or spec.unrecorded is None else sorted(spec.unrecorded(root))


def _unrecorded(spec: CorpusSpec, root: Path) -> str | None:
    lost = unrecorded(spec, root)
    return (
        f"{len(lost)} recordings named in the label files of {spec.name} are missing, the first is {lost[0]}"
        if lost
        else None
    )
