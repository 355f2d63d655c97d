"""`ser-hf corpora`: what each corpus is, and what of it is on this disk."""

from __future__ import annotations

from pathlib import Path

from ..corpora import CorpusError, find_root, get_corpus, list_corpora, missing, read_utterances
from ..corpora.base import folder_below


def describe_corpora(parent: Path | None = None) -> list[dict]:
    """One row per corpus: its facts, and under `found` what lies below the parent folder (or `$SER_HF_CORPORA`)."""
    rows = []
    for name in list_corpora():
        spec = get_corpus(name)
        rows.append(
            {
                "name": name,
                "title": spec.title,
                "language": spec.language,
                "license": spec.license,
                "utterances": spec.utterances,
                "speakers": len(spec.speakers) or None,
                "scheme": spec.scheme,
                "folds": [f"{name}/{fold}" for fold in spec.folds],
                "source": spec.source,
                "found": _found(spec, parent),
            }
        )
    return rows


def _found(spec, parent: Path | None) -> str:
    """One clause: complete, what is missing, what is wrong, or where nothing was found."""
    if spec.generate is not None:
        return "made when first used"
    if spec.name == "folder":
        return "pass its folder"
    try:
        root = find_root(spec, None if parent is None else folder_below(parent, spec.name))
    except CorpusError:
        return "no"
    try:
        utterances = list(read_utterances(spec, root, next(iter(spec.label_sources), None)))
    except CorpusError as error:
        return f"damaged: {error}"
    return missing(spec, utterances) or f"complete ({len(utterances)} utterances)"


def to_table(rows: list[dict]) -> str:
    """The rows as aligned text, one corpus per line."""
    header = ("corpus", "language", "utterances", "speakers", "licence", "on this disk")
    lines = [
        (
            row["name"], row["language"] or "-", str(row["utterances"] or "-"), str(row["speakers"] or "-"),
            row["license"], row["found"],
        )
        for row in rows
    ]  # fmt: skip
    widths = [max(len(line[column]) for line in (header, *lines)) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *lines)
    )
