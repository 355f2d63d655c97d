"""Convolutions below an LSTM, an LSTM with attention, or nothing, as an emotion classifier.

The convolutions make a shorter sequence of richer frames, which the LSTM reads.

The stack: Sainath et al. (2015), CLDNN, doi:10.1109/ICASSP.2015.7178838. Attention in place of the last state:
Mirsamadi, Barsoum and Zhang (2017), doi:10.1109/ICASSP.2017.7952552.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers.loss.loss_utils import ForSequenceClassificationLoss
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_hybrid import HybridStackedConfig
from .masked_layers import AttentivePooling, mean_over_time, run_lstm
from .modeling_hybrid import HybridPreTrainedModel, convolution_blocks, frames_of


class Reader(nn.Module):
    """Frames -> one vector: the LSTM's last state, or a weighted mean of all.  (b, t, f), (b, t) -> (b, h)"""

    def __init__(self, config: HybridStackedConfig):
        super().__init__()
        width = config.channels[-1] * config.pooled_bins
        self.lstm = nn.LSTM(width, config.lstm_hidden_size, batch_first=True)
        self.pooling = AttentivePooling(config.lstm_hidden_size) if config.recurrence == "attention-lstm" else None

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        states, last = run_lstm(self.lstm, frames, mask)
        return last if self.pooling is None else self.pooling(states, mask)


class HybridStackedForAudioClassification(HybridPreTrainedModel):
    """Image -> convolutions -> LSTM, LSTM with attention, or the mean -> emotion."""

    config_class = HybridStackedConfig
    config: HybridStackedConfig

    def __init__(self, config: HybridStackedConfig):
        super().__init__(config)
        self.blocks = convolution_blocks(config, config.kernel)
        self.reader = None if config.recurrence == "none" else Reader(config)
        width = config.channels[-1] * config.pooled_bins if self.reader is None else config.lstm_hidden_size
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
        frames, mask = frames_of(self.blocks, image, mask)  # (batch, fewer frames, channels * bins)
        clip = mean_over_time(frames, mask) if self.reader is None else self.reader(frames, mask)
        logits = self.classifier(self.dropout(clip))  # (batch, labels)
        loss = None if labels is None else ForSequenceClassificationLoss(labels, logits, self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def layers(self) -> list[list[nn.Module]]:
        """Return the trainable modules below the classifier, from the input to the output."""
        front = [] if self.front_end is None else [self.front_end]
        above = [] if self.reader is None else [[self.reader]]
        return [[*front, self.blocks[0]], *([block] for block in self.blocks[1:]), *above]
