"""Configuration of the `speech_encoder` family."""

from __future__ import annotations

from dataclasses import field

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

POOLINGS = ("mean", "statistics", "attentive")


@strict
class SpeechEncoderConfig(PreTrainedConfig):
    """A speech encoder, the pooling of its frames, and the heads on top.

    Args:
        encoder: the stock configuration of a HuBERT, wav2vec2, WavLM or Whisper encoder, as a dictionary.
        pooling: over real frames: "mean" and "statistics" (mean and standard deviation) pool the frames of each layer,
            then mix the layers; "attentive" mixes the layers, then pools with learned weights of the frames.
        dimensions: True to add a second head that estimates valence, arousal and dominance.
        classifier_proj_size: width of the hidden layer that both heads share.
        attention_size: width of the hidden layer that computes the weights of frames.
        statistics_dropout: share of the pooled vector that is dropped, in [0, 1).
        classifier_dropout: share of the hidden layer that is dropped before the heads, in [0, 1).

    >>> SpeechEncoderConfig(pooling="attentive").model_type
    'ser_speech_encoder'
    """

    model_type = "ser_speech_encoder"
    # Outputs that the Trainer must not gather as predictions.
    keys_to_ignore_at_inference = ["dimensions", "embeddings"]  # noqa: RUF012 (a class attribute in transformers too)

    encoder: dict = field(default_factory=dict)
    pooling: str = "mean"
    dimensions: bool = False
    classifier_proj_size: int = 256
    attention_size: int = 128  # Okabe et al. use 64 under pooling of 1500 units, ECAPA-TDNN 128
    statistics_dropout: float | int = 0.2
    classifier_dropout: float | int = 0.2

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, not {self.pooling!r}")
