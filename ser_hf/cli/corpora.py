"""`ser-hf corpora`: the facts of each corpus, its state on this disk, and its download."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from ..corpora import CorpusError, CorpusSpec, find_root, get_corpus, list_corpora, read_utterances
from ..sources.completeness import check_complete
from ..sources.roots import CORPORA_VARIABLE, folder_below, how_to_get

_FACTS = ("title", "language", "license", "utterances", "speakers", "scheme", "folds", "source")


def describe_corpora(parent: Path | None = None) -> list[dict]:
    """Return one row per corpus: its facts, and in `found` its state below the parent folder (or `$SER_HF_CORPORA`)."""
    rows = []
    for name in list_corpora():
        try:
            spec = get_corpus(name)
        except CorpusError as error:  # a damaged file must not hide the others
            rows.append({"name": name, **dict.fromkeys(_FACTS), "found": f"damaged: {error}"})
            continue
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


def _found(spec: CorpusSpec, parent: Path | None) -> str:
    """Return one clause: complete, the missing part, the fault, or "no" if nothing was found."""
    if spec.generate is not None:
        return "generated when first used"
    if spec.is_own:
        return "pass its folder"
    try:
        root = find_root(spec, None if parent is None else folder_below(parent, spec.name))
    except CorpusError:
        return "no"
    return completeness(spec, root)


def completeness(spec: CorpusSpec, root: Path) -> str:
    """Return one clause on the folder of a corpus: complete, the missing part, or the fault."""
    try:
        utterances = read_utterances(spec, root, next(iter(spec.label_sources), None))
        counts = Counter(utterance.speaker for utterance in utterances)
        shortfall = check_complete(spec, root, counts, allow_partial=True)
    except (CorpusError, OSError) as error:  # a damaged corpus must not hide the others
        return f"damaged: {error}"
    return shortfall or f"complete ({counts.total()} utterances)"


def to_table(rows: list[dict]) -> str:
    """Return the rows as aligned text, one corpus per line."""
    header = ("corpus", "language", "utterances", "speakers", "licence", "on this disk")
    lines = [
        (
            row["name"], row["language"] or "-", str(row["utterances"] or "-"), str(row["speakers"] or "-"),
            row["license"] or "-", row["found"],
        )
        for row in rows
    ]  # fmt: skip
    widths = [max(len(line[column]) for line in (header, *lines)) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *lines)
    )


def folder_to_download_into(spec: CorpusSpec, parent: Path | None) -> Path:
    """Return the folder for the download of a corpus; it need not exist.

    Raises:
        CorpusError: if the corpus cannot be downloaded, or there is no folder for corpora.
    """
    if not spec.downloads:
        raise CorpusError(f"{spec.name} cannot be downloaded. {how_to_get(spec)}")
    if parent is None and CORPORA_VARIABLE not in os.environ:
        raise CorpusError(
            f"no folder for the download of {spec.name}: pass --root FOLDER, or set {CORPORA_VARIABLE} to a folder"
        )
    return folder_below(Path(os.environ[CORPORA_VARIABLE]) if parent is None else parent, spec.name).expanduser()


def describe_download(spec: CorpusSpec, root: Path) -> str:
    """Return the facts to accept before a download: licence, citation, files, checksums, folder."""
    lines = [spec.title, f"  licence   {spec.license}", f"  cite      {spec.source}"]
    for download in spec.downloads:
        size = "of unknown size" if download.size is None else f"{download.size:,} bytes"
        check = download.checksum or "no checksum is published; only the archive's own checksums are verified"
        lines.append(f"  download  {download.url} ({size}; {check})")
        if download.pointers:
            lines.append(
                f"            then {download.pointers} from {download.media}, each with the SHA-256 of its pointer"
            )
    return "\n".join([*lines, f"  folder    {root}"])
