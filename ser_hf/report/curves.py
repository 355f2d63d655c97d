"""The training curves of a run: `history.json` and a figure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import HISTORY, TRAINING_CURVES, write_whole
from .figures import in_default_style, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_curves(folder: str | Path, log_history: Sequence[Mapping[str, float]]) -> None:
    """Write `history.json` (the Trainer's records) and `training.png` beside the model.

    Args:
        log_history: `trainer.state.log_history`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / HISTORY, json.dumps(list(log_history), indent=1) + "\n")
    save_figure(training_figure(log_history), folder / TRAINING_CURVES)


@in_default_style
def training_figure(log_history: Sequence[Mapping[str, float]]) -> Figure:
    """Return a figure of losses, validation UAR and learning rate over the epochs."""
    figure = new_figure(9, 3, dpi=120)
    losses, rates, schedule = figure.subplots(1, 3)
    for axes, title, curves in (
        (losses, "loss", {"training": "loss", "validation": "eval_loss"}),
        (rates, "validation speakers", {"UAR": "eval_uar", "WAR": "eval_war"}),
        (schedule, "learning rate", {"learning rate": "learning_rate"}),
    ):
        for label, key in curves.items():
            points = [(row["epoch"], row[key]) for row in log_history if key in row and "epoch" in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 50 else None)
        axes.set(title=title, xlabel="epoch")
        if len(curves) > 1 and axes.lines:
            axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
