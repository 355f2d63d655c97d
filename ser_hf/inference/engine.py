"""The engine below `Classifier`: recordings are read in threads and scored in batches that do not change the scores."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from scipy.special import expit, softmax
from tqdm.auto import tqdm

from ..audio import AudioError, read_windows
from ..data.durations import TrainingSeconds
from ..files import one_line
from ..models.checkpoint_settings import function_of_scores, gives_values
from ..models.checkpoint_weights import digest_of_weights
from ..models.family import ModelError, class_names, mark, not_finite
from ..models.pretrained import inputs_of, is_padding_invariant
from ..models.records import family_of, waveform_encoder_of
from .abstention import Decision
from .answers import Answer, as_labelled, best_first, no_answer
from .inputs import is_one, is_stream, recordings
from .offsets import SETTING
from .precision import sent
from .reading import DECODERS, Reading, ReadRecording, in_threads, named, read_recording, taken, with_name

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel
    from transformers.utils import ModelOutput

    from ..export.compiled import Compiled


# Seconds of sound in one batch: enough to use the processor well, small enough for any machine.
BATCH_SECONDS = 60.0
BATCH_SECONDS_OF_ACCELERATOR = 300.0  # whose many processors are only busy with more of it; about 2 GB for HuBERT
LEAST_FILLED = 0.9  # of the longest recording in a batch; what pads a shorter one is computed for nothing
# Recordings that are held in memory to be sorted by length: seconds, and their number.
HELD_SECONDS, HELD = 600.0, 256
HELD_OF_STREAM = 16  # of a generator, whose next recording may wait for an answer
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": partial(softmax, axis=-1), "sigmoid": expit, "none": lambda logits: logits,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The outputs of a model for one recording.

    Attributes:
        logits: of each window, (windows, ...); one for a recording that is scored whole.
        sizes: samples in each window; None for one.
        warning: says what is wrong with the recording although it is scored; None if nothing is.
    """

    logits: np.ndarray
    sizes: np.ndarray | None = None
    warning: str | None = None

    def mean_of(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the mean of a function of the windows, weighted by their sizes."""
        return np.average(function(self.logits), axis=0, weights=self.sizes)


class Engine:
    """A model with its feature extractor, called like a stock pipeline.

    Utterances are sorted by length and batched. If padding changes a model's scores (`is_padding_invariant` is False),
    only utterances of exactly the same length share a batch, so every score is that of the utterance alone.

    Args:
        compiled: a graph that computes what the model does; None: the model itself computes.
        dtype: number format of the products. In bfloat16 scores depend a little on what shares a batch.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        extractor: FeatureExtractionMixin,
        *,
        compiled: Compiled | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        self.model, self.extractor, self.compiled, self.dtype = model.eval(), extractor, compiled, dtype
        self.labels = class_names(model.config)
        self._batch_by_exact_length = not is_padding_invariant(model, extractor)
        self._window_seconds = extractor.chunk_length if family_of(model).has_fixed_window else 0.0

    @classmethod
    def like(cls, engine: Engine) -> Self:
        """Return an engine of this class that computes as another one does, with the same model."""
        return cls(engine.model, engine.extractor, compiled=engine.compiled, dtype=engine.dtype)

    def __call__(
        self,
        inputs: Any,
        *,
        top_k: int | None = None,
        abstain: float | None = None,
        sets: bool = False,
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

        The scores of a model that estimates values, such as arousal, are these values, in the order of its labels.

        Args:
            inputs: one recording, in any form of `inputs.to_source`; or many: a list, folder, pattern, generator or
                dataset of these.
            top_k: number of classes; default: all.
            abstain, sets: as in `Classifier.__call__`.
            function_to_apply: "softmax", "sigmoid" or "none"; default: "sigmoid" for a multi-label model, "none" for
                values, else "softmax".
            batch_size: most recordings in a batch; default: as many as pay.
            num_workers: threads that decode.
            window_seconds: longest duration that is scored at once. The scores of a longer recording are the mean over
                consecutive windows of equal duration, and memory stays that of one window.
            allow_truncated: False to warn about a recording whose end is missing; it is scored in any case, as is one
                that lasts far longer or shorter than those of the training, about which there is a warning too.
            on_error: "raise", or "report": the answer of a recording that cannot be scored is `[{"label": None,
                "score": None, "error": reason}]`; if there is a warning about it, its first entry has it as `warning`.
            names: names of the recordings for messages; default: their paths, or numbers without a path.
            progress: True to show a progress bar.

        Returns:
            One answer for one recording, a list for a list, folder or pattern, and an iterator for a generator or a
            dataset. Of a generator a few more than `HELD_OF_STREAM` recordings are read ahead, else of `HELD`.

        Raises:
            AudioError: for a recording that cannot be read, or is too short or too long for the model.
            ModelError: if a score is not finite.
            ValueError: for an option that cannot be.
        """
        if (abstain is not None or sets) and function_to_apply not in (None, "softmax"):
            raise ValueError(f"function_to_apply={function_to_apply!r}: abstain and sets need a softmax; leave it out")
        how = Reading(window_seconds, allow_truncated, num_workers, batch_size, on_error, progress)
        function = self.function(function_to_apply)
        if not gives_values(self.model.config):
            decide = Decision.of(self.model, abstain=abstain, sets=sets, top_k=top_k)
            return self.respond(inputs, how, lambda row: decide(best_first(self.labels, row.mean_of(function))), names)
        given = {"top_k": top_k, "abstain": abstain, "sets": sets or None}
        if refused := [name for name, value in given.items() if value is not None]:
            raise ValueError(f"{refused[0]}: none of {', '.join(self.labels)} is better than another; leave it out")
        return self.respond(inputs, how, lambda row: as_labelled(self.labels, row.mean_of(function)), names)

    def respond(
        self, inputs: Any, how: Reading, answer: Callable[[Row], Answer], names: Sequence[str] | None = None
    ) -> Answer | list[Answer] | Iterator[Answer]:
        """Return an answer for each recording, as a call does; what cannot be scored is answered with its error."""
        rows = self.rows(inputs, replace(how, expected=TrainingSeconds.of(self.model)), names)
        answers = (_told(row, answer, how) for row in rows)
        if is_one(inputs):
            return next(answers)
        return answers if is_stream(inputs) else list(answers)

    def scores(
        self,
        inputs: Any,
        *,
        names: Sequence[str] | None = None,
        window_seconds: float | None = None,
        allow_truncated: bool = False,
        progress: bool = False,
    ) -> np.ndarray:
        """Return the scores of recordings, (utterances, scores), float64, in the order of `labels`.

        Args:
            inputs: as for a call.
            names, window_seconds, allow_truncated, progress: as for a call.

        Raises:
            AudioError, ModelError: as a call.
        """
        how = Reading(window_seconds=window_seconds, allow_truncated=allow_truncated, progress=progress)
        function = self.function()
        found = [row.mean_of(function) for row in self.rows(inputs, how, names) if not isinstance(row, AudioError)]
        return np.stack(found) if found else np.empty((0, len(self.labels)))

    def rows(self, inputs: Any, how: Reading, names: Sequence[str] | None = None) -> Iterator[Row | AudioError]:
        """Yield what the model gives for each recording, in their order, or what is wrong with it.

        Recordings are decoded in threads while others are scored. Some are held, sorted by length and batched.

        Args:
            names: names of the recordings for messages.

        Raises:
            AudioError: after the rows before it, unless `how` asks for a report.
        """
        is_endless = is_stream(inputs) and not hasattr(inputs, "__len__")
        return self._rows(recordings(inputs), how, names, HELD_OF_STREAM if is_endless else HELD)

    def _rows(
        self, sources: Iterable[Any], how: Reading, names: Sequence[str] | None, most: int
    ) -> Iterator[Row | AudioError]:
        total = len(sources) if isinstance(sources, Sequence) else None
        read = partial(read_recording, model=self.model, extractor=self.extractor, how=how)
        tasks = (partial(read, one, named(one, number, total, names)) for number, one in enumerate(taken(sources)))
        held: list[ReadRecording] = []
        with tqdm(total=total, unit="recording", disable=not how.progress, desc="classifying") as bar:
            for recording in in_threads(tasks, how.num_workers):
                for text in recording.remarks:
                    # With a registry of its own, Python shows the warning each time.
                    warnings.warn_explicit(text, UserWarning, __file__, 1, registry={})
                held.append(recording)
                stops = recording.error is not None and how.on_error == "raise"
                if stops or len(held) >= most or sum(one.seconds for one in held) > HELD_SECONDS:
                    yield from self._scored(held, how, bar)
                    held = []
            yield from self._scored(held, how, bar)

    def _scored(self, held: Sequence[ReadRecording], how: Reading, bar: tqdm) -> Iterator[Row | AudioError]:
        rows: dict[int, Row | AudioError] = {}
        under_way: list[tuple[list[int], torch.Tensor]] = []  # an accelerator computes while the next batch is prepared
        whole = [number for number, one in enumerate(held) if one.waveform is not None]
        # A padded window costs as much as a full one.
        lengths = [(max(len(held[number].waveform), self._window_samples), 0) for number in whole]
        for batch in self.batches(lengths, how.batch_size or self._most_that_pay):
            under_way.append((batch, self._of_sound([held[whole[place]].waveform for place in batch])))
            bar.update(len(batch))
        for batch, outputs in under_way:
            scores = self._fetched(outputs)
            rows.update((whole[place], Row(scores[[number]])) for number, place in enumerate(batch))
        for number, one in enumerate(held):
            row = one.error or rows.get(number) or self._in_windows(one, how)
            if isinstance(row, AudioError) and how.on_error == "raise":
                raise row
            bar.update(number not in rows)
            yield replace(row, warning="; ".join(one.remarks) or None) if isinstance(row, Row) else row

    def _in_windows(self, recording: ReadRecording, how: Reading) -> Row | AudioError:
        try:
            windows = read_windows(
                recording.source, seconds=how.window_seconds, sampling_rate=self.extractor.sampling_rate,
                allow_truncated=True,
            )  # fmt: skip
            pairs = [(self._fetched(self._of_sound([window])), len(window)) for window in windows]
        except AudioError as error:
            return with_name(error, recording.name)
        scores, sizes = zip(*pairs, strict=True)
        return Row(np.concatenate(scores), np.asarray(sizes))

    def batches(self, lengths: Sequence[tuple[float, int]], most: int | None = None) -> Iterator[list[int]]:
        """Yield the rows of each batch, longest first, so that a batch too large for the machine fails at once.

        Args:
            lengths: for each recording its samples, and a second number that must be equal in a batch of equal lengths,
                such as its frames.
            most: recordings in a batch; default: any number.
        """
        batch: list[int] = []
        seconds = BATCH_SECONDS if self.model.device.type == "cpu" else BATCH_SECONDS_OF_ACCELERATOR
        samples = seconds * self.extractor.sampling_rate
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
        rule = repr([self.labels, mark(self.model.config, SETTING)])
        return blake2b((rule + digest_of_weights(self.model)).encode(), digest_size=16).hexdigest()

    @property
    def _most_that_pay(self) -> int | None:
        """Recordings in a batch; None for any number.

        The first convolutions of HuBERT and its kin make 512 values of five samples: on a processor, of two recordings
        they no longer stay in its cache, and of eight each takes half as long again as alone.
        """
        computes_here = self.model.device.type == "cpu" and self.compiled is None
        return 1 if computes_here and waveform_encoder_of(self.model) is not None else None

    @property
    def computing(self) -> str:
        """The runtime and the number format of the scores; with others, scores differ by their rounding."""
        return f"{'torch' if self.compiled is None else self.compiled.name} {str(self.dtype).removeprefix('torch.')}"

    @property
    def _window_samples(self) -> int:
        return round(self._window_seconds * self.extractor.sampling_rate)

    def function(self, name: str | None = None) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function from logits to scores, by default the one of a stock pipeline for this model."""
        name = function_of_scores(self.model.config) if name is None else name
        if name not in FUNCTIONS:
            raise ValueError(f"function_to_apply must be one of {', '.join(FUNCTIONS)}, not {name!r}")
        return FUNCTIONS[name]

    def score(self, inputs: Mapping[str, torch.Tensor]) -> np.ndarray:
        """Return what `chosen` takes from the model for one batch from the extractor, (utterances, ...), float64.

        Raises:
            ModelError: if it is not finite, or if the code of a repository fails.
        """
        return self._fetched(self._of_inputs(inputs))

    def _of_sound(self, waveforms: list[np.ndarray]) -> torch.Tensor:
        """Return what `chosen` takes for waveforms, from the compiled graph if there is one that takes them."""
        if self.compiled is None or not all(map(self.compiled.takes, waveforms)):
            return self._of_inputs(self._inputs(waveforms))
        return self.chosen(SimpleNamespace(**self.compiled(waveforms)))

    @torch.inference_mode()
    def _of_inputs(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        given = {name: sent(tensor, self.model.device) for name, tensor in inputs.items()}
        with torch.autocast(self.model.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.chosen(self._outputs(given))

    def _fetched(self, outputs: torch.Tensor) -> np.ndarray:
        scores = outputs.double().cpu().numpy()
        if not np.isfinite(scores).all():
            raise not_finite(self.model)
        return scores

    def chosen(self, outputs: ModelOutput | SimpleNamespace) -> torch.Tensor:
        """Return the logits, (utterances, classes)."""
        return outputs.logits

    def _outputs(self, inputs: Mapping[str, torch.Tensor]) -> ModelOutput:
        """Return the outputs of the model, with logits as a stock pipeline needs them.

        Raises:
            ModelError: if the code of a repository does not compute them.
        """
        if family_of(self.model).model_type:
            return self.model(**inputs)
        name, given = self.model.config.name_or_path or type(self.model).__name__, ", ".join(inputs)
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
        if logits.shape != (wanted := (len(next(iter(inputs.values()))), self.model.config.num_labels)):
            raise ModelError(
                f"{name} returns logits of the size {tuple(logits.shape)} instead of {wanted} (recordings, "
                "classes): use it as its author describes"
            )
        return outputs

    def _inputs(self, waveforms: list[np.ndarray]) -> Mapping[str, torch.Tensor]:
        return inputs_of(self.model, self.extractor, waveforms)


def _told(row: Row | AudioError, answer: Callable[[Row], Answer], how: Reading) -> Answer:
    """Return the answer for a recording, which says what is wrong with it."""
    if isinstance(row, AudioError):
        return no_answer(row)
    best, *others = answer(row)
    warning = {} if row.warning is None or how.on_error == "raise" else {"warning": row.warning}
    return [{**best, **warning}, *others]
