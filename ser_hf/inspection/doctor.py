"""What is wrong with a folder of recordings: `ser-hf doctor` looks at every file and changes none.

examine(get_corpus("ravdess"), Path("corpora/ravdess")).faults
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from struct import unpack
from typing import BinaryIO

import numpy as np
import soundfile
from tqdm import tqdm

from ..audio import sample_hash
from ..corpora import CorpusError, CorpusSpec, Utterance
from ..corpora.folder import SYNONYMS
from ..emotions import EMOTIONS
from ..sources.spec import AUDIO_SUFFIXES, SOUND_SUFFIXES, Reading, UnlabelledError, read_to_the_end, unrecorded

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
    "odd-rate": ("warning", "nothing: ser_hf resamples; programs that expect one rate hear it too fast or too slow"),
    "wrong-container": ("warning", "rename it: programs that trust the suffix fail, or read noise"),
    "misnamed": ("error", "give it the name and the folder that the release gives it, or move it out"),
    "duplicate": ("warning", "keep both in one part of a split (ser_hf does), or leave one out"),
    "doubled": ("error", "remove the second copy"),
    "missing": ("error", "complete the corpus, or allow a part of it (--allow_partial)"),
    "surplus": ("warning", "move out what the release does not hold"),
    "metadata": ("error", "take label files and recordings of the same release"),
}
# Of sound that libsndfile does not decode.
FOREIGN_SUFFIXES = (".m4a", ".aac", ".wma", ".amr", ".3gp", ".ac3", ".ape", ".wv")
CONTAINERS = {
    ".wav": ("WAV", "WAVEX", "RF64"), ".flac": ("FLAC",), ".mp3": ("MP3",), ".ogg": ("OGG",), ".oga": ("OGG",),
    ".opus": ("OGG",), ".aif": ("AIFF",), ".aiff": ("AIFF",), ".au": ("AU",), ".w64": ("W64",),
}  # fmt: skip

SILENT_PEAK = 10 ** (-60 / 20)  # RAVDESS's softest recording peaks at -47 dB relative to full scale
SHORTEST_SECONDS = 0.2  # a short syllable; the shortest recording of the acted corpora has half a second
LEAST_SOUND_SECONDS = 0.1  # that is within 40 dB of the loudest: a click is less
FULL_SCALE = 1 - 2**-14  # of 16-bit samples the last two steps
CLIPPED_RUN = 3  # samples in a row; a converter that limits single peaks leaves one, flattened crests leave many
MP3_SLACK_SECONDS = 0.25  # libsndfile estimates the length of an MP3 file whose header does not tell
FLAC_BLOCK = 4096  # samples; the usual size
HABIT = 0.8  # share of recordings whose folder names their speaker or emotion, from which on the others lie wrong


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, with its evidence.

    Attributes:
        kind: one of `KINDS`.
        severity: "error" or "warning".
        file: relative to the root, with slashes; None where it is no single file's fault.
        says: one sentence with the value that was found.
        remedy: what to do.
    """

    kind: str
    severity: str
    file: str | None
    says: str
    remedy: str


@dataclass(frozen=True)
class Examination:
    """What the doctor found.

    Attributes:
        corpus, title, license: of the corpus.
        root: its folder.
        recordings: number of sound files that were looked at.
        hours: of sound in those that could be decoded.
        sampling_rates: number of recordings by sampling rate in Hz.
        faults: by kind in the order of `KINDS`, errors before warnings, then by file.
    """

    corpus: str
    title: str
    license: str
    root: str
    recordings: int
    hours: float
    sampling_rates: dict[int, int]
    faults: list[Fault] = field(default_factory=list)

    def to_dict(self) -> dict:
        """As JSON holds it; `counts` has the number of faults of each kind that was found."""
        return {**asdict(self), "counts": dict(Counter(fault.kind for fault in self.faults))}


@dataclass(frozen=True)
class _Sound:
    """What one file holds; `fault` is set, and the rest is not, where it is no sound."""

    fault: tuple[str, str] | None = None
    container: str = ""
    sampling_rate: int = 0
    channels: int = 0
    alike: bool = True
    seconds: float = 0.0
    peak: float = 0.0
    active_seconds: float = 0.0
    clipped_runs: int = 0
    fingerprint: str = ""


