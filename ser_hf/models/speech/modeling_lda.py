"""Shrinkage linear discriminant on the pooled layers of a frozen speech encoder.

Fisher (1936), doi:10.1111/j.1469-1809.1936.tb02137.x; a covariance that is shrunk towards a multiple of the identity:
Friedman (1989), doi:10.1080/01621459.1989.10478752. Fitted, it is a linear layer, so that a stock pipeline scores it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.loss.loss_utils import ForSequenceClassificationLoss
from transformers.utils import ModelOutput

from .configuration_lda import LDAConfig
from .ssl_encoder import (
    active_frames,
    create_encoder,
    encode,
    encoder_size,
    is_disturbed_by_padding,
    statistics_of_layers,
)

POOLED = {"all": [0], "active": [1], "both": [0, 1]}  # which statistics of `embed`
VOICE_DIRECTIONS = 30  # with 100 the centres of speakers come too close to tell how many there are


@dataclass
class LDAOutput(ModelOutput):
    """
    Attributes:
        loss: cross-entropy, if labels are given.
        logits: (batch, labels), of a speaker of whom nothing else is known.
        centred_logits: (batch, labels), of the head that was fitted to embeddings without the offset of their speaker;
            for `ser_hf.inference.offsets`, which subtracts the offset.
        voices: (batch, layers * hidden), from `Voices`, for `ser_hf.inference.pseudo_speakers`.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    centred_logits: torch.Tensor | None = None
    voices: torch.Tensor | None = None


class Voices(nn.Module):
    """Mean frames of utterances -> vectors that lie close together if one person speaks.

    The directions in which utterances of one training speaker differ most are removed: emotion, words, loudness.
    Nuisance attribute projection: Solomonoff et al. (2005), doi:10.1109/ICASSP.2005.1415190.

    Attributes:
        unit: the distance from which two centres belong to two people. Vectors are scaled to it.
        within: mean squared distance of the utterances of a training speaker from their centre, after scaling.
    """

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("removed", torch.zeros(VOICE_DIRECTIONS, width))
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("within", torch.ones(()))

    def reset(self) -> None:
        """Set the values of a model that is not fitted."""
        for buffer, value in (("mean", 0), ("scale", 1), ("removed", 0), ("unit", 1), ("within", 1)):
            nn.init.constant_(getattr(self, buffer), value)

    def forward(self, layer_statistics: torch.Tensor) -> torch.Tensor:
        """Return a vector for each utterance.  (batch, 2, layers + 1, 2 hidden) -> (batch, width)"""
        vectors = (self.means(layer_statistics).to(self.mean) - self.mean) / self.scale
        vectors = vectors - vectors @ self.removed.T @ self.removed
        return nn.functional.normalize(vectors, dim=1) / self.unit

    @staticmethod
    def means(layer_statistics: torch.Tensor) -> torch.Tensor:
        """Return the means of all frames.  (batch, 2, layers + 1, 2 hidden) -> (batch, width)"""
        return layer_statistics[:, 0, :, : layer_statistics.shape[-1] // 2].flatten(1)


class LDAForAudioClassification(PreTrainedModel):
    """Frozen encoder -> mean and deviation of the frames of some layers -> standardise -> linear layer -> emotion.

    `ser_hf.training.fitted.lda.fit_lda` fits it. A second linear layer of the same input is for embeddings from which
    the offset of a speaker was removed.
    """

    config_class = LDAConfig
    config: LDAConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True

    def __init__(self, config: LDAConfig):
        super().__init__(config)
        self.encoder = create_encoder(config.encoder)
        self.main_input_name = self.encoder.main_input_name
        self.pool(config.frames)
        layers, width = encoder_size(config.encoder)
        self.voices = Voices(layers * width)
        self.post_init()
        self.requires_grad_(False)

    def _init_weights(self, module):
        super()._init_weights(module)
        if module is self:
            # from_pretrained builds on the meta device: values missing in a checkpoint must be set here.
            nn.init.zeros_(self.mean)
            nn.init.ones_(self.scale)
        if isinstance(module, Voices):
            module.reset()

    def pool(self, frames: str) -> None:
        """Choose the frames that are pooled. Standardisation and both heads are new, since their width depends on it.

        Args:
            frames: one of `FRAMES`.
        """
        self.config.frames = frames
        width = len(POOLED[frames]) * len(self.encoder_outputs) * self.cached_shape[-1]
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.classifier = nn.Linear(width, self.config.num_labels).requires_grad_(False)
        self.centred = nn.Linear(width, self.config.num_labels).requires_grad_(False)

    @property
    def encoder_outputs(self) -> list[int]:
        """The outputs of the encoder that are pooled."""
        count, _ = encoder_size(self.config.encoder)
        chosen = self.config.encoder_outputs or list(range(1, max(2, count - 1)))
        if any(not 0 <= number < count for number in chosen):
            raise ValueError(f"encoder_outputs are {chosen}, but the encoder has outputs 0 to {count - 1}")
        return chosen

    @property
    def padding_invariant(self) -> bool:
        """True if a recording has the same scores alone and padded; group norm in the encoder depends on padding."""
        return not is_disturbed_by_padding(self.encoder)

    @property
    def cached_shape(self) -> tuple[int, int, int]:
        """The shape of `embed` for one utterance: (2, layers + 1, 2 hidden)."""
        layers, width = encoder_size(self.config.encoder)
        return 2, layers, 2 * width

    def forward(
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        layer_statistics: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> LDAOutput:
        """Classify waveforms, log-mel features, or statistics from `embed`.

        Args:
            input_values: waveforms, (batch, samples).
            attention_mask: 1 for real samples or frames, 0 for padding; None means all are real.
            input_features: for Whisper, instead of waveforms: log-mel, (batch, frames, mel bins).
            layer_statistics: instead of either: results of `embed`, (batch, 2, layers + 1, 2 hidden).
            labels: class ids, (batch,).

        Raises:
            ValueError: before the model is fitted.
        """
        if not self.config.head_is_trained:
            raise ValueError("this linear discriminant is not fitted: train it with recipes/train_lda.py")
        if layer_statistics is None:
            layer_statistics = self.embed(input_values, attention_mask, input_features)
        standardised = (self.select(layer_statistics).to(self.mean) - self.mean) / self.scale
        logits = self.classifier(standardised)
        loss = None if labels is None else ForSequenceClassificationLoss(labels, logits, self.config)
        if not self.config.has_centred_head:
            return LDAOutput(loss=loss, logits=logits)
        centred, voices = self.centred(standardised), self.voices(layer_statistics)
        return LDAOutput(loss=loss, logits=logits, centred_logits=centred, voices=voices)

    @torch.no_grad()
    def embed(
        self,
        input_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return mean and deviation of every layer's output, over all frames and over the active ones.

        The frames are chosen when the model is fitted, so both are computed: (batch, 2, layers + 1, 2 hidden).
        """
        self.encoder.eval()
        inputs = input_values if input_features is None else input_features
        states, mask = encode(self.encoder, inputs, attention_mask)
        masks = mask, active_frames(self.encoder, inputs, attention_mask, mask)
        return torch.stack([statistics_of_layers(states, one) for one in masks], dim=1)

    def select(self, layer_statistics: torch.Tensor) -> torch.Tensor:
        """Return the statistics of the chosen frames and outputs.  (b, 2, layers + 1, 2 hidden) -> (b, width)"""
        return layer_statistics[:, POOLED[self.config.frames]][:, :, self.encoder_outputs].flatten(1)
