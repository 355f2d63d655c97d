"""The audit of a division into training and test part: it finds leaks and explains them in plain sentences.

The functions are pure: hashes and near-duplicates of recordings are computed elsewhere and passed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import pandas

from ..emotions import unknown_name
from ..fingerprint import Match
from .finding import Finding
from .split_table import CLAIMS, OF_NEW_SPEAKERS, PARTS, STATISTICS, AuditError, folds_of


def audit_split(
    rows: pandas.DataFrame,
    *,
    hashes: Mapping[str, str] | None = None,
    matches: Sequence[tuple[str, str, Match]] = (),
    claim: str = "speaker-independent",
    statistics: str = "unknown",
) -> list[Finding]:
    """Return the faults of a division; an empty list, or only notes, if there are none.

    Args:
        rows: result of `read_split`.
        hashes: `ser_hf.audio.sample_hash` of each file; None if recordings were not compared.
        matches: pairs of files with the same performance, from `near_duplicates`.
        claim: the claim about the division. "text-independent" is speaker-independent and with unseen sentences.
        statistics: the parts from which normalisation, feature selection and the like were computed.

    Raises:
        AuditError: for an unknown claim or unknown statistics.
    """
    if claim not in CLAIMS:
        raise AuditError(unknown_name("claim", claim, CLAIMS))
    if statistics not in STATISTICS:
        raise AuditError(unknown_name("value of --statistics-fitted-on", statistics, STATISTICS))
    audio = rows["file"].map(lambda file: (hashes or {}).get(file, file))
    rows = rows.assign(audio=audio)
    if "corpus" in rows:  # many corpora number their speakers from 01
        pairs = zip(rows["corpus"], rows["speaker"], strict=True)
        named = [one if corpus is None or one is None else f"{corpus}/{one}" for corpus, one in pairs]
        rows["speaker"] = pandas.Series(named, rows.index, dtype=object)
    findings = []
    for fold, part_rows in folds_of(rows):
        where = {"fold": fold} if isinstance(fold, str) else {}
        findings += _one_fold(part_rows, matches, claim, where)
    if statistics == "all":
        findings.append(
            Finding(
                "statistics-on-test", "error",
                "normalisation, feature selection or another statistic was computed from all parts, so the test part "
                "influenced the model",
                {"fitted_on": "all"}, "compute every statistic from the training part alone",
            )
        )  # fmt: skip
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(findings, key=lambda finding: order[finding.severity])


def _one_fold(rows: pandas.DataFrame, matches, claim: str, where: dict) -> list[Finding]:
    parts = dict(iter(rows.groupby("part", sort=False)))
    inside = f" in fold {where['fold']}" if where else ""
    pairs = list(combinations([part for part in PARTS if part in parts], 2))
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
                f"{unknown} of {len(rows)} rows{inside} have no speaker, so test speakers may be in the training part",
                where | {"rows": unknown}, "add the speakers, or do not call the division speaker-independent",
            )
        )  # fmt: skip
    for first, second in pairs:
        shared = sorted(set(parts[first]["speaker"].dropna()) & set(parts[second]["speaker"].dropna()))
        if not shared:
            continue
        all_of = parts[second]["speaker"].nunique()
        # Validation speakers in the training part bias the choice of an epoch, not the test.
        severity = "error" if strict and second == "test" else "note"
        findings.append(
            Finding(
                "speaker-in-two-parts", severity,
                f"{len(shared)} of the {all_of} {second} speakers are in the {first} part too{inside}: {some(shared)}",
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
                f"the test part{inside}: the model is tested on its training data",
                where | {"train": parts["train"]["audio"].nunique(), "test": len(test)}, "divide again",
            )
        )  # fmt: skip
    if "validation" not in parts:
        findings.append(
            Finding(
                "no-validation", "note",
                f"there is no validation part{inside}: say on which data the epoch and other options were chosen",
                where, "choose on validation speakers who are in no other part, or fix everything in advance",
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
                f"{inside} are the same: choices on the validation part were choices on the test part",
                where | {"count": len(shared)}, "validate on speakers who are in no other part",
            )
        )  # fmt: skip
    elif shared:
        findings.append(
            Finding(
                "validation-overlaps-test", "error",
                f"{len(shared)} of the {len(test)} test recordings{inside} are in the validation part too: "
                f"{some(sorted(shared))}",
                where | {"count": len(shared)}, "remove them from the validation part",
            )
        )  # fmt: skip
    return findings


def _same_audio(parts, pairs, where: dict, inside: str) -> list[Finding]:
    findings = []
    for first, second in pairs:
        if (first, second) == ("validation", "test"):
            continue  # found by `_selection`
        shared = set(parts[first]["audio"]) & set(parts[second]["audio"])
        if not shared or (second == "test" and set(parts[first]["audio"]) <= set(parts["test"]["audio"])):
            continue  # the latter is `test-is-corpus`
        both = pandas.concat([parts[first], parts[second]])
        repeated = both[both["audio"].isin(shared)].groupby(["audio", "part"]).size()
        # Copies that were divided at random also occur several times within a part.
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
                    f"{known}{inside}, and most occur several times within a part ({len(both)} rows of "
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
                f"{twice['file'].nunique()} files occur more than once in the test part{inside}, such as "
                f"{twice['file'].iloc[0]}: they have more weight than the others",
                where | {"count": int(twice["file"].nunique())}, "list every file of the test part once",
            )
        )  # fmt: skip
    return findings


def _near_duplicates(rows, parts, matches, where: dict, inside: str) -> list[Finding]:
    """Find altered copies across parts; files of equal samples are found by `_same_audio`."""
    parts_of = rows.groupby("file")["part"].agg(set).to_dict()
    audio_of = dict(zip(rows["file"], rows["audio"], strict=True))
    across: dict[tuple[str, str], list] = {}
    for one, other, match in matches:
        if one not in parts_of or other not in parts_of or audio_of[one] == audio_of[other]:
            continue
        for first, second in combinations(PARTS, 2):
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
                "listen to the pairs; keep all copies of a recording in one part",
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
            f"too{inside}: the result is for known sentences",
            where | {"count": len(shared), "examples": shared[:5]},
            "hold out sentences too (`statements2`), or report that sentences are known",
        )
    ]  # fmt: skip


def some(names: Sequence[str]) -> str:
    """Return the first four names, and the number of the others."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
