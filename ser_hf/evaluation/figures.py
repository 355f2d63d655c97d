"""Figures of a report. matplotlib is imported when one is drawn."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .report import EvaluationReport

CELL_WIDTH, CELL_HEIGHT = 0.8, 0.62  # inches
LINE_HEIGHT = 12.5  # points, of the small print in the title
CHARACTERS_PER_INCH = 15  # of the same


def confusion_figure(report: EvaluationReport) -> Figure:
    """The confusion matrix: shade and per cent of each true class (rows sum to 100), counts below."""
    from matplotlib.figure import Figure
    from matplotlib.style import context

    counts = np.asarray(report.confusion)
    support, size = counts.sum(axis=1), len(report.classes)
    shares = counts / np.maximum(support, 1)[:, None]
    small_print = wrap(report.circumstances, int(CHARACTERS_PER_INCH * CELL_WIDTH * size))

    with context("default"):  # the caller's style sheet must not change a report
        figure = Figure(
            figsize=(1.4 + CELL_WIDTH * size, 1.5 + CELL_HEIGHT * size + len(small_print) * LINE_HEIGHT / 72),
            dpi=150,
            layout="constrained",
        )
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (true, predicted), share in np.ndenumerate(shares):
            if counts[true, predicted]:
                _write_cell(axes, predicted, true, share, counts[true, predicted])
        for true in np.flatnonzero(support == 0):
            axes.text((size - 1) / 2, true, "no test utterance", ha="center", va="center", fontsize=9, color="0.45")

        axes.set_xticks(range(size), report.classes, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(size), report.classes)
        axes.set_xlabel("predicted", color="0.35")
        axes.set_ylabel("true", color="0.35")
        axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)

        headline = f"UAR {report.rate('uar')}"
        axes.set_title(headline, loc="left", fontweight="bold", fontsize=12, pad=12 + LINE_HEIGHT * len(small_print))
        axes.annotate(
            "\n".join(small_print), (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", va="bottom",
            fontsize=8.5, color="0.35", linespacing=1.25,
        )  # fmt: skip
    return figure


def _write_cell(axes, column: int, row: int, share: float, count: int) -> None:
    """Per cent above, count below."""
    is_dark = share > 0.6  # from here on, small dark figures would fade
    weight = "bold" if row == column else "normal"
    per_cent = dict(va="bottom", fontsize=10, fontweight=weight, color="white" if is_dark else "0.1")
    number = dict(va="top", fontsize=7.5, color="white" if is_dark else "0.25")
    axes.text(column, row + 0.02, f"{100 * share:.0f} %", ha="center", **per_cent)
    axes.text(column, row + 0.08, f"{count}", ha="center", **number)


def save_figure(figure: Figure, path: str | Path) -> None:
    """A PNG without the date and version that would make every copy differ."""
    from matplotlib.style import context

    with context("default"):
        figure.savefig(path, metadata={"Software": None})


def reliability_figure(section: dict) -> Figure:
    """Accuracy against confidence, in bins of equal mass; on the diagonal a confidence is what it says.

    Args:
        section: what `calibration.section` returns.
    """
    from matplotlib.figure import Figure
    from matplotlib.style import context

    states = [("as they are", section["before"])]
    if section["after"] is not None:
        states = [("before", section["before"]), ("after", section["after"])]
    with context("default"):
        figure = Figure(figsize=(4.6, 4.9), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle="--")
        for (name, state), colour in zip(states, ("0.55", "tab:blue")[-len(states) :], strict=True):
            confidence, accuracy, n = zip(
                *((row["confidence"], row["accuracy"], row["n"]) for row in state["reliability"]), strict=True
            )
            axes.plot(confidence, accuracy, color=colour, linewidth=1.5, label=f"{name}: ECE {state['ece']:.3f}")
            axes.scatter(confidence, accuracy, s=60 * np.asarray(n) / max(n), color=colour, clip_on=False, zorder=3)
        _square(axes, "confidence", "accuracy")
        axes.legend(frameon=False, loc="upper left", fontsize=9)
        _title(axes, "Reliability", section, f"{section['bins']} bins of equal mass")
    return figure


def risk_coverage_figure(section: dict) -> Figure:
    """Share of wrong answers against the share of utterances that are answered, and what the thresholds gave.

    Args:
        section: what `selective.section` returns.
    """
    from matplotlib.figure import Figure
    from matplotlib.style import context

    with context("default"):
        figure = Figure(figsize=(4.6, 4.9), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        coverage, risk = zip(*((row["coverage"], row["risk"]) for row in section["curve"]), strict=True)
        axes.plot(coverage, risk, color="tab:blue", linewidth=1.5, label="most confident first")
        axes.axhline(section["risk"], color="0.7", linewidth=1, linestyle="--", label="in random order")
        met = [row for row in section["thresholds"] if row["risk"] is not None]
        for row in met:
            axes.plot([row["coverage"]] * 2, [row["wanted"], row["risk"]], color="tab:orange", linewidth=1)
            axes.plot(row["coverage"], row["wanted"], "_", color="tab:orange", markersize=12)
        if met:
            axes.plot(
                [row["coverage"] for row in met], [row["risk"] for row in met], "o", color="tab:orange", markersize=5,
                label="thresholds of validation speakers\n(bar: wanted, dot: found)",
            )  # fmt: skip
        _square(axes, "coverage: share of utterances that are answered", "risk: share of answers that are wrong")
        highest = max([*risk, *(max(row["risk"], row["wanted"]) for row in met)])
        axes.set_ylim(0, min(1.0, 1.5 * highest) or 1.0)  # room for the legend
        axes.legend(frameon=False, loc="upper left", fontsize=9)
        _title(axes, "Risk and coverage", section, f"area {section['aurc']:.3f}")
    return figure


def _square(axes, horizontal: str, vertical: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel(horizontal, color="0.35")
    axes.set_ylabel(vertical, color="0.35")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)


def _title(axes, headline: str, section: dict, detail: str) -> None:
    of_whom = f" of {section['speakers']} speakers" if section["speakers"] else ""
    axes.set_title(headline, loc="left", fontweight="bold", fontsize=12, pad=12 + LINE_HEIGHT)
    axes.annotate(
        f"n = {section['n']}{of_whom}, {detail}", (0, 1), (0, 7), xycoords="axes fraction",
        textcoords="offset points", va="bottom", fontsize=8.5, color="0.35",
    )  # fmt: skip
