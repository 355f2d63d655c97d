"""`ser-hf predict`: probabilities of emotions for recordings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..audio import AudioError
from ..sources.folders import SOUND_SUFFIXES, files_below

if TYPE_CHECKING:
    from ..inference.classifier import Classifier


def predict_files(
    model: str,
    files: Sequence[Path],
    *,
    speaker: Path | None = None,
    window: float | None = None,
    allow_truncated: bool = False,
    on_error: Callable[[AudioError], None] | None = None,
    trust_remote_code: bool = False,
) -> list[dict]:
    """Classify recordings in the given order.

    Args:
        files: recordings, or folders of recordings.
        speaker: the profile of the person in all recordings, to whom the model adapts.
        window: longest duration in seconds that is scored at once; the scores of a longer recording are averaged.
        allow_truncated: True to say nothing about recordings whose end is missing.
        on_error: called with the error of a recording that cannot be classified, which is left out; default: raise it.

    Returns:
        `{"file", "emotion", "probability", "scores"}` of each recording that can be classified.

    Raises:
        AudioError: for a recording that cannot be classified, without `on_error`, and for a folder without recordings.
        ProfileError: for a profile that cannot be used.
    """
    from ..inference.speakers import Speaker

    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        classifier = _load_quietly(model, trust_remote_code=trust_remote_code)
        recordings = _recordings_of(files)
        answers = (classifier if speaker is None else Speaker.load(speaker, classifier))(
            [str(file) for file in recordings],
            window_seconds=window,
            allow_truncated=allow_truncated,
            on_error=None if on_error is None else lambda _, error: on_error(error),
            progress=len(recordings) > 20,
        )
    rows = []
    for file, scores in zip(recordings, answers, strict=True):
        if scores is not None:
            emotion, probability = next(iter(scores.items()))
            rows.append({"file": str(file), "emotion": emotion, "probability": probability, "scores": scores})
    return rows


def enrol_files(model: str, files: Sequence[Path], folder: Path) -> int:
    """Add recordings to the profile of a speaker, or make one; return the number of recordings that it is made of.

    Raises:
        AudioError: for a recording that cannot be read; the profile is then not changed.
        ModelError: for a model that cannot be adapted.
        ProfileError: for a profile that cannot be used.
    """
    from ..inference.speakers import FACTS, Speaker

    classifier = _load_quietly(model)
    speaker = Speaker.load(folder, classifier) if (folder / FACTS).is_file() else Speaker(classifier)
    speaker.enrol([str(file) for file in _recordings_of(files)])
    speaker.save(folder)
    return len(speaker)


def _load_quietly(model: str, **options: Any) -> Classifier:
    """Load a classifier without progress bars, and without what the libraries remark on its weights."""
    from transformers.utils import logging

    from ..inference.classifier import Classifier

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return Classifier.from_pretrained(model, **options)


def _recordings_of(files: Sequence[Path]) -> list[Path]:
    """Return recordings, with those of folders and below them."""
    return [one for file in files for one in (_recordings_below(file) if file.is_dir() else [file])]


def _recordings_below(folder: Path) -> list[Path]:
    """Return the recordings in a folder and below.

    Raises:
        AudioError: if there are none.
    """
    found = [path for path in files_below(folder, "**/*") if path.suffix.lower() in SOUND_SUFFIXES]
    if not found:
        raise AudioError(f"{folder} has no recordings ({', '.join(SOUND_SUFFIXES)})", "pass files, or another folder")
    return found


def to_table(rows: list[dict]) -> str:
    """Return one line per recording: the most probable emotion, then all probabilities."""
    width = max(len(row["file"]) for row in rows)
    return "\n".join(
        f"{row['file'].ljust(width)}  {row['emotion']:<10} "
        + "  ".join(f"{emotion} {probability:.3f}" for emotion, probability in row["scores"].items())
        for row in rows
    )
