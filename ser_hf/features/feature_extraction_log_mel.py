"""Log-mel features on any device, the same for a clip alone and in a batch.

Options: cepstra (MFCC) instead of log-mel, deltas, and four ways to standardise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers.audio_utils import mel_filter_bank
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature

from .waveforms import check_sampling_rate, checked_waveforms

MIN_STD = 0.1  # speech has deviations of 2 to 4 in natural log; a band that is nearly constant must not be scaled up
MIN_CLIPS_PER_CELL = 10  # a cell in fewer training clips gets the statistics of its mel bin
DELTA_FRAMES = 2  # frames on either side for fitting a slope: the HTK Book's default
NORMALIZE = ("bin", "cell", "utterance", "speaker")


class LogMelFeatureExtractor(SequenceFeatureExtractor):
    """Natural logarithm of mel energies: `log(librosa.feature.melspectrogram(...) + log_floor)`, then z-scores.

    Silence is assumed after a clip, alone and in a batch, so that a batch does not change the features of a clip.
    Frame t is centred on sample t * hop_length; there are 1 + samples // hop_length frames.

    Args:
        feature_size: mel bins.
        sampling_rate: of the waveforms, in Hz.
        n_fft: samples of a Fourier transform, even. 1024 at 16 kHz is the smallest power of two that leaves none of
            128 mel filters empty.
        win_length: samples of the Hann window, at most n_fft; 400 at 16 kHz is the usual 25 ms.
        hop_length: samples from frame to frame; 160 at 16 kHz is the usual 10 ms.
        min_frequency_hz, max_frequency_hz: edges of the lowest and highest filter; None is half the sampling rate.
        mel_scale: "slaney" (as librosa), "htk" or "kaldi".
        mel_norm: "slaney" (filters of equal area, as librosa) or None (of equal height).
        power: 2 for energies, 1 for magnitudes.
        log_floor: added before the logarithm. 1e-8 is just above the rounding noise of 16-bit recordings, so that
            digital silence looks like a very quiet room.
        coefficients: number of cepstral coefficients (MFCC) instead of mel bins, the first ones of an orthonormal
            DCT-II; None keeps the bins.
        deltas: 1 appends the slopes of all bins over time, 2 also the slopes of the slopes: `width` is then 2 or 3
            times the number of bins.
        crop_seconds: duration to which every clip is cut (its middle is kept) or padded at its end; None keeps its
            length.
        do_normalize: True to standardise features; False for a backbone that was trained on plain logarithms.
        normalize: the statistics for standardising. "bin": each bin with those of the training part
            (`fit_statistics`); "cell": each (frame, bin) of the crop with those of the training part; "utterance": each
            bin with those of the clip itself; "speaker": each bin with those of all clips of its speaker, which
            `assemble` needs as an argument (cepstral mean and variance normalisation per speaker; Viikki and Laurila
            1998, doi:10.1016/S0167-6393(98)00033-8, for the one per utterance).
        mean, std: statistics for "bin" and "cell", (width,) or with `crop_seconds` also (frames, width), as set by
            `fit_statistics`; None: features are not standardised until it is called.
        padding_value: value of frames after a clip's end, after normalisation: 0 is the average frame; without
            normalisation, log(log_floor) is silence.

    Raises:
        ValueError: for settings that contradict each other.
    """

    model_input_names = ["input_features", "attention_mask"]  # noqa: RUF012 (a class attribute in transformers too)

    def __init__(
        self,
        feature_size: int = 128,
        sampling_rate: int = 16_000,
        n_fft: int = 1024,
        win_length: int = 400,
        hop_length: int = 160,
        min_frequency_hz: float = 0.0,
        max_frequency_hz: float | None = None,
        mel_scale: str = "slaney",
        mel_norm: str | None = "slaney",
        power: float = 2.0,
        log_floor: float = 1e-8,
        coefficients: int | None = None,
        deltas: int = 0,
        crop_seconds: float | None = None,
        do_normalize: bool = True,
        normalize: str = "bin",
        mean: Sequence | np.ndarray | None = None,
        std: Sequence | np.ndarray | None = None,
        padding_value: float = 0.0,
        **kwargs,
    ):
        super().__init__(feature_size, sampling_rate, padding_value, **kwargs)
        self.n_fft = n_fft
        self.win_length = win_length
        self.hop_length = hop_length
        self.min_frequency_hz = min_frequency_hz
        self.max_frequency_hz = sampling_rate / 2 if max_frequency_hz is None else max_frequency_hz
        self.mel_scale = mel_scale
        self.mel_norm = mel_norm
        self.power = power
        self.log_floor = log_floor
        self.coefficients = coefficients
        self.deltas = deltas
        self.crop_seconds = crop_seconds
        self.do_normalize = do_normalize
        self.normalize = normalize
        # Arrays, which `to_json_string` writes as lists: a call need not convert thousands of Python floats.
        self.mean = None if mean is None else np.asarray(mean, dtype=np.float32)
        self.std = None if std is None else np.asarray(std, dtype=np.float32)
        self._check_settings()

    def __call__(
        self,
        raw_speech: np.ndarray | Sequence[float] | Sequence[np.ndarray],
        sampling_rate: int | None = None,
        padding: bool | str = True,
        return_tensors: str | None = None,
        return_attention_mask: bool | None = None,
        device: str | torch.device = "cpu",
    ) -> BatchFeature:
        """Return `input_features` (batch, frames, width) and `attention_mask` (batch, frames), 1 on real frames.

        Args:
            raw_speech: a mono waveform, floats in [-1, 1], or a list of them.
            sampling_rate: of the waveforms, in Hz.
            padding: True or "longest" pads to the longest clip; False gives lists, every clip at its own length.
            return_tensors: "pt" (left on `device`), "np" or None (NumPy too).
            return_attention_mask: None: the extractor's own setting, True by default.
            device: device for the computation.

        Raises:
            ValueError: for another sampling rate, and for a waveform that is empty, not mono, not float or not finite.
        """
        check_sampling_rate(sampling_rate, self.sampling_rate)
        if padding not in (True, False, "longest"):
            raise ValueError(
                f'padding must be True, "longest" or False, not {padding!r}; for a fixed length set crop_seconds'
            )
        return self.assemble(
            self.log_mel(raw_speech, device),
            padding=bool(padding),
            return_tensors=return_tensors,
            return_attention_mask=return_attention_mask,
        )

    def log_mel(self, raw_speech, device: str | torch.device = "cpu") -> list[torch.Tensor]:
        """Return the log-mel energies of each waveform, (frames, mel bins), cropped but not padded.

        They can be cached: they do not depend on a training part. The cheap steps (cepstra, deltas, normalisation)
        follow in `assemble`.
        """
        clips = [self._cropped(clip) for clip in checked_waveforms(raw_speech)]
        if torch.device(device).type == "cpu":
            # One clip fits the processor's cache, a batch does not: several times faster than the padded batch below.
            return [self._spectra(clip) for clip in clips]
        padded = self._spectra(pad_sequence(clips, batch_first=True).to(device))
        return [row[: 1 + clip.numel() // self.hop_length] for row, clip in zip(padded, clips, strict=True)]

    def assemble(
        self,
        log_mels: Sequence[torch.Tensor | np.ndarray],
        padding: bool = True,
        return_tensors: str | None = None,
        return_attention_mask: bool | None = None,
        speaker_statistics: Sequence[tuple] | None = None,
    ) -> BatchFeature:
        """Return the result of `__call__` (normalised, padded, with a mask) from features of `log_mel`.

        Args:
            speaker_statistics: for `normalize="speaker"`: for each clip, the `statistics` of all clips of its speaker;
                None: those of the clip itself.
        """
        clips = [self._derived(torch.as_tensor(clip)) for clip in log_mels]
        if self.do_normalize and self.normalize in ("utterance", "speaker"):
            if self.normalize == "utterance" or speaker_statistics is None:
                speaker_statistics = [_statistics([clip]) for clip in clips]
            clips = [
                (clip - torch.as_tensor(mean).to(clip)) / torch.as_tensor(std).to(clip)
                for clip, (mean, std) in zip(clips, speaker_statistics, strict=True)
            ]
        features = pad_sequence(clips, batch_first=True)
        if self.crop_seconds is not None:
            features = torch.nn.functional.pad(features, (0, 0, 0, self._crop_frames - features.shape[1]))
        lengths = torch.tensor([len(clip) for clip in clips], device=features.device)
        real = torch.arange(features.shape[1], device=features.device) < lengths[:, None]
        if self.do_normalize and self.mean is not None:
            features.sub_(torch.from_numpy(self.mean).to(features)).div_(torch.from_numpy(self.std).to(features))
        features.masked_fill_(~real[..., None], self.padding_value)

        outputs = {"input_features": features, "attention_mask": real.long()}
        if return_tensors != "pt":
            outputs = {name: tensor.numpy(force=True) for name, tensor in outputs.items()}
        if not padding:
            outputs = {
                name: [row[:n] for row, n in zip(rows, lengths.tolist(), strict=True)] for name, rows in outputs.items()
            }
        if not (self.return_attention_mask if return_attention_mask is None else return_attention_mask):
            del outputs["attention_mask"]
        return BatchFeature(outputs)

    @property
    def width(self) -> int:
        """Number of features of a frame."""
        return (self.coefficients or self.feature_size) * (1 + self.deltas)

    @property
    def needs_statistics(self) -> bool:
        """True if `fit_statistics` must be called."""
        return self.do_normalize and self.normalize in ("bin", "cell")

    @property
    def needs_speakers(self) -> bool:
        """True if `assemble` needs the `statistics` of each clip's speaker."""
        return self.do_normalize and self.normalize == "speaker"

    def statistics(self, log_mels: Iterable[torch.Tensor | np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation, (width,), of the features from these `log_mel`s over all their frames."""
        mean, std = _statistics(self._derived(torch.as_tensor(clip)) for clip in log_mels)
        return mean.float().numpy(), std.float().numpy()

    def fit_statistics(self, log_mels: Iterable[torch.Tensor | np.ndarray]) -> None:
        """Set `mean` and `std` from the training part; `save_pretrained` saves them.

        Args:
            log_mels: `log_mel` features of the training clips, each (frames, mel bins); they are read once.

        Raises:
            ValueError: if there are no clips, or the extractor uses no statistics of a training part.
        """
        if not self.needs_statistics:
            reason = "do_normalize is False" if not self.do_normalize else f"normalize is {self.normalize!r}"
            raise ValueError(f"this extractor uses no statistics of a training part ({reason}): do not fit it")
        clips = (self._derived(torch.as_tensor(clip)) for clip in log_mels)
        mean, std = _statistics_per_cell(clips, self._crop_frames) if self.normalize == "cell" else _statistics(clips)
        self.mean, self.std = mean.float().numpy(), std.float().numpy()

    def _derived(self, log_mel: torch.Tensor) -> torch.Tensor:
        """Compute cepstra from mel bins and append slopes, as set: (frames, mel bins) -> (frames, width)."""
        features = log_mel
        if self.coefficients is not None:
            features = features @ _cosines(self.feature_size, self.coefficients).to(features)
        parts = [features]
        for _ in range(self.deltas):
            parts.append(slopes(parts[-1], DELTA_FRAMES))
        return torch.cat(parts, dim=1) if self.deltas else features

    def _cropped(self, waveform: np.ndarray) -> torch.Tensor:
        """Return a waveform as float32, cropped."""
        if self.crop_seconds is not None:
            start = max(0, (waveform.size - self._crop_samples) // 2)
            waveform = waveform[start : start + self._crop_samples]
        return torch.from_numpy(np.array(waveform, dtype=np.float32))  # a copy: arrays from Arrow are read-only

    def _spectra(self, waveforms: torch.Tensor) -> torch.Tensor:
        """(..., samples) -> (..., frames, mel bins)."""
        window = torch.hann_window(self.win_length, device=waveforms.device)
        spectra = torch.stft(
            waveforms, self.n_fft, self.hop_length, self.win_length, window, pad_mode="constant", return_complex=True
        )
        real, imaginary = torch.view_as_real(spectra.mT).unbind(-1)
        energies = torch.addcmul(real * real, imaginary, imaginary)  # a quarter of the time of abs() ** 2
        if self.power != 2:
            energies = energies ** (self.power / 2)
        return torch.log(energies @ self._mel_filters(waveforms.device) + self.log_floor)

    def _mel_filters(self, device: torch.device) -> torch.Tensor:
        """(frequency bins, mel bins)"""
        edges_hz = (self.min_frequency_hz, self.max_frequency_hz)
        return _mel_filters(
            self.n_fft, self.feature_size, self.sampling_rate, edges_hz, self.mel_scale, self.mel_norm, device
        )

    @property
    def _crop_samples(self) -> int:
        return round(self.crop_seconds * self.sampling_rate)

    @property
    def _crop_frames(self) -> int:
        return 1 + self._crop_samples // self.hop_length

    def _check_settings(self) -> None:
        if self.n_fft % 2:
            raise ValueError(f"n_fft must be an even number, not {self.n_fft}")
        if not 1 <= self.win_length <= self.n_fft:
            raise ValueError(f"win_length must be from 1 to n_fft = {self.n_fft}, not {self.win_length}")
        if self.hop_length < 1:
            raise ValueError(f"hop_length must be 1 or more, not {self.hop_length}")
        if not 0 <= self.min_frequency_hz < self.max_frequency_hz <= self.sampling_rate / 2:
            raise ValueError(
                f"mel filters from {self.min_frequency_hz} to {self.max_frequency_hz} Hz do not fit between 0 and half "
                f"the sampling rate, {self.sampling_rate / 2} Hz"
            )
        if self.crop_seconds is not None and self._crop_samples < 1:
            raise ValueError(f"crop_seconds must be positive, not {self.crop_seconds}")
        if self.coefficients is not None and not 1 <= self.coefficients <= self.feature_size:
            raise ValueError(f"coefficients must be 1 to {self.feature_size} (the mel bins), not {self.coefficients}")
        if self.deltas not in (0, 1, 2):
            raise ValueError(f"deltas must be 0, 1 or 2, not {self.deltas}")
        if self.normalize not in NORMALIZE:
            raise ValueError(f"normalize must be one of {', '.join(NORMALIZE)}, not {self.normalize!r}")
        if self.normalize == "cell" and self.crop_seconds is None:
            raise ValueError("normalize='cell' needs crop_seconds, because it needs clips of equal length")
        shapes = [(self.width,)] + ([(self._crop_frames, self.width)] if self.crop_seconds else [])
        found = [None if statistic is None else statistic.shape for statistic in (self.mean, self.std)]
        if found not in [[None, None], *([shape, shape] for shape in shapes)]:
            raise ValueError(f"mean and std must both be None or of shape {' or '.join(map(str, shapes))}, not {found}")
        if self.padding_side != "right":
            raise ValueError(f'padding_side must be "right", not {self.padding_side!r}')
        self._mel_filters(torch.device("cpu"))  # raises for an unknown mel_scale or mel_norm


# Cached outside the extractor, which stays plain settings: JSON, picklable, and hashed alike by `datasets`.
@lru_cache(maxsize=16)
def _mel_filters(n_fft, mel_bins, sampling_rate, edges_hz, mel_scale, mel_norm, device) -> torch.Tensor:
    filters = mel_filter_bank(
        n_fft // 2 + 1, mel_bins, *edges_hz, sampling_rate, norm=mel_norm, mel_scale=mel_scale, dtype=np.float32
    )
    return torch.from_numpy(filters).to(device)


@lru_cache(maxsize=16)
def _cosines(mel_bins: int, coefficients: int) -> torch.Tensor:
    """Return the orthonormal DCT-II, (mel bins, coefficients)."""
    angles = torch.pi / mel_bins * (torch.arange(mel_bins)[:, None] + 0.5) * torch.arange(coefficients)
    matrix = (2 / mel_bins) ** 0.5 * angles.cos()
    matrix[:, 0] /= 2**0.5
    return matrix


def slopes(features: torch.Tensor, reach: int) -> torch.Tensor:
    """Return the slope per frame of a line fitted to each frame and its neighbours.  (frames, n) -> (frames, n)

    Args:
        reach: number of neighbours on either side; beyond the ends the first and the last frame are repeated.
    """
    frames = len(features)
    padded = torch.cat([features[:1].expand(reach, -1), features, features[-1:].expand(reach, -1)])
    steps = range(1, reach + 1)
    rises = sum(n * (padded[reach + n :][:frames] - padded[reach - n :][:frames]) for n in steps)
    return rises / (2 * sum(n * n for n in steps))


def _statistics(clips: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation, (width,), over the frames of all clips."""
    count, total, squares = 0, 0.0, 0.0
    for clip in clips:
        clip = clip.cpu().double()
        count += len(clip)
        total += clip.sum(0)
        squares += clip.square().sum(0)
    if not count:
        raise ValueError("there are no clips to fit the statistics to")
    return _moments(count, total, squares)


def _statistics_per_cell(clips: Iterable[torch.Tensor], frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation, (frames, width), over clips; over all frames for cells in too few clips."""
    count, total, squares = torch.zeros(frames, 1, dtype=torch.float64), 0.0, 0.0
    for clip in clips:
        count[: len(clip)] += 1
        clip = torch.nn.functional.pad(clip.cpu().double(), (0, 0, 0, frames - len(clip)))
        total += clip
        squares += clip.square()
    if not count.any():
        raise ValueError("there are no clips to fit the statistics to")
    mean, std = _moments(count.sum(0), total.sum(0), squares.sum(0))
    cell_mean, cell_std = _moments(count, total, squares)
    enough = count >= MIN_CLIPS_PER_CELL
    return torch.where(enough, cell_mean, mean), torch.where(enough, cell_std, std)


def _moments(
    count: torch.Tensor | int, total: torch.Tensor, squares: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    mean = total / count
    return mean, (squares / count - mean.square()).clamp_min(MIN_STD**2).sqrt()
