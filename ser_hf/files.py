"""The files of a run folder, each named once, and writing that leaves the whole file or none."""

from __future__ import annotations

import os
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
