"""The rules that make the folds of a dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..corpora import CorpusSpec, is_published
from ..data.columns import AUDIO_HASH_COLUMN, codes_of, column_array
from . import emobox
from .protocol import ALL, GIVEN, PARTS, WITH_TEST, Pairs, Protocol, SplitError
from .stratified import speaker_folds

if TYPE_CHECKING:
    from datasets import Dataset

Root = str | os.PathLike


@dataclass(frozen=True)
class Division:
    """The folds of a protocol on one dataset; `fold(number)` computes one as {part: row numbers}.

    Attributes:
        left_out: a clause for each kind of utterances that are in no fold, with their number.
    """

    protocol: Protocol
    count: int
    fold: Callable[[int], dict[str, np.ndarray]]
    disjoint_statements: Pairs = ()
    left_out: tuple[str, ...] = ()


def divide(dataset: Dataset, protocol: Protocol, spec: CorpusSpec | None, emobox_root: Root | None) -> Division:
    """Return the folds of a protocol on a dataset.

    Args:
        spec: spec of the corpus that the protocol divides; None for a corpus of a table, and for `loco`.
        emobox_root: as in `split`.

    Raises:
        SplitError: if the protocol does not fit the dataset.
    """
    if _divides_speakers(protocol, spec) and len(nameless := _nameless(dataset)):
        words = "which have no single known speaker"
        return _without(dataset, nameless, words, lambda rest: divide(rest, protocol, spec, emobox_root))
    if not protocol.corpora:
        return _leave_one_corpus_out(dataset, protocol)
    (rule,) = protocol.rules
    if spec is not None and rule in spec.limited:
        wanted, without_limit = spec.limited[rule], replace(spec, limited={})
        names, parts = codes_of(dataset, "part")
        others = np.flatnonzero(parts != (names.index(wanted) if wanted in names else len(names)))
        words = f"which are not {wanted}"
        return _without(dataset, others, words, lambda rest: divide(rest, protocol, without_limit, emobox_root))
    if spec is not None and rule in spec.folds:
        division = _by_named_speakers(dataset, protocol, spec.folds[rule])
        if rule == "emobox" and emobox_root is not None:
            _verify_emobox(dataset, division, emobox_root)
        return division
    if spec is not None and rule in spec.divisions:
        return _as_released(dataset, protocol, spec.divisions[rule])
    if rule == "emobox":
        return _emobox(dataset, protocol, emobox_root)
    if rule == GIVEN:
        return _given(dataset, protocol)
    if rule == ALL:
        everything, nothing = np.arange(len(dataset)), np.arange(0)
        return Division(protocol, 1, lambda number: {"train": everything, "validation": nothing, "test": nothing})
    if rule == "loso":
        return _leave_one_speaker_out(dataset, protocol)
    kind, count = protocol.general_rule
    if kind == "kfold":
        _, speakers = _speaker_codes(dataset)
        group = _grouped_stratified(_labels(dataset), speakers, count)
        return _two_groups(dataset, protocol, group) if count == 2 else _rotate(protocol, group, count)
    if kind == "statements":
        return _statements_held_out(dataset, protocol, count)
    return _rotate(protocol, _copies_together(dataset, _stratified(_labels(dataset), count)), count)


def _divides_speakers(protocol: Protocol, spec: CorpusSpec | None) -> bool:
    if not protocol.corpora:
        return True
    (rule,) = protocol.rules
    general = protocol.general_rule is not None and protocol.general_rule[0] in ("kfold", "statements")
    return rule == "loso" or general or (spec is not None and rule in spec.folds)


def _nameless(dataset: Dataset) -> np.ndarray:
    """Return the rows whose speaker a published corpus does not know, or who are several people at once.

    Such rows may hold the voice of any speaker, so they fit no part. The owner of own recordings can complete the
    column instead, and a corpus without any speakers cannot be divided: then there are no such rows.
    """
    corpora, corpus_of = codes_of(dataset, "corpus")
    published = np.array([is_published(corpus) for corpus in corpora])[corpus_of]
    nameless = codes_of(dataset, "speaker")[1] < 0
    return np.flatnonzero(nameless & published) if not nameless.all() else np.array([], dtype=int)


def _without(dataset: Dataset, rows: np.ndarray, words: str, divide_rest: Callable[[Dataset], Division]) -> Division:
    """Return the folds of a dataset without some rows; the description of the protocol tells how many."""
    kept = np.setdiff1d(np.arange(len(dataset)), rows)
    if not len(kept):
        raise SplitError(f"there are only utterances {words}: use another protocol")
    rest = divide_rest(dataset.select(kept))
    says = f"left out: {len(rows)} of {len(dataset)} utterances, {words}"
    description = "; ".join(filter(None, (rest.protocol.description, says)))
    return replace(
        rest,
        protocol=replace(rest.protocol, description=description),
        fold=lambda number: {part: kept[chosen] for part, chosen in rest.fold(number).items()},
        left_out=(says, *rest.left_out),
    )


def _speaker_codes(dataset: Dataset) -> tuple[list[str], np.ndarray]:
    names, codes = codes_of(dataset, "speaker")
    if len(unknown := np.flatnonzero(codes < 0)):
        raise SplitError(
            f"{dataset[int(unknown[0])]['utterance_id']} has no speaker, but this protocol divides speakers: add a "
            "speaker column, or use random5 and report that parts may share speakers"
        )
    return names, codes


def _statement_codes(dataset: Dataset) -> tuple[list[str], np.ndarray]:
    names, codes = codes_of(dataset, "statement")
    if (codes < 0).any():
        raise SplitError("some utterances have no statement, but this protocol holds out statements: add the column")
    return names, codes


def _rotate(protocol: Protocol, group: np.ndarray, count: int) -> Division:
    """Divide groups of rows: each is the test part once, the next one (cyclically) is the validation part."""
    if count < 3:
        raise SplitError(f"{count} folds are too few for a training, a validation and a test part: use 3 or more")

    def fold(number: int) -> dict[str, np.ndarray]:
        test, validation = group == number, group == (number + 1) % count
        return _rows(train=~(test | validation), validation=validation, test=test)

    return Division(protocol, count, fold)


def _rows(**chosen: np.ndarray) -> dict[str, np.ndarray]:
    return {part: np.flatnonzero(rows) for part, rows in chosen.items()}


def _by_named_speakers(dataset: Dataset, protocol: Protocol, groups: Sequence[Sequence[str]]) -> Division:
    (corpus,) = protocol.corpora
    names, speakers = _speaker_codes(dataset)
    group_of = {f"{corpus}-{speaker}": number for number, group in enumerate(groups) for speaker in group}
    if strangers := [name for name in names if name not in group_of]:
        raise SplitError(f"speakers {', '.join(strangers)} are in no fold of {protocol.name}: use another protocol")
    group = np.asarray([group_of[name] for name in names])[speakers]
    if len(groups) == 2:
        return _two_groups(dataset, protocol, group)
    return _rotate(protocol, group, len(groups))


def _two_groups(dataset: Dataset, protocol: Protocol, group: np.ndarray) -> Division:
    """Divide two groups of speakers: one is the test part; every fifth statement of the other is for validation."""
    _, statements = _statement_codes(dataset)

    def fold(number: int) -> dict[str, np.ndarray]:
        test = group == number
        held_out = np.isin(statements, np.unique(statements[~test])[::5])
        return _rows(train=~test & ~held_out, validation=~test & held_out, test=test)

    return Division(protocol, 2, fold, disjoint_statements=(("train", "validation"),))


def _as_released(dataset: Dataset, protocol: Protocol, division: tuple[str, str, str]) -> Division:
    """Return one fold from the release's own parts; utterances of its other parts are left out."""
    names, released = codes_of(dataset, "part")
    if absent := [part for part in division if part not in names]:
        raise SplitError(
            f"{protocol.name} needs the parts {', '.join(division)} of the release, but there are no utterances of "
            f"{' or '.join(absent)} (found: {', '.join(names) or 'no parts'})"
        )
    rows = {part: released == names.index(own) for part, own in zip(PARTS, division, strict=True)}
    return Division(protocol, 1, lambda number: _rows(**rows))


