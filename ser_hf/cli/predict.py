"""`ser-hf predict`: probabilities of emotions for recordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def predict_files(model: str, files: Sequence[Path], *, trust_remote_code: bool = False) -> list[dict]:
    """Return `{"file", "emotion", "probability", "scores"}` of each recording, in the given order."""
    for file in files:  # raises for a misspelt name before the model is loaded
        if not file.is_file():
            raise FileNotFoundError(f"there is no file {file}")

    from transformers.utils import logging

    from ..inference.classifier import Classifier

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    classifier = Classifier.from_pretrained(model, trust_remote_code=trust_remote_code)
    rows = []
    for file, scores in zip(files, classifier([str(file) for file in files], progress=len(files) > 20), strict=True):
        emotion, probability = next(iter(scores.items()))
        rows.append({"file": str(file), "emotion": emotion, "probability": probability, "scores": scores})
    return rows


def to_table(rows: list[dict]) -> str:
    """Return one line per recording: the most probable emotion, then all probabilities."""
    width = max(len(row["file"]) for row in rows)
    return "\n".join(
        f"{row['file'].ljust(width)}  {row['emotion']:<10} "
        + "  ".join(f"{emotion} {probability:.3f}" for emotion, probability in row["scores"].items())
        for row in rows
    )
