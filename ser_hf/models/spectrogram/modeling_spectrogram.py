"""Emotion classifier on a log-mel spectrogram that is looked at as an image.

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

    Convolutions smear the padding after a clip into it, so a clip's scores change with the padding around it: score
    clips of exactly one length together, or crop all of them to one length in the extractor.
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
        # Some backbones widen their features once more after pooling, and say so here.
        width = getattr(self.backbone, "head_hidden_size", None) or self.backbone.num_features
        self.classifier = nn.Linear(width, config.num_labels)
        self.post_init()

    def _init_weights(self, module):
        # timm and the checkpoint know better about the backbone, and `post_init` would draw every convolution anew.
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
            attention_mask: taken, since extractors give it, and not used: frames after a clip's end are part of the
                image.
            labels: class ids, (batch,); where several emotions may be present 0 or 1 for each,
                (batch, labels).
        """
        images = input_features[:, None].expand(-1, self.config.in_channels, -1, -1)  # (batch, channels, frames, bins)
        # Channels last: the layout that convolutions of CPUs and tensor cores are fast in.
        features = self.backbone(images.contiguous(memory_format=torch.channels_last))  # (batch, features)
        logits = self.classifier(self.dropout(features))
        loss = None if labels is None else ForSequenceClassificationLoss(labels, logits, self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def train(self, mode: bool = True) -> SpectrogramForAudioClassification:
        """As usual, but batch norms that do not learn keep their running statistics as well."""
        super().train(mode)
        for module in self.backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and not any(
                parameter.requires_grad for parameter in module.parameters()
            ):
                module.eval()
        return self

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs=None, **kwargs) -> None:
        """Trades time for memory: activations are computed again in the backward pass."""
        self.backbone.set_grad_checkpointing(True)


def create_backbone(config: SpectrogramConfig) -> nn.Module:
    """The backbone with random weights: images (batch, channels, frames, mel bins) -> features (batch, num_features).

    Raises:
        ValueError: for an architecture that timm does not know, or for channels that a backbone cannot take.
    """
    if config.in_channels not in (1, 3):
        raise ValueError(f"in_channels is {config.in_channels}, wanted 1, or 3 equal channels")
    if config.backbone == "vggish":
        if config.in_channels != 1:
            raise ValueError(f"VGGish takes 1 channel, not {config.in_channels}: leave in_channels out")
        return VGGish()
    try:  # transformers demands every import outside a `try`, even here, of whoever loads this file from the Hub
        import timm  # slow, and not everyone needs it
    except ImportError as error:
        raise ImportError(f"the backbone {config.backbone!r} is timm's: pip install timm") from error

    if not timm.is_model(config.backbone):
        nearest = timm.list_models(f"*{config.backbone.split('_')[0]}*")[:5]
        raise ValueError(f"timm knows no architecture {config.backbone!r} (near it: {', '.join(nearest) or 'nothing'})")
    # A configuration may come from a stranger: it describes an architecture, and makes nobody read or fetch a file.
    if foreign := [
        key for key in config.backbone_args if "pretrained" in key or key in ("checkpoint_path", "cache_dir")
    ]:
        raise ValueError(f"backbone_args may not name {foreign[0]!r}: weights come with the model alone")
    backbone = timm.create_model(
        config.backbone, pretrained=False, in_chans=config.in_channels, num_classes=0, **config.backbone_args
    )
    if hasattr(backbone, "patch_embed"):
        raise ValueError(f"{config.backbone} takes images of one size only: choose a convolutional backbone")
    return backbone
