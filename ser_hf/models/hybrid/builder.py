"""Architectures of the `hybrid` family by name, with random weights, each with its extractor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import Wav2Vec2FeatureExtractor

from ..family import Request
from ..front_end import build_front_end
from .configuration_hybrid import HybridParallelConfig, HybridStackedConfig
from .modeling_parallel import HybridParallelForAudioClassification
from .modeling_stacked import HybridStackedForAudioClassification

if TYPE_CHECKING:
    from torch import nn
    from transformers import FeatureExtractionMixin

HYBRIDS = {
    "parallel-transformer": (HybridParallelConfig, {"sequence": "transformer"}),
    "parallel-blstm": (HybridParallelConfig, {"sequence": "blstm"}),
    "cnn-lstm": (HybridStackedConfig, {"recurrence": "lstm"}),
    "cnn-attention-lstm": (HybridStackedConfig, {"recurrence": "attention-lstm"}),
    "cnn": (HybridStackedConfig, {"recurrence": "none"}),
}
# 64 bands, a frame every 16 ms, every clip at its own length.
HYBRID_FRONT_END = {"feature_size": 64, "n_fft": 1024, "win_length": 1024, "hop_length": 256}
_MODELS = {
    HybridParallelConfig: HybridParallelForAudioClassification,
    HybridStackedConfig: HybridStackedForAudioClassification,
}


def build(
    request: Request,
) -> tuple[HybridParallelForAudioClassification | HybridStackedForAudioClassification, FeatureExtractionMixin]:
    """Build a network of `HYBRIDS` with random weights, and its extractor.

    Raises:
        ValueError: for settings that the extractor does not have, or that contradict each other.
    """
    settings, front_end = request.settings, request.front_end
    config_class, own = HYBRIDS[request.name_or_path]
    if settings.get("front_end") == "leaf":
        if front_end:
            raise ValueError("the front end leaf has trainable filters: leave the settings of log-mel features out")
        # The level of the voice carries emotion, so the waveform is not normalised to unit variance.
        extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
        image, instead = {"sampling_rate": extractor.sampling_rate}, "leave it out"
    else:
        extractor = build_front_end({**HYBRID_FRONT_END, **(front_end or {})})
        image = {
            "feature_size": extractor.coefficients or extractor.feature_size, "in_channels": 1 + extractor.deltas,
            "sampling_rate": extractor.sampling_rate,
        }  # fmt: skip
        instead = "set front_end feature_size, deltas or sampling_rate"
    if said := [name for name in image if name in settings]:
        raise ValueError(f"{said[0]} follows from the extractor: {instead}")
    config = config_class(**{**own, **image, **settings})
    return _MODELS[config_class](config), extractor


def hybrid_layers(
    model: HybridParallelForAudioClassification | HybridStackedForAudioClassification,
) -> list[list[nn.Parameter]]:
    """Return a network's parameters from the input to the output: the first convolutions, then depth by depth."""
    return [[parameter for module in layer for parameter in module.parameters()] for layer in model.layers()]
