"""The diagnoses of an adaptation as files: a table, its numbers and a picture of the embeddings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..evaluation.comparisons.domain_shift import Diagnosis, shown_measure, summary, to_markdown
from ..files import write_whole
from .figures import embedding_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def picture(diagnoses: Mapping[str, Diagnosis]) -> Figure:
    """Return the `embedding_figure` of all methods, with UARs and the domain distance below each picture."""
    captions = {
        method: f"target UAR {one.target_uar:.3f}, source UAR {one.source_uar:.3f}\n"
        f"domain distance {shown_measure(one.domain_distance)} of 2\nplane: {one.explained:.0%} of the variance"
        for method, one in diagnoses.items()
    }
    return embedding_figure({method: one.points for method, one in diagnoses.items()}, captions)


def write_diagnoses(folder: str | Path, diagnoses: Mapping[str, Sequence[Diagnosis]]) -> str:
    """Write `adaptation.json`, `adaptation.md` and `embeddings.png` (first fold); return the Markdown.

    Args:
        diagnoses: {method: one diagnosis for each fold}.
    """
    folder, facts = Path(folder), summary(diagnoses)
    write_whole(folder / "adaptation.json", json.dumps(facts, indent=2) + "\n")
    markdown = to_markdown(facts)
    write_whole(folder / "adaptation.md", markdown + "\n")
    save_figure(picture({method: each[0] for method, each in diagnoses.items()}), folder / "embeddings.png")
    return markdown
