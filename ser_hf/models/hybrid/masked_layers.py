"""Layers with a mask, so that a clip has the same output alone and padded in a batch.

A mask (batch, frames) is true on real frames, which come first. Every layer sets zeros after the end of a clip, as a
convolution pads a clip that is alone.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class MaskedBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics leave the padding out.  (b, c, t, f), (b, t) -> (b, c, t, f), zero on padding."""

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(hidden) * mask[:, None, :, None]
        if mask.all():
            return super().forward(hidden)
        frames = hidden.permute(0, 2, 3, 1).flatten(0, 1)  # (b * t, f, c)
        real = mask.flatten().nonzero().squeeze(1)
        normed = super().forward(frames.index_select(0, real).permute(0, 2, 1)[..., None])  # a frame is an image here
        frames = torch.zeros_like(frames, dtype=normed.dtype).index_copy(0, real, normed.squeeze(-1).permute(0, 2, 1))
        return frames.unflatten(0, mask.shape).permute(0, 3, 1, 2)


class ConvolutionBlock(nn.Module):
    """Convolution, batch norm, ReLU, max pooling, dropout.

    (b, c, t, f), (b, t) -> (b, c', ceil(t / pool), ceil(f / pool)), (b, ceil(t / pool))
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, pool: int, dropout: float):
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.norm = MaskedBatchNorm(out_channels)
        # Rounded up: the shortest clip keeps a frame, and the last window of a clip may be half empty.
        self.pool = nn.MaxPool2d(pool, ceil_mode=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.norm(self.convolution(image), mask).relu()
        # After ReLU the zeros of the padding never win over a real frame.
        return self.dropout(self.pool(hidden)), mask[:, :: self.pool.kernel_size]


class AttentivePooling(nn.Module):
    """Weighted mean over time; padding gets weight exactly 0.  (b, t, h), (b, t) -> (b, h)

    Source: Mirsamadi, Barsoum and Zhang (2017), doi:10.1109/ICASSP.2017.7952552, with a hidden layer in the score.
    """

    def __init__(self, size: int):
        super().__init__()
        self.hidden = nn.Linear(size, size)
        self.score = nn.Linear(size, 1, bias=False)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        scores = self.score(self.hidden(hidden).tanh()).squeeze(-1)
        weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1)
        return torch.einsum("bt,bth->bh", weights, hidden)


def mean_over_time(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(b, t, h), (b, t) -> (b, h), over real frames."""
    weights = (mask / mask.sum(dim=1, keepdim=True)).to(hidden.dtype)
    return torch.einsum("bt,bth->bh", weights, hidden)


def mean_of_neighbours(frames: torch.Tensor, mask: torch.Tensor, pool: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Average the real frames among each `pool` frames.  (b, t, f), (b, t) -> (b, ceil(t / pool), f), its mask"""
    real = mask[:, None].to(frames.dtype)
    total = nn.functional.avg_pool1d(frames.mT * real, pool, ceil_mode=True)
    share = nn.functional.avg_pool1d(real, pool, ceil_mode=True)
    mask = mask[:, ::pool]
    return (total / share.masked_fill(~mask[:, None], 1.0)).mT, mask


def run_lstm(lstm: nn.LSTM, frames: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all states (b, t, h) and the last one (b, h); each clip is read up to its own end."""
    packed = pack_padded_sequence(frames, mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False)
    states, (last, _) = lstm(packed)
    return pad_packed_sequence(states, batch_first=True, total_length=frames.shape[1])[0], last[-1]
