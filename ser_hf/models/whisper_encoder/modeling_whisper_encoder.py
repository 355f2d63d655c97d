"""Emotion classifier on Whisper's encoder.

The stock encoder insists on 30 seconds and knows no mask. Here its positions are cut to the clip, padding is kept out
of convolutions, attention and pooling, and the mean and standard deviation over time of *every* layer are mixed with
learned weights, since the layers that carry emotion lie in the middle.

Whisper: Radford et al. (2022), arXiv:2212.04356. Learned layer weights: Yang et al. (2021), SUPERB, arXiv:2105.01051.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers.loss.loss_utils import ForSequenceClassificationLoss
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder, WhisperPreTrainedModel

from .configuration_whisper_encoder import WhisperEncoderConfig

# Adam moves every parameter by about the learning rate a step, too little for a mix that must settle in a few hundred.
LAYER_WEIGHT_GAIN = 10.0


class LayerStatisticsHead(nn.Module):
    """Standardise each layer's statistics, mix the layers, classify.  (b, layers, 2 hidden) -> (b, labels)."""

    def __init__(self, config: WhisperEncoderConfig):
        super().__init__()
        layers, size = config.encoder_layers + 1, 2 * config.d_model
        # Of the training part (see `fit_statistics`); persistent, so that they travel with the weights.
        self.register_buffer("mean", torch.zeros(layers, size))
        self.register_buffer("std", torch.ones(layers, size))
        self.layer_weights = nn.Parameter(torch.zeros(layers))
        self.statistics_dropout = nn.Dropout(config.statistics_dropout)
        self.projector = nn.Linear(size, config.classifier_proj_size)
        self.classifier_dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.classifier_proj_size, config.num_labels)

    def forward(self, statistics: torch.Tensor) -> torch.Tensor:
        standardised = (statistics - self.mean) / self.std
        mixed = torch.einsum("l,bls->bs", (LAYER_WEIGHT_GAIN * self.layer_weights).softmax(dim=0), standardised)
        hidden = nn.functional.gelu(self.projector(self.statistics_dropout(mixed)))
        return self.classifier(self.classifier_dropout(hidden))


class WhisperEncoderForAudioClassification(WhisperPreTrainedModel):
    """Whisper encoder -> mean and standard deviation over real frames -> learned layer mix -> emotion.

    Reads stock Whisper checkpoints (`WhisperForConditionalGeneration` and `WhisperForAudioClassification` alike).
    Clips longer than the encoder's positions (30 s) are encoded in consecutive windows and pooled over all of them.
    """

    config_class = WhisperEncoderConfig
    config: WhisperEncoderConfig
    main_input_name = "input_features"
    padding_invariant = True
    cached_input = "layer_statistics"
    _supports_flash_attn = False  # the mask is additive, which flash attention does not take
    # Parts of stock checkpoints that an encoder does without: nothing to warn about.
    _keys_to_ignore_on_load_unexpected = (
        r"decoder\.",
        r"proj_out\.",
        r"^projector\.",
        r"^classifier\.",
        r"^layer_weights",
    )

    def __init__(self, config: WhisperEncoderConfig):
        super().__init__(config)
        self.encoder = WhisperEncoder(config)
        self.head = LayerStatisticsHead(config)
        self.post_init()

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, LayerStatisticsHead):
            # from_pretrained builds on the meta device: what a checkpoint lacks must be filled in here.
            nn.init.zeros_(module.mean)
            nn.init.ones_(module.std)
            nn.init.zeros_(module.layer_weights)

    def forward(
        self,
        input_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        layer_statistics: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Classify features, or the `embed`-ded statistics of a frozen encoder.

        Args:
            input_features: log-mel, (batch, mel bins, frames).
            attention_mask: 1 for real frames, 0 for padding, (batch, frames); None means all real.
            layer_statistics: what `embed` returned, (batch, layers + 1, 2 hidden); takes the place of the features.
            labels: class ids, (batch,); where several emotions may be present 0 or 1 for each,
                (batch, labels).
        """
        if layer_statistics is None:
            layer_statistics = self.embed(input_features, attention_mask)
        logits = self.head(layer_statistics)
        loss = None if labels is None else ForSequenceClassificationLoss(labels, logits, self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    @property
    def cached_shape(self) -> tuple[int, int]:
        """Of `layer_statistics`, for one utterance."""
        return self.config.encoder_layers + 1, 2 * self.config.d_model

    def embed(self, input_features: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Mean and standard deviation over real frames of every layer's output.

        (batch, mel bins, frames), (batch, frames) -> (batch, layers + 1, 2 hidden)
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_features[:, 0], dtype=torch.long)
        features, mask, windows = self._cut_into_windows(input_features, attention_mask)
        states, mask = self._encode(features, mask)
        pooled = []
        valid = mask.unflatten(0, (-1, windows)).flatten(1)
        for state in states:
            frames = state.unflatten(0, (-1, windows)).flatten(1, 2)  # the windows of a clip, one after another
            pooled.append(pool_statistics(frames, valid))
        return torch.stack(pooled, dim=1)

    @torch.no_grad()
    def fit_statistics(self, layer_statistics: torch.Tensor) -> None:
        """Standardise with the mean and deviation of these (utterances, layers + 1, 2 hidden): training part only."""
        self.head.mean.copy_(layer_statistics.mean(dim=0))
        self.head.std.copy_(layer_statistics.std(dim=0).clamp_min(1e-5))

    def _cut_into_windows(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Windows as long as the positions reach: (b, bins, frames) -> (b * windows, bins, frames / windows)."""
        length = 2 * self.config.max_source_positions  # the second convolution halves the frames
        frames = features.shape[-1]
        if frames <= length:
            return features, mask, 1
        windows = -(-frames // length)
        features = nn.functional.pad(features, (0, windows * length - frames))
        mask = nn.functional.pad(mask, (0, windows * length - frames))
        features = features.unflatten(-1, (windows, length)).transpose(1, 2).flatten(0, 1)
        return features, mask.unflatten(-1, (windows, length)).flatten(0, 1), windows

    def _encode(self, features: torch.Tensor, mask: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Outputs of the convolutions and of every layer, each (b, positions, hidden), and the mask over positions."""
        encoder, real = self.encoder, mask[:, None].to(features.dtype)
        # Padding is zero before each convolution, just as the convolution itself pads a clip that ends there.
        hidden = nn.functional.gelu(encoder.conv1(features * real)) * real
        hidden = nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        mask = mask[:, ::2]
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        bias = torch.zeros_like(mask, dtype=hidden.dtype).masked_fill(mask == 0, torch.finfo(hidden.dtype).min)
        states = [hidden]
        for layer in encoder.layers:
            hidden = layer(hidden, bias[:, None, None])
            states.append(hidden)
        states[-1] = encoder.layer_norm(hidden)
        return states, mask


def pool_statistics(frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean and standard deviation over real frames.  (b, t, h), (b, t) -> (b, 2 h)."""
    weight = (mask / mask.sum(dim=1, keepdim=True)).to(frames.dtype)
    mean = torch.einsum("bt,bth->bh", weight, frames)
    # Not E[x^2] - E[x]^2, which loses all digits where a unit is large and steady, as some of Whisper's are.
    variance = torch.einsum("bt,bth->bh", weight, (frames - mean[:, None]) ** 2)
    return torch.cat([mean, (variance + 1e-7).sqrt()], dim=-1)
