"""Reading of recordings in threads; if one cannot be read, the others are."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..audio import (
    NAMELESS,
    SHORTEST_WINDOW_SECONDS,
    AudioError,
    Source,
    TruncatedAudioError,
    audio_info,
    read_audio,
)
from ..audio.recording import name_of
from ..data.durations import TrainingSeconds, refuse_too_long, refuse_too_short
from .inputs import kept, to_source

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel

DECODERS = 2  # threads


@dataclass(frozen=True)
class Reading:
    """Options of `Engine.__call__` for the reading and batching of recordings."""

    window_seconds: float | None = None
    allow_truncated: bool = False
    num_workers: int = DECODERS
    batch_size: int | None = None
    on_error: str = "raise"
    progress: bool = False
    expected: TrainingSeconds | None = None  # durations of which a recording that lasts far longer or shorter is told

    def __post_init__(self):
        if (seconds := self.window_seconds) is not None and not seconds >= SHORTEST_WINDOW_SECONDS:  # NaN, too
            raise ValueError(f"window_seconds must be at least {SHORTEST_WINDOW_SECONDS}, not {seconds}")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, not {self.batch_size}")
        if self.num_workers < 0:
            raise ValueError(f"num_workers must be 0 or more, not {self.num_workers}")
        if self.on_error not in ("raise", "report"):
            raise ValueError(f'on_error must be "raise" or "report", not {self.on_error!r}')


@dataclass(frozen=True)
class ReadRecording:
    """A recording that was read.

    Attributes:
        name: for messages.
        seconds: that are held in memory.
        waveform: (samples,), at the rate of the model; None if it is scored in windows, or cannot be scored.
        source: what is scored in windows.
        missing_end: says what is missing at the end; None if nothing is, or if nobody wants to know.
        unusual: says that it lasts far longer or shorter than what the model was trained on; None if not.
        error: says why it cannot be scored.
    """

    name: str
    seconds: float = 0.0
    waveform: np.ndarray | None = None
    source: Source | None = None
    missing_end: str | None = None
    unusual: str | None = None
    error: AudioError | None = None

    @property
    def remarks(self) -> list[str]:
        """Sentences that warn of its score."""
        cut = None if self.missing_end is None else f"{self.missing_end}; what is there is scored"
        return [one for one in (cut, self.unusual) if one is not None]


def in_threads(tasks: Iterable[Callable[[], ReadRecording]], workers: int) -> Iterator[ReadRecording]:
    """Yield the results of tasks in their order; a few are under way while one is used, and none without threads."""
    if not workers:
        yield from (task() for task in tasks)
        return
    with ThreadPoolExecutor(workers) as pool:
        under_way: deque[Future[ReadRecording]] = deque()
        try:
            for task in tasks:
                under_way.append(pool.submit(task))
                if len(under_way) > 4 * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


def taken(recordings: Iterable[Any]) -> Iterator[Any]:
    """Yield recordings that no longer change when the next one is asked for: open files are read, samples copied."""
    for one in recordings:
        try:
            yield kept(one)
        except AudioError as error:
            yield error


def read_recording(
    recording: Any, name: str, *, model: PreTrainedModel, extractor: FeatureExtractionMixin, how: Reading
) -> ReadRecording:
    """Return a recording as its waveform, as its source if it is scored in windows, or what is wrong with it."""
    rate = extractor.sampling_rate
    try:
        if isinstance(recording, AudioError):
            raise recording
        source = to_source(recording, rate)
        info = audio_info(source)
        seconds = info.duration_seconds
        refuse_too_short(model, extractor, [seconds], [name])
        unusual = how.expected and how.expected.remark(name, seconds, how.window_seconds)
        if how.window_seconds is not None and seconds > how.window_seconds:
            lost = info.truncated is not None and not how.allow_truncated
            there = 0.0 if isinstance(source, (str, os.PathLike)) else seconds
            missing_end = f"{name} {info.truncated}" if lost else None
            return ReadRecording(name, there, source=source, missing_end=missing_end, unusual=unusual)
        refuse_too_long(model, [seconds], [name])
        try:
            waveform = read_audio(source, sampling_rate=rate, allow_truncated=how.allow_truncated)
            return ReadRecording(name, seconds, waveform, unusual=unusual)
        except TruncatedAudioError as error:
            waveform = read_audio(source, sampling_rate=rate, allow_truncated=True)
            return ReadRecording(name, seconds, waveform, missing_end=with_name(error, name).says, unusual=unusual)
    except AudioError as error:
        return ReadRecording(name, error=with_name(error, name))


def with_name(error: AudioError, name: str) -> AudioError:
    """Return an error with the name of a recording that has no path."""
    if not error.says.startswith(NAMELESS):
        return error
    return type(error)(error.says.replace(NAMELESS, name, 1), error.remedy, error.kind)


def named(recording: Any, number: int, total: int | None, names: Sequence[str] | None) -> str:
    """Return the name of a recording for messages: the given one, its path, or its number."""
    if names is not None:
        return names[number]
    path = recording.get("path") if isinstance(recording, Mapping) else recording
    if isinstance(path, (str, os.PathLike)):
        return name_of(path)
    return f"recording {number + 1}" + (f" of {total}" if total else "")
