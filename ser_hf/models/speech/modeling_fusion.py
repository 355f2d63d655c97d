"""Emotion classifier with two inputs for each frame: log-mel energies and features of a self-supervised encoder.

Both are standardised, joined and read by residual dilated convolutions, whose receptive field doubles with every layer:
Bai et al. (2018), arXiv:1803.01271. Frames are pooled with learned weights: Okabe et al. (2018), arXiv:1803.10963.
Domain adaptation aligns the embeddings before the classifier: Zhu et al. (2021), Deep Subdomain Adaptation Network,
arXiv:2106.09388.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.loss.loss_utils import ForSequenceClassificationLoss
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils import ModelOutput

from .configuration_fusion import FusionConfig
from .ssl_encoder import (
    LAYER_WEIGHT_GAIN,
    AttentiveStatisticsPooling,
    create_encoder,
    encode,
    encoder_size,
    is_disturbed_by_padding,
)

# Log-mel energies have deviations of 2 to 4, and encoder outputs of 0.05 or more: below this, a value is constant.
MIN_STD = 1e-3


@dataclass
class FusionOutput(ModelOutput):
    """The output of `FusionForAudioClassification`.

    Attributes:
        loss: loss of the emotion head, if labels are given.
        logits: (batch, labels).
        embeddings: the input of the classifier, (batch, embedding_size).
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    embeddings: torch.Tensor | None = None


class JoinedFrames(nn.Module):
    """Standardises the joined values of a frame and mixes the encoder layers.  (b, t, joined) -> (b, t, width)"""

    def __init__(self, config: FusionConfig):
        super().__init__()
        self.log_mel_bins, self.layers, self.ssl_width = frame_parts(config)
        joined = self.log_mel_bins + self.layers * self.ssl_width
        # Of the training part (see `fit_statistics`); persistent, so that they travel with the weights.
        self.register_buffer("mean", torch.zeros(joined))
        self.register_buffer("std", torch.ones(joined))
        if self.layers > 1:
            self.layer_weights = nn.Parameter(torch.zeros(self.layers))
        self.width = self.log_mel_bins + self.ssl_width

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        frames = (frames - self.mean) / self.std
        if self.layers <= 1:
            return frames
        log_mel, states = frames.split([self.log_mel_bins, self.layers * self.ssl_width], dim=-1)
        weights = (LAYER_WEIGHT_GAIN * self.layer_weights).softmax(dim=0)
        mixed = torch.einsum("l,btlh->bth", weights, states.unflatten(-1, (self.layers, self.ssl_width)))
        return torch.cat([log_mel, mixed], dim=-1)


