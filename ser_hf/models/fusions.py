"""Builds the `fusion` family: log-mel frames beside those of any HuBERT, wav2vec2, WavLM or Whisper encoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from transformers import WhisperConfig

from ..features.feature_extraction_fusion import FusionFeatureExtractor
from .backbones import build_front_end
from .fusion import FusionConfig, FusionForAudioClassification
from .fusion.ssl_encoder import encoder_size
from .whisper_encoder import WhisperEncoderConfig, WhisperEncoderForAudioClassification

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel

FUSION = "fusion"  # the name that `build_classifier` answers to
# 128 bands as in the published fusions; windows of 25 ms.
FRONT_END = {"feature_size": 128, "n_fft": 1024, "win_length": 400, "hop_length": 320, "do_normalize": False}


def build_fusion_classifier(
    body: tuple[PreTrainedModel, FeatureExtractionMixin] | None,
    settings: Mapping[str, Any],
    *,
    front_end: Mapping[str, Any] | None = None,
) -> tuple[FusionForAudioClassification, FusionFeatureExtractor]:
    """A `fusion` classifier with the weights of another classifier's encoder, and the extractor that feeds it.

    Args:
        body: a stock HuBERT, wav2vec2 or WavLM classifier or a `whisper_encoder`, and its extractor; None without.
        settings: of `FusionConfig`, id2label and label2id among them. Without `ssl_layer` the middle one is heard: the
            layers that carry emotion lie there (Yang et al. 2021, SUPERB, arXiv:2105.01051).
        front_end: settings of `LogMelFeatureExtractor` that replace ours.

    Raises:
        ValueError: for settings that contradict each other.
    """
    inputs = settings.get("inputs", FusionConfig.inputs)
    if (body is None) != (inputs == "log_mel"):
        raise ValueError(
            f"inputs={inputs} hears no encoder: leave ssl out" if body is not None
            else f"inputs={inputs} needs an encoder: name its checkpoint, as in ssl=facebook/hubert-base-ls960"
        )  # fmt: skip
    if inputs == "ssl" and front_end:
        raise ValueError("inputs=ssl hears no log-mel frames: leave front_end out")
    own, ssl, middle = dict(FRONT_END), None, {}
    if body is not None:
        encoder, facts, ssl = _take_apart(*body)
        own["hop_length"] = _samples_per_frame(facts, ssl)
        middle = {"encoder": facts, "ssl_layer": encoder_size(facts)[0] // 2}
    log_mel = None if inputs == "ssl" else build_front_end({**own, **(front_end or {})})
    if log_mel is not None and body is not None and log_mel.hop_length != own["hop_length"]:
        raise ValueError(
            f"hop_length is {log_mel.hop_length}, but a frame of this encoder lasts {own['hop_length']} samples"
        )
    bins = {} if log_mel is None else {"log_mel_bins": log_mel.width}
    model = FusionForAudioClassification(FusionConfig(**{**middle, **settings, **bins}))
    if body is not None:
        weights = encoder.state_dict()  # more than are needed, where the layers above are left out
        model.encoder.load_state_dict({name: weights[name] for name in model.encoder.state_dict()})
    return model, FusionFeatureExtractor(None if log_mel is None else log_mel.to_dict(), ssl)


def _take_apart(
    model: PreTrainedModel, extractor: FeatureExtractionMixin
) -> tuple[PreTrainedModel, dict[str, Any], dict[str, Any]]:
    """The encoder of a classifier, its stock configuration without labels and head, its extractor's settings."""
    settings = extractor.to_dict()
    encoders = ("hubert", "wav2vec2", "wavlm", WhisperEncoderConfig.model_type)
    if model.config.model_type not in encoders:
        raise ValueError(
            f"ssl is a {model.config.model_type!r} model, wanted a HuBERT, wav2vec2, WavLM or Whisper checkpoint"
        )
    if isinstance(model, WhisperEncoderForAudioClassification):
        encoder, known = model.encoder, {field.name for field in fields(WhisperConfig)}
        facts = {name: value for name, value in encoder.config.to_diff_dict().items() if name in known}
        facts["model_type"], settings["feature_extractor_type"] = "whisper", "WhisperFeatureExtractor"
    else:
        encoder = model.base_model
        facts = encoder.config.to_diff_dict()
    of_a_head = (
        "id2label", "label2id", "problem_type", "architectures", "transformers_version", "head_is_trained",
        "calibration_temperature",
    )  # fmt: skip
    return encoder, {name: value for name, value in facts.items() if name not in of_a_head}, settings


def _samples_per_frame(encoder: Mapping[str, Any], extractor: Mapping[str, Any]) -> int:
    if encoder["model_type"] == "whisper":
        return 2 * extractor["hop_length"]  # its second convolution halves the frames
    return math.prod(encoder["conv_stride"])