def examine(spec: CorpusSpec, root: Path, *, progress: bool = False) -> Examination:
    """Looks at every recording and label file under a root. Each file is read and decoded once; none is changed.

    Args:
        spec: the corpus that the folder should be; where it has several label sources, the first is compared.
        root: its folder.
        progress: shows a bar on stderr.
    """
    reading = read_to_the_end(_patient(spec), root, next(iter(spec.label_sources), None))
    doubled, covered = _doubled(reading, root)
    given = reading.files or sorted({utterance.path for utterance in reading.utterances})
    there = _sound_files(root, spec.beside)
    given = [*given, *(path for path, _ in reading.refusals if isinstance(path, Path) and os.path.lexists(path))]
    given = list(dict.fromkeys(path for path in given if path not in covered))
    told_of = {*given, *covered}
    unread = [path for path in there if path not in told_of]
    sounds = _listen([*given, *(path for path in unread if path.suffix.lower() in SOUND_SUFFIXES)], progress)

    faults = [
        *_of_sounds(sounds, root, spec),
        *_of_rates(sounds, root),
        *_of_copies(sounds, root),
        *doubled,
        *_of_refusals(reading, root, spec, bool(there)),
        *_of_folders(reading.utterances, root, spec),
        *_of_known_names(reading.utterances, root, spec),
        *_of_unread(unread if reading.files or reading.utterances else [], root, spec),
        *_of_counts(reading, root, spec),
        *_of_people(reading.utterances, root),
    ]
    order = list(KINDS)
    heard = [sound for sound in sounds.values() if sound.fault is None]
    return Examination(
        corpus=spec.name,
        title=spec.title,
        license=spec.license,
        root=str(root),
        recordings=len(sounds),
        hours=round(sum(sound.seconds for sound in heard) / 3600, 3),
        sampling_rates=dict(sorted(Counter(sound.sampling_rate for sound in heard).items())),
        faults=sorted(
            faults, key=lambda fault: (order.index(fault.kind), fault.severity, fault.file or "", fault.says)
        ),
    )


def _patient(spec: CorpusSpec) -> CorpusSpec:
    """The corpus with a reader that refuses what the disk refuses, so that the rest is examined."""

    def read(*arguments) -> Iterator[Utterance]:
        try:
            yield from spec.read(*arguments)
        except OSError as error:
            raise CorpusError(f"{error.filename} cannot be read ({error.strerror}): fetch it again") from error

    return replace(spec, read=read)


def _fault(
    kind: str,
    path: Path | str | None,
    root: Path,
    says: str,
    *,
    severity: str | None = None,
    remedy: str | None = None,
) -> Fault:
    name = _name(path, root) if isinstance(path, Path) else path
    return Fault(kind, severity or KINDS[kind][0], name, says, remedy or KINDS[kind][1])


def _name(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _sound_files(root: Path, beside: Iterable[str]) -> list[Path]:
    aside = {path for pattern in beside for path in root.glob(pattern)}
    wanted = (*SOUND_SUFFIXES, *FOREIGN_SUFFIXES)
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in wanted and path not in aside)


# --- what a file holds ---


