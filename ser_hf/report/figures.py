"""Figures of a report. matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, BinaryIO, ParamSpec, TypeVar

import numpy as np

from ..evaluation.chapters.recordings import GENDERS
from ..extras import naming_extra
from ..files import whole
from . import markdown

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL_WIDTH, CELL_HEIGHT = 0.8, 0.62  # inches
LINE_HEIGHT = 12.5  # points, of the small print in the title
CHARACTERS_PER_INCH = 15  # of the same
MARKERS = "o^sDvP"  # of corpora

Arguments, Result = ParamSpec("Arguments"), TypeVar("Result")


def in_default_style(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator that draws in the default style: the caller's style sheet must not change a report."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
        with naming_extra("a figure"):
            from matplotlib.style import context

        with context("default"):
            return draw(*args, **options)

    return drawn


def new_figure(width: float, height: float, *, dpi: int = 150) -> Figure:
    """Return an empty figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


@in_default_style
def save_figure(figure: Figure, path: str | Path | BinaryIO) -> None:
    """Save a PNG without date and version, so that the same figure always gives the same file."""
    with whole(path) if isinstance(path, (str, Path)) else nullcontext(path) as file:
        figure.savefig(file, metadata={"Software": None})


@in_default_style
def confusion_figure(facts: dict[str, Any]) -> Figure:
    """Return the confusion matrix of a report: per cent of each true class (rows sum to 100), counts below."""
    counts = np.asarray(facts["confusion"])
    support, size = counts.sum(axis=1), len(facts["classes"])
    shares = counts / np.maximum(support, 1)[:, None]
    small_print = wrap(markdown.circumstances(facts), int(CHARACTERS_PER_INCH * CELL_WIDTH * size))

    height = 1.5 + CELL_HEIGHT * size + len(small_print) * LINE_HEIGHT / 72
    figure = new_figure(1.4 + CELL_WIDTH * size, height)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (true, predicted), share in np.ndenumerate(shares):
        if counts[true, predicted]:
            _write_cell(axes, predicted, true, share, counts[true, predicted])
    for true in np.flatnonzero(support == 0):
        axes.text((size - 1) / 2, true, "no test utterances", ha="center", va="center", fontsize=9, color="0.45")

    axes.set_xticks(range(size), facts["classes"], rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), facts["classes"])
    _divide_cells(axes, "predicted", "true")
    _title(axes, f"UAR {markdown.rate(facts, 'uar')}", small_print)
    return figure


def _write_cell(axes, column: int, row: int, share: float, count: int) -> None:
    """Write the per cent into a cell, and the count below."""
    is_dark = share > 0.6  # dark figures would be hard to read on such cells
    weight = "bold" if row == column else "normal"
    per_cent = dict(va="bottom", fontsize=10, fontweight=weight, color="white" if is_dark else "0.1")
    number = dict(va="top", fontsize=7.5, color="white" if is_dark else "0.25")
    axes.text(column, row + 0.02, f"{100 * share:.0f} %", ha="center", **per_cent)
    axes.text(column, row + 0.08, f"{count}", ha="center", **number)


