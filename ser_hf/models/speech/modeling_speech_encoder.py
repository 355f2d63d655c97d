"""Classifier of emotion and its dimensions on any self-supervised speech encoder.

The outputs of all layers are mixed with learned weights, because the middle layers carry most emotion: Yang et al.
(2021), SUPERB, arXiv:2105.01051. Frames are pooled by their mean, by mean and standard deviation, or by attentive
statistics: Okabe et al. (2018), arXiv:1803.10963.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_speech_encoder import SpeechEncoderConfig
from .ssl_encoder import (
    LAYER_WEIGHT_GAIN,
    AttentiveStatisticsPooling,
    create_encoder,
    encode,
    encoder_size,
    is_disturbed_by_padding,
    statistics_of_layers,
)


@dataclass
class SpeechEncoderOutput(ModelOutput):
    """The output of `SpeechEncoderForAudioClassification`.

    Attributes:
        loss: loss of the emotion head, if labels are given.
        logits: (batch, labels).
        dimensions: valence, arousal and dominance, (batch, 3), each from 0, the low end of its scale, to 1.
        embeddings: the input of both heads, (batch, classifier_proj_size).
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    dimensions: torch.Tensor | None = None
    embeddings: torch.Tensor | None = None


class LayerMix(nn.Module):
    """Standardises every layer's values and mixes the layers.  (b, layers, ..., size) -> (b, ..., size)"""

    def __init__(self, layers: int, size: int):
        super().__init__()
        # Of the training part (see `fit_statistics`); persistent, so that they travel with the weights.
        self.register_buffer("mean", torch.zeros(layers, size))
        self.register_buffer("std", torch.ones(layers, size))
        self.layer_weights = nn.Parameter(torch.zeros(layers))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        shape = (self.mean.shape[0], *[1] * (values.dim() - 3), self.mean.shape[1])
        standardised = (values - self.mean.view(shape)) / self.std.view(shape)
        return torch.einsum("l,bl...->b...", (LAYER_WEIGHT_GAIN * self.layer_weights).softmax(dim=0), standardised)


class SpeechEncoderForAudioClassification(PreTrainedModel):
    """Speech encoder -> learned layer mix -> pooling over real frames -> hidden layer -> emotion, and its dimensions.

    The input is waveforms (HuBERT, wav2vec2, WavLM) or log-mel features (Whisper) from the encoder's own extractor.
    """

    config_class = SpeechEncoderConfig
    config: SpeechEncoderConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: SpeechEncoderConfig):
        super().__init__(config)
        self.encoder = create_encoder(config.encoder)
        self.main_input_name = self.encoder.main_input_name
        layers, width = encoder_size(config.encoder)
        if config.pooling == "attentive":
            self.mix = LayerMix(layers, width)  # of frames, before they are pooled
            self.pooling = AttentiveStatisticsPooling(width, config.attention_size)
        else:
            self.mix = LayerMix(layers, 2 * width)  # of each layer's statistics
        self.statistics_dropout = nn.Dropout(config.statistics_dropout)
        self.projector = nn.Linear(width if config.pooling == "mean" else 2 * width, config.classifier_proj_size)
        self.classifier_dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.classifier_proj_size, config.num_labels)
        if config.dimensions:
            self.regressor = nn.Linear(config.classifier_proj_size, 3)
        self.post_init()

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, LayerMix):
            # from_pretrained builds on the meta device: values missing in a checkpoint must be set here.
            nn.init.zeros_(module.mean)
            nn.init.ones_(module.std)
            nn.init.zeros_(module.layer_weights)

    @property
    def padding_invariant(self) -> bool:
        """True if a recording has the same scores alone and padded; group norm in the encoder depends on padding."""
        return not is_disturbed_by_padding(self.encoder)

    @property
    def cached_shape(self) -> tuple[int, int]:
        """The shape of `embed` for one utterance: (layers + 1, 2 hidden)."""
        layers, width = encoder_size(self.config.encoder)
        return layers, 2 * width

    def forward(
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        layer_statistics: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SpeechEncoderOutput:
        """Classify waveforms, log-mel features, or statistics from `embed`; estimate dimensions if there is a head.

        Args:
            input_values: waveforms, (batch, samples).
            attention_mask: 1 for real samples or frames, 0 for padding; None means all are real.
            input_features: for Whisper, instead of waveforms: log-mel, (batch, frames, mel bins).
            layer_statistics: instead of either: results of `embed`, (batch, layers + 1, 2 hidden).
            labels: class ids (batch,), or a distribution over classes (batch, labels); for
                `problem_type="multi_label_classification"` one probability for each label.
        """
        pooled = self._pool(input_values, attention_mask, input_features, layer_statistics)  # (batch, 1 or 2 hidden)
        embeddings = nn.functional.gelu(self.projector(self.statistics_dropout(pooled)))
        hidden = self.classifier_dropout(embeddings)
        logits = self.classifier(hidden)
        dimensions = self.regressor(hidden).sigmoid() if self.config.dimensions else None
        loss = None
        if labels is not None:
            is_multi_label = self.config.problem_type == "multi_label_classification"
            losses = nn.functional.binary_cross_entropy_with_logits if is_multi_label else nn.functional.cross_entropy
            loss = losses(logits, labels.to(logits.dtype) if labels.dim() > 1 else labels)
        return SpeechEncoderOutput(loss=loss, logits=logits, dimensions=dimensions, embeddings=embeddings)

    def embed(
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return mean and deviation over real frames of every layer's output: (batch, layers + 1, 2 hidden)."""
        states, mask = self._encode(input_values, attention_mask, input_features)
        return statistics_of_layers(states, mask)

    @torch.no_grad()
    def fit_statistics(self, layer_statistics: torch.Tensor) -> None:
        """Standardise with the mean and deviation of these (utterances, layers + 1, 2 hidden): training part only."""
        if self.config.pooling == "attentive":  # of frames, every utterance counting the same
            means, deviations = layer_statistics.chunk(2, dim=-1)
            mean = means.mean(dim=0)
            std = (deviations**2 + (means - mean) ** 2).mean(dim=0).sqrt()
        else:
            mean, std = layer_statistics.mean(dim=0), layer_statistics.std(dim=0)
        self.mix.mean.copy_(mean)
        self.mix.std.copy_(std.clamp_min(1e-5))

    def train(self, mode: bool = True) -> SpeechEncoderForAudioClassification:
        """Set the mode as usual, but a frozen encoder stays in inference mode: no dropout, no masked frames."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.encoder.parameters()):
            self.encoder.eval()
        return self

    def _encode(self, input_values, attention_mask, input_features) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the outputs of all layers, each (batch, frames, hidden), and a mask of real frames (batch, frames)."""
        return encode(self.encoder, input_values if input_features is None else input_features, attention_mask)

    def _pool(self, input_values, attention_mask, input_features, layer_statistics) -> torch.Tensor:
        """Return one vector for each utterance, (batch, hidden or 2 hidden)."""
        if self.config.pooling == "attentive":
            if layer_statistics is not None:
                raise ValueError("attentive pooling needs frames: pass recordings, not layer_statistics")
            states, mask = self._encode(input_values, attention_mask, input_features)
            return self.pooling(self.mix(torch.stack(states, dim=1)), mask)
        if layer_statistics is None:
            layer_statistics = self.embed(input_values, attention_mask, input_features)
        mixed = self.mix(layer_statistics)
        return mixed.chunk(2, dim=-1)[0] if self.config.pooling == "mean" else mixed