def _listen(files: list[Path], progress: bool) -> dict[Path, _Sound]:
    """Every file, decoded in threads: libsndfile and numpy work outside Python's lock."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
        heard = tqdm(pool.map(_hear, files), total=len(files), unit="files", disable=not progress, desc="listening")
        return dict(zip(files, heard, strict=True))


def _hear(path: Path) -> _Sound:
    try:
        return _hear_content(path)
    except OSError as error:  # of this file alone: a folder called x.wav, no permission, a disk that fails
        if path.is_symlink() and not path.exists():
            return _Sound(("missing-content", f"is a link to {path.readlink()}, where nothing is"))
        return _Sound(("undecodable", f"cannot be opened ({error.strerror or error})"))


def _hear_content(path: Path) -> _Sound:
    with path.open("rb") as file:
        content = file.read()
        if not content:
            return _Sound(("zero-length", "the file has 0 bytes"))
        if content.startswith(b"version https://git-lfs"):
            return _Sound(("lfs-pointer", "a git-LFS pointer stands in place of the recording"))
        if content.startswith((b"/annex/objects/", b"\\annex\\objects\\")):
            return _Sound(("missing-content", "a git-annex pointer stands in place of the recording"))
        promised, present = _sample_bytes(content)
        if present < promised:
            says = f"holds {present:,} of the {promised:,} bytes of samples that its header promises"
            return _Sound(("truncated", says))
        try:
            # By its number: from memory, libsndfile asks Python for every piece, and threads wait for each other; by
            # its name, libsndfile may go by the suffix.
            with _open(file) as sound:
                container, rate, frames = sound.format, sound.samplerate, sound.frames
                samples = _decode(sound, file)
        except (soundfile.SoundFileError, TypeError):
            return _Sound(("undecodable", f"libsndfile reads no sound in its {len(content):,} bytes, or not all of it"))
    if len(samples) < frames - (MP3_SLACK_SECONDS * rate if container == "MP3" else 0):
        return _Sound(
            (
                "truncated",
                f"decodes to some {len(samples) / rate:.1f} of the {frames / rate:.1f} s that its header promises",
            )
        )
    if len(samples) == 0:
        return _Sound(("zero-length", "has a header but no samples"))
    if not np.isfinite(samples).all():
        return _Sound(("undecodable", "holds NaN or infinite samples"))
    mono = samples.mean(axis=1)
    size = np.abs(samples).max(axis=1)
    return _Sound(
        container=container,
        sampling_rate=rate,
        channels=samples.shape[1],
        alike=bool((samples == samples[:, :1]).all()),
        seconds=len(mono) / rate,
        peak=float(size.max()),
        active_seconds=_active_seconds(mono, rate),
        clipped_runs=_runs(size >= FULL_SCALE, CLIPPED_RUN),
        fingerprint=sample_hash({"array": mono, "sampling_rate": rate}),
    )


def _open(file: BinaryIO) -> soundfile.SoundFile:
    file.seek(0)
    return soundfile.SoundFile(file.fileno(), closefd=False)


def _decode(sound: soundfile.SoundFile, file: BinaryIO) -> np.ndarray:
    """The samples, (frames, channels); of a FLAC file that is cut off, those before its end, in whole blocks.

    Raises:
        soundfile.SoundFileError: for a file that is damaged, not cut off.
    """
    try:
        return sound.read(dtype="float32", always_2d=True)
    except soundfile.SoundFileError:
        if sound.format != "FLAC" or _ends_well(file):
            raise
    blocks = [np.zeros((0, sound.channels), np.float32)]
    # libsndfile ends in an error, and does not say what came before it.
    with _open(file) as again, suppress(soundfile.SoundFileError):
        blocks.extend(again.blocks(FLAC_BLOCK, dtype="float32", always_2d=True))
    return np.concatenate(blocks)


def _ends_well(file: BinaryIO) -> bool:
    try:
        with _open(file) as sound:
            sound.seek(max(0, sound.frames - 1))
            return len(sound.read(1)) == 1
    except soundfile.SoundFileError:
        return False


def _sample_bytes(content: bytes) -> tuple[int, int]:
    """Bytes of samples that the header of a WAV or AIFF file promises, and bytes that follow; (0, 0) for others.

    libsndfile reads what is there and says nothing. Programs that write to a pipe promise 0 or 2^32 - 1.
    """
    kind, form = content[:4], content[8:12]
    order = {b"RIFF": "<", b"RIFX": ">", b"FORM": ">"}.get(kind)
    if order is None or form not in (b"WAVE", b"AIFF", b"AIFC"):
        return 0, 0
    at = 12
    while at + 8 <= len(content):
        name, (size,) = content[at : at + 4], unpack(order + "I", content[at + 4 : at + 8])
        if name in (b"data", b"SSND"):
            left = len(content) - at - 8
            return (0, 0) if size in (0, 2**32 - 1) else (size, min(size, left))
        at += 8 + size + size % 2
    return 0, 0


def _active_seconds(mono: np.ndarray, rate: int) -> float:
    """Time in 20 ms pieces within 40 dB of the loudest piece."""
    piece = max(1, round(0.02 * rate))
    power = np.square(np.pad(mono, (0, -len(mono) % piece)).reshape(-1, piece)).mean(axis=1)
    return float(np.count_nonzero(power >= power.max() * 1e-4) * 0.02) if power.max() > 0 else 0.0


def _runs(marked: np.ndarray, least: int) -> int:
    """How often at least so many samples in a row are marked."""
    if not marked.any():
        return 0
    edges = np.flatnonzero(np.diff(np.r_[False, marked, False]))
    return int(np.count_nonzero(edges[1::2] - edges[::2] >= least))


def _of_sounds(sounds: dict[Path, _Sound], root: Path, spec: CorpusSpec) -> Iterator[Fault]:
    for path, sound in sounds.items():
        known = spec.excluded.get(_identity(path, root, spec))
        suffix = f" (known: {known}; ser_hf leaves it out)" if known else ""
        for kind, says in _complaints(path, sound):
            yield _fault(kind, path, root, says + suffix)


def _complaints(path: Path, sound: _Sound) -> Iterator[tuple[str, str]]:
    if sound.fault is not None:
        yield sound.fault
        return
    level = f"peak {20 * np.log10(max(sound.peak, 1e-9)):.0f} dB" if sound.peak else "every sample is 0"
    if sound.peak < SILENT_PEAK:
        yield "silent", f"{sound.seconds:.2f} s of silence ({level})"
    elif sound.seconds < SHORTEST_SECONDS:
        yield "near-empty", f"lasts {sound.seconds:.3f} s"
    elif sound.active_seconds < LEAST_SOUND_SECONDS:
        yield "near-empty", f"{sound.active_seconds:.2f} s of its {sound.seconds:.2f} s are louder than silence"
    if sound.clipped_runs:
        yield "clipped", f"{sound.clipped_runs} crests are cut flat at full scale"
    if sound.channels > 1:
        yield "stereo", f"{sound.channels} channels, {'all alike' if sound.alike else 'which differ'}"
    if sound.container not in CONTAINERS.get(path.suffix.lower(), ()):
        yield "wrong-container", f"{sound.container} in a {path.suffix} name"


def _of_rates(sounds: dict[Path, _Sound], root: Path) -> Iterator[Fault]:
    rates = Counter(sound.sampling_rate for sound in sounds.values() if sound.fault is None)
    if len(rates) < 2:
        return
    (usual, count), total = rates.most_common(1)[0], rates.total()
    others = f"the others {usual} Hz" if len(rates) == 2 else f"{count} of {total} have {usual} Hz"
    for path, sound in sounds.items():
        if sound.fault is None and sound.sampling_rate != usual:
            yield _fault("odd-rate", path, root, f"{sound.sampling_rate} Hz, {others}")


def _of_copies(sounds: dict[Path, _Sound], root: Path) -> Iterator[Fault]:
    first = {}
    for path in sorted(sounds):
        sound = sounds[path]
        if sound.fault is not None or sound.peak < SILENT_PEAK:
            continue
        original = first.setdefault(sound.fingerprint, path)
        if original is not path:
            yield _fault("duplicate", path, root, f"holds the same samples as {_name(original, root)}")


# --- where it lies and what it is called ---


def _doubled(reading: Reading, root: Path) -> tuple[list[Fault], set[Path]]:
    """A second tree, second copies in another layout or suffix; and the files that are told of with them."""
    if not reading.files:
        return [], set()
    faults, covered, chosen = [], set(), set(reading.files)
    names = {path.stem: path for path in reading.files}
    pattern = max(reading.layouts, key=lambda layout: len(reading.layouts[layout]))
    for layout, files in reading.layouts.items():
        for path in set(files) - chosen:
            twin = names.get(path.stem)
            if twin is not None:
                covered.add(path)
                other = _name(twin, root)
                faults.append(_fault("doubled", path, root, f"is there a second time, beside {other}"))
            elif layout != pattern:
                covered.add(path)
                says = f"lies like {layout}, the others like {pattern}: the reader refuses both together"
                faults.append(_fault("surplus", path, root, says, severity="error"))
    for child in sorted(path for path in root.iterdir() if path.is_dir()):
        again = {path for suffix in AUDIO_SUFFIXES for path in child.glob(pattern + suffix)} - chosen
        if again:
            covered |= again
            faults.append(_fault("doubled", child, root, f"holds the tree again, with {len(again)} recordings"))
    return faults, covered


def _of_refusals(reading: Reading, root: Path, spec: CorpusSpec, any_sound: bool) -> Iterator[Fault]:
    for item, error in reading.refusals:
        says = str(error).replace(f"{root}{os.sep}", "")
        if isinstance(item, Path):
            yield _fault("metadata" if isinstance(error, UnlabelledError) else "misnamed", item, root, says)
        elif item is not None:
            yield _fault("metadata", item, root, says)
        elif not reading.files and not reading.utterances:
            yield _fault("missing" if reading.layouts or not any_sound else "metadata", None, root, says)
        elif spec.utterances is not None and len(reading.files) > spec.utterances:
            yield _fault("surplus", None, root, says, severity="error")
        elif spec.tables is None or not reading.utterances:
            yield _fault("metadata", None, root, says)  # else the rows themselves are compared below


def _of_folders(utterances: list[Utterance], root: Path, spec: CorpusSpec) -> Iterator[Fault]:
    """Recordings in a folder named after another speaker or emotion than their own name says."""
    speakers = {speaker.lower(): speaker for speaker in spec.speakers}
    words = SYNONYMS | {emotion: emotion for emotion in EMOTIONS if emotion != "other"}
    for fact, names in (("speaker", speakers), ("emotion", words)):
        told = []
        for utterance in utterances:
            if not utterance.path.is_relative_to(root):
                continue
            folders = utterance.path.relative_to(root).parts[:-1]
            tokens = [token for folder in folders for token in re.split(r"[\W_]+", folder.lower())]
            found = {names[token] for token in tokens if token in names}
            if len(found) == 1:
                told.append((utterance, found.pop()))
        right = sum(getattr(utterance, fact) == wanted for utterance, wanted in told)
        if told and right >= HABIT * len(told):
            for utterance, wanted in told:
                if getattr(utterance, fact) != wanted:
                    says = f"lies with {fact} {wanted}, its name says {getattr(utterance, fact)}"
                    yield _fault("misnamed", utterance.path, root, says)


def _of_known_names(utterances: list[Utterance], root: Path, spec: CorpusSpec) -> Iterator[Fault]:
    for utterance in utterances:
        if wanted := spec.misnamed.get(utterance.path.stem):
            says = f"is called so in the release itself; like the others it would be {wanted}"
            remedy = "nothing: ser_hf knows it; programs that expect one pattern lose it"
            yield _fault("misnamed", utterance.path, root, says, severity="warning", remedy=remedy)


def _of_unread(unread: list[Path], root: Path, spec: CorpusSpec) -> Iterator[Fault]:
    suffixes = SOUND_SUFFIXES if spec.name == "folder" else AUDIO_SUFFIXES
    for path in unread:
        suffix = path.suffix.lower() if spec.name == "folder" else path.suffix
        if suffix not in suffixes:
            listed = f"{', '.join(suffixes[:-1])} and {suffixes[-1]}"
            says = f"is not read: its suffix is {path.suffix}, readers look for {listed}"
            remedy = "convert it with `ffmpeg -i FILE FILE.wav` if it is a recording, else move it out"
            yield _fault("surplus", path, root, says, remedy=remedy if suffix.lower() in FOREIGN_SUFFIXES else None)
        else:
            yield _fault("surplus", path, root, f"is not read: {spec.name} has no recordings in this place")


# --- what the release and its tables say ---


def _of_counts(reading: Reading, root: Path, spec: CorpusSpec) -> list[Fault]:
    """Missing and surplus recordings, by speaker where the release's sizes are known, by table where it has one."""
    utterances = reading.utterances
    if not utterances and not reading.files:
        return []
    counts = Counter(utterance.speaker for utterance in utterances)
    faults, short = [], set()
    for speaker, size in spec.speakers.items():
        found = counts[speaker]
        if found == 0 or (size is not None and found < size):
            short.add(speaker)
            wanted = "" if size is None else f" of {size}"
            lacking = _lacking(utterances, speaker, spec)
            says = f"speaker {speaker}: {found}{wanted} recordings are there{lacking}"
            faults.append(_fault("missing", None, root, says))
        elif size is not None and found > size:
            faults.append(
                _fault("surplus", None, root, f"speaker {speaker}: {found} recordings, the release has {size}")
            )
    if spec.speakers:
        for stranger in sorted(counts.keys() - spec.speakers.keys() - {None}):
            faults.append(_fault("surplus", None, root, f"speaker {stranger} is not in the release"))
    faults += _of_tables(utterances, root, spec, short)
    for stem in unrecorded(spec, root):
        faults.append(_fault("missing", stem, root, "stands in the table, but there is no such recording"))
    missing = any(fault.kind == "missing" for fault in faults)
    if spec.utterances is not None and not missing:
        kept = sum(_identity(utterance.path, root, spec) not in spec.excluded for utterance in utterances)
        if kept < spec.utterances - len(spec.excluded):
            faults.append(_fault("missing", None, root, f"found {len(utterances)} of {spec.utterances} recordings"))
    return faults