def _given(dataset: Dataset, protocol: Protocol) -> Division:
    """Return one fold: the parts that the rows name. Without a validation part it is a fifth of the training part."""
    names, part_of = codes_of(dataset, "part")
    if strangers := [name for name in names if name not in PARTS]:
        raise SplitError(f"{protocol.name}: the part {strangers[0]!r} is none of {', '.join(PARTS)}: rename it")
    if absent := [part for part in ("train", "test") if part not in names]:
        raise SplitError(
            f"{protocol.name}: no utterance has the part {' or '.join(absent)}: add a column part with train, "
            "validation and test, or put tables or folders of these names into the folder of the corpus"
        )
    if (part_of < 0).any():
        nameless = dataset[int(np.flatnonzero(part_of < 0)[0])]["utterance_id"]
        raise SplitError(f"{protocol.name}: {nameless} has no part: fill it in, or remove its row")
    rows = {part: np.flatnonzero(part_of == names.index(part)) for part in names}
    _, speakers = codes_of(dataset, "speaker")
    words = "the parts that its owner gave"
    if "validation" not in rows:
        train, labels = rows["train"], _labels(dataset)[rows["train"]]
        known = speakers[train].min() >= 0 and len(np.unique(speakers[train])) >= 5
        held_out = _a_fifth(labels, speakers[train], whole_speakers=known)
        rows |= {"train": train[~held_out], "validation": train[held_out]}
        words += f"; validation is a fifth of the training {'speakers' if known else 'utterances'}"
    of = {part: set(speakers[chosen].tolist()) for part, chosen in rows.items()}
    named = -1 not in set().union(*of.values())
    described = replace(
        protocol,
        description=words,
        is_speaker_independent=named and not of["test"] & (of["train"] | of["validation"]),
        validation_shares_speakers=not named or bool(of["validation"] & of["train"]),
    )
    return Division(described, 1, lambda number: rows)


