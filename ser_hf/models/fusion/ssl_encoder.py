"""Self-supervised speech encoders behind one door: HuBERT, wav2vec2, WavLM and the encoder of Whisper.

Every family that stands on such an encoder holds this file, since exactly a family's folder travels to the Hub; the
copies are equal, and a test keeps them so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

WAVEFORM_ENCODERS = ("hubert", "wav2vec2", "wavlm")


def create_encoder(config: Mapping[str, Any]) -> nn.Module:
    """The encoder that a stock configuration describes, with random weights.

    Args:
        config: what `to_dict` of a HuBERT, wav2vec2, WavLM or Whisper configuration returns.

    Raises:
        ValueError: for another kind of model.
    """
    kind = config.get("model_type")
    if kind not in (*WAVEFORM_ENCODERS, "whisper"):
        raise ValueError(f"encoder is a {kind!r} model, wanted one of {', '.join(WAVEFORM_ENCODERS)}, whisper")
    stock = AutoConfig.for_model(**config)
    stock.layerdrop = 0.0  # a layer that is skipped in training leaves no output to mix
    return WhisperEncoder(stock) if kind == "whisper" else AutoModel.from_config(stock)


def encoder_size(config: Mapping[str, Any]) -> tuple[int, int]:
    """(outputs: one before the first layer and one of each layer, width of each)"""
    if config["model_type"] == "whisper":
        return config["encoder_layers"] + 1, config["d_model"]
    return config["num_hidden_layers"] + 1, config["hidden_size"]


def encoder_layers(encoder: nn.Module) -> nn.ModuleList:
    """The Transformer layers, from the input to the output."""
    return encoder.layers if isinstance(encoder, WhisperEncoder) else encoder.encoder.layers


def encode(
    encoder: nn.Module, inputs: torch.Tensor, attention_mask: torch.Tensor | None = None
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Outputs of every layer at the clip's own length, and which of their frames are real.

    Args:
        inputs: waveforms (batch, samples); for Whisper log-mel features (batch, mel bins, frames).
        attention_mask: 1 on real samples or frames, (batch, samples or frames); None means all are real.

    Returns:
        One tensor (batch, frames, hidden) before the first layer and one after each; the mask (batch, frames). A frame
        lasts 20 ms in all of these encoders as they are published.
    """
    if attention_mask is None:
        attention_mask = torch.ones_like(inputs if inputs.dim() == 2 else inputs[:, 0], dtype=torch.long)
    if isinstance(encoder, WhisperEncoder):
        return _encode_whisper(encoder, inputs, attention_mask)
    # Group norm in the feature encoder looks at the padding too: such encoders are published without a mask.
    has_mask = encoder.config.feat_extract_norm == "layer"
    states = encoder(
        inputs, attention_mask=attention_mask if has_mask else None, output_hidden_states=True
    ).hidden_states
    return list(states), encoder._get_feature_vector_attention_mask(states[0].shape[1], attention_mask).long()


def is_disturbed_by_padding(encoder: nn.Module) -> bool:
    """Whether zeros after a clip change what the encoder makes of the clip."""
    return not isinstance(encoder, WhisperEncoder) and encoder.config.feat_extract_norm != "layer"


def _encode_whisper(
    encoder: WhisperEncoder, features: torch.Tensor, mask: torch.Tensor
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The stock encoder insists on 30 seconds and knows no mask; here positions are cut to the clip.

    Clips longer than the positions reach are encoded in windows of that length, whose outputs follow one another.
    """
    length = 2 * encoder.config.max_source_positions  # the second convolution halves the frames
    batch, frames = mask.shape
    windows = max(1, -(-frames // length))
    if windows > 1:
        rest = windows * length - frames
        features = nn.functional.pad(features, (0, rest)).unflatten(-1, (windows, length)).transpose(1, 2).flatten(0, 1)
        mask = nn.functional.pad(mask, (0, rest)).unflatten(-1, (windows, length)).flatten(0, 1)
    # Padding is zero before each convolution, just as the convolution itself pads a clip that ends there.
    real = mask[:, None].to(features.dtype)
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
