"""Named, verified evaluation protocols: which speakers test, which validate, which train.

A protocol is a name such as `ravdess/si6`; `protocols("ravdess")` lists them. Every part of every fold is checked:
a speaker, or the same audio, in two parts is an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ..audio import sample_hash
from ..corpora import CorpusSpec, get_corpus, list_corpora
from ..emotions import unknown_name
from . import emobox
from .stratified import speaker_folds

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset, DatasetDict

PARTS = ("train", "validation", "test")
Pairs = tuple[tuple[str, str], ...]
ALL_PAIRS: Pairs = tuple(combinations(PARTS, 2))
WITH_TEST: Pairs = (("train", "test"), ("validation", "test"))
Root = str | os.PathLike


class SplitError(ValueError):
    """A protocol that does not exist, does not fit the data, or would leak."""


@dataclass(frozen=True)
class Protocol:
    """How a dataset is divided, in words a report can quote.

    Attributes:
        is_speaker_independent: no test speaker is heard in training or validation.
        validation_shares_speakers: validation speakers are heard in training all the same; the rule says what is new.
    """

    name: str
    rule: str
    is_speaker_independent: bool = True
    validation_shares_speakers: bool = False

    @property
    def disjoint_speakers(self) -> Pairs:
        """The pairs of parts that share no speaker."""
        if not self.is_speaker_independent:
            return ()
        return WITH_TEST if self.validation_shares_speakers else ALL_PAIRS


@dataclass(frozen=True)
class _Division:
    """The folds of a protocol on one dataset; each is made when it is asked for, as {part: row numbers}."""

    protocol: Protocol
    count: int
    fold: Callable[[int], dict[str, np.ndarray]]
    disjoint_statements: Pairs = ()


def protocols(corpus: str | Dataset) -> dict[str, Protocol]:
    """The protocols of a corpus by name: its own folds and divisions, and the general rules that fit it.

    Args:
        corpus: a name of `list_corpora()`, or a dataset: then the protocols of every corpus in it.

    >>> list(protocols("ravdess"))
    ['ravdess/si6', 'ravdess/emobox', 'ravdess/loso', 'ravdess/kfold5', 'ravdess/statements2', 'ravdess/random5']
    """
    if isinstance(corpus, str):
        return _protocols(corpus, get_corpus(corpus))
    return {name: protocol for one in _values(corpus, "corpus") for name, protocol in _protocols(one).items()}


def _protocols(corpus: str, spec: CorpusSpec | None = None) -> dict[str, Protocol]:
    """Tables hold corpora that have no module here; the general rules divide them like any other."""
    if spec is None and corpus in list_corpora():
        spec = get_corpus(corpus)
    rules = [] if spec is None else _own_protocols(spec)
    if emobox.in_emobox(corpus) and f"{corpus}/emobox" not in {protocol.name for protocol in rules}:
        rules.append(
            Protocol(
                f"{corpus}/emobox",
                "the folds of EmoBox (arXiv:2406.07162), read from a checkout of it (emobox_root), which alone tells "
                "whether speakers are shared",
                is_speaker_independent=False,
            )
        )
    speakers = len(spec.speakers) if spec is not None and spec.speakers else None
    if speakers is None or speakers >= 3:
        folds = 5 if speakers is None else min(5, speakers)
        rules += [
            Protocol(f"{corpus}/loso", "leave one speaker out; validation is the next speaker of the other gender"),
            _general(corpus, "kfold", folds),
            _general(corpus, "statements", 2),
        ]
    rules.append(_general(corpus, "random", 5))
    return {protocol.name: protocol for protocol in rules}


def _general(corpus: str, kind: str, count: int) -> Protocol:
    """A protocol that any corpus may have, with any number of folds or groups."""
    if kind == "kfold":
        two = f"; {_OF_TWO}" if count == 2 else ""
        rule = f"{count} folds of whole speakers, stratified by class{two}; any number of folds: kfold<k>"
    elif kind == "statements":
        rule = (
            f"unseen speakers say unseen sentences: statements in {count} groups, crossed with folds of whole "
            "speakers; utterances that fit no part are left out; any number of groups: statements<k>"
        )
    else:
        rule = (
            f"{count} folds of utterances at random: speakers are shared, so its figures say nothing about new speakers"
        )
    return Protocol(
        f"{corpus}/{kind}{count}", rule, is_speaker_independent=kind != "random",
        validation_shares_speakers=kind == "kfold" and count == 2,
    )  # fmt: skip


# Two groups of speakers leave none to validate on beside those who train and those who test.
_OF_TWO = (
    "validation is a fifth of the statements of the speakers who train: it shares the speakers, but no statement, with "
    "the training part"
)


def _own_protocols(spec: CorpusSpec) -> list[Protocol]:
    rules = []
    for name, groups in spec.folds.items():
        rule, two = spec.notes.get(name, ""), len(groups) == 2
        if two:
            rule += f"; {_OF_TWO}"
        rules.append(Protocol(f"{spec.name}/{name}", rule.removeprefix("; "), validation_shares_speakers=two))
    for name in spec.divisions:
        rules.append(Protocol(f"{spec.name}/{name}", spec.notes.get(name, ""), name not in spec.sharing))
    return rules


CROSS_CORPUS = Protocol("loco", "leave one corpus out; validation is a fifth of the speakers of the corpora that train")


def get_protocol(name: str, corpora: Collection[str] = ()) -> Protocol:
    """The protocol of that name, such as `emodb/loso`, `crema_d/kfold10`, `loco`.

    Args:
        corpora: corpora beside those of `list_corpora()`, such as those of a table.

    Raises:
        SplitError: naming the nearest protocol, if there is none of that name.
    """
    if name == CROSS_CORPUS.name:
        return CROSS_CORPUS
    corpus, _, rule = name.partition("/")
    known = _protocols(corpus, None if corpus in corpora else get_corpus(corpus))
    general = re.fullmatch(r"(kfold|statements|random)([2-9]|[1-9]\d+)", rule)
    if name in known:
        return known[name]
    if general and any(f"/{general[1]}" in one for one in known):
        return _general(corpus, general[1], int(general[2]))
    raise SplitError(unknown_name("protocol", name, [*known, CROSS_CORPUS.name]))


def count_folds(dataset: Dataset, protocol: str, *, emobox_root: Root | None = None) -> int:
    """Number of folds that a protocol makes of this dataset; `emobox_root` as in `split`."""
    return _divide(dataset, protocol, emobox_root).count


def chosen_folds(
    dataset: Dataset, names: Sequence[str], folds: Sequence[int], *, emobox_root: Root | None = None
) -> list[int]:
    """The folds to run, after a check that they exist in every protocol: what is wrong is told before any training.

    Args:
        dataset, names, emobox_root: as in `split_each`.
        folds: numbers from 0, or -1 alone for all.

    Raises:
        SplitError: if a protocol lacks a fold, or if all are wanted of protocols with different numbers of folds.
    """
    counts = {name: count_folds(rows, name, emobox_root=emobox_root) for name, rows in _by_protocol(dataset, names)}
    if list(folds) == [-1]:
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{name} has {count}" for name, count in counts.items())
            raise SplitError(f"all folds are wanted, but {shown}: name folds that all of them have")
        return list(range(min(counts.values())))
    for name, count in counts.items():
        if absent := [fold for fold in folds if not 0 <= fold < count]:
            raise SplitError(f"{name} has folds 0 to {count - 1}, there is no fold {absent[0]}")
    return list(folds)


def _by_protocol(dataset: Dataset, names: Sequence[str]) -> Iterator[tuple[str, Dataset]]:
    """Each protocol with the rows of its corpus; a single one (`loco` too) has all rows."""
    if len(names) == 1:
        yield names[0], dataset
        return
    present, corpus_of = _codes(dataset, "corpus")
    if sorted(name.partition("/")[0] for name in names) != present:
        raise SplitError(f"the protocols {', '.join(names)} do not name each of the corpora {', '.join(present)} once")
    for name in names:
        yield name, dataset.select(np.flatnonzero(corpus_of == present.index(name.partition("/")[0])))


def split(dataset: Dataset, protocol: str, fold: int, *, emobox_root: Root | None = None) -> DatasetDict:
    """One fold of a named protocol: train, validation and test part of a dataset from `build_dataset`.

    The validation part is the next fold, cyclically; in `loso` the next speaker of the other gender (in order), else
    the next speaker; in `loco` one of five folds of the training speakers. Where a protocol differs, its rule says so.

    Args:
        dataset: utterances of the protocol's corpus (`loco`: of two corpora or more).
        protocol: a name from `protocols(corpus)`.
        fold: from 0.
        emobox_root: a checkout of https://github.com/emo-box/EmoBox, for the protocols `<corpus>/emobox`; those that
            are known by rule are then verified against its files.

    Raises:
        SplitError: if the protocol does not fit the dataset, or if a speaker or the same audio were in two parts.
    """
    division = _divide(dataset, protocol, emobox_root)
    parts = _parts(dataset, division, fold)
    check_disjoint(parts, speakers=division.protocol.disjoint_speakers, statements=division.disjoint_statements)
    return parts


def split_each(
    dataset: Dataset, names: Sequence[str], fold: int, *, emobox_root: Root | None = None
) -> tuple[DatasetDict, Protocol]:
    """The same fold of one protocol per corpus, part by part together, and what to call it in a report.

    Args:
        dataset: utterances of one or several corpora.
        names: one protocol for each corpus in it (`ravdess/si6`, `emodb/pairs5`), or one for all (`loco`).
        fold: from 0.
        emobox_root: as in `split`.

    Raises:
        SplitError: as `split`, and if a corpus has no protocol or two.
    """
    from datasets import DatasetDict, concatenate_datasets

    if len(names) == 1:
        division = _divide(dataset, names[0], emobox_root)
        parts = _parts(dataset, division, fold)
        check_disjoint(parts, speakers=division.protocol.disjoint_speakers, statements=division.disjoint_statements)
        return parts, division.protocol
    each, chosen = [], []
    for name, rows in _by_protocol(dataset, names):
        division = _divide(rows, name, emobox_root)
        one = _parts(rows, division, fold)
        # Speakers and statements are a corpus's own; recordings are compared below, over all corpora.
        _refuse_shared(one, "speaker", division.protocol.disjoint_speakers)
        _refuse_shared(one, "statement", division.disjoint_statements)
        each.append(one)
        chosen.append(division.protocol)
    parts = DatasetDict({part: concatenate_datasets([one[part] for one in each]) for part in PARTS})
    check_disjoint(parts, speakers=())
    return parts, Protocol(
        " + ".join(names),
        "; ".join(protocol.rule for protocol in chosen),
        is_speaker_independent=all(protocol.is_speaker_independent for protocol in chosen),
        validation_shares_speakers=any(protocol.validation_shares_speakers for protocol in chosen),
    )


def _parts(dataset: Dataset, division: _Division, fold: int) -> DatasetDict:
    from datasets import DatasetDict

    name = division.protocol.name
    if not 0 <= fold < division.count:
        raise SplitError(f"{name} has folds 0 to {division.count - 1}, there is no fold {fold}")
    parts = DatasetDict({part: dataset.select(rows) for part, rows in division.fold(fold).items()})
    if empty := [part for part, rows in parts.items() if len(rows) == 0]:
        raise SplitError(f"fold {fold} of {name} has no utterance in {' and '.join(empty)}")
    return parts


def check_disjoint(parts: Mapping[str, Dataset], *, speakers: Pairs = ALL_PAIRS, statements: Pairs = ()) -> None:
    """Raises a `SplitError` if two parts share an utterance or the same audio, or what they must not share.

    Audio is compared by its decoded samples, so that a .wav and a .flac of one recording are the same.

    Args:
        parts: datasets by the name of their part.
        speakers: the pairs of parts that must have no speaker in common.
        statements: the pairs of parts that must have no statement in common.
    """
    _refuse_shared(parts, "speaker", speakers)
    _refuse_shared(parts, "statement", statements)
    _refuse_shared(parts, "utterance_id", tuple(combinations(parts, 2)))
    _refuse_shared_audio(parts)


def _refuse_shared(parts: Mapping[str, Dataset], column: str, pairs: Pairs) -> None:
    from pyarrow import compute

    members = {part: compute.unique(_column(parts[part], column)) for part in {*sum(pairs, ())} if part in parts}
    if column == "speaker" and any(values.null_count for values in members.values()):
        raise SplitError(
            "some utterances have no speaker, so nothing can be called speaker-independent: add a speaker column, "
            "or choose the protocol random5 and say so"
        )
    for first, second in pairs:
        if first not in parts or second not in parts:
            continue
        shared = members[first].filter(compute.is_in(members[first], value_set=members[second]))
        if len(shared):
            kind = column.removesuffix("_id")
            raise SplitError(f"{kind} {min(shared.to_pylist())} is in {first} and in {second} ({len(shared)} shared)")


def _refuse_shared_audio(parts: Mapping[str, Dataset]) -> None:
    from datasets import concatenate_datasets

    # Equal audio has equal duration, which costs nothing to compare; only recordings that have it are decoded.
    names = list(parts)
    lengths = [_column(rows, "duration").to_numpy() for rows in parts.values()]
    part_of = np.repeat(np.arange(len(names)), [len(values) for values in lengths])
    _, duration = np.unique(np.concatenate(lengths), return_inverse=True)
    first, last = np.full(duration.max() + 1, len(names)), np.full(duration.max() + 1, -1)
    np.minimum.at(first, duration, part_of)
    np.maximum.at(last, duration, part_of)
    order = np.argsort(duration, kind="stable")
    suspicious = order[(first < last)[duration[order]]]
    known = "audio_hash" if all("audio_hash" in rows.column_names for rows in parts.values()) else "audio"
    recordings = concatenate_datasets(
        [rows.with_format(None).select_columns(["utterance_id", known]) for rows in parts.values()]
    )
    seen: dict[str, tuple[int, str]] = {}
    previous = -1
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(suspicious), 256):
            chosen = suspicious[start : start + 256]
            batch = recordings[chosen]
            digests = batch[known] if known == "audio_hash" else pool.map(sample_hash, batch[known])
            for row, identity, digest in zip(chosen, batch["utterance_id"], digests, strict=True):
                if duration[row] != previous:  # only what is equally long can be equal: memory stays flat
                    seen, previous = {}, duration[row]
                other, name = seen.setdefault(digest, (part_of[row], identity))
                if other != part_of[row]:
                    raise SplitError(
                        f"{name} ({names[other]}) and {identity} ({names[part_of[row]]}) hold the same audio: "
                        "remove one of them"
                    )


# --- columns as arrays: a million utterances are no list of a million objects ---


def _column(dataset: Dataset, name: str) -> pyarrow.ChunkedArray:
    return dataset.select_columns([name]).with_format("arrow")[:].column(name)


def _values(dataset: Dataset, name: str) -> list[str]:
    """The values that occur in a column, sorted."""
    return sorted(value for value in _column(dataset, name).unique().to_pylist() if value is not None)


def _codes(dataset: Dataset, name: str) -> tuple[list[str], np.ndarray]:
    """The values that occur in a column, sorted, and the number of each row's among them; -1 is unknown."""
    import pyarrow
    from pyarrow import compute

    values, column = _values(dataset, name), _column(dataset, name)
    codes = compute.index_in(column, value_set=pyarrow.array(values, column.type))
    return values, compute.fill_null(codes, -1).to_numpy()


