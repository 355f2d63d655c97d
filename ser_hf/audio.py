"""Sound files become mono float32 waveforms here, and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

# A path, the bytes of a sound file, or what a `datasets` audio column holds: {"bytes": ..., "path": ...}, one of
# which may be None, or {"array": ..., "sampling_rate": ...}.
Source = str | os.PathLike | bytes | dict

_LFS_HEADER = b"version https://git-lfs"


class AudioError(ValueError):
    """A recording cannot be read; the message names it and says what to do."""


@dataclass(frozen=True)
class AudioInfo:
    """The facts in the header of a sound file."""

    duration_seconds: float
    sampling_rate: int
    channels: int


def read_audio(source: Source, *, sampling_rate: int = 16_000) -> np.ndarray:
    """Return one recording as a mono waveform. The format is recognised by the content, not by the suffix of the name.

    Args:
        source: a path, the bytes of a sound file, or a value of a `datasets` audio column (see `Source`).
        sampling_rate: of the returned waveform, in Hz.

    Returns:
        float32, shape (samples,), in [-1, 1] except for the slight overshoot of a resampler. Channels are averaged.

    Raises:
        AudioError: if the file is missing, empty, a git-LFS pointer or no sound file, or if samples are not finite.
    """
    waveform, own_rate = _decode(source)
    if own_rate != sampling_rate:
        # HQ is exact to 20 bits, more than 16-bit speech holds; librosa and transformers resample with it too.
        waveform = soxr.resample(waveform, own_rate, sampling_rate, quality="HQ")
        if waveform.size == 0:
            raise AudioError(f"{_name(source)} is too short: it has no sample at {sampling_rate} Hz; remove it")
    return waveform


def audio_info(source: Source) -> AudioInfo:
    """Return duration, rate and channels of a recording, from its header alone.

    Raises:
        AudioError: as `read_audio`, except that samples are not read.
    """
    if _holds_array(source):
        samples, sampling_rate = _array(source)
        info = AudioInfo(samples.size / sampling_rate, sampling_rate, 1)
    else:
        info = _header(source)
    if info.duration_seconds == 0:
        raise AudioError(f"{_name(source)} has no samples: remove it, or fetch it again")
    return info


def sample_hash(source: Source) -> str:
    """Return a hash of the samples, to find one recording under two names.

    BLAKE2b (128 bits) of the sampling rate and the mono samples at that rate, rounded to 16 bits. Lossless copies
    (WAV, FLAC, AIFF, one channel or two equal ones) hash equally; resampled, trimmed or lossy ones do not.

    Returns:
        32 hexadecimal digits.

    Raises:
        AudioError: as `read_audio`.
    """
    waveform, sampling_rate = _decode(source)
    samples = np.clip(np.rint(waveform * 32768), -32768, 32767).astype("<i2")
    return blake2b(samples.tobytes(), digest_size=16, salt=sampling_rate.to_bytes(4, "little")).hexdigest()


def _decode(source: Source) -> tuple[np.ndarray, int]:
    """A recording's mono samples, float32, at its own rate."""
    samples, sampling_rate = _array(source) if _holds_array(source) else _decode_file(source)
    if samples.size == 0:
        raise AudioError(f"{_name(source)} has no samples: remove it, or fetch it again")
    if not np.isfinite(samples).all():
        raise AudioError(f"{_name(source)} has NaN or infinite samples: convert it again from its original")
    return samples.astype(np.float32, copy=False), sampling_rate


def _holds_array(source: Source) -> bool:
    return isinstance(source, dict) and source.get("array") is not None


def _array(source: dict) -> tuple[np.ndarray, int]:
    """Return the samples of an audio dictionary, (samples,) of any float type, and their rate."""
    samples, sampling_rate = np.asarray(source["array"]), source.get("sampling_rate")
    if samples.ndim != 1 or samples.dtype.kind != "f" or sampling_rate is None:
        raise AudioError(
            "an audio array must hold floats in [-1, 1] of shape (samples,), with a sampling_rate, not "
            f"{samples.dtype} of {samples.shape} at {sampling_rate} Hz: average channels, divide int16 by 32768"
        )
    return samples, int(sampling_rate)


def _header(source: Source) -> AudioInfo:
    file = _open(source)
    try:
        with file, soundfile.SoundFile(file) as sound:
            return AudioInfo(sound.frames / sound.samplerate, sound.samplerate, sound.channels)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: soundfile wants no header in a *.raw
        with _open(source) as again:
            raise _not_sound(_name(source), again.read()) from error


def _decode_file(source: Source) -> tuple[np.ndarray, int]:
    with _open(source) as file:
        content = file.read()
    try:
        # From memory: given a name, libsndfile falls back to its suffix (.vox, .gsm), and any file becomes noise.
        samples, sampling_rate = soundfile.read(BytesIO(content), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise _not_sound(_name(source), content) from error
    return samples.mean(axis=1), sampling_rate


def _open(source: Source) -> BinaryIO:
    """The encoded file that a source names or holds."""
    if isinstance(source, dict):
        source = source.get("path") if source.get("bytes") is None else source["bytes"]
        if source is None:
            raise AudioError('an audio dictionary needs "bytes", a "path", or an "array" with its "sampling_rate"')
    return BytesIO(source) if isinstance(source, bytes) else _existing_file(source).open("rb")


def _name(source: Source) -> str:
    """Return the name of a recording for messages."""
    path = source.get("path") if isinstance(source, dict) else source
    return "a recording without a path" if path is None or isinstance(path, bytes) else os.fspath(path)


def _existing_file(path: str | os.PathLike) -> Path:
    path = Path(path)
    if path.is_dir():
        raise AudioError(f"{path} is a folder: pass one sound file")
    if not path.is_file():
        raise AudioError(f"there is no file {path}: check the name, or mount its disk")
    return path


def _not_sound(name: str, content: bytes) -> AudioError:
    if not content:
        return AudioError(f"{name} is empty (0 bytes): fetch it again")
    if content.startswith(_LFS_HEADER):
        return AudioError(f"{name} is a git-LFS pointer, not sound: run `git lfs pull` in its repository")
    return AudioError(
        f"{name} is not a sound file that libsndfile can read (WAV, FLAC, Ogg, MP3, AIFF and others): "
        "fetch it again, or convert it with `ffmpeg -i FILE FILE.wav`"
    )
