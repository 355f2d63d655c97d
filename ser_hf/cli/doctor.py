"""`ser-hf doctor`: the faults of a folder of recordings, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..corpora import find_root, named_corpus
from ..emotions import OWN_SCHEME
from ..inspection.doctor import Examination, examine
from ..inspection.finding import Finding
from ..sources.reading import Translation
from .pairs import pairs

SHOWN = 5  # faults of one kind in the table; JSON has all


def examine_folder(
    corpus: str,
    root: Path | None = None,
    *,
    scheme: str | None = None,
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    encoding: str | None = None,
    votes: bool = False,
    progress: bool = False,
) -> Examination:
    """Examine a folder as a corpus.

    Args:
        corpus: its name; your own recordings as `name=place`.
        root: its folder. Default: the place, else below `$SER_HF_CORPORA`.
        scheme: "own" if the words of own recordings are its classes.
        columns, labels, encoding, votes: of own recordings: words such as "path=Datei".

    Raises:
        CorpusError: if there is no such corpus or no such folder.
    """
    spec, place = named_corpus(corpus)
    translation = Translation(
        pairs("columns", columns, "path=Datei"), pairs("labels", labels, "Freude=happiness"), encoding, votes,
        own_classes=scheme == OWN_SCHEME,
    )  # fmt: skip
    return examine(spec, find_root(spec, root or place), translation=translation, progress=progress)


def to_table(examination: Examination) -> str:
    """Return the faults as text: one block for each kind, severity and remedy, with the first few files."""
    rates = ", ".join(f"{count} at {rate} Hz" for rate, count in examination.sampling_rates.items())
    lines = [
        f"{examination.title} in {examination.root}",
        f"{examination.recordings} recordings, {examination.hours:.2f} h{f' ({rates})' if rates else ''}",
        f"licence: {examination.license}",
    ]
    blocks: dict[tuple[str, str, str], list[Finding]] = {}
    for fault in examination.faults:
        blocks.setdefault((fault.kind, fault.severity, fault.remedy), []).append(fault)
    for (kind, severity, remedy), faults in blocks.items():
        lines += ["", f"{severity}: {kind} ({len(faults)}) - {remedy}"]
        lines += [f"  {f'{fault.file}: ' if fault.file else ''}{fault.sentence}" for fault in faults[:SHOWN]]
        if len(faults) > SHOWN:
            lines.append(f"  ... {len(faults) - SHOWN} more; --json lists all")
    return "\n".join([*lines, "", _sum(examination)])


def _sum(examination: Examination) -> str:
    if not examination.faults:
        return "no fault found"
    errors = sum(fault.severity == "error" for fault in examination.faults)
    return f"faults found: {errors} errors, {len(examination.faults) - errors} warnings"