def _lacking(utterances: list[Utterance], speaker: str, spec: CorpusSpec) -> str:
    """Of which emotions a speaker has too few, where all complete speakers have equally many of each."""
    by_speaker = defaultdict(Counter)
    for utterance in utterances:
        by_speaker[utterance.speaker][utterance.emotion] += 1
    complete = [emotions for name, emotions in by_speaker.items() if spec.speakers.get(name) == emotions.total()]
    if speaker not in by_speaker or not complete or any(emotions != complete[0] for emotions in complete):
        return ""
    lost = complete[0] - by_speaker[speaker]
    return f" (lacks {', '.join(f'{count} of {emotion}' for emotion, count in sorted(lost.items()))})" if lost else ""


def _of_tables(utterances: list[Utterance], root: Path, spec: CorpusSpec, short: set[str]) -> Iterator[Fault]:
    try:
        rows = {} if spec.tables is None else spec.tables(root)
    except CorpusError as error:  # a table that the reader has no need of: it refuses the others itself
        yield _fault("metadata", None, root, str(error).replace(f"{root}{os.sep}", ""))
        return
    for utterance in utterances if rows else ():
        row = rows.get(_right_name(utterance, spec))
        if row is None:
            yield _fault("metadata", utterance.path, root, "stands in no row of the release's tables")
            continue
        for fact, value in row.items():
            if getattr(utterance, fact) != value:
                says = f"its name says {fact} {getattr(utterance, fact)}, the table {value}"
                yield _fault("metadata", utterance.path, root, says)
    stems = {_right_name(utterance, spec) for utterance in utterances}
    for stem, row in rows.items():
        if stem not in stems and row.get("speaker") not in short:
            yield _fault("missing", stem, root, "stands in the table, but there is no such recording")


def _right_name(utterance: Utterance, spec: CorpusSpec) -> str:
    return spec.misnamed.get(utterance.path.stem, utterance.path.stem)


def _of_people(utterances: list[Utterance], root: Path) -> Iterator[Fault]:
    """A speaker who is a woman in one row and a man in another, or of two ages."""
    for fact in ("gender", "age"):
        told = defaultdict(Counter)
        for utterance in utterances:
            if utterance.speaker is not None and getattr(utterance, fact) is not None:
                told[utterance.speaker][getattr(utterance, fact)] += 1
        for speaker, values in sorted(told.items()):
            if len(values) > 1:
                words = ", ".join(f"{value} in {count}" for value, count in values.most_common())
                yield _fault("metadata", None, root, f"speaker {speaker} has more than one {fact}: {words} recordings")


def _identity(path: Path, root: Path, spec: CorpusSpec) -> str:
    return unicodedata.normalize("NFC", f"{spec.name}/{_name(path.with_suffix(''), root)}")
