"""What a model costs: its size, and the time that its training took. Beside a report it is `cost.json`."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from ..files import COST, HISTORY, write_whole


def cost_of(runs: Sequence[str | Path]) -> dict[str, float | None]:
    """The cost of a saved run, or of several of one model (seeds), with the folders of their folds.

    Returns:
        `numbers`: that one saved model holds, statistics and support vectors included; `epoch_seconds`: median wall
        time of an epoch on whatever machine it was, evaluation left out; `epochs`: the most that were trained. None
        where there is no model, nothing is trained in epochs, or no time was recorded.
    """
    runs = [Path(run) for run in runs]
    folders = [folder for run in runs for folder in (run, *sorted(run.glob("fold*")))]
    models = [files for folder in folders if (files := sorted(folder.glob("model*.safetensors")))]
    histories = [json.loads(file.read_text(encoding="utf-8")) for run in runs for file in run.glob(f"**/{HISTORY}")]
    seconds = [row["epoch_seconds"] for history in histories for row in history if "epoch_seconds" in row]
    return {
        "numbers": sum(map(_numbers, models[0])) if models else None,
        "epoch_seconds": statistics.median(seconds) if seconds else None,
        "epochs": max((row["epoch"] for history in histories for row in history if "epoch" in row), default=None),
    }


def write_cost(folder: str | Path, runs: Sequence[str | Path] | None = None) -> None:
    """Writes `cost.json` into a folder: its own cost, or that of the runs that are pooled in it."""
    cost = cost_of([folder] if runs is None else runs)
    write_whole(Path(folder, COST), json.dumps(cost, indent=1) + "\n")


def _numbers(weights: Path) -> int:
    """Of the header alone: eight bytes of its length, little-endian, and JSON (the safetensors format)."""
    with weights.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
