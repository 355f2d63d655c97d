"""Convolutional branches beside a sequence model, as an emotion classifier.

The branches find local patterns of time and frequency at two scales; the Transformer (or the BLSTM with attention)
reads the whole clip. Both are pooled over time, concatenated and classified.

Transformer: Vaswani et al. (2017), arXiv:1706.03762. Attention over the states of a BLSTM: Mirsamadi, Barsoum and Zhang
(2017), doi:10.1109/ICASSP.2017.7952552.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from transformers.loss.loss_utils import ForSequenceClassificationLoss
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_hybrid import HybridParallelConfig
from .masked_layers import AttentivePooling, mean_of_neighbours, mean_over_time, run_lstm
from .modeling_hybrid import HybridPreTrainedModel, convolution_blocks, frames_of


class TransformerBranch(nn.Module):
    """Frames -> self-attention over the clip -> mean.  (b, t, f), (b, t) -> (b, d_model)"""

    def __init__(self, config: HybridParallelConfig):
        super().__init__()
        self.projection = nn.Linear(config.in_channels * config.feature_size, config.d_model)
        self.dropout = nn.Dropout(config.sequence_dropout)
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                config.d_model, config.encoder_attention_heads, config.encoder_ffn_dim, config.sequence_dropout,
                batch_first=True, norm_first=True,
            ),
            config.encoder_layers, nn.LayerNorm(config.d_model), enable_nested_tensor=False,
        )  # fmt: skip

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.projection(frames)
        hidden = self.dropout(hidden + sinusoids(*hidden.shape[1:]).to(hidden))
        return mean_over_time(self.encoder(hidden, src_key_padding_mask=~mask), mask)


class BLSTMBranch(nn.Module):
    """Frames -> states of both directions -> weighted mean.  (b, t, f), (b, t) -> (b, d_model)"""

    def __init__(self, config: HybridParallelConfig):
        super().__init__()
        self.projection = nn.Linear(config.in_channels * config.feature_size, config.d_model)
        self.dropout = nn.Dropout(config.sequence_dropout)
        self.lstm = nn.LSTM(config.d_model, config.d_model // 2, batch_first=True, bidirectional=True)
        self.pooling = AttentivePooling(config.d_model)

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states, _ = run_lstm(self.lstm, self.dropout(self.projection(frames)), mask)
        return self.pooling(states, mask)


class HybridParallelForAudioClassification(HybridPreTrainedModel):
    """Image -> convolutions with small and with large kernels, beside a Transformer or a BLSTM -> emotion."""

    config_class = HybridParallelConfig
    config: HybridParallelConfig

    def __init__(self, config: HybridParallelConfig):
        super().__init__(config)
        self.branches = nn.ModuleList(convolution_blocks(config, kernel) for kernel in config.kernels)
        self.sequence = {"transformer": TransformerBranch, "blstm": BLSTMBranch}[config.sequence](config)
        width = len(config.kernels) * config.channels[-1] * config.pooled_bins + config.d_model
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(width, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_values: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Classify clips.

        Args:
            input_features: (batch, frames, in_channels * feature_size).
            attention_mask: 1 for real frames (or samples), 0 for padding; None means all real.
            input_values: waveforms (batch, samples), for the front end "leaf".
            labels: class ids, (batch,); for a multi-label model 0 or 1 for each label, (batch, labels).
        """
        image, mask = self.image_of(input_features, input_values, attention_mask)  # (batch, channels, frames, bins)
        views = [mean_over_time(*frames_of(blocks, image, mask)) for blocks in self.branches]
        views.append(self.sequence(*mean_of_neighbours(image.transpose(1, 2).flatten(2), mask, self.config.frame_pool)))
        logits = self.classifier(self.dropout(torch.cat(views, dim=1)))  # (batch, labels)
        loss = None if labels is None else ForSequenceClassificationLoss(labels, logits, self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def layers(self) -> list[list[nn.Module]]:
        """Return the trainable modules below the classifier, from the input to the output."""
        by_depth = [list(blocks) for blocks in zip(*self.branches, strict=True)]
        front = [] if self.front_end is None else [self.front_end]
        return [front + by_depth[0], *by_depth[1:], [self.sequence]]


def sinusoids(frames: int, size: int) -> torch.Tensor:
    """Return the positions (frames, size) of Vaswani et al., section 3.5, for clips of any length."""
    rates = torch.exp(-math.log(10_000) * torch.arange(0, size, 2) / size)
    angles = torch.arange(frames)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
