"""`ser-hf audit`: reads tables, runs and recordings, and passes them to the functions of `ser_hf.inspection`."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import pandas

from ..audio import AudioError, sample_hash
from ..corpora import find_root, get_corpus
from ..data.hub_tables import SUFFIX
from ..emotions import get_scheme
from ..evaluation.foreign import UNKNOWN, read_parquet, refuse_many_columns
from ..evaluation.tables import PredictionTable
from ..files import ADAPTATIONS, LEDGER, OPTIONS, TEST, VALIDATION, fold_folders, fold_of
from ..fingerprint import near_duplicates
from ..inspection.audit import audit_split
from ..inspection.audit_run import audit_run
from ..inspection.class_counts import known_class_counts
from ..inspection.finding import Finding
from ..inspection.split_table import AuditError, read_split
from ..inspection.supports import audit_supports, counts_by_speaker, parse_supports
from ..options import read_options
from ..sources.folders import AUDIO_SUFFIXES
from ..splits.ledger import Ledger


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
    """Return the findings on a table of files, on a run folder, or on the supports of a test set of a corpus.

    Raises:
        ValueError, OSError: if the input cannot be audited.
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
        raise AuditError("nothing to audit: pass a table of files, a run folder, or --corpus with --supports")
    if what.is_dir():
        return _audit_folder(what, root)
    return _audit_table(what, claim, root, statistics)


def _audit_table(path: Path, claim: str, root: Path | None, statistics: str) -> list[Finding]:
    if not path.is_file():
        raise AuditError(f"there is no table or run folder {path}")
    rows = read_split(_read_table(path), path.name, claim=claim)
    if root is not None and not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: check --root")
    folder = path.parent if root is None else root
    places = {name: folder / name for name in dict.fromkeys(rows["file"])}
    here = [name for name, place in places.items() if place.is_file()]
    findings, hashes, matches = [], {}, []
    if not here:
        findings.append(
            Finding(
                "not-compared", "note", f"none of the {len(places)} files is below {folder}: audio was not compared",
                {"files": len(places)}, "pass the folder of the recordings as --root",
            )
        )  # fmt: skip
    elif len(here) < len(places):
        absent = [name for name in places if name not in set(here)]
        findings.append(
            Finding(
                "missing-files", "warning", f"{len(absent)} of {len(places)} files are not below {folder}, such as "
                f"{absent[0]}: they were not compared", {"count": len(absent), "examples": absent[:5]},
                "complete the folder, or pass another as --root",
            )
        )  # fmt: skip
    if here:
        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(_hash_or_none, [places[name] for name in here]))
        hashes = {name: digest for name, digest in zip(here, digests, strict=True) if digest is not None}
        if damaged := [name for name in here if name not in hashes]:
            findings.append(
                Finding(
                    "unreadable-files", "warning", f"{len(damaged)} of {len(places)} files cannot be decoded, such as "
                    f"{damaged[0]}: they were not compared", {"count": len(damaged), "examples": damaged[:5]},
                    "run `ser-hf doctor folder` to find out why",
                )
            )  # fmt: skip
        by_hash: dict[str, list[str]] = {}
        for name, digest in hashes.items():
            by_hash.setdefault(digest, []).append(name)
        copies = list(by_hash.values())
        # Hashes find exact copies, so near-duplicates are searched among one file of each.
        for match in near_duplicates([places[names[0]] for names in copies]):
            matches += [(one, other, match) for one in copies[match.first] for other in copies[match.second]]
    return audit_split(rows, hashes=hashes, matches=matches, claim=claim, statistics=statistics) + findings


def _read_table(path: Path) -> pandas.DataFrame:
    """Read a Parquet file, or text with commas, semicolons, tabs or bars between the columns, as in its header."""
    try:
        if path.suffix.lower() == ".parquet":
            return read_parquet(path)[0]
        text = path.read_text(encoding="utf-8-sig")  # Excel begins with a byte order mark
        header = text.lstrip().partition("\n")[0]
        separator = max(",;\t|", key=header.count)
        refuse_many_columns(header.count(separator) + 1)
        # The header is read as a row: pandas would rename repeated columns, and turn an extra column into an index.
        cells = pandas.read_csv(
            StringIO(text), sep=separator, header=None, dtype=str, keep_default_na=False, na_values=UNKNOWN,
            skipinitialspace=True,
        )  # fmt: skip
    except (ValueError, OSError, RecursionError, MemoryError) as error:
        raise AuditError(f"{path} cannot be read as a table ({error}): write it as CSV in UTF-8, or Parquet") from error
    return cells.iloc[1:].set_axis(cells.iloc[0].fillna("").tolist(), axis=1)


