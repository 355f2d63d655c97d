"""The kinds of faults of recordings, with their severity and remedy."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from ..corpora import CorpusSpec
from .finding import Finding

# Kind -> severity and what to do. An error spoils or stops a training; with a warning the recordings are usable.
KINDS = {
    "zero-length": ("error", "fetch it again"),
    "lfs-pointer": ("error", "run `git lfs pull` in its repository"),
    "missing-content": (
        "error",
        "fetch what it stands for: `git annex get` (DataLad: `datalad get`) in its repository",
    ),
    "undecodable": ("error", "fetch it again, or convert it with `ffmpeg -i FILE FILE.wav`"),
    "truncated": ("error", "fetch it again: its end is missing, and most programs do not say so"),
    "silent": ("error", "leave it out: it holds no speech"),
    "near-empty": ("warning", "listen to it; leave it out if it holds no speech"),
    "clipped": ("warning", "take a copy recorded or converted at a lower level, if there is one"),
    "stereo": ("warning", "nothing: ser_hf averages channels; other programs read it as twice as long"),
    "odd-rate": ("warning", "nothing: ser_hf resamples; programs that expect one rate play it too fast or too slow"),
    "wrong-container": ("warning", "rename it: programs that trust the suffix fail, or read noise"),
    "misnamed": ("error", "give it the name and the folder that the release gives it, or move it out"),
    "duplicate": ("warning", "keep both in one part of a split (ser_hf does), or leave one out"),
    "doubled": ("error", "remove the second copy"),
    "missing": ("error", "complete the corpus, or allow a part of it (--allow_partial)"),
    "surplus": ("warning", "move out what the release does not hold"),
    "metadata": ("error", "take label files and recordings of the same release"),
}


def fault(
    kind: str,
    path: Path | str | None,
    root: Path,
    sentence: str,
    *,
    severity: str | None = None,
    remedy: str | None = None,
) -> Finding:
    """Return a finding of one of `KINDS` about a file below the root, a row of a table, or neither."""
    name = name_below(path, root) if isinstance(path, Path) else path
    return Finding(kind, severity or KINDS[kind][0], sentence, remedy=remedy or KINDS[kind][1], file=name)


def name_below(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def identity(path: Path, root: Path, spec: CorpusSpec) -> str:
    """Return the `utterance_id` of a recording."""
    return unicodedata.normalize("NFC", f"{spec.name}/{name_below(path.with_suffix(''), root)}")
