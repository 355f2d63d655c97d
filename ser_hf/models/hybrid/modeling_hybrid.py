"""The common base of both networks of the `hybrid` family: their input image and their convolutions."""

from __future__ import annotations

from itertools import chain, pairwise

import torch
from torch import nn
from transformers import PreTrainedModel, initialization

from .configuration_hybrid import HybridConfig
from .learnable_front_end import LearnableFrontEnd, mel_like
from .masked_layers import ConvolutionBlock


class HybridPreTrainedModel(PreTrainedModel):
    """Base class. Its input is log-mel features, or waveforms for a trainable filterbank."""

    config: HybridConfig
    padding_invariant = True

    def __init__(self, config: HybridConfig):
        super().__init__(config)
        self.front_end = None
        self.main_input_name = "input_features"
        if config.front_end == "leaf":
            self.front_end = LearnableFrontEnd(config.feature_size, config.sampling_rate)
            self.main_input_name = "input_values"

    def _init_weights(self, module: nn.Module) -> None:
        # PyTorch's own scale for each layer: the 0.02 of transformers is that of wide Transformers.
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.LSTM)):
            module.reset_parameters()
        elif isinstance(module, LearnableFrontEnd):
            for name, values in mel_like(module.bins, module.sampling_rate).items():
                initialization.copy_(getattr(module, name), values)
        else:
            super()._init_weights(module)

    def train(self, mode: bool = True) -> HybridPreTrainedModel:
        """Set the mode as usual, but frozen layers stay in inference mode: fixed running statistics, no dropout."""
        super().train(mode)
        for module in chain.from_iterable(self.layers()):
            if not any(parameter.requires_grad for parameter in module.parameters()):
                module.eval()
        return self

    def image_of(
        self,
        input_features: torch.Tensor | None,
        input_values: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the image (batch, channels, frames, bins), zero after a clip's end, and a mask (batch, frames)."""
        given = input_features if self.front_end is None else input_values
        if given is None:
            raise ValueError(f"a model with the front end {self.config.front_end} needs {self.main_input_name}")
        mask = torch.ones(given.shape[:2], device=given.device) if attention_mask is None else attention_mask
        if self.front_end is not None:
            return self.front_end(given, mask.bool())
        channels, bins = self.config.in_channels, self.config.feature_size
        if given.shape[-1] != channels * bins:
            raise ValueError(f"frames must have {channels} channels of {bins} bins, not {given.shape[-1]} features")
        image = given.unflatten(-1, (channels, bins)).transpose(1, 2) * mask[:, None, :, None]
        # Channels last: the layout that convolutions of CPUs and tensor cores are fast in.
        return image.contiguous(memory_format=torch.channels_last), mask.bool()


def convolution_blocks(config: HybridConfig, kernel: int) -> nn.ModuleList:
    """Return blocks that map (b, in_channels, t, f) to (b, channels[-1], t / all pools, pooled_bins)."""
    widths = pairwise([config.in_channels, *config.channels])
    return nn.ModuleList(
        ConvolutionBlock(below, above, kernel, pool, config.conv_dropout)
        for (below, above), pool in zip(widths, config.pools, strict=True)
    )


def frames_of(blocks: nn.ModuleList, image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the blocks' output frame by frame, with its mask: (b, c, t, f), (b, t) -> (b, t', c' * f'), (b, t')."""
    for block in blocks:
        image, mask = block(image, mask)
    return image.transpose(1, 2).flatten(2), mask