def _speaker_codes(dataset: Dataset) -> tuple[list[str], np.ndarray]:
    names, codes = _codes(dataset, "speaker")
    if len(unknown := np.flatnonzero(codes < 0)):
        raise SplitError(
            f"{dataset[int(unknown[0])]['utterance_id']} has no speaker, so no protocol over speakers fits: add a "
            "speaker column, or choose random5 and say that speakers may be shared"
        )
    return names, codes


def _statement_codes(dataset: Dataset) -> tuple[list[str], np.ndarray]:
    names, codes = _codes(dataset, "statement")
    if (codes < 0).any():
        raise SplitError("some utterances have no statement, so none can be held out: add a statement column")
    return names, codes


# --- the folds of each rule ---


def _divide(dataset: Dataset, name: str, emobox_root: Root | None) -> _Division:
    present = _values(dataset, "corpus")
    protocol = get_protocol(name, present)  # a misspelt name is told before anything is computed
    if protocol == CROSS_CORPUS:
        return _leave_one_corpus_out(dataset, protocol)
    corpus, _, rule = name.partition("/")
    if present != [corpus]:
        raise SplitError(f"{name} divides {corpus} alone, but the dataset holds {', '.join(present)}")
    spec = get_corpus(corpus) if corpus in list_corpora() else None
    kind, count = re.fullmatch(r"(.*?)(\d*)", rule).groups()
    if spec is not None and rule in spec.folds:
        division = _by_named_speakers(dataset, protocol, spec.folds[rule])
        if rule == "emobox" and emobox_root is not None:
            _verify_emobox(dataset, division, emobox_root)
        return division
    if spec is not None and rule in spec.divisions:
        return _as_released(dataset, protocol, spec.divisions[rule])
    if rule == "emobox":
        return _emobox(dataset, protocol, emobox_root)
    if rule == "loso":
        return _leave_one_speaker_out(dataset, protocol)
    if kind == "kfold":
        _, speakers = _speaker_codes(dataset)
        group = _grouped_stratified(_labels(dataset), speakers, int(count))
        return _two_groups(dataset, protocol, group) if count == "2" else _rotate(protocol, group, int(count))
    if kind == "statements":
        return _statements_held_out(dataset, protocol, int(count))
    return _rotate(protocol, _copies_together(dataset, _stratified(_labels(dataset), int(count))), int(count))


