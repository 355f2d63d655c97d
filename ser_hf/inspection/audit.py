"""Finds what makes a division into training and test part dishonest, and says it in plain sentences.

`audit_split` judges a table of files, whoever made it; `audit_run` what a run of ours has heard against what it was
tested on. Both are pure: what is heard (hashes, near-duplicates) is computed elsewhere and handed in.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import PureWindowsPath
from posixpath import normpath
from typing import Any

import pandas

from ..emotions import unknown_name
from ..fingerprint import Match

CLAIMS = ("speaker-independent", "text-independent", "held-out", "unspecified")
OF_NEW_SPEAKERS = CLAIMS[:2]
STATISTICS = ("train", "train+validation", "all", "unknown")
_COLUMNS = {
    "file": ("file", "path", "filename", "file_name", "audio", "utterance_id"),
    "speaker": ("speaker", "speaker_id", "speakerid", "actor"),
    "part": ("part", "split", "subset", "set", "partition"),
    "fold": ("fold",),
    "statement": ("statement", "sentence", "sentence_id", "text", "transcript"),
    "label": ("label", "emotion", "class"),
    "corpus": ("corpus", "dataset"),
}
_PARTS = {
    "train": ("train", "training", "tr"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development"),
    "test": ("test", "testing", "eval", "evaluation", "te"),
}


class AuditError(ValueError):
    """A table that cannot be judged as it is; the message names the column or value and the way out."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        kind: a fixed word, such as "speaker-in-two-parts".
        severity: "error": the figure does not mean what is claimed; "warning": it may not; "note": nothing is wrong.
        sentence: one plain sentence with the arithmetic.
        evidence: numbers and a few examples, ready for JSON.
        remedy: what to do.
    """

    kind: str
    severity: str
    sentence: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    remedy: str = ""

    @property
    def counts(self) -> bool:
        """Whether something was found; a note is none."""
        return self.severity != "note"


def read_split(
    table: pandas.DataFrame, name: str = "the table", *, claim: str = "speaker-independent"
) -> pandas.DataFrame:
    """The rows of a table of files under our names: file, speaker, part, and fold, statement, label, corpus if present.

    One file has one name: `./a.wav` and `.\\a.wav` are `a.wav`. Without a column of speakers, where the claim needs
    none, all are unknown.

    Raises:
        AuditError: if a needed column is not there, naming those that are, or is there twice; if a part is called what
            we do not know; or if a fold has no training or no test part.
    """
    own = {str(column).strip().lower(): column for column in table.columns}
    counts = Counter(str(column).strip().lower() for column in table.columns)
    taken = {}
    for column, words in _COLUMNS.items():
        if here := [word for word in words if word in own]:
            taken[column] = own[here[0]]
            if counts[here[0]] > 1:
                raise AuditError(f"{name} has {counts[here[0]]} columns {here[0]}: keep one")
    needed = ("file", "speaker", "part") if claim in OF_NEW_SPEAKERS else ("file", "part")
    if absent := [column for column in needed if column not in taken]:
        raise AuditError(
            f"{name} has no column {' and no column '.join(absent)}; it has {', '.join(map(str, table.columns))}. "
            "Known names: " + "; ".join(f"{column}: {', '.join(_COLUMNS[column])}" for column in absent)
        )
    # As objects: pandas would make NaN of None in a column of strings, and NaN is a name like any other.
    rows = pandas.DataFrame(
        {
            column: pandas.Series(
                [None if pandas.isna(one) else _plain(str(one)) for one in table[own_name]], dtype=object
            )
            for column, own_name in taken.items()
        }
    )
    if rows.empty:
        raise AuditError(f"{name} has no row")
    if "speaker" not in rows:
        rows.insert(1, "speaker", pandas.Series([None] * len(rows), dtype=object))
    part_of = {word: part for part, words in _PARTS.items() for word in words}
    for number, word in enumerate(rows["part"]):
        if word is None or word.lower() not in part_of:
            told = "an empty cell" if word is None else repr(word)
            raise AuditError(f"row {number + 1} of {name}: {told} is no part ({', '.join(part_of)})")
    rows["part"] = [part_of[word.lower()] for word in rows["part"]]
    if rows["file"].isna().any():
        raise AuditError(f"row {rows['file'].isna().argmax() + 1} of {name} names no file")
    rows["file"] = [_file_name(file) for file in rows["file"]]
    # Of a fold that has one of them alone, nothing could be found, and silence would read as praise.
    for fold, fold_rows in _folds(rows):
        there = set(fold_rows["part"])
        where = "" if fold is None else f" in fold {fold}" if isinstance(fold, str) else " in the rows without a fold"
        if lacking := [part for part in ("train", "test") if part not in there]:
            raise AuditError(
                f"{name} has no {lacking[0]} part{where} ({', '.join(sorted(there))}): there is nothing to judge"
                + ("; a column `fold` holds the training and the test part of every fold" if where else "")
            )
    return rows


def _plain(text: str) -> str | None:
    return unicodedata.normalize("NFC", text.strip()) or None


def _file_name(name: str) -> str:
    return normpath(PureWindowsPath(name).as_posix() if "\\" in name else name)


def _folds(rows: pandas.DataFrame):
    """(fold, its rows); None for a table without folds."""
    return rows.groupby("fold", dropna=False, sort=False) if "fold" in rows else [(None, rows)]


def audit_split(
    rows: pandas.DataFrame,
    *,
    hashes: Mapping[str, str] | None = None,
    matches: Sequence[tuple[str, str, Match]] = (),
    claim: str = "speaker-independent",
    statistics: str = "unknown",
) -> list[Finding]:
    """What is wrong with a division; an empty list, or notes alone, if nothing is.

    Args:
        rows: of `read_split`.
        hashes: `ser_hf.audio.sample_hash` of each file; None: nobody listened.
        matches: pairs of files that hold one performance, from `near_duplicates`.
        claim: what is said of the division. "text-independent" is speaker-independent and with unseen sentences.
        statistics: the parts from which normalisation, feature selection and the like were computed.

    Raises:
        AuditError: for an unknown claim.
    """
    if claim not in CLAIMS:
        raise AuditError(unknown_name("claim", claim, CLAIMS))
    if statistics not in STATISTICS:
        raise AuditError(unknown_name("statistics-fitted-on", statistics, STATISTICS))
    audio = rows["file"].map(lambda file: (hashes or {}).get(file, file))
    rows = rows.assign(audio=audio)
    if "corpus" in rows:  # whose speakers are counted from 01 in many corpora
        pairs = zip(rows["corpus"], rows["speaker"], strict=True)
        named = [one if corpus is None or one is None else f"{corpus}/{one}" for corpus, one in pairs]
        rows["speaker"] = pandas.Series(named, rows.index, dtype=object)
    findings = []
    for fold, part_rows in _folds(rows):
        where = {"fold": fold} if isinstance(fold, str) else {}
        findings += _one_fold(part_rows, matches, claim, where)
    if statistics == "all":
        findings.append(
            Finding(
                "statistics-on-test", "error",
                "normalisation, feature selection or another statistic was computed from all parts, so the model was "
                "fitted to the test part before it was tested",
                {"fitted_on": "all"}, "compute every statistic from the training part alone",
            )
        )  # fmt: skip
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])


def _one_fold(rows: pandas.DataFrame, matches, claim: str, where: dict) -> list[Finding]:
    parts = dict(iter(rows.groupby("part", sort=False)))
    ordered = [part for part in ("train", "validation", "test") if part in parts]
    inside = f" in fold {where['fold']}" if where else ""
    pairs = list(combinations(ordered, 2))
    return [
        *_speakers(rows, parts, pairs, claim, where, inside),
        *_selection(parts, where, inside),
        *_same_audio(parts, pairs, where, inside),
        *_near_duplicates(rows, parts, matches, where, inside),
        *_statements(parts, claim, where, inside),
    ]


def _speakers(rows, parts, pairs, claim: str, where: dict, inside: str) -> list[Finding]:
    findings, strict = [], claim in OF_NEW_SPEAKERS
    unknown = int(rows["speaker"].isna().sum())
    if unknown:
        findings.append(
            Finding(
                "unknown-speaker", "error" if strict else "note",
                f"{unknown} of {len(rows)} rows{inside} have no speaker, so nobody can say that no test speaker was "
                "heard in training",
                where | {"rows": unknown}, "add the speakers, or do not call the division speaker-independent",
            )
        )  # fmt: skip
    for first, second in pairs:
        shared = sorted(set(parts[first]["speaker"].dropna()) & set(parts[second]["speaker"].dropna()))
        if not shared:
            continue
        all_of = parts[second]["speaker"].nunique()
        # Validation speakers who train make the choice of an epoch optimistic, not the test.
        severity = "error" if strict and second == "test" else "note"
        findings.append(
            Finding(
                "speaker-in-two-parts", severity,
                f"{len(shared)} of the {all_of} {second} speakers are heard in the {first} part too{inside}: "
                f"{_some(shared)}",
                where | {"parts": [first, second], "speakers": shared[:20], "count": len(shared)},
                "put all utterances of a speaker in one part",
            )
        )  # fmt: skip
    return findings


def _selection(parts, where: dict, inside: str) -> list[Finding]:
    test = set(parts["test"]["audio"])
    findings = []
    if "train" in parts and test and set(parts["train"]["audio"]) <= test:
        findings.append(
            Finding(
                "test-is-corpus", "error",
                f"all {parts['train']['audio'].nunique()} recordings of the training part are among the {len(test)} of "
                f"the test part{inside}: the model is tested on what it learned",
                where | {"train": parts["train"]["audio"].nunique(), "test": len(test)}, "divide again",
            )
        )  # fmt: skip
    if "validation" not in parts:
        findings.append(
            Finding(
                "no-validation", "note",
                f"there is no validation part{inside}: if anything was chosen (an epoch, an option), say on what",
                where, "choose on speakers of their own, or fix everything beforehand",
            )
        )  # fmt: skip
        return findings
    validation = set(parts["validation"]["audio"])
    shared = validation & test
    if shared and (validation <= test or test <= validation):
        findings.append(
            Finding(
                "selection-on-test", "error",
                f"{len(shared)} of the {len(validation)} validation recordings and of the {len(test)} test recordings"
                f"{inside} are the same: what was chosen on validation was chosen on the test part",
                where | {"count": len(shared)}, "validate on speakers that neither train nor test",
            )
        )  # fmt: skip
    elif shared:
        findings.append(
            Finding(
                "validation-overlaps-test", "error",
                f"{len(shared)} of the {len(test)} test recordings{inside} validate as well: {_some(sorted(shared))}",
                where | {"count": len(shared)}, "take them out of the validation part",
            )
        )  # fmt: skip
    return findings


def _same_audio(parts, pairs, where: dict, inside: str) -> list[Finding]:
    findings = []
    for first, second in pairs:
        if (first, second) == ("validation", "test"):
            continue  # told by `_selection`
        shared = set(parts[first]["audio"]) & set(parts[second]["audio"])
        if not shared or (second == "test" and set(parts[first]["audio"]) <= set(parts["test"]["audio"])):
            continue  # the latter is `test-is-corpus`
        both = pandas.concat([parts[first], parts[second]])
        repeated = both[both["audio"].isin(shared)].groupby(["audio", "part"]).size()
        # Copies that chance threw into two parts lie in heaps within a part too.
        oversampled = len(shared) >= 3 and int((repeated > 1).groupby("audio").any().sum()) >= max(3, len(shared) // 4)
        examples = [
            [parts[first].loc[parts[first]["audio"] == one, "file"].iloc[0],
             parts[second].loc[parts[second]["audio"] == one, "file"].iloc[0]]
            for one in sorted(shared)[:5]
        ]  # fmt: skip
        evidence = where | {"parts": [first, second], "count": len(shared), "examples": examples}
        severity = "error" if second == "test" else "warning"
        known = (
            f"{len(shared)} of the {parts[second]['audio'].nunique()} {second} recordings are in the {first} part too"
        )
        if oversampled:
            findings.append(
                Finding(
                    "oversampled-before-split", severity,
                    f"{known}{inside}, and most stand several times in a part ({len(both)} rows of "
                    f"{both['audio'].nunique()} recordings): they were copied before the division",
                    evidence, "divide first, then oversample the training part alone",
                )
            )  # fmt: skip
        else:
            findings.append(
                Finding(
                    "same-audio", severity, f"{known}{inside}, such as {' = '.join(dict.fromkeys(examples[0]))}",
                    evidence, "keep every recording in one part",
                )
            )  # fmt: skip
    twice = parts["test"][parts["test"].duplicated("file")]
    if len(twice):
        findings.append(
            Finding(
                "repeated-in-test", "warning",
                f"{twice['file'].nunique()} files stand more than once in the test part{inside}, such as "
                f"{twice['file'].iloc[0]}: they weigh more than the others",
                where | {"count": int(twice["file"].nunique())}, "list every file of the test part once",
            )
        )  # fmt: skip
    return findings


def _near_duplicates(rows, parts, matches, where: dict, inside: str) -> list[Finding]:
    parts_of = rows.groupby("file")["part"].agg(set).to_dict()
    audio_of = dict(zip(rows["file"], rows["audio"], strict=True))
    across: dict[tuple[str, str], list] = {}
    for one, other, match in matches:
        if one not in parts_of or other not in parts_of or audio_of[one] == audio_of[other]:
            continue
        for first, second in combinations(("train", "validation", "test"), 2):
            if (first in parts_of[one] and second in parts_of[other]) or (
                second in parts_of[one] and first in parts_of[other]
            ):
                across.setdefault((first, second), []).append((one, other, match))
    findings = []
    for (first, second), found in across.items():
        one, other, match = found[0]
        copies = len({file for pair in found for file in pair[:2] if second in parts_of[file]})
        findings.append(
            Finding(
                "near-duplicate", "error" if second == "test" else "warning",
                f"{copies} of the {parts[second]['file'].nunique()} {second} recordings are trimmed, re-encoded or "
                f"otherwise altered copies of recordings in the {first} part{inside}, such as {one} and {other} "
                f"(similarity {match.similarity:.2f})",
                where | {
                    "parts": [first, second], "count": copies,
                    "examples": [[one, other, match.similarity, match.lag_seconds] for one, other, match in found[:5]],
                },
                "listen to the pairs; keep every performance in one part",
            )
        )  # fmt: skip
    return findings


def _statements(parts, claim: str, where: dict, inside: str) -> list[Finding]:
    if "statement" not in parts["test"] or "train" not in parts:
        return []
    spoken = [
        {
            (corpus, statement)
            for corpus, statement in zip(
                rows["corpus"] if "corpus" in rows else [""] * len(rows), rows["statement"], strict=True
            )
            if statement is not None
        }
        for rows in (parts["train"], parts["test"])
    ]
    shared = sorted(statement for _, statement in spoken[0] & spoken[1])
    if not shared:
        return []
    return [
        Finding(
            "shared-sentences", "error" if claim == "text-independent" else "note",
            f"{len(shared)} of the {len(spoken[1])} sentences of the test part are spoken in the training part "
            f"too{inside}: the figure is for known sentences",
            where | {"count": len(shared), "examples": shared[:5]}, "hold sentences out too (`statements2`), or say so",
        )
    ]  # fmt: skip


def audit_run(
    rows: pandas.DataFrame,
    trainings: Sequence[Mapping[str, Any]] | None,
    *,
    unknown: Sequence[str] = (),
    hashes: Mapping[str, str] | None = None,
    validation: pandas.DataFrame | None = None,
    speaker_independent: bool = True,
    speaker_knowledge: str = "blind",
    protocol: str = "",
    part: str = "test",
    refit: bool = False,
) -> list[Finding]:
    """What is wrong with a run: its predictions against the ledger of its model.

    Args:
        rows: of a prediction table.
        trainings: of the ledger, in JSON form; None if the model has none.
        unknown: of the ledger: its teachers of which nobody knows what they heard.
        hashes: `sample_hash` by utterance; None if the recordings are not at hand.
        validation: rows of the table of validation predictions.
        speaker_independent, speaker_knowledge, protocol, part: as the table's metadata say.
        refit: whether the options of the run (`run.yaml`) let the validation speakers train.
    """
    findings = []
    if part != "test":
        findings.append(
            Finding(
                "selection-on-test", "error",
                f"these are the predictions of the {part} part, on which the model was chosen: no test", {"part": part},
                "predict speakers that neither train nor validate",
            )
        )  # fmt: skip
    if refit and "+refit" not in protocol:
        findings.append(
            Finding(
                "refit-not-told", "error",
                f"the options of the run say refit, so its validation speakers trained, but its protocol is called "
                f"{protocol}: it would be ranked with models that learned from fewer people",
                {"protocol": protocol}, f"call it {protocol}+refit: run its recipe again",
            )
        )  # fmt: skip
    if not trainings:
        findings.append(
            Finding(
                "no-ledger", "warning", "the model has no ledger, or an empty one, so nobody knows whom it heard", {},
                "train with a recipe of ser_hf, or audit the division as a table",
            )
        )  # fmt: skip
    if unknown or (trainings and speaker_knowledge == "unknown"):
        taught = f"what {_some(unknown)} heard, which taught the model" if unknown else "what the model heard"
        findings.append(
            Finding(
                "unknown-training", "warning",
                f"nobody knows {taught}: the test speakers may have been among it", {"teachers": list(unknown)[:20]},
                "be taught by a model with a ledger, or say that the training data is unknown",
            )
        )  # fmt: skip
    speakers, heard = set(rows["speaker"].dropna()), hashes or {}
    corpora = {corpus for training in trainings or () for corpus in training.get("corpora", ())}
    nameless = rows[rows["speaker"].isna() & rows["utterance_id"].map(lambda name: name.partition("/")[0] in corpora)]
    if speaker_independent and len(nameless):
        findings.append(
            Finding(
                "unknown-speaker", "error",
                f"{len(nameless)} of {len(rows)} test rows have no speaker, and the model has heard their corpus, so "
                "nobody can say that it has not heard the speakers",
                {"rows": len(nameless)}, "add the speakers, or do not call the run speaker-independent",
            )
        )  # fmt: skip
    both = set() if trainings or validation is None else speakers & set(validation["speaker"].dropna())
    if both and speaker_independent:
        findings.append(
            Finding(
                "speaker-in-two-parts", "error",
                f"{len(both)} of the {len(speakers)} test speakers validate as well: {_some(sorted(both))}",
                {"part": "validation", "speakers": sorted(both)[:20], "count": len(both)},
                "validate on speakers that neither train nor test",
            )
        )  # fmt: skip
    for training in trainings or ():
        name = f"{' + '.join(training['protocols'])}, fold {training['fold']}"
        for part, members in training["speakers"].items():
            if shared := sorted(speakers & set(members)):
                findings.append(
                    Finding(
                        "speaker-in-two-parts", "error" if speaker_independent else "note",
                        f"{len(shared)} of the {len(speakers)} test speakers were in the {part} part of {name}: "
                        f"{_some(shared)}",
                        {"part": part, "speakers": shared[:20], "count": len(shared)},
                        "take a fold that the model was not trained on",
                    )
                )  # fmt: skip
        for part, members in training["audio"].items():
            if shared := sorted(one for one in set(rows["utterance_id"]) if heard.get(one) in set(members)):
                findings.append(
                    Finding(
                        "same-audio", "error",
                        f"{len(shared)} of the {rows['utterance_id'].nunique()} test recordings were in the {part} "
                        f"part of {name}: {_some(shared)}",
                        {"part": part, "examples": shared[:5], "count": len(shared)},
                        "take them out of the test part, and predict again",
                    )
                )  # fmt: skip
    if validation is not None and (shared := sorted(set(validation["utterance_id"]) & set(rows["utterance_id"]))):
        same = len(shared) in (validation["utterance_id"].nunique(), rows["utterance_id"].nunique())
        findings.append(
            Finding(
                "selection-on-test" if same else "validation-overlaps-test", "error",
                f"{len(shared)} test recordings validate as well: {_some(shared)}", {"count": len(shared)},
                "validate on speakers that neither train nor test",
            )
        )  # fmt: skip
    if "standardised" in speaker_knowledge:
        findings.append(
            Finding(
                "statistics-on-test", "note", f"the report must say, and does: {speaker_knowledge}", {},
                "compare it with runs that do the same",
            )
        )  # fmt: skip
    if hashes is None:
        findings.append(Finding("not-heard", "note", "the recordings were not compared", {}, "pass --root"))
    return findings


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
