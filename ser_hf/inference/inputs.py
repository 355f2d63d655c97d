"""Inputs of a classifier: one recording or many, in every form that a stock pipeline takes, and more."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Mapping
from glob import glob
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from ..audio import NAMELESS, AudioError, Source
from ..audio.recording import name_of
from ..files import one_line
from ..sources.folders import SOUND_SUFFIXES, files_below

URLS = ("http://", "https://")
MOST_CHANNELS = 64
DOWNLOAD_SECONDS = 60


def is_one(inputs: Any) -> bool:
    """True for one recording, False for many.

    >>> is_one("a.wav"), is_one(["a.wav"]), is_one("clips/*.wav"), is_one((16_000, np.zeros(4, np.int16)))
    (True, False, False, True)
    """
    if isinstance(inputs, (str, os.PathLike)):
        return not (_is_folder(inputs) or _is_pattern(inputs))
    if isinstance(inputs, tuple):
        return _rate_and_samples(inputs) is not None
    if isinstance(inputs, (bytes, bytearray, memoryview, Mapping)):
        return True
    return _holds_samples(inputs) or _is_open(inputs) or _is_decoder(inputs)


def is_stream(inputs: Any) -> bool:
    """True for many recordings that are not all there yet, or need not be: a generator or a dataset."""
    return not (is_one(inputs) or isinstance(inputs, (str, os.PathLike, list, tuple)))


def recordings(inputs: Any) -> Iterable[Any]:
    """Return the recordings of what is given, each in a form that `to_source` takes.

    Folders are searched for sound files, with the folders below; patterns such as `clips/**/*.wav` are expanded. Of a
    dataset the column `audio` is read. Everything else is iterated as it is, so that a generator stays lazy.

    Raises:
        AudioError: for a folder or a pattern without recordings, and for what holds none.
    """
    if is_one(inputs):
        return [inputs]
    if isinstance(inputs, (str, os.PathLike)):
        return _files_of(inputs)
    if "audio" in (getattr(inputs, "column_names", None) or ()):
        return (row["audio"] for row in inputs.select_columns("audio"))
    if isinstance(inputs, Iterable):
        return inputs
    if hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__"):  # a torch Dataset
        return (inputs[number] for number in range(len(inputs)))
    raise AudioError(
        f"{type(inputs).__name__} holds no recordings",
        'pass a path, bytes, {"array": ..., "sampling_rate": ...}, or a list, generator or dataset of these',
    )


def kept(recording: Any) -> Any:
    """Return a recording that stays as it is: an open file is read, samples are copied and decoded ones fetched.

    A generator may close the file, or fill the array with other samples, as soon as it is asked for the next recording.

    Raises:
        AudioError: for a file that is open as text or cannot be read, and if a decoder fails.
    """
    if _is_decoder(recording):
        try:
            decoded = recording.get_all_samples()
        except Exception as error:  # a decoder may raise anything
            raise AudioError(f"{NAMELESS} cannot be decoded ({one_line(error)})", "fetch it again") from error
        return decoded.data, int(decoded.sample_rate)
    if _is_open(recording):
        return {"bytes": _content(recording), "path": _name_of_file(recording)}
    if isinstance(recording, Mapping):
        return {key: kept(value) if key in ("audio", "array", "raw") else value for key, value in recording.items()}
    if isinstance(recording, tuple):
        return tuple(map(kept, recording))
    if _holds_samples(recording):
        return recording.copy() if isinstance(recording, np.ndarray) else recording.clone()
    return bytes(recording) if isinstance(recording, (bytearray, memoryview)) else recording


def to_source(recording: Any, sampling_rate: int) -> Source:
    """Return a recording as `ser_hf.audio.read_audio` takes it.

    Args:
        recording: a path, a URL, the bytes of a sound file, an open file, samples (numpy or torch), samples with their
            rate as a pair in either order, a dictionary with `array` or `raw` and `sampling_rate`, a decoder of
            torchcodec, or a row with one of these as `audio`. Samples alone are (samples,) or (1, samples).
        sampling_rate: of samples that come without a rate: that of the model, as in a stock pipeline.

    Raises:
        AudioError: for anything else, and for a URL that cannot be read.
    """
    if isinstance(recording, str) and recording.startswith(URLS):
        return {"bytes": _download(recording), "path": recording}
    if isinstance(recording, tuple) and (pair := _rate_and_samples(recording)) is not None:
        rate, samples = pair
        return {"array": _mono(samples), "sampling_rate": rate}
    if _is_decoder(recording) or _is_open(recording):
        return to_source(kept(recording), sampling_rate)
    if _holds_samples(recording):
        if recording.ndim > 1 and min(recording.shape) != 1:  # channels, or several recordings?
            raise AudioError(
                f"{NAMELESS} has the shape {tuple(recording.shape)}",
                "pass (samples,), a list of recordings, or channels with their rate: (rate, samples)",
            )
        return {"array": _mono(recording), "sampling_rate": sampling_rate}
    if isinstance(recording, Mapping):
        if recording.get("audio") is not None:
            return to_source(recording["audio"], sampling_rate)
        samples = recording.get("raw", recording.get("array"))
        if samples is not None:
            return {**recording, "array": _mono(samples, name_of(dict(recording)))}
        return dict(recording)
    return recording


def _is_folder(name: str | os.PathLike) -> bool:
    return not str(name).startswith(URLS) and os.path.isdir(name)


def _is_pattern(name: str | os.PathLike) -> bool:
    if str(name).startswith(URLS) or os.path.exists(name):
        return False
    # `clip[1].wav` is a file that is missing rather than a pattern that matches clip1.wav.
    return any(one in os.fspath(name) for one in "*?")


def _files_of(name: str | os.PathLike) -> list[str]:
    if _is_folder(name):
        found = [str(file) for file in files_below(Path(name), "**/*") if file.suffix.lower() in SOUND_SUFFIXES]
        if not found:
            raise AudioError(f"{name} has no recordings ({', '.join(SOUND_SUFFIXES)})", "pass files, or another folder")
        return found
    if not (found := sorted(file for file in glob(os.fspath(name), recursive=True) if os.path.isfile(file))):
        raise AudioError(f"no file matches {name}", "check the pattern; ** stands for folders below")
    return found


def _rate_and_samples(pair: tuple) -> tuple[int, Any] | None:
    """Return rate and samples of a pair in either order: Gradio and scipy give the rate first, torchaudio last."""
    if len(pair) != 2:
        return None
    for rate, samples in (pair, pair[::-1]):
        if isinstance(rate, (int, np.integer)) and not isinstance(rate, bool) and _holds_samples(samples):
            return int(rate), samples
    return None


def _holds_samples(value: Any) -> bool:
    """True for numbers in an array of numpy, or a tensor of torch, which is not imported here."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "fiuc"
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_decoder(value: Any) -> bool:
    return hasattr(value, "get_all_samples")


