"""The engine below `Classifier`: recordings are read in threads and scored in batches that do not change the scores."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import expit, softmax
from tqdm.auto import tqdm

from ..audio import AudioError, read_windows
from ..files import one_line
from ..models.family import ModelError, class_names, mark, not_finite
from ..models.pretrained import is_padding_invariant
from ..models.records import family_of
from .inputs import is_one, recordings
from .offsets import SETTING
from .reading import DECODERS, Reading, Utterance, in_threads, read_utterance

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


# Seconds of sound in one batch: enough to use the processor well, small enough for any machine.
BATCH_SECONDS = 60.0
LEAST_FILLED = 0.9  # of the longest recording in a batch; what pads a shorter one is computed for nothing
# Recordings that are held in memory to be sorted by length: seconds, and their number.
HELD_SECONDS, HELD = 600.0, 256
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": partial(softmax, axis=-1), "sigmoid": expit, "none": lambda logits: logits,
}  # fmt: skip

Answer = list[dict[str, Any]]


class Engine:
    """A model with its feature extractor, called like a stock pipeline.

    Utterances are sorted by length and batched. If padding changes a model's scores (`is_padding_invariant` is False),
    only utterances of exactly the same length share a batch, so every score is that of the utterance alone.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        self.model, self.extractor = model.eval(), extractor
        self.labels = class_names(model.config)
        self._batch_by_exact_length = not is_padding_invariant(model, extractor)
        self._window_seconds = extractor.chunk_length if family_of(model).has_fixed_window else 0.0

    def __call__(
        self,
        inputs: Any,
        *,
        top_k: int | None = None,
        function_to_apply: str | None = None,
        batch_size: int | None = None,
        num_workers: int = DECODERS,
        window_seconds: float | None = None,
        allow_truncated: bool = False,
        on_error: str = "raise",
        names: Sequence[str] | None = None,
        progress: bool = False,
    ) -> Answer | list[Answer] | Iterator[Answer]:
        """Return `[{"label", "score"}, ...]`, most probable first, for each recording.

        Args:
            inputs: one recording, in any form of `inputs.to_source`; or many: a list, folder, pattern, generator or
                dataset of these.
            top_k: number of answers; default: all.
            function_to_apply: "softmax", "sigmoid" or "none"; default: "sigmoid" for a multi-label model, else
                "softmax".
            batch_size: most recordings in a batch; default: as many as pay.
            num_workers: threads that decode.
            window_seconds: longest duration that is scored at once. The scores of a longer recording are the mean over
                consecutive windows of equal duration, and memory stays that of one window.
            allow_truncated: False to warn about a recording whose end is missing; it is scored in any case.
            on_error: "raise", or "report": the answer of a recording that cannot be scored is `[{"label": None,
                "score": None, "error": reason}]`.
            names: names of the recordings for messages; default: their paths, or numbers without a path.
            progress: True to show a progress bar.

        Returns:
            One answer for one recording, a list for a list, folder or pattern, and an iterator for a generator or a
            dataset. The iterator reads and scores only as far as it is asked.

        Raises:
            AudioError: for a recording that cannot be read, or is too short or too long for the model.
            ModelError: if a score is not finite.
            ValueError: for an option that cannot be.
        """
        if on_error not in ("raise", "report"):
            raise ValueError(f'on_error must be "raise" or "report", not {on_error!r}')
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be 1 or more, or None for all, not {top_k}")
        how = Reading(window_seconds, allow_truncated, num_workers, batch_size, on_error == "report", progress)
        rows = self.rows(recordings(inputs), how, names=names, function=self.function(function_to_apply))
        answers = (self._answer(row, top_k) for row in rows)
        if is_one(inputs):
            return next(answers)
        return list(answers) if isinstance(inputs, (str, os.PathLike, list, tuple)) else answers

    def probabilities(
        self,
        inputs: Any,
        *,
        names: Sequence[str] | None = None,
        allow_truncated: bool = False,
        progress: bool = False,
    ) -> np.ndarray:
        """Return class probabilities in the order of `labels`, (utterances, classes), float64.

        Args:
            inputs: as for a call.
            names: names of the recordings for messages; default: their paths, or numbers without a path.
            allow_truncated, progress: as for a call.

        Raises:
            AudioError, ModelError: as a call.
        """
        how = Reading(allow_truncated=allow_truncated, progress=progress)
        rows = list(self.rows(recordings(inputs), how, names=names))
        return np.stack(rows) if rows else np.empty((0, len(self.labels)))

    def rows(
        self,
        sources: Iterable[Any],
        how: Reading,
        *,
        names: Sequence[str] | None = None,
        function: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> Iterator[np.ndarray | AudioError]:
        """Yield the scores of each recording, (classes,), in their order, or what is wrong with it.

        Recordings are decoded in threads while others are scored. Those of some minutes are held at a time, sorted by
        length and batched.

        Args:
            names: names of the recordings for messages.
            function: from logits to scores; default: that of the model.
        """
        function, total = function or self.function(), len(sources) if isinstance(sources, Sequence) else None
        read = partial(read_utterance, model=self.model, extractor=self.extractor, how=how)
        held: list[Utterance] = []
        with tqdm(total=total, unit="utterance", disable=not how.progress, desc="classifying") as bar:
            for utterance in in_threads(
                (partial(read, source, _name(source, number, total, names)) for number, source in enumerate(sources)),
                how.num_workers,
            ):
                if utterance.missing_end is not None:
                    # With a registry of its own, Python shows the warning each time.
                    text = f"{utterance.missing_end}; what is there is scored"
                    warnings.warn_explicit(text, UserWarning, __file__, 1, registry={})
                held.append(utterance)
                if len(held) >= HELD or sum(one.seconds for one in held) > HELD_SECONDS:
                    yield from self._scored(held, how, function)
                    bar.update(len(held))
                    held = []
            yield from self._scored(held, how, function)
            bar.update(len(held))

    def _scored(
        self, held: Sequence[Utterance], how: Reading, function: Callable[[np.ndarray], np.ndarray]
    ) -> Iterator[np.ndarray | AudioError]:
        scores: dict[int, np.ndarray | AudioError] = {}
        whole = [number for number, one in enumerate(held) if one.waveform is not None]
        # A padded window costs as much as a full one.
        lengths = [(max(len(held[number].waveform), self._window_samples), 0) for number in whole]
        for batch in self.batches(lengths, how.batch_size):
            of_batch = function(self.score(self._inputs([held[whole[row]].waveform for row in batch])))
            scores.update(zip((whole[row] for row in batch), of_batch, strict=True))
        for number, one in enumerate(held):
            if one.source is not None:
                scores[number] = self._in_windows(one, how, function)
        yield from (one.error or scores[number] for number, one in enumerate(held))

    def _in_windows(
        self, utterance: Utterance, how: Reading, function: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray | AudioError:
        try:
            windows = read_windows(
                utterance.source, seconds=how.window_seconds, sampling_rate=self.extractor.sampling_rate,
                allow_truncated=True,
            )  # fmt: skip
            pairs = [(function(self.score(self._inputs([window])))[0], len(window)) for window in windows]
        except AudioError as error:
            return how.reported(error, utterance.name)
        of_windows, sizes = zip(*pairs, strict=True)
        return np.average(of_windows, axis=0, weights=sizes)

    def batches(self, lengths: Sequence[tuple[float, int]], most: int | None = None) -> Iterator[list[int]]:
        """Yield the rows of each batch, longest first, so that a batch too large for the machine fails at once.

        Args:
            lengths: for each recording its samples, and a second number that must be equal in a batch of equal lengths,
                such as its frames.
            most: recordings in a batch; default: any number.
        """
        batch: list[int] = []
        samples = BATCH_SECONDS * self.extractor.sampling_rate
        for row in sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True):
            if batch:
                longest = lengths[batch[0]]
                if self._batch_by_exact_length:
                    differs = lengths[row] != longest
                else:
                    differs = lengths[row][0] < LEAST_FILLED * longest[0]
                if differs or longest[0] * (len(batch) + 1) > samples or len(batch) == most:
                    yield batch
                    batch = []
            batch.append(row)
        if batch:
            yield batch

    @property
    def digest(self) -> str:
        """A digest of everything that scores follow from: weights, labels, and the rule for known speakers."""
        digest = blake2b(repr([self.labels, mark(self.model.config, SETTING)]).encode(), digest_size=16)
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @property
    def _window_samples(self) -> int:
        return round(self._window_seconds * self.extractor.sampling_rate)

    def function(self, name: str | None = None) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function from logits to scores: as in a stock pipeline, those of a multi-label model are apart."""
        if name is None:
            name = "sigmoid" if self.model.config.problem_type == "multi_label_classification" else "softmax"
        if name not in FUNCTIONS:
            raise ValueError(f"function_to_apply must be one of {', '.join(FUNCTIONS)}, not {name!r}")
        return FUNCTIONS[name]

    def _answer(self, row: np.ndarray | AudioError, top_k: int | None) -> Answer:
        if isinstance(row, AudioError):
            return [{"label": None, "score": None, "error": str(row)}]
        return best_first(self.labels, row, top_k)

    @torch.inference_mode()
    def score(self, inputs: Mapping[str, torch.Tensor]) -> np.ndarray:
        """Return the logits, (utterances, classes), float64, of one batch from the extractor.

        Raises:
            ModelError: if they are not finite.
        """
        logits = self._logits({name: tensor.to(self.model.device) for name, tensor in inputs.items()})
        scores = logits.double().cpu().numpy()
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


def best_first(labels: Sequence[str], scores: np.ndarray, top_k: int | None = None) -> Answer:
    """Return label and score, the greatest score first.

    >>> best_first(["anger", "fear"], np.array([0.25, 0.75]))
    [{'label': 'fear', 'score': 0.75}, {'label': 'anger', 'score': 0.25}]
    """
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [{"label": labels[number], "score": float(scores[number])} for number in order]


def _name(source: Any, number: int, total: int | None, names: Sequence[str] | None) -> str:
    """Return the name of a recording for messages: the given one, its path or its number."""
    if names is not None:
        return names[number]
    path = source.get("path") if isinstance(source, Mapping) else source
    numbered = f"recording {number + 1}" + (f" of {total}" if total else "")
    return os.fspath(path) if isinstance(path, (str, os.PathLike)) else numbered


class Outputs(Engine):
    """An engine whose scores are other outputs of its model, as they are."""

    def function(self, name: str | None = None) -> Callable[[np.ndarray], np.ndarray]:
        return FUNCTIONS["none"]
