"""`ser-hf corpora show`: what is in a corpus, in numbers and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import AudioError, read_audio
from ..corpora import named_corpus
from ..data.columns import provenance
from ..data.dataset import load_corpus
from ..emotions import OWN_SCHEME
from ..evaluation.chapters import recordings
from ..files import write_whole
from ..report.figures import recordings_figure, save_figure
from ..report.markdown import dropped_sentence
from .pairs import pairs

QUIETEST = -100.0  # dB; of digital silence


def overview(
    corpus: str,
    root: Path | None = None,
    scheme: str | None = None,
    *,
    label_source: str | None = None,
    columns: Sequence[str] = (),
    labels: Sequence[str] = (),
    encoding: str | None = None,
    votes: bool = False,
) -> dict[str, Any]:
    """Return the facts of `evaluation.chapters.recordings` with levels, and `scheme` and `dropped`.

    An incomplete corpus is shown as far as it is there. Of own recordings all words are classes, unless a scheme is
    named.
    """
    if scheme is None and named_corpus(corpus)[0].is_own:
        scheme = OWN_SCHEME
    dataset = load_corpus(
        corpus, root, scheme, label_source=label_source, allow_partial=True, allow_truncated=True,
        columns=pairs("columns", columns, "path=Datei"), labels=pairs("labels", labels, "Freude=happiness"),
        encoding=encoding, votes=votes,
    )  # fmt: skip
    rows = dataset.remove_columns("audio").to_pandas()
    rows["label"] = [dataset.features["label"].names[label] for label in rows["label"]]
    with ThreadPoolExecutor() as pool:
        rows["level"] = list(pool.map(_level, dataset["audio"]))
    facts, found = provenance(dataset), recordings.section(rows)
    if lost := int(rows["level"].isna().sum()):
        found["notes"].append(f"{lost} recordings cannot be decoded and have no level: `ser-hf doctor` names them.")
    corpora = sorted(rows["corpus"].unique())
    return {"corpus": corpora, "scheme": facts["scheme"], "dropped": facts["dropped"], **found}


def _level(audio: Mapping[str, Any]) -> float:
    """Return the root mean square of a recording in dB of full scale; NaN if it cannot be decoded."""
    try:
        power = float(np.mean(np.square(read_audio(audio, allow_truncated=True), dtype=np.float64)))
    except AudioError:
        return np.nan
    return max(QUIETEST, 10 * np.log10(max(power, 1e-12)))


def to_markdown(facts: dict[str, Any]) -> str:
    """Return the overview as Markdown."""
    head = f"# {', '.join(facts['corpus'])}, scheme {facts['scheme']}"
    return "\n".join([head, "", *recordings.to_markdown(facts), "", dropped_sentence(facts)])


def write(folder: Path, facts: dict[str, Any]) -> None:
    """Write the overview as Markdown, JSON and a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "overview.md", to_markdown(facts) + "\n\n![overview](overview.png)\n")
    write_whole(folder / "overview.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    save_figure(recordings_figure(facts), folder / "overview.png")