def _emobox(dataset: Dataset, protocol: Protocol, root: Root | None) -> Division:
    """Return EmoBox's folds, if possible with validation on other speakers, not on random training utterances."""
    if root is None:
        raise SplitError(
            f"{protocol.name} needs EmoBox's files: pass a checkout of https://github.com/emo-box/EmoBox as "
            "--emobox_root"
        )
    corpus = protocol.corpora[0]
    identities = column_array(dataset, "utterance_id").to_pylist()
    folds, unlisted = emobox.read_folds(root, corpus, identities)
    if len(unlisted):
        return _without(dataset, unlisted, "which EmoBox does not list", lambda rest: _emobox(rest, protocol, root))
    _, speakers = codes_of(dataset, "speaker")
    labels, apart = _labels(dataset), emobox.speakers_apart(folds, speakers)
    if "validation" in folds[0]:
        validation, chosen = "its own", lambda number: folds[number]["validation"]
    elif apart and len(folds) >= 3:
        validation, chosen = "the next fold", lambda number: folds[(number + 1) % len(folds)]["test"]
    else:
        validation = f"a fifth of the training {'speakers' if apart else 'utterances, stratified by class'}"

        def chosen(number: int) -> np.ndarray:
            train = folds[number]["train"]
            return train[_a_fifth(labels[train], speakers[train], whole_speakers=apart)]

    def fold(number: int) -> dict[str, np.ndarray]:
        held_out = chosen(number)
        train = np.setdiff1d(folds[number]["train"], held_out)
        return {"train": train, "validation": held_out, "test": folds[number]["test"]}

    rule = (
        f"the folds of EmoBox (arXiv:2406.07162), whose test speakers are {'not ' if apart else ''}in training; "
        f"validation is {validation}"
    )
    return Division(replace(protocol, description=rule, is_speaker_independent=apart), len(folds), fold)


def _verify_emobox(dataset: Dataset, division: Division, root: Root) -> None:
    """Raise if the rule of a protocol differs from EmoBox's files: the test part of each fold must be the same."""
    name = division.protocol.name
    identities = column_array(dataset, "utterance_id").to_pylist()
    folds, unlisted = emobox.read_folds(root, division.protocol.corpora[0], identities)
    if len(folds) != division.count:
        raise SplitError(
            f"{name} has {division.count} folds, but the files under {root} have {len(folds)}: use a complete checkout "
            "of EmoBox, or leave out --emobox_root"
        )
    for number, files in enumerate(folds):
        by_rule = np.setdiff1d(division.fold(number)["test"], unlisted)
        if len(differing := np.setxor1d(by_rule, files["test"])):
            raise SplitError(
                f"fold {number} of {name} differs from the files under {root} in {len(differing)} utterances, such as "
                f"{identities[differing[0]]}: use an unchanged checkout of EmoBox, or leave out --emobox_root"
            )