class DilatedBlock(nn.Module):
    """Layer norm and a dilated convolution over time, with a residual path.  (b, t, h), (b, t, 1) -> (b, t, h)"""

    def __init__(self, size: int, kernel_size: int, dilation: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(size)
        padding = dilation * (kernel_size // 2)
        self.convolution = nn.Conv1d(size, size, kernel_size, padding=padding, dilation=dilation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        # Zeros after a clip's end, just as the convolution pads a clip that is alone.
        changed = self.convolution((self.norm(hidden) * real).mT).mT
        return hidden + self.dropout(nn.functional.gelu(changed))


class FusionForAudioClassification(PreTrainedModel):
    """Log-mel frames, encoder frames or both -> projection -> dilated convolutions -> attentive pooling -> emotion.

    Frame t of both kinds stands for the same moment: they begin together and have the same duration. If one kind has a
    frame or two more at the end of a clip, these are left out.
    """

    config_class = FusionConfig
    config: FusionConfig
    main_input_name = "input_features"
    _supports_sdpa = True

    def __init__(self, config: FusionConfig):
        super().__init__(config)
        self.encoder = None if config.inputs == "log_mel" else create_encoder_up_to_layer(config)
        self.joined = JoinedFrames(config)
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.projection = nn.Linear(self.joined.width, config.hidden_size)
        self.blocks = nn.ModuleList(
            DilatedBlock(config.hidden_size, config.kernel_size, dilation, config.hidden_dropout)
            for dilation in config.dilations
        )
        self.norm = nn.LayerNorm(config.hidden_size)
        self.pooling = AttentiveStatisticsPooling(config.hidden_size, config.hidden_size // 2)
        self.embedding = nn.Linear(2 * config.hidden_size, config.embedding_size)
        self.classifier_dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.embedding_size, config.num_labels)
        self.post_init()

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, JoinedFrames):
            # from_pretrained builds on the meta device: values missing in a checkpoint must be set here.
            nn.init.zeros_(module.mean)
            nn.init.ones_(module.std)
            if module.layers > 1:
                nn.init.zeros_(module.layer_weights)

    @property
    def padding_invariant(self) -> bool:
        """True if a recording has the same scores alone and padded; group norm in the encoder depends on padding."""
        return self.encoder is None or not is_disturbed_by_padding(self.encoder)

    @property
    def cached_shape(self) -> tuple[None, int]:
        """The shape of `embed` for one utterance: (frames, joined values)."""
        return None, len(self.joined.mean)

    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_values: torch.Tensor | None = None,
        ssl_features: torch.Tensor | None = None,
        ssl_attention_mask: torch.Tensor | None = None,
        frames: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> FusionOutput:
        """Classify the output of `FusionFeatureExtractor`, or frames from `embed`.

        Args:
            input_features: log-mel, (batch, frames, bins).
            attention_mask: 1 for real frames, 0 for padding, (batch, frames); None means all are real.
            input_values: waveforms for HuBERT, wav2vec2 or WavLM, (batch, samples).
            ssl_features: for Whisper, instead of waveforms: its log-mel features, (batch, its frames, its bins).
            ssl_attention_mask: the mask of either, (batch, samples or its frames).
            frames: joined frames, padded, (batch, frames, joined values), instead of all of these.
            labels: class ids, (batch,); for a multi-label model 0 or 1 for each label, (batch, labels).
        """
        if frames is None:
            frames, mask = self._join(input_features, attention_mask, input_values, ssl_features, ssl_attention_mask)
        else:
            mask = torch.ones_like(frames[..., 0], dtype=torch.long) if attention_mask is None else attention_mask
        real = mask[..., None].to(frames.dtype)
        hidden = self.projection(self.input_dropout(self.joined(frames)))  # (batch, frames, hidden)
        for block in self.blocks:
            hidden = block(hidden, real)
        pooled = self.pooling(self.norm(hidden), mask)  # (batch, 2 hidden)
        embeddings = nn.functional.gelu(self.embedding(pooled))
        logits = self.classifier(self.classifier_dropout(embeddings))
        loss = None if labels is None else ForSequenceClassificationLoss(labels, logits, self.config)
        return FusionOutput(loss=loss, logits=logits, embeddings=embeddings)

    def embed(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_values: torch.Tensor | None = None,
        ssl_features: torch.Tensor | None = None,
        ssl_attention_mask: torch.Tensor | None = None,
    ) -> list[torch.Tensor]:
        """Return the joined frames of each utterance, not yet standardised: (its frames, joined values)."""
        frames, mask = self._join(input_features, attention_mask, input_values, ssl_features, ssl_attention_mask)
        return [clip[:length] for clip, length in zip(frames, mask.sum(dim=1).tolist(), strict=True)]

    @torch.no_grad()
    def fit_statistics(self, utterances: Iterable[torch.Tensor]) -> None:
        """Standardise with mean and deviation over all frames of these (frames, joined values): training part only."""
        count, total, squares = 0, 0.0, 0.0
        for frames in utterances:
            frames = torch.as_tensor(frames).double()  # with float32, the difference below would lose all digits
            count, total, squares = count + len(frames), total + frames.sum(0), squares + frames.square().sum(0)
        mean = total / count
        self.joined.mean.copy_(mean)
        self.joined.std.copy_((squares / count - mean.square()).clamp_min(MIN_STD**2).sqrt())

    def train(self, mode: bool = True) -> FusionForAudioClassification:
        """Set the mode as usual, but a frozen encoder stays in inference mode: no dropout, no masked frames."""
        super().train(mode)
        if self.encoder is not None and not any(parameter.requires_grad for parameter in self.encoder.parameters()):
            self.encoder.eval()
        return self

    def _join(self, log_mel, mask, input_values, ssl_features, ssl_mask) -> tuple[torch.Tensor, torch.Tensor]:
        """Return joined frames, (batch, frames, joined values), and a mask of the real ones."""
        if self.encoder is None:
            return log_mel, torch.ones_like(log_mel[..., 0], dtype=torch.long) if mask is None else mask
        states, ssl_mask = encode(self.encoder, input_values if ssl_features is None else ssl_features, ssl_mask)
        encoded = torch.cat(states if self.config.ssl_layer is None else states[-1:], dim=-1)
        if self.config.inputs == "ssl":
            return encoded, ssl_mask
        # Windows of Whisper are padded. A graph has one window, and of the same hop log-mel frames are never fewer.
        is_graph = torch.compiler.is_exporting()
        frames = encoded.shape[1] if is_graph else min(encoded.shape[1], log_mel.shape[1])
        ssl_mask = ssl_mask.narrow(1, 0, frames)
        mask = ssl_mask if mask is None else ssl_mask * mask.narrow(1, 0, frames)
        return torch.cat([log_mel.narrow(1, 0, frames), encoded.narrow(1, 0, frames)], dim=-1), mask


def frame_parts(config: FusionConfig) -> tuple[int, int, int]:
    """Return (log-mel bins, number of encoder layers, width of each) of a joined frame."""
    log_mel_bins = 0 if config.inputs == "ssl" else config.log_mel_bins
    if config.inputs == "log_mel":
        return log_mel_bins, 0, 0
    layers, width = encoder_size(config.encoder)
    return log_mel_bins, layers if config.ssl_layer is None else 1, width


def create_encoder_up_to_layer(config: FusionConfig) -> nn.Module:
    """Return an encoder without the layers above `ssl_layer`; its output is what the next layer would take."""
    if config.ssl_layer is None:
        return create_encoder(config.encoder)
    depth = "encoder_layers" if config.encoder["model_type"] == "whisper" else "num_hidden_layers"
    encoder = create_encoder({**config.encoder, depth: config.ssl_layer})
    # A norm after the whole stack fits only the last layer.
    if isinstance(encoder, WhisperEncoder):
        encoder.layer_norm = nn.Identity()
    elif encoder.config.do_stable_layer_norm:
        encoder.encoder.layer_norm = nn.Identity()
    return encoder
