"""Named, verified evaluation protocols: which speakers test, which validate, which train.

A protocol is a name such as `ravdess/si6`; `protocols("ravdess")` lists them. Every part of every fold is checked:
a speaker, or the same audio, in two parts is an error.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..audio import sample_hash
from ..corpora import get_corpus
from ..emotions import unknown_name

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

PARTS = ("train", "validation", "test")


class SplitError(ValueError):
    """A protocol that does not exist, does not fit the data, or would leak."""


@dataclass(frozen=True)
class Protocol:
    """How a dataset is divided, in words a report can quote."""

    name: str
    rule: str
    is_speaker_independent: bool = True


def protocols(corpus: str) -> dict[str, Protocol]:
    """The protocols of a corpus by name: its own folds, and the general rules that fit it.

    >>> list(protocols("ravdess"))
    ['ravdess/si6', 'ravdess/emobox', 'ravdess/loso', 'ravdess/kfold5', 'ravdess/statements2', 'ravdess/random5']
    """
    spec = get_corpus(corpus)
    rules = [Protocol(f"{corpus}/{name}", spec.notes.get(name, "")) for name in spec.folds]
    rules += [
        Protocol(f"{corpus}/loso", "leave one speaker out; validation is the next speaker of the other gender"),
        Protocol(
            f"{corpus}/kfold5", "five folds of whole speakers, stratified by class; any number of folds: kfold<k>"
        ),
        Protocol(
            f"{corpus}/statements2",
            "unseen speakers say unseen sentences: statements in two groups, crossed with folds of whole speakers; "
            "utterances that fit no part are left out; any number of groups: statements<k>",
        ),
        Protocol(
            f"{corpus}/random5",
            "five folds of utterances at random: speakers are shared, so its figures say nothing about new speakers",
            is_speaker_independent=False,
        ),
    ]
    return {protocol.name: protocol for protocol in rules}


CROSS_CORPUS = Protocol("loco", "leave one corpus out; validation is a fifth of the speakers of the corpora that train")


def get_protocol(name: str) -> Protocol:
    """The protocol of that name, such as `emodb/loso`, `crema_d/kfold10`, `loco`.

    Raises:
        SplitError: naming the nearest protocol, if there is none of that name.
    """
    if name == CROSS_CORPUS.name:
        return CROSS_CORPUS
    corpus, _, rule = name.partition("/")
    known = protocols(corpus)
    general = re.fullmatch(r"(kfold|statements|random)([2-9]|[1-9]\d+)", rule)
    model = known.get(name) or (general and next((p for p in known.values() if f"/{general[1]}" in p.name), None))
    if not model:
        raise SplitError(unknown_name("protocol", name, [*known, CROSS_CORPUS.name]))
    return Protocol(name, model.rule, model.is_speaker_independent)


def count_folds(dataset: Dataset, protocol: str) -> int:
    """Number of folds that a protocol makes of this dataset."""
    return len(_folds(dataset, protocol))


def split(dataset: Dataset, protocol: str, fold: int) -> DatasetDict:
    """One fold of a named protocol: train, validation and test part of a dataset from `build_dataset`.

    The validation part is the next fold, cyclically; in `loso` the next speaker of the other gender (in order), else
    the next speaker; in `loco` one of five folds of the training speakers.

    Args:
        dataset: utterances of the protocol's corpus (`loco`: of two corpora or more).
        protocol: a name from `protocols(corpus)`.
        fold: from 0.

    Raises:
        SplitError: if the protocol does not fit the dataset, or if a speaker or the same audio were in two parts.
    """
    from datasets import DatasetDict

    folds = _folds(dataset, protocol)
    if not 0 <= fold < len(folds):
        raise SplitError(f"{protocol} has folds 0 to {len(folds) - 1}, there is no fold {fold}")
    parts = DatasetDict({part: dataset.select(indices) for part, indices in folds[fold].items()})
    if empty := [part for part, rows in parts.items() if len(rows) == 0]:
        raise SplitError(f"fold {fold} of {protocol} has no utterance in {' and '.join(empty)}")
    check_disjoint(parts, speakers=get_protocol(protocol).is_speaker_independent)
    return parts


def split_each(dataset: Dataset, names: Sequence[str], fold: int) -> tuple[DatasetDict, Protocol]:
    """The same fold of one protocol per corpus, part by part together, and what to call it in a report.

    Args:
        dataset: utterances of one or several corpora.
        names: one protocol for each corpus in it (`ravdess/si6`, `emodb/pairs5`), or one for all (`loco`).

    Raises:
        SplitError: as `split`, and if a corpus has no protocol or two.
    """
    from datasets import DatasetDict, concatenate_datasets

    if len(names) == 1:
        return split(dataset, names[0], fold), get_protocol(names[0])
    present = sorted(set(dataset["corpus"]))
    if sorted(name.partition("/")[0] for name in names) != present:
        raise SplitError(f"the protocols {', '.join(names)} do not name each of the corpora {', '.join(present)} once")
    corpus_of = np.asarray(dataset["corpus"])
    each = [split(dataset.select(np.flatnonzero(corpus_of == name.partition("/")[0])), name, fold) for name in names]
    parts = DatasetDict({part: concatenate_datasets([one[part] for one in each]) for part in PARTS})
    chosen = [get_protocol(name) for name in names]
    independent = all(protocol.is_speaker_independent for protocol in chosen)
    check_disjoint(parts, speakers=independent)
    return parts, Protocol(" + ".join(names), "; ".join(protocol.rule for protocol in chosen), independent)


def check_disjoint(parts: Mapping[str, Dataset], *, speakers: bool = True) -> None:
    """Raises a `SplitError` if two parts share an utterance, the same audio, or (if `speakers`) a speaker.

    Audio is compared by its decoded samples, so that a .wav and a .flac of one recording are the same.
    """
    if speakers:
        if any(speaker is None for rows in parts.values() for speaker in rows["speaker"]):
            raise SplitError(
                "some utterances have no speaker, so nothing can be called speaker-independent: add a speaker column, "
                "or choose the protocol random5 and say so"
            )
        _refuse_shared({part: set(rows["speaker"]) for part, rows in parts.items()}, "speaker")
    _refuse_shared({part: set(rows["utterance_id"]) for part, rows in parts.items()}, "utterance")
    _refuse_shared_audio(parts)


def _refuse_shared(members: Mapping[str, set], kind: str) -> None:
    for first, second in _pairs(members):
        if shared := sorted(members[first] & members[second]):
            raise SplitError(f"{kind} {shared[0]} is in {first} and in {second} ({len(shared)} shared)")


def _refuse_shared_audio(parts: Mapping[str, Dataset]) -> None:
    # Equal audio has equal duration, which costs nothing to compare; only those few are decoded.
    lengths = {part: set(rows["duration"]) for part, rows in parts.items()}
    suspicious = set().union(*(lengths[first] & lengths[second] for first, second in _pairs(parts)))
    seen: dict[str, tuple[str, str]] = {}
    for part, rows in parts.items():
        candidates = [index for index, duration in enumerate(rows["duration"]) if duration in suspicious]
        known = "audio_hash" if "audio_hash" in rows.column_names else "audio"
        for row in rows.select(candidates).select_columns(["utterance_id", known]):
            digest = row[known] if known == "audio_hash" else sample_hash(row["audio"])
            other, name = seen.setdefault(digest, (part, row["utterance_id"]))
            if other != part:
                raise SplitError(
                    f"{name} ({other}) and {row['utterance_id']} ({part}) hold the same audio: remove one of them"
                )


def _pairs(parts: Iterable[str]) -> list[tuple[str, str]]:
    names = list(parts)
    return [(first, second) for position, first in enumerate(names) for second in names[position + 1 :]]


# --- the folds of each rule: a list of {part: row indices} ---


def _folds(dataset: Dataset, protocol: str) -> list[dict[str, list[int]]]:
    get_protocol(protocol)  # a misspelt name is told before anything is computed
    present = sorted(set(dataset["corpus"]))
    if protocol == CROSS_CORPUS.name:
        return _leave_one_corpus_out(dataset, present)
    corpus, _, rule = protocol.partition("/")
    if present != [corpus]:
        raise SplitError(f"{protocol} divides {corpus} alone, but the dataset holds {', '.join(present)}")
    spec = get_corpus(corpus)
    name, count = re.fullmatch(r"(.*?)(\d*)", rule).groups()
    if rule in spec.folds:
        return _by_named_speakers(dataset, corpus, spec.folds[rule])
    if rule == "loso":
        return _leave_one_speaker_out(dataset)
    if name == "kfold":
        return _rotate(_grouped_stratified(dataset, int(count)))
    if name == "statements":
        return _statements_held_out(dataset, int(count))
    return _rotate(_random(dataset, int(count)))


def _rotate(tests: Sequence[Sequence[int]]) -> list[dict[str, list[int]]]:
    """Each group of rows tests once, the next one (cyclically) validates, all others train."""
    if len(tests) < 3:
        raise SplitError(f"{len(tests)} folds leave nothing to train on beside test and validation; take 3 or more")
    folds = []
    for number, test in enumerate(tests):
        validation = tests[(number + 1) % len(tests)]
        held_out = {*test, *validation}
        train = [row for rows in tests for row in rows if row not in held_out]
        folds.append({"train": sorted(train), "validation": sorted(validation), "test": sorted(test)})
    return folds


def _by_named_speakers(dataset: Dataset, corpus: str, groups: Sequence[Sequence[str]]) -> list[dict[str, list[int]]]:
    rows = _rows_by_speaker(dataset)
    named = {f"{corpus}-{speaker}" for group in groups for speaker in group}
    if strangers := sorted(set(rows) - named):
        raise SplitError(f"speakers {', '.join(strangers)} are in no fold of this protocol of {corpus}")
    return _rotate([[row for name in group for row in rows.get(f"{corpus}-{name}", [])] for group in groups])


def _leave_one_speaker_out(dataset: Dataset) -> list[dict[str, list[int]]]:
    rows = _rows_by_speaker(dataset)
    names = sorted(rows)
    if len(names) < 3:
        raise SplitError(f"leave-one-speaker-out needs 3 speakers (test, validation, train), here are {len(names)}")
    genders = dict(zip(dataset["speaker"], dataset["gender"], strict=True))
    folds = []
    for position, test in enumerate(names):
        others = [*names[position + 1 :], *names[:position]]  # in order, starting after the test speaker
        validation = next((name for name in others if genders[name] != genders[test]), others[0])
        train = [row for name in others if name != validation for row in rows[name]]
        folds.append({"train": sorted(train), "validation": rows[validation], "test": rows[test]})
    return folds


def _leave_one_corpus_out(dataset: Dataset, corpora: Sequence[str]) -> list[dict[str, list[int]]]:
    if len(corpora) < 2:
        raise SplitError(f"loco leaves one corpus out, but the dataset holds only {', '.join(corpora)}")
    names = np.asarray(dataset["corpus"])
    folds = []
    for test in corpora:
        rest = np.flatnonzero(names != test)
        validation = rest[_grouped_stratified(dataset.select(rest), 5)[0]]
        train = np.setdiff1d(rest, validation)
        folds.append(
            {
                "train": train.tolist(),
                "validation": validation.tolist(),
                "test": np.flatnonzero(names == test).tolist(),
            }
        )
    return folds


def _statements_held_out(dataset: Dataset, groups: int) -> list[dict[str, list[int]]]:
    statements = dataset["statement"]
    if any(statement is None for statement in statements):
        raise SplitError("some utterances have no statement, so none can be held out: add a statement column")
    names = sorted(set(statements))
    if len(names) < groups:
        raise SplitError(f"{len(names)} statements cannot make {groups} groups")
    group_of = {name: position % groups for position, name in enumerate(names)}
    group = np.asarray([group_of[statement] for statement in statements])
    folds = []
    for number, fold in enumerate(_rotate(_grouped_stratified(dataset, max(3, groups)))):
        held_out = number % groups
        folds.append(
            {part: [row for row in rows if (group[row] == held_out) == (part == "test")] for part, rows in fold.items()}
        )
    return folds


def _grouped_stratified(dataset: Dataset, count: int) -> list[list[int]]:
    from sklearn.model_selection import StratifiedGroupKFold

    speakers = _rows_by_speaker(dataset)
    if len(speakers) < count:
        raise SplitError(f"{len(speakers)} speakers cannot make {count} folds of whole speakers")
    # A fixed seed: a protocol of one name is the same division everywhere.
    folds = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=0)
    labels, groups = np.asarray(dataset["label"]), np.asarray(dataset["speaker"])
    return [test.tolist() for _, test in folds.split(labels, labels, groups)]


def _random(dataset: Dataset, count: int) -> list[list[int]]:
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(n_splits=count, shuffle=True, random_state=0)
    labels = np.asarray(dataset["label"])
    if (rare := Counter(labels.tolist()).most_common()[-1][1]) < count:
        raise SplitError(f"a class has only {rare} utterances, too few for {count} folds")
    return [test.tolist() for _, test in folds.split(labels, labels)]


def _rows_by_speaker(dataset: Dataset) -> dict[str, list[int]]:
    rows = defaultdict(list)
    for row, speaker in enumerate(dataset["speaker"]):
        if speaker is None:
            raise SplitError(
                f"{dataset[row]['utterance_id']} has no speaker, so no protocol over speakers fits: add a speaker "
                "column, or choose random5 and say that speakers may be shared"
            )
        rows[speaker].append(row)
    return dict(rows)
