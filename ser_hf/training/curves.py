"""What happened in training, epoch by epoch: `history.json` and a figure of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from transformers import TrainerCallback

from ..report.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class EpochClock(TrainerCallback):
    """Measures the wall time of each epoch; evaluation and saving are left out where they come at its end.

    Attributes:
        seconds: of the last whole epoch; None before its end. What a resumed training does of an epoch is no whole one.
    """

    def __init__(self):
        self.seconds: float | None = None

    def on_epoch_begin(self, args, state, control, **_unused):
        self._is_whole = float(state.epoch or 0).is_integer()
        self._began = perf_counter()

    def on_epoch_end(self, args, state, control, **_unused):
        if self._is_whole:
            self.seconds = perf_counter() - self._began


def write_curves(folder: str | Path, log_history: Sequence[Mapping[str, float]]) -> None:
    """Writes `history.json` (the Trainer's own records) and `training.png` beside the model.

    Args:
        log_history: `trainer.state.log_history`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "history.json").write_text(json.dumps(list(log_history), indent=1) + "\n", encoding="utf-8")
    save_figure(training_figure(log_history), folder / "training.png")


def training_figure(log_history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss of training and validation speakers, their UAR, and the learning rate over the epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), dpi=120, layout="constrained")
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
