"""`ser-hf predict`: probabilities of emotions for recordings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..inference.classifier import Classifier


def predict_files(
    model: str,
    files: Sequence[str],
    *,
    speaker: Path | None = None,
    top_k: int | None = None,
    device: str | None = None,
    window: float | None = None,
    abstain: float | None = None,
    allow_truncated: bool = False,
    trust_remote_code: bool = False,
) -> list[dict]:
    """Classify recordings in the given order.

    Args:
        files: recordings, URLs, patterns such as `clips/**/*.wav`, or folders of recordings.
        speaker: the profile of the person in all recordings, to whom the model adapts.
        top_k: number of answers; default: all.
        device: as in `Classifier.from_pretrained`.
        window: longest duration in seconds that is scored at once; the scores of a longer recording are averaged.
        abstain: as in a `Classifier`: the emotion may be "unknown", whose probability is None.
        allow_truncated: True to say nothing about recordings whose end is missing.

    Returns:
        `{"file", "emotion", "probability", "scores"}` of each recording, or `{"file", "error"}` if it cannot be scored;
        `{"file", "values"}` from a model that estimates values, such as arousal.

    Raises:
        AudioError: for a folder or a pattern without recordings.
        ProfileError: for a profile that cannot be used.
        ModelError, ValueError: if the model cannot abstain so.
    """
    from ..inference.inputs import recordings
    from ..inference.speakers import Speaker
    from ..models.checkpoint_settings import gives_values

    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        classifier = _load_quietly(model, device=device, trust_remote_code=trust_remote_code)
        found = [str(one) for file in files for one in recordings(file)]
        answers = (classifier if speaker is None else Speaker.load(speaker, classifier))(
            found,
            top_k=top_k,
            window_seconds=window,
            abstain=abstain,
            allow_truncated=allow_truncated,
            on_error="report",
            progress=len(found) > 20,
        )
    row = _values if gives_values(classifier.model.config) else _row
    return [row(file, answer) for file, answer in zip(found, answers, strict=True)]


def predict_table(
    model: str,
    files: Sequence[str],
    table: Path,
    *,
    device: str | None = None,
    window: float | None = None,
    abstain: float | None = None,
    trust_remote_code: bool = False,
) -> str:
    """Classify any number of recordings into a table; return a line on how many there are.

    Args:
        files: as for `predict_files`; also tables of a dataset (.parquet) with a column `audio`.
        table: .parquet, .csv or .jsonl; an interrupted run is gone on with.
        device, window, abstain: as for `predict_files`.

    Raises:
        AudioError: for a folder or a pattern without recordings.
        BulkError: for a table that cannot be written.
    """
    from ..inference.bulk import predict_to_table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a long list nobody reads them
        classifier = _load_quietly(model, device=device, trust_remote_code=trust_remote_code)
        found = (named for file in files for named in _named(file))
        count, failed = predict_to_table(
            classifier, found, table, progress=True, window_seconds=window, abstain=abstain
        )
    return f"{table}: {count} recordings, of which {failed} could not be scored"


def _named(file: str) -> Iterator[tuple[str, Any]]:
    """Yield recordings with their names."""
    from ..inference.inputs import recordings

    if not file.lower().endswith(".parquet"):
        yield from ((str(one), one) for one in recordings(file))
        return
    from pyarrow.parquet import ParquetFile

    number = 0
    for batch in ParquetFile(file).iter_batches(64, columns=["audio"]):
        for row in batch.to_pylist():
            number += 1
            yield row["audio"].get("path") or f"{file}, row {number}", row["audio"]


def _row(file: str, answer: list[dict]) -> dict:
    best = answer[0]
    if best["label"] is None:
        return {"file": file, "error": best["error"]}
    scores = {entry["label"]: entry["score"] for entry in answer if entry["score"] is not None}
    return {"file": file, "emotion": best["label"], "probability": best["score"], "scores": scores}


def _values(file: str, answer: list[dict]) -> dict:
    if answer[0]["label"] is None:
        return {"file": file, "error": answer[0]["error"]}
    return {"file": file, "values": {entry["label"]: entry["score"] for entry in answer}}


def enrol_files(model: str, files: Sequence[str], folder: Path) -> int:
    """Add recordings to the profile of a speaker, or make one; return the number of recordings that it is made of.

    Raises:
        AudioError: for a recording that cannot be read; the profile is then not changed.
        ModelError: for a model that cannot be adapted.
        ProfileError: for a profile that cannot be used.
    """
    from ..inference.inputs import recordings

    classifier = _load_quietly(model)
    speaker = classifier.speaker(folder)
    speaker.enrol([one for file in files for one in recordings(file)])
    speaker.save(folder)
    return speaker.recordings


def _load_quietly(model: str, **options: Any) -> Classifier:
    """Load a classifier without progress bars, and without what the libraries remark on its weights."""
    from transformers.utils import logging

    from ..inference.classifier import Classifier

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return Classifier.from_pretrained(model, **options)


def tell(rows: list[dict], *, as_json: bool) -> int:
    """Print answers, and on stderr why others cannot be given; return 1 if there is such a recording, else 0."""
    from .corpora_verbs import to_json

    scored, refused = [row for row in rows if "error" not in row], [row["error"] for row in rows if "error" in row]
    if as_json or scored:
        print(to_json(scored) if as_json else to_table(scored))
    for reason in refused:
        print(f"ser-hf: {reason}", file=sys.stderr)
    return int(bool(refused))


def to_table(rows: list[dict]) -> str:
    """Return one line per recording that was scored: the most probable emotion and all probabilities, or all values."""
    width = max(len(row["file"]) for row in rows)
    return "\n".join(
        f"{row['file'].ljust(width)}  {'' if 'values' in row else row['emotion'].ljust(10) + ' '}"
        + "  ".join(f"{label} {score:.3f}" for label, score in (row.get("values") or row["scores"]).items())
        for row in rows
    )
