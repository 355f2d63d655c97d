"""Configuration of the `whisper_encoder` family."""

from __future__ import annotations

from huggingface_hub.dataclasses import strict
from transformers import WhisperConfig


@strict
class WhisperEncoderConfig(WhisperConfig):
    """A stock Whisper configuration and the emotion head on top of its encoder.

    Args:
        classifier_proj_size: width of the head's hidden layer.
        statistics_dropout: share of the mixed layer statistics that is dropped before the head, in [0, 1).
        classifier_dropout: share of the head's hidden layer that is dropped, in [0, 1).

    >>> WhisperEncoderConfig(encoder_layers=2).model_type
    'ser_whisper_encoder'
    """

    model_type = "ser_whisper_encoder"

    classifier_proj_size: int = 512
    statistics_dropout: float | int = 0.5
    classifier_dropout: float | int = 0.5
    is_encoder_decoder: bool = False