def _hash_or_none(file: Path) -> str | None:
    try:
        return sample_hash(file)
    except (AudioError, OSError):
        return None


def _audit_folder(run: Path, root: Path | None) -> list[Finding]:
    """Audit a run: the folders of its folds if there are any, because the pooled table repeats their rows."""
    folders = fold_folders(run, TEST) or [run]
    refit = _is_refit(run)
    findings: list[Finding] = []
    answers: dict[str, list[pandas.DataFrame]] = {}  # by adaptation
    tested: dict[tuple, Path] = {}
    twice: list[str] = []
    for folder in folders:
        table = PredictionTable.read(folder / TEST)
        validation = folder / VALIDATION
        ledger = Ledger.read(folder / LEDGER) if (folder / LEDGER).is_file() else Ledger()
        findings += audit_run(
            table.rows,
            ledger,
            hashes=None if root is None else _hash_test(table.rows, root),
            validation=PredictionTable.read(validation).rows if validation.is_file() else None,
            relation=table.metadata.relation,
            adaptation=table.metadata.adaptation,
            protocol=table.metadata.protocol,
            part=table.metadata.part,
            refit=refit,
        )
        for one in [table, *map(PredictionTable.read, sorted(folder.glob(f"{ADAPTATIONS}/*.parquet")))]:
            answers.setdefault(one.metadata.adaptation, []).append(one.rows)
        for key in zip(table.rows["utterance_id"], table.rows["seed"], strict=True):
            if tested.setdefault(key, folder) != folder:
                twice.append(key[0])
    for rows in answers.values():
        findings += known_class_counts(pandas.concat(rows))
    if twice:
        findings.append(
            Finding(
                "tested-twice", "warning", f"{len(twice)} utterances are tested in several folds with the same seed, "
                f"such as {twice[0]}: pooled, they count twice", {"count": len(twice)},
                "use folds with disjoint test parts",
            )
        )  # fmt: skip
    return list({(one.kind, one.sentence): one for one in findings}.values())


def _is_refit(run: Path) -> bool:
    """True if a run, or the run of a fold, has the option refit, which trains on the validation speakers too."""
    file = next((folder / OPTIONS for folder in (run, run.parent) if (folder / OPTIONS).is_file()), None)
    if file is None or (file.parent != run and fold_of(run) is None):
        return False
    return bool(read_options(file).get("refit", False))


def _hash_test(rows: pandas.DataFrame, root: Path) -> dict[str, str]:
    """Return the `sample_hash` of the test recordings of one corpus, whose folder is given."""
    named, hashes = _recordings_by_name(root), {}
    for identity in dict.fromkeys(rows["utterance_id"]):
        name = unicodedata.normalize("NFC", identity.partition("/")[2])
        if name not in named:
            raise AudioError(
                f"{identity} is not below {root}", "pass the folder of its corpus as --root, or leave --root out"
            )
        hashes[identity] = sample_hash(named[name])
    return hashes


def _recordings_by_name(root: Path) -> dict[str, Path]:
    """Return the recordings below a folder by their name in an `utterance_id`: no suffix, accents composed."""
    # Unlike `Path.rglob`, into folders that are links too: corpora are often kept elsewhere.
    files = [Path(folder, name) for folder, _, names in os.walk(root, followlinks=True) for name in names]
    sounds = [file for file in files if SUFFIX.search(file.name)]
    # Last, and so kept, is what readers look for first: .wav, then .flac.
    sounds.sort(key=lambda file: [file.suffix.lower() == suffix for suffix in AUDIO_SUFFIXES])
    return {unicodedata.normalize("NFC", file.relative_to(root).with_suffix("").as_posix()): file for file in sounds}


def to_text(findings: Sequence[Finding]) -> str:
    """Return one paragraph for each finding, and a last line with their number."""
    lines = []
    for one in findings:
        lines.append(f"{one.severity}: {one.kind}: {one.sentence}.")
        if one.counts:
            lines.append(f"    {one.remedy[:1].upper()}{one.remedy[1:]}.")
    found = sum(one.counts for one in findings)
    return "\n".join([*lines, f"{found} found" if found else "nothing found"])