def _rotate(protocol: Protocol, group: np.ndarray, count: int) -> _Division:
    """Each group of rows tests once, the next one (cyclically) validates, all others train."""
    if count < 3:
        raise SplitError(f"{count} folds leave nothing to train on beside test and validation; take 3 or more")

    def fold(number: int) -> dict[str, np.ndarray]:
        test, validation = group == number, group == (number + 1) % count
        return _rows(train=~(test | validation), validation=validation, test=test)

    return _Division(protocol, count, fold)


def _rows(**chosen: np.ndarray) -> dict[str, np.ndarray]:
    return {part: np.flatnonzero(rows) for part, rows in chosen.items()}


def _by_named_speakers(dataset: Dataset, protocol: Protocol, groups: Sequence[Sequence[str]]) -> _Division:
    corpus = protocol.name.partition("/")[0]
    names, speakers = _speaker_codes(dataset)
    group_of = {f"{corpus}-{speaker}": number for number, group in enumerate(groups) for speaker in group}
    if strangers := [name for name in names if name not in group_of]:
        raise SplitError(f"speakers {', '.join(strangers)} are in no fold of this protocol of {corpus}")
    group = np.asarray([group_of[name] for name in names])[speakers]
    if len(groups) == 2:
        return _two_groups(dataset, protocol, group)
    return _rotate(protocol, group, len(groups))


