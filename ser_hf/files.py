"""The files of a run folder, each named once, and writing that leaves the whole file or none."""

from __future__ import annotations

import os
import re
from pathlib import Path
from uuid import uuid4

# Prediction tables: of the test speakers, of the validation speakers, and a folder of one per worse condition.
TEST, VALIDATION, CONDITIONS = "predictions.parquet", "validation.parquet", "conditions"
# The report of these tables in its forms.
REPORT, REPORT_MARKDOWN, REPORT_HTML = "report.json", "report.md", "report.html"
METRICS_CSV, CONFUSION = "metrics.csv", "confusion.png"
# How the model came about: options, data it was trained on, curves, cost.
OPTIONS, LEDGER = "run.yaml", "ledger.json"
HISTORY, TRAINING_CURVES = "history.json", "training.png"
COST = "cost.json"
# Of a curriculum.
FORGETTING, FORGETTING_MARKDOWN = "forgetting.json", "forgetting.md"
# The saved model itself, and its card.
CONFIG, PREPROCESSOR, CARD = "config.json", "preprocessor_config.json", "README.md"


def fold_folder(run: str | os.PathLike, fold: int) -> Path:
    """Return the folder of one fold of a run over several."""
    return Path(run, f"fold{fold}")


def fold_of(folder: str | os.PathLike) -> int | None:
    """Return the number of the fold that a folder is of; None for any other folder.

    >>> fold_of("runs/ravdess/fold10"), fold_of("runs/folded_wavlm")
    (10, None)
    """
    number = re.fullmatch(r"fold(\d+)", Path(folder).name)
    return int(number[1]) if number else None


def fold_folders(run: str | os.PathLike, file: str) -> list[Path]:
    """Return the folders of a run's folds that have a file of this name, in the order of the folds."""
    folders = [found.parent for found in Path(run).glob(f"fold*/{file}")]
    return sorted((one for one in folders if fold_of(one) is not None), key=fold_of)


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all; text as UTF-8.

    An interrupted run or a full disk leaves the earlier file as it was.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        unfinished.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
