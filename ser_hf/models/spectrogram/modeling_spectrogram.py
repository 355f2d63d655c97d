"""Emotion classifier on a log-mel spectrogram, treated as an image.

Any convolutional backbone of timm (Wightman, doi:10.5281/zenodo.4414861) or VGGish (Hershey et al. 2017,
arXiv:1609.09430), its global average, and a linear classifier.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.loss.loss_utils import ForSequenceClassificationLoss
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_spectrogram import SpectrogramConfig
from .vggish import VGGish


class SpectrogramForAudioClassification(PreTrainedModel):
    """Log-mel image -> backbone -> global average -> emotion.

    The scores of a clip depend on the padding after it, because convolutions mix padding into the clip. Put only clips
    of exactly the same length in a batch, or let the extractor crop all clips to one length.
    """

    config_class = SpectrogramConfig
    config: SpectrogramConfig
    base_model_prefix = "backbone"
    main_input_name = "input_features"
    supports_gradient_checkpointing = True

    def __init__(self, config: SpectrogramConfig):
        super().__init__(config)
        self.backbone = create_backbone(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        # Some backbones have a wider layer after pooling; its width is in this attribute.
        width = getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features
        self.classifier = nn.Linear(width, config.num_labels)
        self.post_init()

    def _init_weights(self, module):
        # timm or the checkpoint has set the backbone; `post_init` would overwrite all convolutions.
        if not any(module is part for part in self.backbone.modules()):
            super()._init_weights(module)

    def forward(
        self,
        input_features: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Classify spectrograms.

        Args:
            input_features: log-mel, (batch, frames, mel bins).
            attention_mask: ignored; accepted because extractors return it. Frames after a clip's end are part of the
                image.
            labels: class ids, (batch,); for a multi-label model 0 or 1 for each label, (batch, labels).
        """
        images = input_features[:, None].expand(-1, self.config.in_channels, -1, -1)  # (batch, channels, frames, bins)
        # Channels last: the layout that convolutions of CPUs and tensor cores are fast in.
        features = self.backbone(images.contiguous(memory_format=torch.channels_last))  # (batch, features)
        logits = self.classifier(self.dropout(features))
        loss = None if labels is None else ForSequenceClassificationLoss(labels, logits, self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def train(self, mode: bool = True) -> SpectrogramForAudioClassification:
        """Set the mode as usual, but frozen batch norms keep their running statistics."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and not any(
                parameter.requires_grad for parameter in module.parameters()
            ):
                module.eval()
        return self

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs=None, **kwargs) -> None:
        """Save memory at the cost of time: activations are computed again in the backward pass."""
        self.backbone.set_grad_checkpointing(True)


def create_backbone(config: SpectrogramConfig) -> nn.Module:
    """Return a backbone with random weights: (batch, channels, frames, mel bins) -> (batch, num_features).

    Raises:
        ValueError: for an architecture that timm does not know, or channels that the backbone cannot use.
    """
    if config.in_channels not in (1, 3):
        raise ValueError(f"in_channels must be 1, or 3 equal channels, not {config.in_channels}")
    if config.backbone == "vggish":
        if config.in_channels != 1:
            raise ValueError(f"VGGish takes 1 channel, not {config.in_channels}: leave in_channels out")
        return VGGish()
    try:  # for imports outside of a `try`, transformers requires the package when this file is loaded from the Hub
        import timm  # slow, and not everyone needs it
    except ImportError as error:
        raise ImportError(f"the backbone {config.backbone!r} needs timm: pip install timm") from error

    if not timm.is_model(config.backbone):
        nearest = timm.list_models(f"*{config.backbone.split('_')[0]}*")[:5]
        raise ValueError(f"timm has no architecture {config.backbone!r} (similar: {', '.join(nearest) or 'none'})")
    # A configuration may come from a stranger: it may describe an architecture, but not make us read or fetch a file.
    if foreign := [
        key for key in config.backbone_args if "pretrained" in key or key in ("checkpoint_path", "cache_dir")
    ]:
        raise ValueError(f"backbone_args must not contain {foreign[0]!r}: weights come only with the model")
    backbone = timm.create_model(
        config.backbone, pretrained=False, in_chans=config.in_channels, num_classes=0, **config.backbone_args
    )
    if hasattr(backbone, "patch_embed"):
        raise ValueError(f"{config.backbone} needs images of a fixed size: use a convolutional backbone")
    return backbone
