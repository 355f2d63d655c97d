"""Recordings that are too short or too long: for a model, which refuses them, or beside what it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, floor
from typing import TYPE_CHECKING

import numpy as np
from transformers import PreTrainedModel

from ..audio import AudioError
from ..models.family import ModelError, mark
from ..models.records import family_of, waveform_encoder_of

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PretrainedConfig

SETTING = "training_seconds"  # in the configuration
# Twice as long as nearly all training recordings: more than utterances of one corpus differ among themselves, and less
# than an utterance differs from a call. One in a hundred does not count, since a corpus may have a forgotten minute.
FAR = 2.0


def refuse_unfit_durations(
    model: PreTrainedModel, extractor: FeatureExtractionMixin, seconds: Sequence[float], names: Sequence[str]
) -> None:
    """Raise an `AudioError` for the first recording that is too short or too long."""
    refuse_too_short(model, extractor, seconds, names)
    refuse_too_long(model, seconds, names)


def refuse_too_long(model: PreTrainedModel, seconds: Sequence[float], names: Sequence[str]) -> None:
    """Raise an `AudioError` for a recording that would take the memory of the machine: see `Family.longest_seconds`.

    A model with a fixed window cuts longer recordings.
    """
    family = family_of(model)
    for name, duration in zip(names, seconds, strict=True):
        if duration > family.longest_seconds and not family.has_fixed_window:
            raise AudioError(
                f"{name} lasts {duration / 60:.1f} min, but this model takes at most {family.longest_seconds / 60:.0f} "
                "min at once, because its memory grows with the duration",
                "cut it into utterances, or score it in windows (--window 20, window_seconds=20)",
            )


def refuse_too_short(
    model: PreTrainedModel, extractor: FeatureExtractionMixin, seconds: Sequence[float], names: Sequence[str]
) -> None:
    """Raise an `AudioError` for a recording that is shorter than one frame: HuBERT, wav2vec2 and WavLM need 25 ms.

    In a batch such a recording would be scored as the silence that pads it.
    """
    if (encoder := waveform_encoder_of(model)) is None:
        return
    shortest = samples_of_frame(encoder.config)
    for name, duration in zip(names, seconds, strict=True):
        if round(duration * extractor.sampling_rate) < shortest:
            raise AudioError(
                f"{name} lasts {1000 * duration:.1f} ms, too short: this model needs "
                f"{1000 * shortest / extractor.sampling_rate:.1f} ms",
                "remove it",
            )


def samples_of_frame(config: PretrainedConfig) -> int:
    """Return how many samples the convolutions of HuBERT, wav2vec2 or WavLM turn into one frame.

    >>> from transformers import HubertConfig
    >>> samples_of_frame(HubertConfig())
    400
    """
    samples = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


@dataclass(frozen=True)
class TrainingSeconds:
    """Durations of the recordings that a model was trained on, in seconds.

    Attributes:
        shortest, longest: the extremes.
        percentile_1, percentile_99: 98 of 100 recordings last from the first to the second.
    """

    shortest: float
    percentile_1: float
    percentile_99: float
    longest: float

    def __post_init__(self):
        if not 0 <= self.shortest <= self.percentile_1 <= self.percentile_99 <= self.longest < float("inf"):
            raise ValueError("the durations do not ascend from 0 or more")

    @classmethod
    def of_part(cls, seconds: Sequence[float]) -> TrainingSeconds:
        """Return the durations of a training part.

        >>> TrainingSeconds.of_part([1.0, 2.0, 3.0])
        TrainingSeconds(shortest=1.0, percentile_1=1.02, percentile_99=2.98, longest=3.0)
        """
        return cls(*np.quantile(np.asarray(seconds, np.float64), [0, 0.01, 0.99, 1]).round(6).tolist())

    @classmethod
    def of(cls, model: PreTrainedModel) -> TrainingSeconds | None:
        """Return what a training wrote into the configuration of a model, if it did.

        Raises:
            ModelError: if it is damaged.
        """
        if (found := mark(model.config, SETTING)) is None:
            return None
        try:
            return cls(**found)
        except (TypeError, ValueError) as error:
            name = model.config.name_or_path or type(model).__name__
            raise ModelError(
                f"{SETTING} in the config.json of {name} cannot be true ({error}): train again, or remove it"
            ) from error

    def write_to(self, model: PreTrainedModel) -> None:
        """Write it into the configuration of a model, with which it is saved and published."""
        setattr(model.config, SETTING, asdict(self))

    def remark(self, name: str, seconds: float, window_seconds: float | None = None) -> str | None:
        """Return a sentence on a recording that is far longer or shorter than those of the training, else None.

        Far is more than `FAR` times the 99th percentile, or less than the 1st one divided by it.

        Args:
            window_seconds: longest duration that is scored at once; a longer recording is divided into equal parts.

        >>> told = TrainingSeconds(1.2, 1.5, 5.3, 9.0).remark("call.wav", 612.0)
        >>> told.split("; ")[0], told.rpartition(": ")[2]
        ('call.wav lasts 612.0 s', 'score parts of it (--window 5, window_seconds=5)')
        >>> TrainingSeconds(1.2, 1.5, 5.3, 9.0).remark("call.wav", 612.0, window_seconds=5)
        """
        scored = seconds / max(1, ceil(seconds / window_seconds)) if window_seconds else seconds
        if self.percentile_1 / FAR <= scored <= self.percentile_99 * FAR:
            return None
        is_whole, longest = scored == seconds, max(1, floor(self.percentile_99))
        parts = "" if is_whole else f" and is scored in parts of {scored:.1f} s"
        if scored > self.percentile_99:
            advice = f"score {'' if is_whole else 'shorter '}parts of it (--window {longest}, window_seconds={longest})"
        else:
            advice = "trust its scores less" if is_whole else "score longer parts of it"
        return (
            f"{name} lasts {seconds:.1f} s{parts}; this model was trained on {self.shortest:.1f} to {self.longest:.1f} "
            f"s, mostly {self.percentile_1:.1f} to {self.percentile_99:.1f} s: {advice}"
        )