def _leave_one_speaker_out(dataset: Dataset, protocol: Protocol) -> Division:
    names, speakers = _speaker_codes(dataset)
    if len(names) < 3:
        raise SplitError(
            f"leave-one-speaker-out needs 3 speakers (test, validation, train), not {len(names)}: add speakers, or use "
            "another protocol"
        )
    gender = np.empty(len(names), dtype=int)
    gender[speakers] = codes_of(dataset, "gender")[1]

    def fold(test: int) -> dict[str, np.ndarray]:
        others = [*range(test + 1, len(names)), *range(test)]  # in order, starting after the test speaker
        validation = next((other for other in others if gender[other] != gender[test]), others[0])
        held_out = np.isin(speakers, [test, validation])
        return _rows(train=~held_out, validation=speakers == validation, test=speakers == test)

    return Division(protocol, len(names), fold)


def _leave_one_corpus_out(dataset: Dataset, protocol: Protocol) -> Division:
    corpora, corpus_of = codes_of(dataset, "corpus")
    if len(corpora) < 2:
        raise SplitError(f"loco leaves one corpus out, but the dataset has only {', '.join(corpora)}: add a corpus")
    labels, (_, speakers) = _labels(dataset), _speaker_codes(dataset)

    def fold(number: int) -> dict[str, np.ndarray]:
        rest = np.flatnonzero(corpus_of != number)
        held_out = _a_fifth(labels[rest], speakers[rest], whole_speakers=True)
        return {
            "train": rest[~held_out],
            "validation": rest[held_out],
            "test": np.flatnonzero(corpus_of == number),
        }

    return Division(protocol, len(corpora), fold)


def _statements_held_out(dataset: Dataset, protocol: Protocol, groups: int) -> Division:
    names, statements = _statement_codes(dataset)
    if len(names) < groups:
        raise SplitError(f"{len(names)} statements cannot make {groups} groups: use fewer groups, or another protocol")
    count = max(3, groups)
    _, speakers = _speaker_codes(dataset)
    by_speaker = _rotate(protocol, _grouped_stratified(_labels(dataset), speakers, count), count)

    def fold(number: int) -> dict[str, np.ndarray]:
        held_out = statements % groups == number % groups
        rows = by_speaker.fold(number)
        return {part: chosen[held_out[chosen] == (part == "test")] for part, chosen in rows.items()}

    return Division(protocol, count, fold, disjoint_statements=WITH_TEST)


def _labels(dataset: Dataset) -> np.ndarray:
    return column_array(dataset, "label").to_numpy()


def _a_fifth(labels: np.ndarray, speakers: np.ndarray, *, whole_speakers: bool) -> np.ndarray:
    """Return True for the rows of a fifth of the speakers, or of the utterances, with classes as even as possible."""
    return (_grouped_stratified(labels, speakers, 5) if whole_speakers else _stratified(labels, 5)) == 0


def _grouped_stratified(labels: np.ndarray, speakers: np.ndarray, count: int) -> np.ndarray:
    """Return the fold of each row: whole speakers, with classes as even as possible."""
    if (found := len(np.unique(speakers))) < count:
        hint = f": use kfold{found} or loso" if found >= 3 else ""
        raise SplitError(f"{found} speakers cannot make {count} folds of whole speakers{hint}")
    return speaker_folds(labels, speakers, count)


def _stratified(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the fold of each row, at random within its class."""
    from sklearn.model_selection import StratifiedKFold

    if (rare := np.unique(labels, return_counts=True)[1].min()) < count:
        raise SplitError(
            f"a class has only {rare} utterances, too few for {count} folds: use fewer folds, or a scheme without it"
        )
    return _fold_of(StratifiedKFold(n_splits=count, shuffle=True, random_state=0).split(labels, labels))


def _copies_together(dataset: Dataset, fold_of: np.ndarray) -> np.ndarray:
    """Return folds in which two copies of a recording, as in RAVDESS, are in the same fold."""
    from ..data.precompute import hash_audio

    # Also without the column, as in `ser-hf evaluate`, the folds must be those of the training. Only recordings of
    # equal duration can be equal; they are decoded.
    _, duration, times = np.unique(
        column_array(dataset, "duration").to_numpy(), return_inverse=True, return_counts=True
    )
    rows = np.flatnonzero(times[duration] > 1)
    if not len(rows):
        return fold_of
    digests = column_array(hash_audio(dataset.select(rows)), AUDIO_HASH_COLUMN).to_numpy(zero_copy_only=False)
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
