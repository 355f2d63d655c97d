"""Configuration of the `lda` family."""

from __future__ import annotations

from dataclasses import field

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

FRAMES = ("all", "active", "both")


@strict
class LDAConfig(PreTrainedConfig):
    """The encoder outputs that are pooled, and what was chosen on training speakers.

    Args:
        encoder: the stock configuration of a HuBERT, wav2vec2, WavLM or Whisper encoder, as a dictionary.
        encoder_outputs: outputs of the encoder that are pooled; 0 is the input of its first layer. Empty: those of all
            layers but the last, which knows words better than voices.
        frames: the frames that are pooled: "all", or those that are "active", within 40 dB of the loudest one; "both"
            joins the statistics of the two.
        shrinkage: share of a multiple of the identity in the covariance of the head, in (0, 1].
        centred_shrinkage: the same for the head of centred embeddings.
        has_centred_head: True if the model can be adapted to a speaker.
        head_is_trained: True if the model is fitted.

    Raises:
        ValueError: for an unknown word, or a number out of its range.

    >>> LDAConfig(frames="active").model_type
    'ser_lda'
    """

    model_type = "ser_lda"
    # Outputs that the Trainer must not gather as predictions.
    keys_to_ignore_at_inference = ["centred_logits", "voices"]  # noqa: RUF012 (a class attribute in transformers too)

    encoder: dict = field(default_factory=dict)
    encoder_outputs: list = field(default_factory=list)
    frames: str = "all"
    shrinkage: float | int = 0.5
    centred_shrinkage: float | int = 0.5
    has_centred_head: bool = False
    head_is_trained: bool = False

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.frames not in FRAMES:
            raise ValueError(f"frames must be one of {', '.join(FRAMES)}, not {self.frames!r}")
        for name in ("shrinkage", "centred_shrinkage"):
            if not 0 < (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, not {value}")