def _two_groups(dataset: Dataset, protocol: Protocol, group: np.ndarray) -> _Division:
    """One group of speakers tests; of the other, every fifth statement validates."""
    _, statements = _statement_codes(dataset)

    def fold(number: int) -> dict[str, np.ndarray]:
        test = group == number
        held_out = np.isin(statements, np.unique(statements[~test])[::5])
        return _rows(train=~test & ~held_out, validation=~test & held_out, test=test)

    return _Division(protocol, 2, fold, disjoint_statements=(("train", "validation"),))


def _as_released(dataset: Dataset, protocol: Protocol, division: tuple[str, str, str]) -> _Division:
    """One fold, of the release's own parts; utterances of its other parts are in none of ours."""
    names, released = _codes(dataset, "part")
    if absent := [part for part in division if part not in names]:
        raise SplitError(
            f"{protocol.name} needs the parts {', '.join(division)} of the release, but no utterance is of "
            f"{' or '.join(absent)} (here: {', '.join(names) or 'no parts'})"
        )
    rows = {part: released == names.index(own) for part, own in zip(PARTS, division, strict=True)}
    return _Division(protocol, 1, lambda number: _rows(**rows))


def _emobox(dataset: Dataset, protocol: Protocol, root: Root | None) -> _Division:
    """EmoBox's own parts; it cuts a fifth of the training utterances off at random to validate, we look for better."""
    if root is None:
        raise SplitError(
            f"{protocol.name} is read from EmoBox's files: pass a checkout of https://github.com/emo-box/EmoBox "
            "(--emobox_root)"
        )
    corpus = protocol.name.partition("/")[0]
    identities = _column(dataset, "utterance_id").to_pylist()
    folds, unlisted = emobox.read_folds(root, corpus, identities)
    if len(unlisted):
        raise SplitError(
            f"EmoBox lists {len(identities) - len(unlisted)} of these {len(identities)} utterances of {corpus}, but "
            f"not {identities[unlisted[0]]}: choose a scheme that drops what EmoBox drops, or another protocol"
        )
    _, speakers = _codes(dataset, "speaker")
    labels, apart = _labels(dataset), emobox.speakers_apart(folds, speakers)
    if "validation" in folds[0]:
        validation, chosen = "its own", lambda number: folds[number]["validation"]
    elif apart and len(folds) >= 3:
        validation, chosen = "the next fold", lambda number: folds[(number + 1) % len(folds)]["test"]
    elif apart:
        validation = "a fifth of the speakers who train"

        def chosen(number: int) -> np.ndarray:
            train = folds[number]["train"]
            return train[_grouped_stratified(labels[train], speakers[train], 5) == 0]
    else:
        validation = "a fifth of the training utterances, stratified by class"

        def chosen(number: int) -> np.ndarray:
            train = folds[number]["train"]
            return train[_stratified(labels[train], 5) == 0]

    def fold(number: int) -> dict[str, np.ndarray]:
        held_out = chosen(number)
        train = np.setdiff1d(folds[number]["train"], held_out)
        return {"train": train, "validation": held_out, "test": folds[number]["test"]}

    rule = (
        f"the folds of EmoBox (arXiv:2406.07162), whose test speakers are {'not ' if apart else ''}heard in training; "
        f"validation is {validation}"
    )
    return _Division(replace(protocol, rule=rule, is_speaker_independent=apart), len(folds), fold)


