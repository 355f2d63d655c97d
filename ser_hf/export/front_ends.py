"""Feature extractors as modules: they compute inside a graph what the extractor computes for one recording.

A Fourier transform is written as products of matrices, which every runtime computes fast; the operator that ONNX has
for it is slow in ONNX Runtime and missing in OpenVINO. A test compares each module with its extractor.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from ..features.feature_extraction_fusion import FusionFeatureExtractor
from ..features.feature_extraction_log_mel import MIN_STD, LogMelFeatureExtractor
from ..features.feature_extraction_whisper_encoder import WhisperEncoderFeatureExtractor
from ..models.family import ModelError

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin


def front_end_of(extractor: FeatureExtractionMixin) -> nn.Module:
    """Return a module that computes the inputs of a model from a waveform, (1, samples).

    Raises:
        ModelError: for an extractor that cannot be part of a graph.
    """
    for kind, front_end in _FRONT_ENDS.items():
        if type(extractor) is kind:
            return front_end(extractor)
    raise ModelError(
        f"a {type(extractor).__name__} cannot be exported: export a model on log-mel features or on the output of a "
        "speech encoder"
    )


class MelEnergies(nn.Module):
    """Energies of mel bands in Hann-windowed frames.  (1, samples) -> (1, frames, bands)

    The Fourier transform of n = rows x columns samples is computed in two steps: over the samples of each column, then
    over the columns (Cooley and Tukey 1965, doi:10.1090/S0025-5718-1965-0178586-1). For 1024 samples that are ten times
    fewer operations than one large product takes. Samples are real, so frequencies k and n - k have the same energy,
    and the first step needs only half of its frequencies.

    Args:
        filters: weight of each frequency in each band, (n_fft // 2 + 1, bands).
        n_fft: samples of a Fourier transform.
        win_length: samples of the window.
        hop_length: samples from frame to frame. The first frame begins with the first sample.
        power: 2 for energies, 1 for magnitudes.
    """

    def __init__(self, filters: torch.Tensor, n_fft: int, win_length: int, hop_length: int, power: float = 2.0):
        super().__init__()
        rows = max(divisor for divisor in range(1, math.isqrt(n_fft) + 1) if n_fft % divisor == 0)
        columns, kept = n_fft // rows, rows // 2 + 1
        row, column = torch.arange(rows), torch.arange(columns)
        frequencies = torch.arange(kept)[:, None] + rows * column  # (kept, columns): of what the second step gives
        bins = torch.minimum(frequencies, n_fft - frequencies).flatten()
        _, first_places = np.unique(bins, return_index=True)
        once = torch.zeros(len(bins), len(filters[0]))  # an energy that is there twice counts once
        once[first_places] = filters.float()
        self.register_buffer("filters", once)
        self.register_buffer("window", torch.hann_window(win_length, dtype=torch.float64).float())
        over_rows = 2 * math.pi / rows * row[:, None].double() * torch.arange(kept)
        self.register_buffer("over_rows", torch.cat([over_rows.cos(), -over_rows.sin()], dim=1).float())
        angles = 2 * math.pi / n_fft * column[:, None].double() * frequencies[:, None]  # (kept, columns, frequencies)
        cos, sin = angles.cos(), angles.sin()
        complex_product = torch.cat([torch.cat([cos, -sin], dim=2), torch.cat([sin, cos], dim=2)], dim=1)
        self.register_buffer("over_columns", complex_product.float())
        self.shape, self.hop_length, self.power = (rows, columns), hop_length, power

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        rows, columns = self.shape
        frames = waveform[0].unfold(0, len(self.window), self.hop_length) * self.window
        frames = nn.functional.pad(frames, (0, rows * columns - len(self.window)))
        first = frames.unflatten(1, (rows, columns)).transpose(1, 2) @ self.over_rows  # (frames, columns, 2 kept)
        first = first.unflatten(2, (2, -1)).permute(3, 0, 2, 1).flatten(2)  # (kept, frames, 2 columns)
        real, imaginary = (first @ self.over_columns).chunk(2, dim=2)  # (kept, frames, columns)
        energies = (real * real + imaginary * imaginary).transpose(0, 1).flatten(1)  # (frames, kept x columns)
        if self.power != 2:
            energies = energies ** (self.power / 2)
        return (energies @ self.filters)[None]


class LogMel(nn.Module):
    """`LogMelFeatureExtractor` for one recording."""

    def __init__(self, extractor: LogMelFeatureExtractor):
        super().__init__()
        self.extractor = extractor
        # As in torch.stft: the window stands in the middle of a transform that is centred on its frame.
        before = extractor.n_fft // 2 - (extractor.n_fft - extractor.win_length) // 2
        self.around = before, extractor.win_length - before
        self.energies = MelEnergies(
            extractor._mel_filters(torch.device("cpu")).clone(), extractor.n_fft, extractor.win_length,
            extractor.hop_length, extractor.power,
        )  # fmt: skip
        for name in ("mean", "std"):
            statistic = getattr(extractor, name) if extractor.do_normalize else None
            self.register_buffer(name, None if statistic is None else torch.from_numpy(statistic))

    def forward(self, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
        extractor, real = self.extractor, None
        if extractor.crop_seconds is not None:
            waveform, samples = _middle(waveform, extractor._crop_samples)
            real = (torch.arange(extractor._crop_frames) <= samples // extractor.hop_length)[:, None]
        energies = self.energies(nn.functional.pad(waveform, self.around))
        # log(energy + floor): the exporter would take the sum with so small a number for the energy itself.
        log_mel = torch.log1p(energies / extractor.log_floor) + math.log(extractor.log_floor)
        features = extractor._derived(log_mel[0])
        if extractor.do_normalize and extractor.normalize in ("utterance", "speaker"):
            features = _standardised(features, real)
        elif self.mean is not None:
            features = (features - self.mean) / self.std
        if real is not None:
            features = torch.where(real, features, extractor.padding_value)
            return {"input_features": features[None], "attention_mask": real.squeeze(1)[None].long()}
        return {"input_features": features[None]}


class WhisperLogMel(nn.Module):
    """`WhisperEncoderFeatureExtractor` or `WhisperFeatureExtractor` for one recording.

    Args:
        extractor: the extractor.
        samples: number of samples to which a recording is padded or cut; None for its own length.
    """

    def __init__(self, extractor: WhisperFeatureExtractor, samples: int | None = None):
        super().__init__()
        self.n_fft, self.hop_length, self.samples = extractor.n_fft, extractor.hop_length, samples
        filters = torch.from_numpy(np.array(extractor.mel_filters, dtype=np.float32))
        self.energies = MelEnergies(filters, extractor.n_fft, extractor.n_fft, extractor.hop_length)

    def forward(self, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
        half, hop = self.n_fft // 2, self.hop_length
        if self.samples is None:
            # As many frames as hops have begun, and those that still hear the end: the loudest may be among them.
            beyond = -(-half // hop) + 1
            waveform = nn.functional.pad(waveform, (0, half - 1 + beyond * hop))
            waveform = torch.cat([waveform[:, 1 : half + 1].flip(1), waveform], dim=1)
            return {"input_features": self._log_mel(waveform)[:, :-beyond]}
        waveform = nn.functional.pad(waveform, (0, self.samples))[:, : self.samples]
        ends = waveform[:, 1 : half + 1].flip(1), waveform[:, -half - 1 : -1].flip(1)
        log_mel = self._log_mel(torch.cat([ends[0], waveform, ends[1]], dim=1))
        return {"input_features": log_mel[:, :-1].transpose(1, 2)}

    def _log_mel(self, waveform: torch.Tensor) -> torch.Tensor:
        log_mel = self.energies(waveform).clamp_min(1e-10).log10()
        return (torch.maximum(log_mel, log_mel.max() - 8) + 4) / 4


class Waveform(nn.Module):
    """`Wav2Vec2FeatureExtractor` for one recording."""

    def __init__(self, extractor: Wav2Vec2FeatureExtractor):
        super().__init__()
        self.do_normalize = extractor.do_normalize

    def forward(self, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.do_normalize:
            variance, mean = torch.var_mean(waveform, dim=1, keepdim=True, correction=0)
            waveform = (waveform - mean) / (variance + 1e-7).sqrt()
        return {"input_values": waveform}


class Fusion(nn.Module):
    """`FusionFeatureExtractor` for one recording."""

    def __init__(self, extractor: FusionFeatureExtractor):
        super().__init__()
        self.front_end = None if extractor.front_end is None else LogMel(extractor.front_end)
        self.ssl = None if extractor.ssl is None else front_end_of(extractor.ssl)

    def forward(self, waveform: torch.Tensor) -> dict[str, torch.Tensor]:
        features = {} if self.front_end is None else self.front_end(waveform)
        if self.ssl is not None:
            ((name, value),) = self.ssl(waveform).items()
            features["ssl_features" if name == "input_features" else name] = value
        return features


def _middle(waveform: torch.Tensor, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the middle of a waveform, (1, samples), with zeros after its end; and how many samples are real."""
    length = torch.scalar_tensor(waveform.shape[1], dtype=torch.int64)
    start = ((length - samples) // 2).clamp_min(0)
    padded = nn.functional.pad(waveform, (0, samples))
    return padded.index_select(1, start + torch.arange(samples)), length.clamp_max(samples)


def _standardised(features: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """Return features, (frames, width), standardised with mean and deviation of their real frames."""
    weights = torch.ones_like(features) if real is None else real.to(features.dtype).expand_as(features)
    weights = weights / weights.sum(dim=0)
    mean = (weights * features).sum(dim=0)
    variance = (weights * (features - mean) ** 2).sum(dim=0)
    return (features - mean) / variance.clamp_min(MIN_STD**2).sqrt()


_FRONT_ENDS = {
    LogMelFeatureExtractor: LogMel,
    WhisperEncoderFeatureExtractor: WhisperLogMel,
    WhisperFeatureExtractor: lambda extractor: WhisperLogMel(extractor, extractor.n_samples),
    Wav2Vec2FeatureExtractor: Waveform,
    FusionFeatureExtractor: Fusion,
}
