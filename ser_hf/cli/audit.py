"""`ser-hf audit`: finds the files, listens to them, and hands all to the judges of `ser_hf.data`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas

from ..audio import AudioError, sample_hash
from ..corpora import find_root, get_corpus
from ..corpora.base import AUDIO_SUFFIXES
from ..data.audit import AuditError, Finding, audit_run, audit_split, read_split
from ..data.fingerprint import near_duplicates
from ..data.supports import audit_supports, counts_by_speaker, parse_supports
from ..emotions import get_scheme
from ..evaluation.tables import PredictionTable


def audit_anything(
    what: Path | None,
    *,
    corpus: str | None = None,
    scheme: str | None = None,
    supports: str | None = None,
    claim: str = "speaker-independent",
    root: Path | None = None,
    statistics: str = "unknown",
) -> list[Finding]:
    """The findings on a table of files, on a run folder, or on the supports of a test set of a corpus.

    Raises:
        ValueError, OSError: if what is given cannot be judged.
    """
    if supports is not None or corpus is not None:
        if what is not None or supports is None or corpus is None:
            raise AuditError("pass a table or a run folder, or both --corpus and --supports")
        spec = get_corpus(corpus)
        labels = get_scheme(scheme or spec.scheme)
        counts = counts_by_speaker(spec, labels, None if root is None else find_root(spec, root))
        return audit_supports(
            parse_supports(supports, labels), counts, corpus=spec.name, scheme=labels.name, claim=claim
        )
    if what is None:
        raise AuditError("audit what? A table of files, a run folder, or --corpus with --supports")
    if what.is_dir():
        return _audit_folder(what, root)
    return _audit_table(what, claim, root, statistics)


def _audit_table(path: Path, claim: str, root: Path | None, statistics: str) -> list[Finding]:
    if not path.is_file():
        raise AuditError(f"there is no table or run folder {path}")
    read = {".parquet": pandas.read_parquet, ".tsv": lambda file: pandas.read_csv(file, sep="\t", dtype=str)}
    table = read.get(path.suffix, lambda file: pandas.read_csv(file, dtype=str))(path)
    rows = read_split(table, path.name)
    folder = path.parent if root is None else root
    places = {name: folder / name for name in dict.fromkeys(rows["file"])}
    here = [name for name, place in places.items() if place.is_file()]
    findings, hashes, matches = [], {}, []
    if not here:
        findings.append(
            Finding(
                "not-heard", "note", f"none of the {len(places)} files is below {folder}: audio was not compared",
                {"files": len(places)}, "pass the folder of the recordings (--root)",
            )
        )  # fmt: skip
    elif len(here) < len(places):
        absent = [name for name in places if name not in set(here)]
        findings.append(
            Finding(
                "missing-files", "warning", f"{len(absent)} of {len(places)} files are not below {folder}, such as "
                f"{absent[0]}: they were not compared", {"count": len(absent), "examples": absent[:5]},
                "complete the folder, or pass another (--root)",
            )
        )  # fmt: skip
    if here:
        with ThreadPoolExecutor() as pool:
            digests = pool.map(sample_hash, [places[name] for name in here])
            hashes = dict(zip(here, digests, strict=True))
        distinct = list({digest: name for name, digest in reversed(hashes.items())}.values())
        # Near-duplicates are of recordings, not of their exact copies, which hashes find; one file stands for each.
        alike = near_duplicates([places[name] for name in distinct])
        names: dict[str, list[str]] = {}
        for name, digest in hashes.items():
            names.setdefault(digest, []).append(name)
        for match in alike:
            first, second = (names[hashes[distinct[number]]] for number in (match.first, match.second))
            matches += [(one, other, match) for one in first for other in second]
    return audit_split(rows, hashes=hashes, matches=matches, claim=claim, statistics=statistics) + findings


def _audit_folder(run: Path, root: Path | None) -> list[Finding]:
    """A run, and the folders of its folds; the pooled table above folds repeats theirs."""
    folders = sorted(file.parent for file in run.glob("fold*/predictions.parquet")) or [run]
    findings: list[Finding] = []
    tested: dict[tuple, Path] = {}
    twice: list[str] = []
    for folder in folders:
        table = PredictionTable.read(folder / "predictions.parquet")
        ledger = folder / "ledger.json"
        trainings = None
        if ledger.is_file():
            try:
                trainings = json.loads(ledger.read_text(encoding="utf-8"))["trainings"]
            except (ValueError, KeyError, TypeError) as error:
                raise AuditError(f"{ledger} cannot be read ({error}): its model is not judged") from error
        validation = folder / "validation.parquet"
        findings += audit_run(
            table.rows,
            trainings,
            hashes=None if root is None else _hash_test(table.rows, root),
            validation=PredictionTable.read(validation).rows if validation.is_file() else None,
            speaker_independent=table.metadata.speaker_independent,
            speaker_knowledge=table.metadata.speaker_knowledge,
        )
        for key in zip(table.rows["utterance_id"], table.rows["seed"], strict=True):
            if tested.setdefault(key, folder) != folder:
                twice.append(key[0])
    if twice:
        findings.append(
            Finding(
                "tested-twice", "warning", f"{len(twice)} utterances are tested in several folds with one seed, as "
                f"{twice[0]}: pooled, they count twice", {"count": len(twice)}, "give the folds disjoint test parts",
            )
        )  # fmt: skip
    return list({(one.kind, one.sentence): one for one in findings}.values())


def _hash_test(rows: pandas.DataFrame, root: Path) -> dict[str, str]:
    """`sample_hash` of the test recordings of one corpus, whose folder is given."""
    hashes = {}
    for identity in dict.fromkeys(rows["utterance_id"]):
        place = root / identity.partition("/")[2]
        found = [file for suffix in AUDIO_SUFFIXES if (file := place.parent / f"{place.name}{suffix}").is_file()]
        if not found:
            raise AudioError(f"{identity} is not below {root}: pass its corpus as --root, or nothing")
        hashes[identity] = sample_hash(found[0])
    return hashes


def to_text(findings: Sequence[Finding]) -> str:
    """One paragraph per finding, and a last line with their number."""
    lines = []
    for one in findings:
        lines.append(f"{one.severity}: {one.kind}: {one.sentence}.")
        if one.counts:
            lines.append(f"    {one.remedy[:1].upper()}{one.remedy[1:]}.")
    found = sum(one.counts for one in findings)
    return "\n".join([*lines, f"{found} found" if found else "nothing found"])
