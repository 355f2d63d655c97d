"""Sound files become mono float32 waveforms here, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil

import numpy as np
import soxr

from .recording import (
    LOUDEST,
    SAMPLING_RATES,
    SILENT_PEAK,
    AudioError,
    Recording,
    Source,
    checked_rate,
    empty,
    name_of,
    too_large,
)

SHORTEST_WINDOW_SECONDS = 0.1


@dataclass(frozen=True)
class AudioInfo:
    """The facts in the header of a sound file.

    Attributes:
        truncated: says what is missing at the end; None if nothing is, or if the format does not tell.
    """

    duration_seconds: float
    sampling_rate: int
    channels: int
    truncated: str | None = None


def read_audio(source: Source, *, sampling_rate: int = 16_000, allow_truncated: bool = False) -> np.ndarray:
    """Return one recording as a mono waveform. The format is recognised by the content, not by the suffix of the name.

    Args:
        source: a path, the bytes of a sound file, or a value of a `datasets` audio column (see `Source`).
        sampling_rate: of the returned waveform, in Hz.
        allow_truncated: True to return what is there of a recording whose end is missing.

    Returns:
        float32, shape (samples,), in [-1, 1] except for the slight overshoot of a resampler and of floating-point
        files; all finite. Channels are averaged.

    Raises:
        AudioError: if the file is missing, empty, a git-LFS pointer or no sound file, if it announces more sound than
            its bytes can hold, or if samples are not finite or larger than `LOUDEST`.
        TruncatedAudioError: if its end is missing.
        ValueError: for a `sampling_rate` outside `SAMPLING_RATES`.
    """
    if not SAMPLING_RATES[0] <= sampling_rate <= SAMPLING_RATES[1]:
        raise ValueError(f"sampling_rate must be {SAMPLING_RATES[0]} to {SAMPLING_RATES[1]} Hz, not {sampling_rate}")
    blocks = list(_mono_blocks(source, sampling_rate, allow_truncated))
    waveform = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    if waveform.size == 0:
        raise AudioError(f"{name_of(source)} is too short: it has no sample at {sampling_rate} Hz", "remove it")
    return waveform


def read_windows(
    source: Source, *, seconds: float, sampling_rate: int = 16_000, allow_truncated: bool = False
) -> Iterator[np.ndarray]:
    """Yield a recording as consecutive windows of equal duration, decoded as they are needed.

    Args:
        seconds: the longest duration of a window. A recording that is not longer is one window.

    Yields:
        float32, shape (samples,), as `read_audio`.

    Raises:
        AudioError: as `read_audio`.
        ValueError: for windows of less than `SHORTEST_WINDOW_SECONDS`.
    """
    if not seconds >= SHORTEST_WINDOW_SECONDS:  # NaN, too
        raise ValueError(f"seconds must be at least {SHORTEST_WINDOW_SECONDS}, not {seconds}")
    duration = audio_info(source).duration_seconds
    size = ceil(duration * sampling_rate / max(1, ceil(duration / seconds)))
    held, there = [], 0
    for block in _mono_blocks(source, sampling_rate, allow_truncated):
        held, there = [*held, block], there + len(block)
        while there >= 2 * size:
            joined = np.concatenate(held)
            yield joined[:size]
            held, there = [joined[size:]], there - size
    joined = np.concatenate(held)
    # A rest that is much shorter belongs to the last window: a resampler rounds, and the end may be missing.
    end = size if len(joined) - size >= size / 2 else len(joined)
    yield joined[:end]
    if end < len(joined):
        yield joined[end:]


def audio_info(source: Source, *, allow_truncated: bool = True) -> AudioInfo:
    """Return duration, rate and channels of a recording, from its header alone; and whether its end is missing.

    Only the samples of a file that does not tell its length are decoded.

    Raises:
        AudioError: as `read_audio`, except that samples are not read.
        TruncatedAudioError: if the end is missing and `allow_truncated` is False.
    """
    if _holds_array(source):
        samples, sampling_rate = _array(source)
        return AudioInfo(samples.size / sampling_rate, sampling_rate, 1)
    with Recording(source) as recording:
        recording.refuse_truncated(allow_truncated)
        return AudioInfo(
            recording.frames / recording.sampling_rate,
            recording.sampling_rate,
            recording.channels,
            recording.truncated,
        )


def sample_hash(source: Source, *, allow_truncated: bool = True, allow_silent: bool = True) -> str:
    """Return a hash of the samples, to find one recording under two names.

    BLAKE2b (128 bits) of the sampling rate and the mono samples at that rate, rounded to 16 bits. Lossless copies
    (WAV, FLAC, AIFF, one channel or two equal ones) hash equally; resampled, trimmed or lossy ones do not.

    Args:
        allow_truncated: False to refuse a recording whose end is missing.
        allow_silent: False to refuse a recording in which no sample reaches -60 dB of full scale.

    Returns:
        32 hexadecimal digits.

    Raises:
        AudioError: as `read_audio`.
    """
    if _holds_array(source):
        waveform, sampling_rate = _array(source)
        digest, peak = _hash([waveform], sampling_rate)
    else:
        with Recording(source) as recording:
            blocks = (block.mean(axis=1) for block in recording.blocks(allow_truncated))
            digest, peak = _hash(blocks, recording.sampling_rate)
    if peak < SILENT_PEAK and not allow_silent:
        raise AudioError(f"{name_of(source)} is silent", "leave it out (--skip_unusable)", "silent")
    return digest


def _mono_blocks(source: Source, sampling_rate: int, allow_truncated: bool) -> Iterator[np.ndarray]:
    """Yield a recording's samples, averaged over its channels, at a sampling rate."""
    if _holds_array(source):
        waveform, own_rate = _array(source)
        yield from _resampled([waveform], own_rate, sampling_rate)
        return
    with Recording(source) as recording:
        blocks = (block.mean(axis=1) for block in recording.blocks(allow_truncated))
        yield from _resampled(blocks, recording.sampling_rate, sampling_rate)


