"""Resuming a run after an interruption."""

from __future__ import annotations

import json
import re
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME

from ..files import OPTIONS, TEST


def last_checkpoint(folder: str | Path) -> str | None:
    """Return the newest complete checkpoint of a run folder, for `train(resume_from_checkpoint=...)`, or None.

    The Trainer writes the state of a checkpoint last: a checkpoint without it is incomplete.
    """
    checkpoints = [path for path in Path(folder).glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    complete = [path for path in checkpoints if _is_json(path / TRAINER_STATE_NAME)]
    newest = max(complete, key=lambda path: int(path.name.split("-")[1]), default=None)
    return None if newest is None else str(newest)


def left_over(folder: str | Path) -> Path | None:
    """Return a checkpoint or a prediction table without the options of its run, or None.

    Sub-folders that have their own options do not count.
    """
    folder = Path(folder)
    for name in (TRAINER_STATE_NAME, TEST):
        for file in folder.rglob(name):
            above = file.relative_to(folder).parents
            if not any((folder / parent / OPTIONS).exists() for parent in above):
                return file
    return None


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
