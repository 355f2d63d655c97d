"""Recordings that are too short or too long for a model are refused before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from transformers import PreTrainedModel

from ..audio import AudioError
from ..models.family import WAVEFORM_ENCODERS
from ..models.records import family_of

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin


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
    encoder = family_of(model).encoder_of(model)
    if not (isinstance(encoder, PreTrainedModel) and encoder.config.model_type in WAVEFORM_ENCODERS):
        return
    shortest = 1  # samples of which the convolutions make one frame
    for kernel, stride in zip(reversed(encoder.config.conv_kernel), reversed(encoder.config.conv_stride), strict=True):
        shortest = (shortest - 1) * stride + kernel
    for name, duration in zip(names, seconds, strict=True):
        if round(duration * extractor.sampling_rate) < shortest:
            raise AudioError(
                f"{name} lasts {1000 * duration:.1f} ms, too short: this model needs "
                f"{1000 * shortest / extractor.sampling_rate:.1f} ms",
                "remove it",
            )
