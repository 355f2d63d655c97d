"""`Classifier`: class probabilities of recordings, computed in batches that do not change the scores."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm.auto import tqdm

from ..audio import (
    NAMELESS,
    SHORTEST_WINDOW_SECONDS,
    AudioError,
    TruncatedAudioError,
    audio_info,
    read_audio,
    read_windows,
)
from ..data.durations import refuse_too_long, refuse_too_short
from ..files import one_line
from ..models.checkpoint_settings import is_nameless
from ..models.family import ModelError, class_names, not_finite
from ..models.pretrained import is_padding_invariant, load_classifier
from ..models.records import family_of

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel

# Seconds of sound in one batch: enough to use the processor well, small enough for any machine.
BATCH_SECONDS = 60.0

OnError = Callable[[int, AudioError], None]


class Classifier:
    """An emotion classifier with its feature extractor.

        classifier = Classifier.from_pretrained("runs/latest")
        classifier(["one.wav", "two.flac"])
        # [{'anger': 0.81, 'fear': 0.04, ...}, {...}]

    Utterances are sorted by length and batched. If padding changes a model's scores (`is_padding_invariant` is False),
    only utterances of exactly the same length share a batch, so every score is that of the utterance alone. Stock
    Whisper uses only the first 30 seconds of each, as in a stock pipeline.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        self.model, self.extractor = model.eval(), extractor
        self.labels = class_names(model.config)
        self._batch_by_exact_length = not is_padding_invariant(model, extractor)
        self._window_seconds = extractor.chunk_length if family_of(model).has_fixed_window else 0.0

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike, *, device: str | None = None, trust_remote_code: bool = False
    ) -> Classifier:
        """Load a saved classifier from a folder or the Hub.

        Args:
            device: default: the first accelerator, else the CPU.
            trust_remote_code: True to run code of the repository; not needed for our own families.

        Raises:
            ModelError: as `models.pretrained.load_classifier`, and for a device that is not there.
        """
        model, extractor = load_classifier(name_or_path, trust_remote_code=trust_remote_code)
        if is_nameless(model.config):
            warnings.warn(
                f"{name_or_path} has no names for its classes, only {', '.join(class_names(model.config))}: add "
                "them to the id2label of its config.json",
                stacklevel=2,
            )
        if device is None:
            device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
        try:
            return cls(model.to(device), extractor)
        except (RuntimeError, AssertionError) as error:  # PyTorch raises either
            raise ModelError(f"device {device!r} cannot be used here ({one_line(error)}): use cpu") from error

    def __call__(
        self,
        sources: Any | Sequence[Any],
        *,
        window_seconds: float | None = None,
        allow_truncated: bool = False,
        on_error: OnError | None = None,
        progress: bool = False,
    ) -> list[dict[str, float] | None]:
        """Return the probability of each class, most probable first, for each recording.

        Args:
            sources: paths, bytes or rows of an `audio` column, as `ser_hf.audio.read_audio` takes them.
            window_seconds: longest duration that is scored at once. The scores of a longer recording are the mean over
                consecutive windows of equal duration, and memory stays that of one window.
            allow_truncated: False to warn about a recording whose end is missing; it is scored in any case.
            on_error: called with the number of a recording that cannot be scored and its `AudioError`; its result is
                None, and the others are scored. Default: the first error is raised.
            progress: True to show a progress bar.

        Raises:
            AudioError: for a recording that cannot be read, or is too short or too long for the model.
            ModelError: if a score is not finite.
            ValueError: for a `window_seconds` below `SHORTEST_WINDOW_SECONDS`.
        """
        if isinstance(sources, (str, bytes, bytearray, memoryview)) or not isinstance(sources, Sequence):
            sources = [sources]
        job = _Job(sources, None, window_seconds, allow_truncated, on_error)
        return [None if row is None else self._by_probability(row) for row in self._score_all(job, progress)]

    def probabilities(
        self,
        sources: Sequence[Any],
        *,
        names: Sequence[str] | None = None,
        allow_truncated: bool = False,
        progress: bool = False,
    ) -> np.ndarray:
        """Return class probabilities in the order of `labels`, (utterances, classes), float64.

        Recordings are decoded batch by batch, so that any number of them fits in memory. Rows are in the order of the
        sources.

        Args:
            names: names of the recordings for messages; default: their paths, or numbers without a path.
            allow_truncated: False to warn about a recording whose end is missing; it is scored in any case.
            progress: True to show a progress bar.

        Raises:
            AudioError: for a recording that cannot be read, or is too short or too long for the model.
            ModelError: if a score is not finite.
        """
        scores = self._score_all(_Job(sources, names, allow_truncated=allow_truncated), progress)
        return np.stack(scores) if scores else np.empty((0, len(self.labels)))

    def _by_probability(self, row: np.ndarray) -> dict[str, float]:
        return most_probable_first(self.labels, row)

    def _score_all(self, job: _Job, progress: bool) -> list[np.ndarray | None]:
        scores: list[np.ndarray | None] = [None] * len(job.sources)
        lengths, windowed = {}, []
        for row, source in enumerate(job.sources):
            with job.refusing(row):
                info = audio_info(source)
                refuse_too_short(self.model, self.extractor, [info.duration_seconds], [job.names[row]])
                if job.window_seconds is not None and info.duration_seconds > job.window_seconds:
                    windowed.append(row)
                    continue
                refuse_too_long(self.model, [info.duration_seconds], [job.names[row]])
                # A padded window costs as much as a full one. Equal headers mean equal numbers of samples.
                # What is left of a truncated recording is shorter than its header says: it is scored alone.
                alike = info.sampling_rate if info.truncated is None else -1 - row
                lengths[row] = max(info.duration_seconds, self._window_seconds), alike
        known = list(lengths)
        with tqdm(total=len(job.sources), unit="utterance", disable=not progress, desc="classifying") as bar:
            for batch in self.batches(list(lengths.values())):
                rows, waveforms = [known[number] for number in batch], {}
                for row in rows:
                    with job.refusing(row):
                        waveforms[row] = job.read(row, self.extractor.sampling_rate)
                if waveforms:
                    of_batch = self.score(self._inputs(list(waveforms.values())))
                    for row, of_recording in zip(waveforms, of_batch, strict=True):
                        scores[row] = of_recording
                bar.update(len(rows))
            for row in windowed:
                with job.refusing(row):
                    windows, sizes = [], []
                    for window in job.windows(row, self.extractor.sampling_rate):
                        windows.append(self.score(self._inputs([window]))[0])
                        sizes.append(len(window))
                    scores[row] = np.average(windows, axis=0, weights=sizes)
                bar.update(1)
        return scores

    def batches(self, lengths: Sequence[tuple[float, int]]) -> Iterator[list[int]]:
        """Yield the rows of each batch, longest first, so that a batch too large for the machine fails at once.

        Args:
            lengths: for each recording its seconds, and a second number that must be equal in a batch of equal lengths:
                its sampling rate, or its frames.
        """
        batch: list[int] = []
        for row in sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True):
            if batch:
                longest = lengths[batch[0]]
                differs = self._batch_by_exact_length and lengths[row] != longest
                if differs or longest[0] * (len(batch) + 1) > BATCH_SECONDS:
                    yield batch
                    batch = []
            batch.append(row)
        if batch:
            yield batch

    @torch.inference_mode()
    def score(self, inputs: Mapping[str, torch.Tensor]) -> np.ndarray:
        """Return class probabilities, (utterances, classes), of one batch from the extractor.

        As in a stock pipeline, the probabilities of a multi-label model are independent of each other.
        """
        logits = self._logits({name: tensor.to(self.model.device) for name, tensor in inputs.items()}).double()
        is_multi_label = self.model.config.problem_type == "multi_label_classification"
        scores = (logits.sigmoid() if is_multi_label else logits.softmax(dim=-1)).cpu().numpy()
        if not np.isfinite(scores).all():
            raise not_finite(self.model)
        return scores

    def _logits(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the logits, (utterances, classes).

        Raises:
            ModelError: if the code of a repository does not compute them as a stock pipeline needs it.
        """
        if family_of(self.model).model_type:
            return self.model(**inputs).logits
        name, given = self.model.config.name_or_path, ", ".join(inputs)
        try:
            outputs = self.model(**inputs)
        except torch.OutOfMemoryError:
            raise
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
            raise ModelError(
                f"{name} fails on {given} of a recording ({one_line(error)}): use it as its author describes"
            ) from error
        logits = getattr(outputs, "logits", None)
        if logits is None:
            raise ModelError(
                f"{name} returns a {type(outputs).__name__} without `logits`, which a stock pipeline needs "
                "too: use it as its author describes"
            )
        if logits.shape != (wanted := (len(next(iter(inputs.values()))), len(self.labels))):
            raise ModelError(
                f"{name} returns logits of the size {tuple(logits.shape)} instead of {wanted} (recordings, "
                "classes): use it as its author describes"
            )
        return logits

    def _inputs(self, waveforms: list[np.ndarray]) -> Mapping[str, torch.Tensor]:
        rate, padding = self.extractor.sampling_rate, "max_length" if self._window_seconds else True
        return self.extractor(waveforms, sampling_rate=rate, padding=padding, return_tensors="pt")


def most_probable_first(labels: Sequence[str], probabilities: np.ndarray) -> dict[str, float]:
    """Return the probability of each label, (labels,), the greatest first.

    >>> most_probable_first(["anger", "fear"], np.array([0.25, 0.75]))
    {'fear': 0.75, 'anger': 0.25}
    """
    return {labels[number]: float(probabilities[number]) for number in np.argsort(-probabilities, kind="stable")}


class _Job:
    """Recordings to score, their names for messages, and how to treat those that cannot be read."""

    def __init__(
        self,
        sources: Sequence[Any],
        names: Sequence[str] | None,
        window_seconds: float | None = None,
        allow_truncated: bool = False,
        on_error: OnError | None = None,
    ):
        if window_seconds is not None and not window_seconds >= SHORTEST_WINDOW_SECONDS:  # NaN, too
            raise ValueError(f"window_seconds must be at least {SHORTEST_WINDOW_SECONDS}, not {window_seconds}")
        numbered = (f"recording {number} of {len(sources)}" for number in range(1, len(sources) + 1))
        self.sources, self.window_seconds = sources, window_seconds
        self.names = names or [_path(source) or name for source, name in zip(sources, numbered, strict=True)]
        self.allow_truncated, self.on_error = allow_truncated, on_error

    @contextmanager
    def refusing(self, row: int) -> Iterator[None]:
        """Give an `AudioError` the recording's name, and pass it to `on_error`; raise it if there is none."""
        try:
            yield
        except AudioError as error:
            if error.says.startswith(NAMELESS):
                error = AudioError(error.says.replace(NAMELESS, self.names[row], 1), error.remedy, error.kind)
            if self.on_error is None:
                raise error from None
            self.on_error(row, error)

    def read(self, row: int, sampling_rate: int) -> np.ndarray:
        (waveform,) = self._read_what_is_there(row, lambda source, **how: [read_audio(source, **how)], sampling_rate)
        return waveform

    def windows(self, row: int, sampling_rate: int) -> Iterator[np.ndarray]:
        return self._read_what_is_there(row, partial(read_windows, seconds=self.window_seconds), sampling_rate)

    def _read_what_is_there(self, row: int, read: Callable, sampling_rate: int) -> Iterator[np.ndarray]:
        """Yield what a function reads; warn about a missing end, unless that is allowed."""
        read, done = partial(read, self.sources[row], sampling_rate=sampling_rate), 0
        try:
            for piece in read(allow_truncated=self.allow_truncated):
                yield piece
                done += 1
        except TruncatedAudioError as error:
            # With a registry of its own, Python shows the warning each time.
            warnings.warn_explicit(f"{error.says}; what is there is scored", UserWarning, __file__, 1, registry={})
            yield from islice(read(allow_truncated=True), done, None)


def _path(source: Any) -> str | None:
    """Return the path of a recording, or None."""
    path = source.get("path") if isinstance(source, dict) else source
    return os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