def _verify_emobox(dataset: Dataset, division: _Division, root: Root) -> None:
    """A rule that is called EmoBox's must be EmoBox's: the same utterances test in the same fold."""
    name = division.protocol.name
    identities = _column(dataset, "utterance_id").to_pylist()
    folds, unlisted = emobox.read_folds(root, name.partition("/")[0], identities)
    if len(folds) != division.count:
        raise SplitError(f"{name} has {division.count} folds by rule, but {len(folds)} in the files under {root}")
    for number, files in enumerate(folds):
        by_rule = np.setdiff1d(division.fold(number)["test"], unlisted)
        if len(differing := np.setxor1d(by_rule, files["test"])):
            raise SplitError(
                f"fold {number} of {name} differs between its rule and the files under {root}: {len(differing)} "
                f"utterances, such as {identities[differing[0]]}"
            )


def _leave_one_speaker_out(dataset: Dataset, protocol: Protocol) -> _Division:
    names, speakers = _speaker_codes(dataset)
    if len(names) < 3:
        raise SplitError(f"leave-one-speaker-out needs 3 speakers (test, validation, train), here are {len(names)}")
    gender = np.empty(len(names), dtype=int)
    gender[speakers] = _codes(dataset, "gender")[1]

    def fold(test: int) -> dict[str, np.ndarray]:
        others = [*range(test + 1, len(names)), *range(test)]  # in order, starting after the test speaker
        validation = next((other for other in others if gender[other] != gender[test]), others[0])
        held_out = np.isin(speakers, [test, validation])
        return _rows(train=~held_out, validation=speakers == validation, test=speakers == test)

    return _Division(protocol, len(names), fold)


def _leave_one_corpus_out(dataset: Dataset, protocol: Protocol) -> _Division:
    corpora, corpus_of = _codes(dataset, "corpus")
    if len(corpora) < 2:
        raise SplitError(f"loco leaves one corpus out, but the dataset holds only {', '.join(corpora)}")
    labels, (_, speakers) = _labels(dataset), _speaker_codes(dataset)

    def fold(number: int) -> dict[str, np.ndarray]:
        rest = np.flatnonzero(corpus_of != number)
        held_out = _grouped_stratified(labels[rest], speakers[rest], 5) == 0
        return {
            "train": rest[~held_out],
            "validation": rest[held_out],
            "test": np.flatnonzero(corpus_of == number),
        }

    return _Division(protocol, len(corpora), fold)


def _statements_held_out(dataset: Dataset, protocol: Protocol, groups: int) -> _Division:
    names, statements = _statement_codes(dataset)
    if len(names) < groups:
        raise SplitError(f"{len(names)} statements cannot make {groups} groups")
    count = max(3, groups)
    _, speakers = _speaker_codes(dataset)
    by_speaker = _rotate(protocol, _grouped_stratified(_labels(dataset), speakers, count), count)

    def fold(number: int) -> dict[str, np.ndarray]:
        held_out = statements % groups == number % groups
        rows = by_speaker.fold(number)
        return {part: chosen[held_out[chosen] == (part == "test")] for part, chosen in rows.items()}

    return _Division(protocol, count, fold, disjoint_statements=WITH_TEST)


