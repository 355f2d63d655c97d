"""Going on after an interruption."""

from __future__ import annotations

import json
import re
from pathlib import Path

from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME

RUN_FILE = "run.yaml"


class DrawsOfEpoch(TrainerCallback):
    """Tells the sampler its epoch. The Trainer tells it too, but does not find it below the batches that a resumed
    training of several processes passes over: that epoch would be drawn like the first."""

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **_unused) -> None:
        train_dataloader.set_epoch(int(state.epoch or 0))


def last_checkpoint(folder: str | Path) -> str | None:
    """The newest complete checkpoint of a run folder, for `train(resume_from_checkpoint=...)`; None if there is none.

    The Trainer writes the state of a checkpoint last: one without it was being written when the run was killed.
    """
    checkpoints = [path for path in Path(folder).glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    complete = [path for path in checkpoints if _is_json(path / TRAINER_STATE_NAME)]
    newest = max(complete, key=lambda path: int(path.name.split("-")[1]), default=None)
    return None if newest is None else str(newest)


def left_over(folder: str | Path) -> Path | None:
    """A checkpoint, or a table of predictions, in a folder without the options of its run; None if there is none.

    Runs further down that have theirs are in nobody's way.
    """
    folder = Path(folder)
    for name in (TRAINER_STATE_NAME, "predictions.parquet"):
        for file in folder.rglob(name):
            above = file.relative_to(folder).parents
            if not any((folder / parent / RUN_FILE).exists() for parent in above):
                return file
    return None


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
