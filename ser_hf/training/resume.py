"""Going on after an interruption."""

from __future__ import annotations

import json
import re
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME


def last_checkpoint(folder: str | Path) -> str | None:
    """The newest complete checkpoint of a run folder, for `train(resume_from_checkpoint=...)`; None if there is none.

    The Trainer writes the state of a checkpoint last: one without it was being written when the run was killed.
    """
    checkpoints = [path for path in Path(folder).glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    complete = [path for path in checkpoints if _is_json(path / TRAINER_STATE_NAME)]
    newest = max(complete, key=lambda path: int(path.name.split("-")[1]), default=None)
    return None if newest is None else str(newest)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