def _labels(dataset: Dataset) -> np.ndarray:
    return _column(dataset, "label").to_numpy()


def _grouped_stratified(labels: np.ndarray, speakers: np.ndarray, count: int) -> np.ndarray:
    """The fold of each row: whole speakers, classes as even as that allows."""
    if (found := len(np.unique(speakers))) < count:
        raise SplitError(f"{found} speakers cannot make {count} folds of whole speakers")
    return speaker_folds(labels, speakers, count)


def _stratified(labels: np.ndarray, count: int) -> np.ndarray:
    """The fold of each row, at random within its class."""
    from sklearn.model_selection import StratifiedKFold

    if (rare := np.unique(labels, return_counts=True)[1].min()) < count:
        raise SplitError(f"a class has only {rare} utterances, too few for {count} folds")
    return _fold_of(StratifiedKFold(n_splits=count, shuffle=True, random_state=0).split(labels, labels))


def _copies_together(dataset: Dataset, fold_of: np.ndarray) -> np.ndarray:
    """Folds of utterances in which one recording that a corpus holds twice, as RAVDESS does, is not torn apart."""
    from ..data.precompute import hash_audio

    # Who divides without the column, as `ser-hf evaluate` does, gets the folds of the training. Only equally long
    # recordings can be equal; they are decoded.
    _, duration, times = np.unique(_column(dataset, "duration").to_numpy(), return_inverse=True, return_counts=True)
    rows = np.flatnonzero(times[duration] > 1)
    if not len(rows):
        return fold_of
    digests = _column(hash_audio(dataset.select(rows)), "audio_hash").to_numpy(zero_copy_only=False)
    _, first, recording = np.unique(digests, return_index=True, return_inverse=True)
    together = fold_of.copy()
    together[rows] = fold_of[rows[first]][recording]
    return together


def _fold_of(folds: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    tests = [test for _, test in folds]
    fold_of = np.empty(sum(map(len, tests)), dtype=int)
    for number, test in enumerate(tests):
        fold_of[test] = number
    return fold_of