def _resampled(blocks: Iterable[np.ndarray], own_rate: int, sampling_rate: int) -> Iterator[np.ndarray]:
    if own_rate == sampling_rate:
        yield from blocks
        return
    # HQ is exact to 20 bits, more than 16-bit speech holds; librosa and transformers resample with it too. No sample is
    # larger than `LOUDEST`, so that none becomes infinite.
    resampler = soxr.ResampleStream(own_rate, sampling_rate, 1, dtype="float32", quality="HQ")
    yield from map(resampler.resample_chunk, blocks)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _hash(blocks: Iterable[np.ndarray], sampling_rate: int) -> tuple[str, float]:
    """Return the hash of mono samples, and the largest one."""
    digest, peak = blake2b(digest_size=16, salt=sampling_rate.to_bytes(4, "little")), 0.0
    for block in blocks:
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
        digest.update(np.clip(np.rint(block * 32768), -32768, 32767).astype("<i2").tobytes())
    return digest.hexdigest(), peak


def _holds_array(source: Source) -> bool:
    return isinstance(source, dict) and source.get("array") is not None


def _array(source: dict) -> tuple[np.ndarray, int]:
    """Return the samples of an audio dictionary, (samples,), as float32, and their rate."""
    name, sampling_rate = name_of(source), source.get("sampling_rate")
    try:
        samples = np.asarray(source["array"])
    except (ValueError, TypeError) as error:
        raise AudioError(f"{name} holds no array of samples", "pass floats in [-1, 1], (samples,)") from error
    if samples.ndim != 1 or samples.dtype.kind != "f" or not isinstance(sampling_rate, (int, float, np.number)):
        raise AudioError(
            f"{name} must hold floats in [-1, 1] of shape (samples,), with a sampling_rate, not "
            f"{samples.dtype} of {samples.shape} at {sampling_rate} Hz",
            "average channels, divide int16 by 32768",
        )
    if samples.size == 0:
        raise empty(name)
    sampling_rate = checked_rate(sampling_rate, name)
    if not np.abs(samples).max() <= LOUDEST:
        at = int(np.flatnonzero(~(np.abs(samples) <= LOUDEST))[0])
        raise too_large(name, samples[at], at / sampling_rate)
    return samples.astype(np.float32, copy=False), sampling_rate
