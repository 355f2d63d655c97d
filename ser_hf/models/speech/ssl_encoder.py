"""Speech encoders (HuBERT, wav2vec2, WavLM, the encoder of Whisper) behind one interface, and pooling of their frames.

All families of this folder import this file as a sibling, so transformers copies it beside the weights of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

WAVEFORM_ENCODERS = ("hubert", "wav2vec2", "wavlm")
# Adam moves every parameter by about the learning rate a step; without a gain, the mix would not settle in a few
# hundred steps.
LAYER_WEIGHT_GAIN = 10.0
ACTIVE_DB = 40.0  # frames this far below the loudest one are pauses


def create_encoder(config: Mapping[str, Any]) -> nn.Module:
    """Return the encoder that a stock configuration describes, with random weights.

    Args:
        config: a HuBERT, wav2vec2, WavLM or Whisper configuration, as returned by `to_dict`.

    Raises:
        ValueError: for another kind of model.
    """
    kind = config.get("model_type")
    if kind not in (*WAVEFORM_ENCODERS, "whisper"):
        raise ValueError(f"encoder must be one of {', '.join(WAVEFORM_ENCODERS)}, whisper, not a {kind!r} model")
    stock = AutoConfig.for_model(**config)
    stock.layerdrop = 0.0  # a layer that is skipped in training leaves no output to mix
    return WhisperEncoder(stock) if kind == "whisper" else AutoModel.from_config(stock)


def encoder_size(config: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of outputs (one before the first layer and one of each layer) and their width."""
    if config["model_type"] == "whisper":
        return config["encoder_layers"] + 1, config["d_model"]
    return config["num_hidden_layers"] + 1, config["hidden_size"]


def encode(
    encoder: nn.Module, inputs: torch.Tensor, attention_mask: torch.Tensor | None = None
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return the outputs of every layer at the recording's own length, and a mask of their real frames.

    Args:
        inputs: waveforms (batch, samples); for Whisper log-mel features (batch, frames, mel bins).
        attention_mask: 1 on real samples or frames, (batch, samples or frames); None means all are real.

    Returns:
        One tensor (batch, frames, hidden) before the first layer and one after each; the mask (batch, frames). A frame
        lasts 20 ms in all of these encoders as they are published.
    """
    if attention_mask is None:
        attention_mask = torch.ones_like(inputs if inputs.dim() == 2 else inputs[..., 0], dtype=torch.long)
    if isinstance(encoder, WhisperEncoder):
        return _encode_whisper(encoder, inputs, attention_mask)
    # Group norm in the feature encoder looks at the padding too: such encoders are published without a mask.
    has_mask = encoder.config.feat_extract_norm == "layer"
    states = encoder(
        inputs, attention_mask=attention_mask if has_mask else None, output_hidden_states=True
    ).hidden_states
    lengths = attention_mask.sum(dim=1)  # in samples, then in frames
    for kernel, stride in zip(encoder.config.conv_kernel, encoder.config.conv_stride, strict=True):
        lengths = (lengths - kernel) // stride + 1
    frames = torch.arange(states[0].shape[1], device=inputs.device)
    return list(states), (frames < lengths[:, None]).long()


def is_disturbed_by_padding(encoder: nn.Module) -> bool:
    """True if zeros after a clip change the encoder's output for the clip."""
    return not isinstance(encoder, WhisperEncoder) and encoder.config.feat_extract_norm != "layer"


def _encode_whisper(
    encoder: WhisperEncoder, features: torch.Tensor, mask: torch.Tensor
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Encode clips of any length with a mask; the stock encoder takes 30 seconds and no mask.

    Positions are cut to the clip. Longer clips are encoded in windows of 30 seconds, whose outputs are concatenated.
    """
    length = 2 * encoder.config.max_source_positions  # the second convolution halves the frames
    batch, frames = mask.shape
    # A graph (`ser_hf.export`) takes one window: how many there are would be decided when it is written.
    windows = 1 if torch.compiler.is_exporting() else max(1, -(-frames // length))
    if windows > 1:
        rest = windows * length - frames
        features = nn.functional.pad(features, (0, 0, 0, rest)).unflatten(1, (windows, length)).flatten(0, 1)
        mask = nn.functional.pad(mask, (0, rest)).unflatten(-1, (windows, length)).flatten(0, 1)
    # Padding is zero before each convolution, just as the convolution itself pads a clip that ends there.
    features, real = features.transpose(1, 2), mask[:, None].to(features.dtype)
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
    return [state.unflatten(0, (batch, windows)).flatten(1, 2) for state in states], mask.reshape(batch, -1)


def active_frames(
    encoder: nn.Module, inputs: torch.Tensor, attention_mask: torch.Tensor | None, mask: torch.Tensor
) -> torch.Tensor:
    """Return a mask of the real frames whose power is within `ACTIVE_DB` of the loudest one, (batch, frames).

    Args:
        inputs, attention_mask: as in `encode`.
        mask: the real frames, (batch, frames), as `encode` returns them.
    """
    if isinstance(encoder, WhisperEncoder):
        power = (10 ** (4 * inputs.float() - 4)).sum(dim=-1)  # its extractor gives (log10(power) + 4) / 4
        hop = 2  # the second convolution halves the frames
    else:
        power, hop = inputs.float() ** 2, math.prod(encoder.config.conv_stride)
    if attention_mask is not None:
        power = power * attention_mask
    frames = mask.shape[1]
    power = nn.functional.pad(power, (0, max(0, frames * hop - power.shape[1])))[:, : frames * hop]
    power = power.unflatten(1, (frames, hop)).mean(dim=-1) * mask
    return mask * (power >= power.amax(dim=1, keepdim=True) * 10 ** (-ACTIVE_DB / 10))


class AttentiveStatisticsPooling(nn.Module):
    """Weighted mean and deviation of frames; a small network computes the weights.  (b, t, h), (b, t) -> (b, 2 h)

    Padding gets a weight of exactly 0. Source: Okabe et al. (2018), arXiv:1803.10963, equations 1 to 6.
    """

    def __init__(self, size: int, attention_size: int):
        super().__init__()
        self.attention = nn.Linear(size, attention_size)
        self.score = nn.Linear(attention_size, 1, bias=False)  # the softmax does not see a bias

    def forward(self, frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        scores = self.score(torch.tanh(self.attention(frames))).squeeze(-1)
        scores = scores.masked_fill(mask == 0, torch.finfo(scores.dtype).min)
        return weighted_statistics(frames, scores.softmax(dim=-1))


def statistics_of(frames: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return mean and standard deviation of the real frames.  (b, t, h), (b, t) -> (b, 2 h)"""
    return weighted_statistics(frames, (mask / mask.sum(dim=1, keepdim=True)).to(frames.dtype))


def statistics_of_layers(states: Sequence[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """Return `statistics_of` each layer, whose outputs are (b, t, h).  -> (b, layers, 2 h)"""
    return torch.stack([statistics_of(state, mask) for state in states], dim=1)


def weighted_statistics(frames: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return mean and standard deviation of frames whose weights sum to 1.  (b, t, h), (b, t) -> (b, 2 h)"""
    mean = torch.einsum("bt,bth->bh", weights, frames)
    # Not E[x^2] - E[x]^2, which loses all digits if a unit is large and nearly constant, as some of Whisper's are.
    variance = torch.einsum("bt,bth->bh", weights, (frames - mean[:, None]) ** 2)
    return torch.cat([mean, (variance + 1e-7).sqrt()], dim=-1)
