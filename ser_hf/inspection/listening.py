"""The content of sound files: decoded in threads, each file once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import unpack
from typing import BinaryIO

import numpy as np
import soundfile
from tqdm import tqdm

from ..audio import sample_hash

FULL_SCALE = 1 - 2**-14  # the last two steps of 16-bit samples
CLIPPED_RUN = 3  # samples in a row; a converter that limits single peaks leaves one, clipped peaks leave many
MP3_SLACK_SECONDS = 0.25  # libsndfile estimates the length of an MP3 file if the header does not give it
FLAC_BLOCK = 4096  # samples; the usual size


@dataclass(frozen=True)
class Sound:
    """The content of one file. If it is not a sound file, only `fault` is set."""

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


def listen(files: list[Path], progress: bool) -> dict[Path, Sound]:
    """Decode every file, in threads: libsndfile and numpy release Python's lock."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
        found = tqdm(pool.map(_inspect, files), total=len(files), unit="files", disable=not progress, desc="listening")
        return dict(zip(files, found, strict=True))


def _inspect(path: Path) -> Sound:
    try:
        return _decode_content(path)
    except OSError as error:  # of this file alone: a folder called x.wav, no permission, a disk that fails
        if path.is_symlink() and not path.exists():
            return Sound(("missing-content", f"is a link to {path.readlink()}, which does not exist"))
        return Sound(("undecodable", f"cannot be opened ({error.strerror or error})"))


def _decode_content(path: Path) -> Sound:
    with path.open("rb") as file:
        content = file.read()
        if not content:
            return Sound(("zero-length", "the file has 0 bytes"))
        if content.startswith(b"version https://git-lfs"):
            return Sound(("lfs-pointer", "is a git-LFS pointer, not the recording"))
        if content.startswith((b"/annex/objects/", b"\\annex\\objects\\")):
            return Sound(("missing-content", "is a git-annex pointer, not the recording"))
        promised, present = _sample_bytes(content)
        if present < promised:
            says = f"has only {present:,} of the {promised:,} bytes of samples that its header announces"
            return Sound(("truncated", says))
        try:
            # Opened by file descriptor: from memory, libsndfile calls Python for every piece, and threads wait for each
            # other; by name, libsndfile may rely on the suffix.
            with _open(file) as sound:
                container, rate, frames = sound.format, sound.samplerate, sound.frames
                samples = _decode(sound, file)
        except (soundfile.SoundFileError, TypeError):
            return Sound(("undecodable", f"libsndfile cannot decode its {len(content):,} bytes, or not all of them"))
    if len(samples) < frames - (MP3_SLACK_SECONDS * rate if container == "MP3" else 0):
        return Sound(
            (
                "truncated",
                f"has only {len(samples) / rate:.1f} of the {frames / rate:.1f} s that its header announces",
            )
        )
    if len(samples) == 0:
        return Sound(("zero-length", "has a header but no samples"))
    if not np.isfinite(samples).all():
        return Sound(("undecodable", "has NaN or infinite samples"))
    mono = samples.mean(axis=1)
    size = np.abs(samples).max(axis=1)
    return Sound(
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
    """Return the samples, (frames, channels); for a truncated FLAC file, those of its whole blocks.

    Raises:
        soundfile.SoundFileError: for a file that is damaged, not truncated.
    """
    try:
        return sound.read(dtype="float32", always_2d=True)
    except soundfile.SoundFileError:
        if sound.format != "FLAC" or _ends_well(file):
            raise
    blocks = [np.zeros((0, sound.channels), np.float32)]
    # libsndfile ends in an error and does not return the samples before it.
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
    """Return the bytes of samples announced by the header of a WAV or AIFF file, and those present; (0, 0) for others.

    libsndfile reads a truncated file without an error. Programs that write to a pipe announce 0 or 2^32 - 1.
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
    """Return the total duration of all 20 ms pieces within 40 dB of the loudest piece, in seconds."""
    piece = max(1, round(0.02 * rate))
    power = np.square(np.pad(mono, (0, -len(mono) % piece)).reshape(-1, piece)).mean(axis=1)
    return float(np.count_nonzero(power >= power.max() * 1e-4) * 0.02) if power.max() > 0 else 0.0


def _runs(marked: np.ndarray, least: int) -> int:
    """Count the runs of at least `least` marked samples."""
    if not marked.any():
        return 0
    edges = np.flatnonzero(np.diff(np.r_[False, marked, False]))
    return int(np.count_nonzero(edges[1::2] - edges[::2] >= least))
