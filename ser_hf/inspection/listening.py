"""The content of sound files: decoded in threads, each file once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..audio import AudioError, Recording, sample_hash
from ..audio.recording import name_of

FULL_SCALE = 1 - 2**-14  # the last two steps of 16-bit samples
CANCELLED = 10 ** (-40 / 20)  # what the average of channels in opposite phase leaves of their level, at most
CLIPPED_RUN = 3  # samples in a row; a converter that limits single peaks leaves one, clipped peaks leave many


@dataclass(frozen=True)
class Sound:
    """The content of one file. If it is not a sound file, only `fault` is set.

    Attributes:
        fault: kind of the fault and a sentence about it, if the file cannot be decoded.
        container: as libsndfile calls it, such as "WAV".
        sampling_rate: in Hz.
        alike: True if all channels are equal.
        cancels: True if the average of the channels is (nearly) silence, but not the channels themselves.
        peak: greatest absolute value of any channel; full scale is 1.
        active_seconds: duration of what is within 40 dB of the loudest 20 ms.
        clipped_runs: number of peaks that are cut off at full scale.
        digest: `sample_hash` of the average of the channels.
    """

    fault: tuple[str, str] | None = None
    container: str = ""
    sampling_rate: int = 0
    channels: int = 0
    alike: bool = True
    cancels: bool = False
    seconds: float = 0.0
    peak: float = 0.0
    active_seconds: float = 0.0
    clipped_runs: int = 0
    digest: str = ""


def listen(files: list[Path], progress: bool) -> dict[Path, Sound]:
    """Decode every file, in threads: libsndfile and numpy release Python's lock."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
        found = tqdm(pool.map(_inspect, files), total=len(files), unit="files", disable=not progress, desc="listening")
        return dict(zip(files, found, strict=True))


def _inspect(path: Path) -> Sound:
    try:
        with Recording(path) as recording:
            return _measure(recording)
    except AudioError as error:
        return Sound((error.kind, error.says.removeprefix(f"{name_of(path)} ")))
    except MemoryError:
        return Sound(("undecodable", "does not fit in the memory of this machine"))


def _measure(recording: Recording) -> Sound:
    """Return what the samples of a recording show; of each block only one value per frame is kept."""
    monos, sizes, alike = [], [], True
    for block in recording.blocks():
        monos.append(block.mean(axis=1))
        sizes.append(np.abs(block).max(axis=1))
        alike = alike and bool((block == block[:, :1]).all())
    mono, size, rate = np.concatenate(monos), np.concatenate(sizes), recording.sampling_rate
    return Sound(
        container=recording.container,
        sampling_rate=rate,
        channels=recording.channels,
        alike=alike,
        cancels=bool(np.abs(mono).max() < CANCELLED * size.max()),
        seconds=len(mono) / rate,
        peak=float(size.max()),
        active_seconds=_active_seconds(mono, rate),
        clipped_runs=_runs(size >= FULL_SCALE, CLIPPED_RUN),
        digest=sample_hash({"array": mono, "sampling_rate": rate}),
    )


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
