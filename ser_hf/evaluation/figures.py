"""Figures of a report. matplotlib is imported when one is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .report import EvaluationReport


def confusion_figure(report: EvaluationReport) -> Figure:
    """The confusion matrix: shade and per cent of each true class (rows sum to 100), counts below."""
    from matplotlib.figure import Figure

    counts = np.asarray(report.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = len(report.classes)
    figure = Figure(figsize=(2.2 + 0.78 * size, 1.9 + 0.62 * size), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (true, predicted), share in np.ndenumerate(shares):
        axes.text(
            predicted, true, f"{100 * share:.0f} %\n{counts[true, predicted]}", ha="center", va="center", fontsize=8,
            color="white" if share > 0.55 else "0.15", fontweight="bold" if true == predicted else "normal",
        )  # fmt: skip
    axes.set_xticks(range(size), report.classes, rotation=30, ha="right")
    axes.set_yticks(range(size), report.classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    span = "" if report.uar_interval is None else " [{:.3f}, {:.3f}]".format(*report.uar_interval)
    kind = ", synthetic speech" if report.synthetic else ""
    axes.set_title(f"UAR {report.uar:.3f}{span}\n{report.protocol}, n = {report.n}{kind}", fontsize=10, loc="left")
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """A PNG without the date and version that would make every copy differ."""
    figure.savefig(path, metadata={"Software": None})
