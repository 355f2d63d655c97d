"""Named evaluation protocols, which divide a dataset into verified training, validation and test parts.

A protocol is a name such as `ravdess/si6`; `protocols("ravdess")` lists them. Every part of every fold is checked:
a speaker, or the same audio, in two parts is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..corpora import CorpusSpec, get_corpus, known_corpus
from ..data.columns import codes_of, values_of
from ..emotions import unknown_name
from . import emobox
from .disjoint import check_disjoint, refuse_shared
from .folds import Division, Root, divide
from .protocol import ALL, GIVEN, PARTS, Protocol, SplitError, join

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

FEW_SPEAKERS = 10
CROSS_CORPUS = Protocol(
    (),
    ("loco",),
    description="leave one corpus out; validation is a fifth of the speakers of the training corpora",
)
# With two groups of speakers, one is for training and one for the test; none is left for validation.
_OF_TWO = (
    "validation is a fifth of the statements of the training speakers: it shares speakers, but no statement, with the "
    "training part"
)


def protocols(corpus: str | Dataset) -> dict[str, Protocol]:
    """Return the protocols of a corpus by name: its own folds and divisions, and the general rules that fit it.

    Args:
        corpus: a name of `list_corpora()`, or a dataset: then the protocols of every corpus in it.

    >>> list(protocols("emodb"))
    ['emodb/pairs5', 'emodb/emobox', 'emodb/loso', 'emodb/kfold5', 'emodb/statements2', 'emodb/random5', 'emodb/all']
    """
    if isinstance(corpus, str):
        return _protocols(corpus, get_corpus(corpus))
    return {name: protocol for one in values_of(corpus, "corpus") for name, protocol in _protocols(one).items()}


def _protocols(corpus: str, spec: CorpusSpec | None = None) -> dict[str, Protocol]:
    """Return the protocols of a corpus. Tables hold corpora without a module here; the general rules divide them."""
    spec = known_corpus(corpus) if spec is None else spec
    rules = [] if spec is None else _own_protocols(spec)
    if emobox.in_emobox(corpus) and (spec is None or "emobox" not in spec.folds):
        rules.append(
            Protocol(
                (corpus,),
                ("emobox",),
                description="the folds of EmoBox (arXiv:2406.07162), read from a checkout of it (emobox_root); only "
                "its files tell whether parts share speakers",
                is_speaker_independent=False,
            )
        )
    speakers = len(spec.speakers) if spec is not None and spec.speakers else None
    if speakers is None or speakers >= 3:
        words = "leave one speaker out; validation is the next speaker of the other gender"
        rules += [
            Protocol((corpus,), ("loso",), description=words),
            _general(corpus, "kfold", 5 if speakers is None else min(5, speakers)),
            _general(corpus, "statements", 2),
        ]
    rules.append(_general(corpus, "random", 5))
    if spec is None or spec.is_own:
        words = "the parts that its owner gave: a column, or tables or folders called train, validation and test"
        rules.append(Protocol((corpus,), (GIVEN,), description=words, is_speaker_independent=False))
    rules.append(Protocol((corpus,), (ALL,), description="every utterance is for training, for the final model"))
    return {protocol.name: protocol for protocol in rules}


def _general(corpus: str, kind: str, count: int) -> Protocol:
    """Return a protocol that any corpus may have, with any number of folds or groups."""
    two = f"; {_OF_TWO}" if count == 2 else ""
    words = {
        "kfold": f"{count} folds of whole speakers, stratified by class{two}; any number of folds: kfold<k>",
        "statements": f"unseen speakers say unseen sentences: statements in {count} groups, crossed with folds of "
        "whole speakers; utterances that fit no part are left out; any number of groups: statements<k>",
        "random": f"{count} folds of utterances at random: parts share speakers, so results say nothing about unseen "
        "speakers",
    }
    return Protocol(
        (corpus,), (f"{kind}{count}",), description=words[kind], is_speaker_independent=kind != "random",
        validation_shares_speakers=kind == "kfold" and count == 2,
    )  # fmt: skip


def _own_protocols(spec: CorpusSpec) -> list[Protocol]:
    rules = []
    for name, groups in spec.folds.items():
        words = "; ".join(filter(None, (spec.notes.get(name), _OF_TWO if len(groups) == 2 else "")))
        rules.append(Protocol((spec.name,), (name,), description=words, validation_shares_speakers=len(groups) == 2))
    for name in spec.divisions:
        words, apart = spec.notes.get(name, ""), name not in spec.sharing
        rules.append(Protocol((spec.name,), (name,), description=words, is_speaker_independent=apart))
    return rules


def get_protocol(name: str, corpora: Collection[str] = ()) -> Protocol:
    """Return the protocol of a name, such as `emodb/loso`, `crema_d/kfold10`, `loco`.

    Args:
        corpora: corpora beside those of `list_corpora()`, such as those of a table.

    Raises:
        SplitError: naming the nearest protocol, if there is none of that name.
    """
    if name == CROSS_CORPUS.name:
        return CROSS_CORPUS
    asked = Protocol.parse(name)
    corpus = asked.corpora[0] if asked.corpora else name
    known = _protocols(corpus, None if corpus in corpora else get_corpus(corpus))
    if name in known:
        return known[name]
    general = asked.general_rule
    kinds = {one.general_rule[0] for one in known.values() if one.general_rule}
    if general and not asked.suffixes and general[0] in kinds:
        return _general(corpus, *general)
    raise SplitError(unknown_name("protocol", name, [*known, CROSS_CORPUS.name]))


def count_folds(dataset: Dataset, protocol: str, *, emobox_root: Root | None = None) -> int:
    """Return the number of folds of a protocol on this dataset; `emobox_root` as in `split`."""
    return _divide(dataset, protocol, emobox_root).count


def chosen_folds(
    dataset: Dataset, names: Sequence[str], folds: Sequence[int], *, emobox_root: Root | None = None
) -> list[int]:
    """Return the folds to run, after a check that they exist in every protocol, so that errors come before training.

    Args:
        dataset, names, emobox_root: as in `split_each`.
        folds: numbers from 0, or -1 alone for all. Empty: all if the dataset has fewer than `FEW_SPEAKERS`, since one
            fold then tests one or two people; else fold 0.

    Raises:
        SplitError: if a protocol lacks a fold, or for -1 if the protocols have different numbers of folds.
    """
    counts = {name: count_folds(rows, name, emobox_root=emobox_root) for name, rows in _by_protocol(dataset, names)}
    if not folds:
        few = 0 < len(values_of(dataset, "speaker")) < FEW_SPEAKERS
        folds = range(min(counts.values())) if few and len(set(counts.values())) == 1 else [0]
    if list(folds) == [-1]:
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise SplitError(
                f"the protocols differ in their number of folds ({shown}): pass folds that all of them have"
            )
        return list(range(min(counts.values())))
    for name, count in counts.items():
        for fold in folds:
            _refuse_absent(fold, name, count)
    return list(folds)


def _refuse_absent(fold: int, name: str, count: int) -> None:
    if not 0 <= fold < count:
        only = "only fold 0" if count == 1 else f"only folds 0 to {count - 1}"
        raise SplitError(f"{name} has no fold {fold}, {only}")


def _by_protocol(dataset: Dataset, names: Sequence[str]) -> Iterator[tuple[str, Dataset]]:
    """Yield each protocol with the rows of its corpus; a single one (`loco` too) has all rows."""
    if len(names) == 1:
        yield names[0], dataset
        return
    present, corpus_of = codes_of(dataset, "corpus")
    divided = [Protocol.parse(name).corpora for name in names]
    if sorted(divided) != [(corpus,) for corpus in present]:
        raise SplitError(
            f"pass one protocol for each corpus: the corpora are {', '.join(present)}, the protocols {', '.join(names)}"
        )
    for name, (corpus,) in zip(names, divided, strict=True):
        yield name, dataset.select(np.flatnonzero(corpus_of == present.index(corpus)))


def split(dataset: Dataset, protocol: str, fold: int, *, emobox_root: Root | None = None) -> DatasetDict:
    """Return one fold of a named protocol: train, validation and test part of a dataset from `build_dataset`.

    The validation part is the next fold, cyclically; in `loso` the next speaker of the other gender (in order), else
    the next speaker; in `loco` one of five folds of the training speakers. Where a protocol differs, its description
    says so.

    Args:
        dataset: utterances of the protocol's corpus (`loco`: of two corpora or more).
        protocol: a name from `protocols(corpus)`.
        fold: from 0.
        emobox_root: a checkout of https://github.com/emo-box/EmoBox, for the protocols `<corpus>/emobox`; such
            protocols with a rule of ours are then verified against its files.

    Raises:
        SplitError: if the protocol does not fit the dataset, or if a speaker or the same audio would be in two parts.
    """
    return split_each(dataset, [protocol], fold, emobox_root=emobox_root)[0]


def split_each(
    dataset: Dataset, names: Sequence[str], fold: int, *, emobox_root: Root | None = None
) -> tuple[DatasetDict, Protocol]:
    """Return the same fold of one protocol per corpus, part by part together, and the protocols as one.

    Args:
        dataset: utterances of one or several corpora.
        names: one protocol for each corpus in it (`ravdess/si6`, `emodb/pairs5`), or one for all (`loco`).
        fold: from 0.
        emobox_root: as in `split`.

    Raises:
        SplitError: as `split`, and if a corpus has no protocol or two.
    """
    from datasets import DatasetDict, concatenate_datasets

    each, chosen = [], []
    if len({Protocol.parse(name).is_final for name in names}) > 1:
        raise SplitError(f"the protocols {', '.join(names)}: use {ALL} for every corpus, or for none")
    for name, rows in _by_protocol(dataset, names):
        division = _divide(rows, name, emobox_root)
        for clause in division.left_out:
            _tell(f"{name}: {clause}")
        one = _parts(rows, division, fold)
        # Speakers and statements are a corpus's own; recordings are compared below, over all corpora.
        refuse_shared(one, "speaker", division.protocol.disjoint_speakers)
        refuse_shared(one, "statement", division.disjoint_statements)
        each.append(one)
        chosen.append(division.protocol)
    if len(each) > 1:
        each = [DatasetDict({part: concatenate_datasets([one[part] for one in each]) for part in PARTS})]
    check_disjoint(each[0])
    return each[0], join(chosen)


@cache
def _tell(line: str) -> None:
    """Print a line on stderr, once for all folds of a run."""
    print(line, file=sys.stderr)


def _divide(dataset: Dataset, name: str, emobox_root: Root | None) -> Division:
    present = values_of(dataset, "corpus")
    protocol = get_protocol(name, present)  # raises for a misspelt name before anything is computed
    if protocol.corpora and list(protocol.corpora) != present:
        raise SplitError(
            f"{name} divides only {protocol.corpora[0]}, but the dataset has {', '.join(present)}: pass one protocol "
            "for each"
        )
    spec = known_corpus(protocol.corpora[0]) if protocol.corpora else None
    return divide(dataset, protocol, spec, emobox_root)


def _parts(dataset: Dataset, division: Division, fold: int) -> DatasetDict:
    from datasets import DatasetDict

    name = division.protocol.name
    _refuse_absent(fold, name, division.count)
    parts = DatasetDict({part: dataset.select(rows) for part, rows in division.fold(fold).items()})
    if (empty := [part for part, rows in parts.items() if len(rows) == 0]) and not division.protocol.is_final:
        raise SplitError(f"fold {fold} of {name} has no utterances in {' and '.join(empty)}")
    return parts
