"""The cost of a model: its size and its training time. `cost.json` beside a report holds it."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from ..files import COST, HISTORY, read_json, write_whole


def cost_of(runs: Sequence[str | Path]) -> dict[str, float | None]:
    """Return the cost of a saved run, or of several runs of one model (seeds), with the folders of their folds.

    Returns:
        `numbers`: count of numbers in one saved model, statistics and support vectors included; `epoch_seconds`: median
        wall time of an epoch on the machine that was used, without evaluation; `epochs`: the largest number of epochs.
        A value is None if there is no model, no training in epochs, or no recorded time.
    """
    runs = [Path(run) for run in runs]
    folders = [folder for run in runs for folder in (run, *sorted(run.glob("fold*")))]
    models = [files for folder in folders if (files := sorted(folder.glob("model*.safetensors")))]
    histories = [read_json(file, remedy="remove it") for run in runs for file in run.glob(f"**/{HISTORY}")]
    seconds = [row["epoch_seconds"] for history in histories for row in history if "epoch_seconds" in row]
    return {
        "numbers": sum(map(_numbers, models[0])) if models else None,
        "epoch_seconds": statistics.median(seconds) if seconds else None,
        "epochs": max((row["epoch"] for history in histories for row in history if "epoch" in row), default=None),
    }


def write_cost(folder: str | Path, runs: Sequence[str | Path] | None = None) -> None:
    """Write `cost.json` into a folder: its own cost, or that of the runs that are pooled in it."""
    cost = cost_of([folder] if runs is None else runs)
    write_whole(Path(folder, COST), json.dumps(cost, indent=1) + "\n")


def _numbers(weights: Path) -> int:
    """Count the numbers in a safetensors file from its header: eight bytes of length, little-endian, then JSON."""
    with weights.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
