"""The chapters of a report. Everything that shows a report iterates `CHAPTERS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..tables import PredictionTable
from . import calibration, fairness, robustness, selective


class Tables(Protocol):
    """The tables that a report is made of, such as `report.runs.RunTables`."""

    test: PredictionTable
    validation: PredictionTable | None
    disturbed: Sequence[PredictionTable]


@dataclass(frozen=True)
class Chapter:
    """One question about a model, and the functions that answer it.

    Attributes:
        name: the key in JSON and CSV.
        heading: the title in Markdown and HTML.
        meaning: one sentence on the question, for someone who never read about it.
        section: the answer as plain JSON types, from the tables and the columns to compare groups by; None where the
            tables do not allow one.
        to_markdown: lines that tell the answer.
    """

    name: str
    heading: str
    meaning: str
    section: Callable[[Tables, Sequence[str]], dict[str, Any] | None]
    to_markdown: Callable[[dict[str, Any]], list[str]]


CHAPTERS = (
    Chapter(
        "calibration",
        "Calibration",
        "Can the probabilities be believed? Of the answers given with 0.8, eight in ten should be right.",
        lambda tables, by: calibration.section(tables.test, tables.validation),
        calibration.to_markdown,
    ),
    Chapter(
        "selective",
        "When it may abstain",
        "What is gained if the model answers only when it is sure, or names several emotions when it is not.",
        lambda tables, by: selective.section(tables.test, tables.validation),
        selective.to_markdown,
    ),
    Chapter(
        "fairness",
        "Groups",
        "Are some people recognised worse than others, and would chance alone show as much?",
        lambda tables, by: fairness.section(tables.test, (*fairness.COLUMNS, *by)),
        fairness.to_markdown,
    ),
    Chapter(
        "robustness",
        "Under worse conditions",
        "The same test utterances with noise (signal-to-noise ratio in dB), in a room (seconds until its sound has "
        "fallen by 60 dB), over a telephone, through codecs, at another level, clipped.",
        lambda tables, by: robustness.section(tables.test, tables.disturbed),
        robustness.to_markdown,
    ),
)
