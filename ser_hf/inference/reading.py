"""Reading of recordings for a classifier: in threads, and with what is wrong with one told for this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
from ..data.durations import refuse_too_long, refuse_too_short
from .inputs import to_source

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel

DECODERS = 2  # threads


@dataclass(frozen=True)
class Reading:
    """How recordings are read and batched; the options of `Classifier.__call__`."""

    window_seconds: float | None = None
    allow_truncated: bool = False
    num_workers: int = DECODERS
    batch_size: int | None = None
    reports_errors: bool = False
    progress: bool = False

    def __post_init__(self):
        if (seconds := self.window_seconds) is not None and not seconds >= SHORTEST_WINDOW_SECONDS:  # NaN, too
            raise ValueError(f"window_seconds must be at least {SHORTEST_WINDOW_SECONDS}, not {seconds}")
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, not {self.batch_size}")
        if self.num_workers < 0:
            raise ValueError(f"num_workers must be 0 or more, not {self.num_workers}")

    def reported(self, error: AudioError, name: str) -> AudioError:
        """Return an error with the name of its recording; raise it if nobody asked for a report."""
        error = _named(error, name)
        if not self.reports_errors:
            raise error from None
        return error


@dataclass(frozen=True)
class Utterance:
    """A recording that was read.

    Attributes:
        name: for messages.
        seconds: that are held in memory.
        waveform: (samples,), at the rate of the model; None if it is scored in windows, or cannot be scored.
        source: what is scored in windows.
        missing_end: says what is missing at the end, if this is to be told.
        error: says why it cannot be scored.
    """

    name: str
    seconds: float = 0.0
    waveform: np.ndarray | None = None
    source: Source | None = None
    missing_end: str | None = None
    error: AudioError | None = None


def in_threads(tasks: Iterable[Callable[[], Utterance]], workers: int) -> Iterator[Utterance]:
    """Yield the results of tasks in their order; a few are under way while one is used, and none without threads."""
    if not workers:
        yield from (task() for task in tasks)
        return
    with ThreadPoolExecutor(workers) as pool:
        under_way: deque[Future[Utterance]] = deque()
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


def read_utterance(
    recording: Any, name: str, *, model: PreTrainedModel, extractor: FeatureExtractionMixin, how: Reading
) -> Utterance:
    """Return a recording as its waveform, as its source if it is scored in windows, or what is wrong with it.

    Raises:
        AudioError: if it cannot be scored by this model, and nobody asked for a report.
    """
    rate = extractor.sampling_rate
    try:
        source = to_source(recording, rate)
        info = audio_info(source)
        seconds = info.duration_seconds
        refuse_too_short(model, extractor, [seconds], [name])
        if how.window_seconds is not None and seconds > how.window_seconds:
            lost = info.truncated is not None and not how.allow_truncated
            return Utterance(name, source=source, missing_end=f"{name} {info.truncated}" if lost else None)
        refuse_too_long(model, [seconds], [name])
        try:
            waveform = read_audio(source, sampling_rate=rate, allow_truncated=how.allow_truncated)
            return Utterance(name, seconds, waveform)
        except TruncatedAudioError as error:
            waveform = read_audio(source, sampling_rate=rate, allow_truncated=True)
            return Utterance(name, seconds, waveform, missing_end=_named(error, name).says)
    except AudioError as error:
        return Utterance(name, error=how.reported(error, name))


def _named(error: AudioError, name: str) -> AudioError:
    """Return an error with the name of a recording that has no path."""
    if not error.says.startswith(NAMELESS):
        return error
    return type(error)(error.says.replace(NAMELESS, name, 1), error.remedy, error.kind)
