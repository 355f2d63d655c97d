"""Configuration of the `fusion` family."""

from __future__ import annotations

from dataclasses import field

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .ssl_encoder import encoder_size

INPUTS = ("both", "log_mel", "ssl")


@strict
class FusionConfig(PreTrainedConfig):
    """The inputs of a frame, and the dilated convolutions on top.

    Args:
        inputs: "both", or "log_mel" or "ssl" alone: the same network on half of its input.
        log_mel_bins: values of a log-mel frame.
        encoder: the stock configuration of a HuBERT, wav2vec2, WavLM or Whisper encoder, as a dictionary; empty if
            `inputs` is "log_mel".
        ssl_layer: the encoder layer that is used, from 1; the layers above are not built. None mixes the input of the
            first layer and the outputs of all layers with learned weights; a cached frame then holds all of them.
        hidden_size: channels of the convolutions.
        kernel_size: frames in a kernel, odd.
        dilations: distance of these frames, one number for each convolution: 1, 2, 4, 8 with a kernel of 3 cover 31
            frames, 0.6 s.
        embedding_size: width of the utterance's embedding.
        input_dropout: share of a frame's values that is dropped before the convolutions, in [0, 1).
        hidden_dropout: share of each convolution's channels that is dropped, in [0, 1).
        classifier_dropout: share of the embedding that is dropped before the classifier, in [0, 1).

    >>> FusionConfig(inputs="log_mel", dilations=[1, 2]).model_type
    'ser_fusion'
    """

    model_type = "ser_fusion"
    # Outputs that the Trainer must not gather as predictions; it appends to this, so it must be a list.
    keys_to_ignore_at_inference = ["embeddings"]  # noqa: RUF012 (a class attribute in transformers too)

    inputs: str = "both"
    log_mel_bins: int = 128
    encoder: dict = field(default_factory=dict)
    ssl_layer: int | None = None
    hidden_size: int = 128
    kernel_size: int = 3
    dilations: list[int] | tuple[int, ...] = (1, 2, 4, 8)
    embedding_size: int = 128
    input_dropout: float | int = 0.2
    hidden_dropout: float | int = 0.2
    classifier_dropout: float | int = 0.3

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.dilations = list(self.dilations)
        if self.inputs not in INPUTS:
            raise ValueError(f"inputs must be one of {', '.join(INPUTS)}, not {self.inputs!r}")
        if self.kernel_size % 2 == 0 or self.kernel_size < 1:
            raise ValueError(f"kernel_size must be an odd number, not {self.kernel_size}")
        if min(self.dilations, default=1) < 1:
            raise ValueError(f"dilations must be 1 or more, not {self.dilations}")
        if self.encoder and self.ssl_layer is not None:
            layers = encoder_size(self.encoder)[0] - 1
            if not 1 <= self.ssl_layer <= layers:
                raise ValueError(f"ssl_layer must be 1 to {layers} for this encoder, not {self.ssl_layer}")
