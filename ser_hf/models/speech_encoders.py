"""Builds the `speech_encoder` family on the body of any HuBERT, wav2vec2, WavLM or Whisper model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from transformers import FeatureExtractionMixin, WhisperConfig

from .speech_encoder import SpeechEncoderConfig, SpeechEncoderForAudioClassification
from .whisper_encoder import WhisperEncoderForAudioClassification

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Who names one of these settings of an encoder wants more of it than a stock classification head.
CHOOSING_SETTINGS = ("pooling", "dimensions")


def chooses_speech_encoder(settings: Mapping[str, Any]) -> bool:
    """Whether these settings of a model are those of the family `speech_encoder`, on whatever encoder."""
    return any(name in settings for name in CHOOSING_SETTINGS)


def build_on_body(
    model: PreTrainedModel, extractor: FeatureExtractionMixin, settings: Mapping[str, Any]
) -> tuple[SpeechEncoderForAudioClassification, FeatureExtractionMixin]:
    """A `speech_encoder` with the weights of a classifier's encoder, and that one's extractor.

    Args:
        model: a stock HuBERT, wav2vec2 or WavLM classifier, or a `whisper_encoder`.
        settings: of `SpeechEncoderConfig`, id2label and label2id among them.
    """
    is_whisper = isinstance(model, WhisperEncoderForAudioClassification)
    body = model.encoder if is_whisper else model.base_model
    config = SpeechEncoderConfig(**{"encoder": _stock_facts(body.config, is_whisper=is_whisper), **settings})
    ours = SpeechEncoderForAudioClassification(config)
    ours.encoder.load_state_dict(body.state_dict())
    if not is_whisper:
        extractor.return_attention_mask = True  # padding is never pooled, whatever the encoder makes of it
    return ours, extractor


def _stock_facts(config, *, is_whisper: bool) -> dict[str, Any]:
    """What a body's configuration says about the body: not its labels and not its old head."""
    facts = config.to_diff_dict()
    if is_whisper:
        known = {field.name for field in fields(WhisperConfig)}
        facts = {name: value for name, value in facts.items() if name in known} | {"model_type": "whisper"}
    of_a_head = (
        "id2label", "label2id", "problem_type", "architectures", "transformers_version", "head_is_trained",
        "calibration_temperature",
    )  # fmt: skip
    return {name: value for name, value in facts.items() if name not in of_a_head}
