"""The kinds of faults of recordings, with their severity and remedy."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

from ..corpora import CorpusSpec
from .finding import Finding

# Kind -> severity and remedy. An error spoils or stops a training; with a warning the recordings are usable.
KINDS = {
    "zero-length": ("error", "fetch it again"),
    "lfs-pointer": ("error", "run `git lfs pull` in its repository"),
    "missing-content": (
        "error",
        "fetch its content: run `git annex get` (DataLad: `datalad get`) in its repository",
    ),
    "undecodable": ("error", "fetch it again, or convert it with `ffmpeg -i FILE FILE.wav`"),
    "truncated": ("error", "fetch it again: its end is missing, and most programs do not report this"),
    "silent": ("error", "leave it out: it holds no speech"),
    "opposite-phase": (
        "error",
        "keep one channel: `ffmpeg -i FILE -af 'pan=mono|c0=c0' OUT.wav`; ser_hf and most programs average all",
    ),
    "near-empty": ("warning", "listen to it; leave it out if it holds no speech"),
    "clipped": ("warning", "use a copy recorded or converted at a lower level, if there is one"),
    "stereo": ("warning", "nothing to do: ser_hf averages channels; some programs read it as twice as long"),
    "odd-rate": ("warning", "nothing to do: ser_hf resamples; some programs play it too fast or too slow"),
    "wrong-container": ("warning", "rename it: programs that rely on the suffix fail, or read noise"),
    "misnamed": ("error", "use the name and the folder of the release, or move it out"),
    "duplicate": ("warning", "keep both in the same part of a split (ser_hf does), or leave one out"),
    "doubled": ("error", "remove the second copy"),
    "missing": ("error", "complete the corpus, or use a part of it with --allow_partial"),
    "surplus": ("warning", "move it out: it is not in the release"),
    "metadata": ("error", "use label files and recordings of the same release"),
}

# Advice on own recordings, which are no release.
OWN_REMEDIES = {
    "misnamed": "name the folder after an emotion (or translate it with --labels), or move it out",
    "missing": "pass the folder that holds your table, or one sub-folder per emotion",
    "surplus": "add it to your table or to the folder of its emotion, or move it out",
    "metadata": "correct your table",
}


def for_owner(found: Finding) -> Finding:
    """Return a finding with the advice for own recordings, if it has the usual one."""
    usual = found.remedy == KINDS[found.kind][1]
    return replace(found, remedy=OWN_REMEDIES.get(found.kind, found.remedy)) if usual else found


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
