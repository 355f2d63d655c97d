"""Faults of a folder of recordings: `ser-hf doctor` checks every file and changes none.

examine(get_corpus("ravdess"), Path("corpora/ravdess")).faults
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..audio import SILENT_PEAK
from ..corpora import CorpusSpec
from ..sources.folders import SOUND_SUFFIXES, files_below
from ..sources.reading import Translation
from ..sources.spec import read_to_the_end
from . import release
from .faults import KINDS, fault, for_owner, identity, name_below
from .finding import Finding
from .listening import Sound, listen

CONTAINERS = {
    ".wav": ("WAV", "WAVEX", "RF64"), ".flac": ("FLAC",), ".mp3": ("MP3",), ".ogg": ("OGG",), ".oga": ("OGG",),
    ".opus": ("OGG",), ".aif": ("AIFF",), ".aiff": ("AIFF",), ".aifc": ("AIFF",), ".au": ("AU",), ".snd": ("AU",),
    ".w64": ("W64",), ".rf64": ("RF64",), ".caf": ("CAF",), ".voc": ("VOC",), ".sph": ("NIST",),
}  # fmt: skip

SHORTEST_SECONDS = 0.2  # a short syllable; the shortest recording of the acted corpora has half a second
LEAST_SOUND_SECONDS = 0.1  # within 40 dB of the loudest 20 ms; a click is shorter


@dataclass(frozen=True)
class Examination:
    """The findings of the doctor on one folder.

    Attributes:
        corpus, title, license: facts of the corpus.
        root: its folder.
        recordings: number of sound files that were checked.
        hours: duration of all files that could be decoded.
        sampling_rates: number of recordings by sampling rate in Hz.
        faults: sorted by kind in the order of `KINDS`, then errors before warnings, then by file.
    """

    corpus: str
    title: str
    license: str
    root: str
    recordings: int
    hours: float
    sampling_rates: dict[int, int]
    faults: list[Finding] = field(default_factory=list)

    def to_dict(self) -> dict:
        """Return the facts for JSON; `counts` is the number of faults of each kind."""
        return {**asdict(self), "counts": dict(Counter(one.kind for one in self.faults))}


def examine(
    spec: CorpusSpec, root: Path, *, translation: Translation | None = None, progress: bool = False
) -> Examination:
    """Examine every recording and label file under a root. Each file is read and decoded once; none is changed.

    Args:
        spec: the corpus that the folder should hold; if it has several label sources, the first is checked.
        root: its folder, or the table of own recordings.
        translation: what the owner of own recordings says of them.
        progress: True to show a progress bar on stderr.
    """
    reading = read_to_the_end(spec, root, next(iter(spec.label_sources), None), translation)
    root = root.parent if root.is_file() else root
    doubled, covered = release.doubled(reading, root)
    read = reading.files or sorted({utterance.path for utterance in reading.utterances})
    refused = [path for path, _ in reading.refusals if isinstance(path, Path) and os.path.lexists(path)]
    files = [path for path in dict.fromkeys([*read, *refused]) if path not in covered]
    there = _sound_files(root, spec.beside)
    known = {*files, *covered}
    unread = [path for path in there if path not in known]
    sounds = listen([*files, *(path for path in unread if path.suffix.lower() in SOUND_SUFFIXES)], progress)

    faults = [
        *_of_sounds(sounds, root, spec),
        *_of_rates(sounds, root),
        *_of_copies(sounds, root),
        *doubled,
        *release.of_refusals(reading, root, spec, bool(there)),
        *release.of_folders(reading.utterances, root, spec),
        *release.of_known_names(reading.utterances, root, spec),
        *release.of_unread(unread if reading.files or reading.utterances else [], root, spec),
        *release.of_counts(reading, root, spec),
        *release.of_people(reading.utterances, root),
    ]
    if spec.is_own:
        faults = map(for_owner, faults)
    order = list(KINDS)
    decoded = [sound for sound in sounds.values() if sound.fault is None]
    return Examination(
        corpus=spec.name,
        title=spec.title,
        license=spec.license,
        root=str(root),
        recordings=len(sounds),
        hours=round(sum(sound.seconds for sound in decoded) / 3600, 3),
        sampling_rates=dict(sorted(Counter(sound.sampling_rate for sound in decoded).items())),
        faults=sorted(faults, key=lambda one: (order.index(one.kind), one.severity, one.file or "", one.sentence)),
    )


def _sound_files(root: Path, beside: Iterable[str]) -> list[Path]:
    aside = set(files_below(root, *beside))
    wanted = (*SOUND_SUFFIXES, *release.FOREIGN_SUFFIXES)
    return [path for path in files_below(root, "**/*") if path.suffix.lower() in wanted and path not in aside]


def _of_sounds(sounds: dict[Path, Sound], root: Path, spec: CorpusSpec) -> Iterator[Finding]:
    for path, sound in sounds.items():
        known = spec.why_excluded(identity(path, root, spec))
        suffix = f" (known fault: {known}; ser_hf leaves it out)" if known else ""
        for kind, says in _complaints(path, sound):
            yield fault(kind, path, root, says + suffix)


def _complaints(path: Path, sound: Sound) -> Iterator[tuple[str, str]]:
    if sound.fault is not None:
        yield sound.fault
        return
    level = f"peak {20 * np.log10(max(sound.peak, 1e-9)):.0f} dB" if sound.peak else "every sample is 0"
    if sound.peak < SILENT_PEAK:
        yield "silent", f"{sound.seconds:.2f} s of silence ({level})"
    elif sound.cancels:
        yield "opposite-phase", f"its {sound.channels} channels cancel each other: their average is silence"
    elif sound.seconds < SHORTEST_SECONDS:
        yield "near-empty", f"lasts only {sound.seconds:.3f} s"
    elif sound.active_seconds < LEAST_SOUND_SECONDS:
        yield "near-empty", f"only {sound.active_seconds:.2f} s of its {sound.seconds:.2f} s are louder than silence"
    if sound.clipped_runs:
        yield "clipped", f"{sound.clipped_runs} peaks are cut off at full scale"
    if sound.channels > 1 and not sound.cancels:
        yield "stereo", f"{sound.channels} channels, {'all equal' if sound.alike else 'which differ'}"
    if sound.container not in CONTAINERS.get(path.suffix.lower(), ()):
        yield "wrong-container", f"{sound.container} format, but the suffix is {path.suffix}"


def _of_rates(sounds: dict[Path, Sound], root: Path) -> Iterator[Finding]:
    rates = Counter(sound.sampling_rate for sound in sounds.values() if sound.fault is None)
    if len(rates) < 2:
        return
    (usual, count), total = rates.most_common(1)[0], rates.total()
    others = f"the others have {usual} Hz" if len(rates) == 2 else f"{count} of {total} have {usual} Hz"
    for path, sound in sounds.items():
        if sound.fault is None and sound.sampling_rate != usual:
            yield fault("odd-rate", path, root, f"{sound.sampling_rate} Hz, {others}")


def _of_copies(sounds: dict[Path, Sound], root: Path) -> Iterator[Finding]:
    first = {}
    for path in sorted(sounds):
        sound = sounds[path]
        if sound.fault is not None or sound.peak < SILENT_PEAK or sound.cancels:
            continue
        original = first.setdefault(sound.digest, path)
        if original is not path:
            yield fault("duplicate", path, root, f"has the same samples as {name_below(original, root)}")