def _is_open(value: Any) -> bool:
    return hasattr(value, "read") and not isinstance(value, type)


def _content(file: Any) -> bytes:
    """Return what an open file holds, from its beginning if it can be rewound."""
    name = _name_of_file(file) or "an open file"
    if isinstance(file, io.TextIOBase):
        raise AudioError(f"{name} is open as text", 'open it with mode "rb"')
    try:
        if getattr(file, "seekable", bool)():
            file.seek(0)
        content = file.read()
    except (OSError, ValueError) as error:
        raise AudioError(f"{name} cannot be read ({one_line(error)})", "open it again") from error
    if not isinstance(content, bytes):
        raise AudioError(f"{name} gives {type(content).__name__}", 'open it with mode "rb"')
    return content


def _name_of_file(file: Any) -> str | None:
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else None


def _mono(samples: Any, name: str = NAMELESS) -> Any:
    """Return samples as floats in [-1, 1], (samples,): channels are averaged, integers divided by their full scale.

    What is no such array is returned as it is, for `read_audio` to refuse.
    """
    if hasattr(samples, "detach"):
        samples = samples.detach().cpu().float() if samples.is_floating_point() else samples.detach().cpu()
    try:
        samples = np.asarray(samples)
    except (ValueError, TypeError):
        return samples
    if samples.dtype.kind in "iu":
        scale, zero = 2.0 ** (8 * samples.dtype.itemsize - 1), 128 if samples.dtype == np.uint8 else 0
        if samples.dtype not in (np.uint8, np.int16, np.int32):
            raise AudioError(f"{name} holds {samples.dtype}", "pass floats in [-1, 1], int16, int32 or uint8")
        samples = ((samples.astype(np.float64) - zero) / scale).astype(np.float32)
    if samples.ndim == 2:
        axis = int(np.argmin(samples.shape))  # (channels, samples) of torchaudio, (samples, channels) of soundfile
        if not 0 < samples.shape[axis] <= MOST_CHANNELS:
            raise AudioError(f"{name} has the shape {samples.shape}", "pass (samples,) or (channels, samples)")
        samples = samples.mean(axis=axis)
    return samples


def _download(url: str) -> bytes:
    """Return what a URL holds. As in a stock pipeline, redirections are followed."""
    try:
        answer = httpx.get(url, follow_redirects=True, timeout=DOWNLOAD_SECONDS)
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        raise AudioError(f"{url} answers {error.response.status_code}", "check the address") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AudioError(f"{url} cannot be read ({error})", "check the address and the network") from error
    return answer.content
