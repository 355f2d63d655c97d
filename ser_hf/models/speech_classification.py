"""A class of other authors that transformers lacks: mean over frames, linear layer, tanh, linear layer.

Published models name it in their config.json. The best known estimates arousal, dominance and valence: Wagner et al.
(2022), arXiv:2203.07378. They are scored here, and never trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2Model, Wav2Vec2PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class SpeechClassificationHead(nn.Module):
    """Linear layer, tanh, linear layer: (batch, hidden) -> (batch, labels)."""

    def __init__(self, config: Wav2Vec2Config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.out_proj(self.dense(hidden).tanh())


class Wav2Vec2ForSpeechClassification(Wav2Vec2PreTrainedModel):
    """wav2vec2 -> mean over all frames -> head. Put only recordings of the same length in a batch."""

    def __init__(self, config: Wav2Vec2Config):
        super().__init__(config)
        self.wav2vec2 = Wav2Vec2Model(config)
        self.classifier = SpeechClassificationHead(config)
        self.post_init()

    def forward(
        self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Return the logits of waveforms, (batch, samples)."""
        hidden = self.wav2vec2(input_values, attention_mask=attention_mask).last_hidden_state
        return SequenceClassifierOutput(logits=self.classifier(hidden.mean(dim=1)))


def is_speech_classification(settings: Mapping[str, Any]) -> bool:
    """True if the settings of a checkpoint are those of this class, with the mean over frames."""
    return (
        settings.get("architectures") == [Wav2Vec2ForSpeechClassification.__name__]
        and settings.get("model_type") == "wav2vec2"
        and settings.get("pooling_mode") == "mean"
    )
