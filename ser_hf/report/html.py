"""A report as one HTML page without other files: figures and clips are embedded."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..evaluation.chapters import CHAPTERS
from ..evaluation.metrics import METRICS
from . import figures, markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_name("report.html.jinja")
FIGURES = {
    "calibration": figures.reliability_figure,
    "selective": figures.risk_coverage_figure,
    "fairness": figures.fairness_figure,
    "dimensions": figures.dimensions_figure,
    "adapted": figures.adaptation_figure,
    "robustness": figures.robustness_figure,
    "recordings": figures.recordings_figure,
}


def to_html(facts: dict[str, Any], clips: Mapping[str, bytes]) -> str:
    """Return the HTML page of a report, from `EvaluationReport.to_dict`.

    Args:
        clips: FLAC files of utterances by their ids; the page plays those of the worst confusions.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["rate"] = lambda value: "-" if value is None else f"{value:.3f}"
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    chapters = [
        {
            "heading": chapter.heading,
            "meaning": chapter.meaning,
            "blocks": _blocks(chapter.to_markdown(section)),
            "interval_method": _interval_method(section),
            "figure": None if (figure := FIGURES[chapter.name](section)) is None else _embed(figure),
        }
        for chapter in CHAPTERS
        if (section := facts["chapters"].get(chapter.name)) is not None
    ]
    return page.render(
        report=facts,
        metrics=[(metric, facts["rates"][name]) for name, metric in METRICS.items() if name in facts["rates"]],
        terms=markdown.terms(facts),
        trained_and_evaluated=markdown.trained_and_evaluated(facts),
        dropped=markdown.dropped_sentence(facts),
        scored_with=markdown.scored_with(facts),
        confusion=_embed(figures.confusion_figure(facts)),
        chapters=chapters,
        clips={name: _data_uri("audio/flac", content) for name, content in clips.items()},
    )


def _interval_method(chapter: dict[str, Any]) -> str | None:
    """Return the interval method of a chapter or of its columns; None in old reports that do not have it."""
    places = [chapter, *(one for one in chapter.values() if isinstance(one, dict))]
    return next((one["interval_method"] for one in places if "interval_method" in one), None)


def _blocks(lines: list[str]) -> list[dict[str, Any]]:
    """Split the lines of our own Markdown into paragraphs and tables: `{"text"}` or `{"header", "rows"}`.

    >>> _blocks(["One *sentence*.", "", "| a | b |", "|---|---|", "| 1 | 2 |"])
    [{'text': 'One *sentence*.'}, {'header': ['a', 'b'], 'rows': [['1', '2']]}]
    """
    blocks = []
    for lump in re.split(r"\n\s*\n", "\n".join(lines)):
        rows = lump.strip().splitlines()
        if rows and all(row.startswith("|") for row in rows):
            header, _, *body = (_cells(row) for row in rows)
            blocks.append({"header": header, "rows": body})
        elif rows:
            blocks.append({"text": " ".join(rows)})
    return blocks


def _cells(row: str) -> list[str]:
    """Return the cells of a row that `markdown_table` made: a bar within a cell has a backslash before it."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip())[1:-1]]


def _embed(figure: Figure) -> str:
    file = BytesIO()
    figures.save_figure(figure, file)
    return _data_uri("image/png", file.getvalue())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode('ascii')}"
