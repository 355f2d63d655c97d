"""A trainable filterbank instead of mel filters: a simplified LEAF.

Gabor filters, squared modulus, Gaussian low-pass, logarithm: Zeghidour et al. (2021), LEAF, arXiv:2101.08596. Filters
with a centre and a width instead of free taps: Ravanelli and Bengio (2018), SincNet, arXiv:1808.00158. Logarithm and
batch norm replace LEAF's PCEN, whose recursion over frames is slow.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from transformers.audio_utils import hertz_to_mel, mel_to_hertz

from .masked_layers import MaskedBatchNorm

LOWEST_HZ = 60.0  # as LEAF
ENERGY_FLOOR = 1e-6
HALF_WIDTH = math.sqrt(2 * math.log(2))  # of a Gaussian at half its height, in standard deviations


class LearnableFrontEnd(nn.Module):
    """Waveform -> image, a frame every 16 ms.  (b, samples), (b, samples) -> (b, 1, frames, bins), (b, frames)

    A filter's output is computed a thousand times a second instead of at every sample: the envelope of a band-pass
    filter changes at most as fast as the filter is wide, and the widest of 64 mel filters has about 300 Hz.

    Args:
        bins: number of filters.
        sampling_rate: in Hz.
    """

    def __init__(self, bins: int, sampling_rate: int):
        super().__init__()
        self.bins, self.sampling_rate = bins, sampling_rate
        self.stride = round(sampling_rate / 1000)  # samples
        self.hop = 16  # strides
        self.reach = round(sampling_rate / 80)  # samples on either side of a filter's middle: 25 ms in all
        start = mel_like(bins, sampling_rate)
        self.centres = nn.Parameter(start["centres"])  # in radians a sample
        self.deviations = nn.Parameter(start["deviations"])  # of the filters' envelopes, in samples
        self.smoothing = nn.Parameter(start["smoothing"])  # of the low-pass windows, in units of half their length
        self.norm = MaskedBatchNorm(bins)

    def centres_hz(self) -> torch.Tensor:
        """Return the centre frequency of each filter in Hz, (bins,)."""
        return self.centres.detach().clamp(0, math.pi) * self.sampling_rate / (2 * math.pi)

    def filters(self) -> torch.Tensor:
        """Return impulse responses, first all real, then all imaginary parts, (2 bins, 1, 2 reach + 1)."""
        time = torch.arange(-self.reach, self.reach + 1, device=self.centres.device)
        # LEAF's bounds: neither wider than half the spectrum nor narrower than the filter is long.
        wide = torch.promote_types(self.centres.dtype, torch.float32)  # angles of hundreds of radians need 24 bits
        bounds = (4 * HALF_WIDTH / math.pi, 2 * self.reach * HALF_WIDTH / math.pi)
        deviations = self.deviations.to(wide).clamp(*bounds)[:, None]
        envelopes = torch.exp(-0.5 * (time / deviations) ** 2) / (math.sqrt(2 * math.pi) * deviations)
        angles = self.centres.to(wide).clamp(0, math.pi)[:, None] * time
        return torch.cat([envelopes * angles.cos(), envelopes * angles.sin()])[:, None].to(self.centres.dtype)

    def windows(self) -> torch.Tensor:
        """Return low-pass windows that sum to one, (bins, 1, 2 reach / stride + 1)."""
        reach = self.reach // self.stride
        time = torch.linspace(-1, 1, 2 * reach + 1, device=self.smoothing.device)
        windows = torch.exp(-0.5 * (time / self.smoothing.clamp(0.05, 0.5)[:, None]) ** 2)
        return (windows / windows.sum(dim=1, keepdim=True))[:, None].to(self.smoothing.dtype)

    def forward(self, waveforms: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        filters, windows = self.filters(), self.windows()
        masked = (waveforms * mask)[:, None].to(filters.dtype)
        responses = nn.functional.conv1d(masked, filters, stride=self.stride, padding=self.reach)
        mask = mask[:, :: self.stride]
        real, imaginary = responses.chunk(2, dim=1)
        energies = (real * real + imaginary * imaginary) * mask[:, None]  # (b, bins, strides)
        smooth = nn.functional.conv1d(
            energies, windows, stride=self.hop, padding=windows.shape[-1] // 2, groups=self.bins
        )
        mask = mask[:, :: self.hop]
        image = self.norm((smooth + ENERGY_FLOOR).log()[..., None], mask)  # (b, bins, frames, 1)
        return image.permute(0, 3, 2, 1), mask


def mel_like(bins: int, sampling_rate: int) -> dict[str, torch.Tensor]:
    """Return parameters of filters with the centres and half-height widths of mel filters, each (bins,)."""
    lowest, highest = (hertz_to_mel(hertz, mel_scale="slaney") for hertz in (LOWEST_HZ, sampling_rate / 2))
    hertz = mel_to_hertz(np.linspace(lowest, highest, bins + 2), mel_scale="slaney")
    widths = (hertz[2:] - hertz[:-2]) / 2
    return {
        "centres": torch.tensor(2 * np.pi * hertz[1:-1] / sampling_rate, dtype=torch.float32),
        "deviations": torch.tensor(HALF_WIDTH * sampling_rate / (np.pi * widths), dtype=torch.float32),
        "smoothing": torch.full((bins,), 0.4),  # as LEAF
    }
