"""Configuration of the `spectrogram` family."""

from __future__ import annotations

from dataclasses import field

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class SpectrogramConfig(PreTrainedConfig):
    """An image backbone and the emotion head on top of it.

    Args:
        backbone: any architecture of `timm.list_models()`, such as "resnet18", or "vggish".
        backbone_args: further arguments of `timm.create_model`, such as {"pad_type": "same"}.
        in_channels: 1, or 3 equal channels; both can use the ImageNet weights of a stem.
        classifier_dropout: share of the pooled features that is dropped before the classifier, in [0, 1).

    >>> SpectrogramConfig(backbone="efficientnet_b0").model_type
    'ser_spectrogram'
    """

    model_type = "ser_spectrogram"

    backbone: str = "resnet18"
    backbone_args: dict = field(default_factory=dict)
    in_channels: int = 1
    classifier_dropout: float | int = 0.2
