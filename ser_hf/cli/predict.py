"""`ser-hf predict`: probabilities of emotions for recordings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
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
    computing: Mapping[str, str | None] | None = None,
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
        computing: `device`, `backend` and `dtype`, as in `Classifier.from_pretrained`.
        window: longest duration in seconds that is scored at once; the scores of a longer recording are averaged.
        abstain: as in a `Classifier`: the emotion may be "unknown", whose probability is None.
        allow_truncated: True to say nothing about recordings whose end is missing.

    Returns:
        `{"file", "emotion", "score", "scores", "warning", "error"}` of each recording; if it cannot be scored,
        with an `error` and without `scores`; from a model that estimates values, such as arousal, with `values` in
        place of them.

    Raises:
        AudioError: for a folder or a pattern without recordings.
        ProfileError: for a profile that cannot be used.
        ModelError, ValueError: if the model cannot abstain so.
    """
    from ..inference.answers import as_row
    from ..inference.inputs import recordings
    from ..inference.speakers import Speaker
    from ..models.checkpoint_settings import gives_values

    with warnings.catch_warnings():
        warnings.showwarning = _print_warning
        classifier = _load_quietly(model, trust_remote_code=trust_remote_code, **(computing or {}))
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
    rows = [as_row(file, answer) for file, answer in zip(found, answers, strict=True)]
    return [_of_values(row) for row in rows] if gives_values(classifier.model.config) else rows


def predict_table(
    model: str,
    places: Sequence[str],
    table: Path,
    *,
    computing: Mapping[str, str | None] | None = None,
    window: float | None = None,
    abstain: float | None = None,
    adaptation: str = "none",
    speaker_column: str | None = None,
    engine: str = "local",
    allow_truncated: bool = False,
    trust_remote_code: bool = False,
) -> dict:
    """Classify any number of recordings into a table.

    Args:
        places: as the `files` of `predict_files`; also tables of recordings, as in `Recordings`.
        table: .parquet, .csv or .jsonl; an interrupted run is gone on with.
        computing, window, abstain, allow_truncated: as for `predict_files`.
        adaptation: "online" to score each recording with the help of the earlier ones of the same speaker.
        speaker_column: the column of the tables that says who speaks.
        engine: "local", or "ray" for the workers of a Ray cluster.

    Returns:
        The number of recordings, of `errors` and of `warnings`.

    Raises:
        OptionError: for "ray" if it is not installed.
        AudioError: for a folder or a pattern without recordings.
        CorpusError: for a table that cannot be read.
        BulkError: for a table that cannot be written.
    """
    from ..inference.bulk import Recordings, predict_to_table

    workers = None
    if engine == "ray":
        from ..inference.bulk.on_ray import RayWorkers

        workers = RayWorkers(model, trust_remote_code, dict(computing or {}))
        computing = workers.computing | {"device": "cpu"}
    recordings = Recordings(places, speaker_column)
    with warnings.catch_warnings():
        warnings.showwarning = _print_warning  # those of recordings are in the table
        classifier = _load_quietly(model, trust_remote_code=trust_remote_code, **(computing or {}))
        counts = predict_to_table(
            classifier, recordings, table, adaptation=adaptation, workers=workers, progress=True,
            window_seconds=window, abstain=abstain, allow_truncated=allow_truncated,
        )  # fmt: skip
    return counts._asdict()


def tell_table(table: Path, counts: dict, *, as_json: bool) -> None:
    """Print the numbers of recordings in a table."""
    from .corpora_verbs import to_json

    if as_json:
        print(to_json({"table": str(table), **counts}))
    else:
        print(
            "{}: {recordings} recordings, of which {errors} could not be scored and {warnings} have a warning".format(
                table, **counts
            )
        )


def _of_values(row: dict) -> dict:
    return {"file": row["file"], "values": row["scores"], "warning": row["warning"], "error": row["error"]}


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


def _print_warning(message: Warning | str, *_: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


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

    scored, refused = [row for row in rows if row["error"] is None], [row["error"] for row in rows if row["error"]]
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