def _divide_cells(axes, horizontal: str, vertical: str) -> None:
    """Draw white lines between the cells of a matrix, which has a tick at each column and row, and name its sides."""
    axes.set_xlabel(horizontal, color="0.35")
    axes.set_ylabel(vertical, color="0.35")
    axes.set_xticks(np.arange(len(axes.get_xticks()) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(axes.get_yticks()) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _title(axes, headline: str, small_print: Sequence[str]) -> None:
    """Write a headline, and lines of small print between it and the axes."""
    pad = 12 + LINE_HEIGHT * len(small_print)
    axes.set_title(headline, loc="left", fontweight="bold", fontsize=12, pad=pad)
    axes.annotate(
        "\n".join(small_print), (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", va="bottom",
        fontsize=8.5, color="0.35", linespacing=1.25,
    )  # fmt: skip


@in_default_style
def reliability_figure(section: dict) -> Figure:
    """Return a figure of accuracy against confidence, in bins of equal mass; perfect calibration is the diagonal.

    Args:
        section: a result of `calibration.section`.
    """
    states = [("as they are", section["before"], "tab:blue")]
    if section["after"] is not None:
        states = [("before", section["before"], "0.55"), ("after", section["after"], "tab:blue")]
    figure = new_figure(4.6, 4.9)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, linestyle="--")
    for name, state, colour in states:
        confidence, accuracy, n = (
            np.array([row[key] for row in state["reliability"]]) for key in ("confidence", "accuracy", "n")
        )
        words = f"{name}: ECE {state['ece']:.3f} (a perfect one: {state['ece_by_chance']:.3f})"
        axes.plot(confidence, accuracy, color=colour, linewidth=1.5, label=words)
        axes.scatter(confidence, accuracy, s=60 * n / n.max(), color=colour, clip_on=False, zorder=3)
    _square(axes, "confidence", "accuracy")
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    _title(axes, "Reliability", [f"{_size(section)}, {section['bins']} bins of equal mass"])
    return figure


@in_default_style
def risk_coverage_figure(section: dict) -> Figure:
    """Return a figure of the share of wrong answers against the share answered, with the results of the thresholds.

    Args:
        section: a result of `selective.section`.
    """
    figure = new_figure(4.6, 4.9)
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
            label="thresholds from validation speakers\n(bar: wanted, dot: found)",
        )  # fmt: skip
    _square(axes, "coverage: share of utterances that are answered", "risk: share of answers that are wrong")
    highest = max([*risk, *(max(row["risk"], row["wanted"]) for row in met)])
    axes.set_ylim(0, min(1.0, 1.5 * highest) or 1.0)  # room for the legend
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    _title(axes, "Risk and coverage", [f"{_size(section)}, area {section['aurc']:.3f}"])
    return figure


def _square(axes, horizontal: str, vertical: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel(horizontal, color="0.35")
    axes.set_ylabel(vertical, color="0.35")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0)


def _size(section: dict) -> str:
    return f"n = {section['n']}" + (f" of {section['speakers']} speakers" if section["speakers"] else "")


@in_default_style
def dimensions_figure(section: dict[str, Any]) -> Figure:
    """Return a figure of the concordance of each dimension with its interval."""
    rows = section["concordance"]
    figure = new_figure(6.4, 0.9 + 0.32 * len(rows))
    axes = figure.add_subplot()
    for number, row in enumerate(rows):
        if row["ccc"] is not None:
            _draw_interval(axes, number, row["ccc"], row["ccc_interval"])
    axes.axvline(0, color="0.35", linewidth=1)
    _as_forest(axes, [row["dimension"] for row in rows], (-1, 1), "CCC, 95 % over speakers")
    return figure


def robustness_figure(section: dict[str, Any]) -> Figure:
    """Return a figure of the UAR under each condition with its interval, and of the UAR of the clean recordings."""
    rows = section["conditions"]
    names, before = [row["condition"] for row in rows], [row["clean_uar"] for row in rows]
    return _compared_figure(rows, names, before, "the bar is the clean recording's")


def adaptation_figure(section: dict[str, Any]) -> Figure:
    """Return a figure of the UAR with each adaptation and its interval, and of the UAR without adaptation."""
    rows = section["adaptations"]
    names, before = [row["adaptation"] for row in rows], [row["uar"] - row["gain"] for row in rows]
    return _compared_figure(rows, names, before, "the bar is that without adaptation")


@in_default_style
def _compared_figure(rows: Sequence[dict[str, Any]], names: Sequence[str], before: Sequence[float], bar: str) -> Figure:
    """Return a figure of UARs with their intervals, each beside the UAR that it is compared with."""
    figure = new_figure(6.4, 0.9 + 0.32 * len(rows))
    axes = figure.add_subplot()
    for number, (row, reference) in enumerate(zip(rows, before, strict=True)):
        _draw_interval(axes, number, row["uar"], row["uar_interval"])
        axes.plot(reference, number, "|", color="0.35", markersize=14, markeredgewidth=1.5)
    _as_forest(axes, names, (0, 1), f"UAR, 95 % over speakers; {bar}")
    return figure


def _draw_interval(axes: Axes, number: int, value: float, interval: Sequence[float] | None) -> None:
    span = interval or (value, value)
    axes.plot(span, (number, number), color="tab:blue", linewidth=2, alpha=0.5, solid_capstyle="round")
    axes.plot(value, number, "o", color="tab:blue", markersize=6)


def _as_forest(axes: Axes, names: Sequence[str], limits: tuple[float, float], label: str) -> None:
    """Name the rows of a figure of intervals, from the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(limits)
    axes.set_xlabel(label, color="0.35")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)


@in_default_style
def fairness_figure(facts: dict[str, Any]) -> Figure | None:
    """Return a figure of the UAR of each evaluated group with its interval, by column; None without such groups."""
    blocks = {
        column: judged
        for column, found in facts.items()
        if (judged := [row for row in found["groups"] if row["uar"] is not None])
    }
    if not blocks:
        return None
    figure = new_figure(6.4, 1.3 + 0.45 * sum(map(len, blocks.values())) + 0.2 * len(blocks))
    axes = figure.add_subplot()
    place, places, names = 0.0, [], []
    for column, rows in blocks.items():
        for row in rows:
            low, high = row["uar_interval"]
            axes.plot([low, high], [place, place], color="tab:blue", linewidth=2, solid_capstyle="butt")
            axes.plot([row["uar"]], [place], "o", color="tab:blue", markersize=7)
            axes.annotate(
                f"{row['uar']:.3f}", (row["uar"], place), (0, 6), textcoords="offset points", ha="center",
                fontsize=8.5, color="0.1",
            )  # fmt: skip
            places.append(place)
            names.append(f"{column.replace('_', ' ')}: {row['group']}\nn = {row['n']}, {row['speakers']} speakers")
            place += 1
        place += 0.5
    axes.set_yticks(places, names, fontsize=8.5)
    axes.set_ylim(place - 0.8, -0.7)
    axes.set_xlabel("UAR, 95 % over speakers", color="0.35")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


@in_default_style
def cross_corpus_figure(facts: dict[str, Any]) -> Figure:
    """Return the matrix of `cross_corpus` as a figure: UAR, interval and n; cells with seen speakers are grey."""
    trained, tested = facts["train"], facts["test"]
    width = max(4.2, 1.5 * len(tested))  # inches; the caption needs room, however few the corpora
    small_print = wrap(facts["caption"].replace("*", ""), int(CHARACTERS_PER_INCH * width))  # Markdown
    figure = new_figure(1.9 + width, 1.3 + len(trained) + len(small_print) * LINE_HEIGHT / 72)
    axes = figure.add_subplot()
    axes.set_facecolor("0.92")  # of cells without a shade
    shades = np.full((len(trained), len(tested)), np.nan)
    for cell in facts["cells"]:
        row, column = trained.index(cell["train"]), tested.index(cell["test"])
        if not cell["seen_speakers"]:
            shades[row, column] = cell["uar"]
        ink = "white" if shades[row, column] > 0.6 else "0.1"  # a comparison with NaN is False
        weight = "bold" if cell["kind"] == "within" else "normal"
        main = dict(ha="center", va="bottom", fontsize=11, fontweight=weight, color=ink)
        axes.text(column, row + 0.02, f"{cell['uar']:.3f}", **main)
        span = "no interval" if cell["uar_interval"] is None else "[{:.3f}, {:.3f}]".format(*cell["uar_interval"])
        small = f"{span}\nn = {cell['n']}" + "\nseen speakers" * cell["seen_speakers"]
        small += "\nadapted" * (cell["kind"] == "adapted")
        axes.text(column, row + 0.08, small, ha="center", va="top", fontsize=7.5, color=ink)
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(tested)), tested)
    axes.set_yticks(range(len(trained)), trained)
    _divide_cells(axes, "tested on", "trained on")
    _title(axes, "UAR across corpora", small_print)
    return figure


@in_default_style
def embedding_figure(points: Mapping[str, pandas.DataFrame], captions: Mapping[str, str]) -> Figure:
    """Return a figure of the embeddings of test utterances, a panel for each model: colour is emotion, marker corpus.

    Args:
        points: columns `corpus`, `emotion`, `x`, `y` of each model.
        captions: text below each panel.
    """
    from matplotlib.lines import Line2D

    emotions, corpora = (
        sorted({value for panel in points.values() for value in panel[column]}) for column in ("emotion", "corpus")
    )
    figure = new_figure(4.2 * len(points) + 1.6, 4.8)
    panels = np.atleast_1d(figure.subplots(1, len(points)))
    for axes, (name, panel) in zip(panels, points.items(), strict=True):
        for (corpus, emotion), group in panel.groupby(["corpus", "emotion"]):
            axes.plot(
                group["x"], group["y"], MARKERS[corpora.index(corpus) % len(MARKERS)], markersize=5,
                color=f"C{emotions.index(emotion)}", alpha=0.6, markeredgewidth=0,
            )  # fmt: skip
        axes.set_title(name, loc="left", fontweight="bold", fontsize=12)
        axes.set_xlabel(captions[name], fontsize=9, color="0.35")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("0.85")
    shapes = [Line2D([], [], linestyle="", marker=MARKERS[n % len(MARKERS)], color="0.4") for n in range(len(corpora))]
    shades = [Line2D([], [], linestyle="", marker="s", color=f"C{n}") for n in range(len(emotions))]
    figure.legend([*shapes, *shades], [*corpora, *emotions], loc="outside right center", frameon=False, fontsize=9)
    return figure


@in_default_style
def recordings_figure(section: dict[str, Any]) -> Figure:
    """Return a figure of a set of recordings: utterances by class and gender and by speaker, durations and levels.

    Args:
        section: a result of `recordings.section`.
    """
    panels = 4 if section["level"] else 3
    figure = new_figure(3.2 * panels, 3.2, dpi=120)
    by_class, by_speaker, seconds, *level = figure.subplots(1, panels)
    names, left = [one["class"] for one in section["classes"]], np.zeros(len(section["classes"]))
    for gender in (*GENDERS, "unknown"):
        counts = np.array([one[gender] for one in section["classes"]])
        if counts.any():
            by_class.barh(names, counts, left=left, label=gender)
            left = left + counts
    by_class.invert_yaxis()
    by_class.legend(frameon=False, fontsize=8)
    by_class.set(title="utterances by class", xlabel="utterances")
    by_speaker.bar(range(len(section["speakers"])), [one["n"] for one in section["speakers"]], width=1.0)
    by_speaker.set(title="utterances by speaker", xlabel="speakers, sorted", ylabel="utterances")
    for axes, values, title, unit in (
        (seconds, section["seconds"], "duration", "s"),
        *((one, section["level"], "level", "dB of full scale") for one in level),
    ):
        low, first, middle, third, high = (np.nan if value is None else value for value in values.values())
        axes.bxp([{"med": middle, "q1": first, "q3": third, "whislo": low, "whishi": high}], showfliers=False)
        axes.set(title=title, ylabel=unit, xticks=[])
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure
