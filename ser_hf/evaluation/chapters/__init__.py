"""The chapters of a report. Everything that shows a report iterates `CHAPTERS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..tables import PredictionTable
from . import adaptation, calibration, dimensions, fairness, recordings, robustness, selective


@dataclass(frozen=True)
class Tables:
    """The prediction tables that a report is made of.

    Attributes:
        test: the table of the test speakers.
        validation: the table of the validation speakers of the same folds and seeds, or None.
        disturbed: tables of the test speakers under worse conditions, one for each condition.
        adapted: tables of the test speakers with several kinds of adaptation, "none" among them.
    """

    test: PredictionTable
    validation: PredictionTable | None = None
    disturbed: Sequence[PredictionTable] = ()
    adapted: Sequence[PredictionTable] = ()


@dataclass(frozen=True)
class Chapter:
    """One question about a model, and the functions that answer it.

    Attributes:
        name: the key in JSON and CSV.
        heading: the title in Markdown and HTML.
        meaning: one sentence on the question, for someone who never read about it.
        section: function of the tables and of the columns with groups to compare; returns the answer as plain JSON
            types, or None if the tables do not allow one.
        to_markdown: function of the section; returns Markdown lines.
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
        "Can the probabilities be trusted? Of all answers with a probability of 0.8, eight in ten should be right.",
        lambda tables, by: calibration.section(tables.test, tables.validation),
        calibration.to_markdown,
    ),
    Chapter(
        "selective",
        "When it may abstain",
        "How much better is the model if it answers only when it is sure, or names several emotions when it is not?",
        lambda tables, by: selective.section(tables.test, tables.validation),
        selective.to_markdown,
    ),
    Chapter(
        "fairness",
        "Groups",
        "Are some groups of people recognised worse than others, and is the gap larger than by chance?",
        lambda tables, by: fairness.section(tables.test, (*fairness.COLUMNS, *by)),
        fairness.to_markdown,
    ),
    Chapter(
        "dimensions",
        "Valence, arousal and dominance",
        "How well do the estimates agree with the raters? The concordance correlation coefficient (CCC) is 1 if they "
        "are equal, and 0 if the estimate is always the same. Another mean or spread lowers it.",
        lambda tables, by: dimensions.section(tables.test),
        dimensions.to_markdown,
    ),
    Chapter(
        "adapted",
        "Adaptation to a voice",
        "How much better is the model if it knows other recordings of the same person, without their emotions? online: "
        "those before; enrolled-20: twenty; transductive: all, the scored one too; online-sorted: those before, in the "
        "order of their names.",
        lambda tables, by: adaptation.section(tables.adapted),
        adaptation.to_markdown,
    ),
    Chapter(
        "robustness",
        "Under worse conditions",
        "The same test utterances with noise (signal-to-noise ratio in dB), in a room (reverberation time in seconds, "
        "until the sound has fallen by 60 dB), over a telephone, through codecs, at another level, clipped.",
        lambda tables, by: robustness.section(tables.test, tables.disturbed),
        robustness.to_markdown,
    ),
    Chapter(
        "recordings",
        "The test recordings",
        "How many utterances are there of each class, speaker and gender, and how long are they?",
        lambda tables, by: recordings.section(tables.test.rows),
        recordings.in_brief,
    ),
)
