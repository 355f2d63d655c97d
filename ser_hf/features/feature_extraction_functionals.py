"""Utterance functionals: how spectrum, pitch and loudness of a clip are distributed, as one vector of fixed length.

One Fourier transform per clip feeds everything: band energies, cepstra, chroma, spectral shape, and, transformed back,
the autocorrelation that pitch is read from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from transformers import BatchFeature, FeatureExtractionMixin, Wav2Vec2FeatureExtractor

from .feature_extraction_log_mel import LogMelFeatureExtractor, slopes
from .feature_extraction_whisper_encoder import WhisperEncoderFeatureExtractor
from .speech_descriptors import (
    AMPLITUDE_FLOOR,
    CEPSTRA,
    DELTA_FRAMES,
    JUMP_COST,
    MEL_BINS,
    MIN_PITCH_HZ,
    OCTAVE_COST,
    STATISTICS,
    VOICED_STRENGTH,
    autocorrelation_matrix,
    contrast,
    decibels,
    filters,
    harmonicity_db,
    lags_of_pitch,
    statistics,
)
from .waveforms import check_sampling_rate, checked_waveforms

FEATURE_SETS = ("functionals", "egemaps", "none")
# Frames this far below the loudest one are pauses: they count as time, and take no part in the statistics.
PAUSE_DB = 40.0


class FunctionalsFeatureExtractor(FeatureExtractionMixin):
    """Statistics over time of frame-wise descriptors of speech (`descriptors` lists them).

    Of every descriptor, over the frames that are no pause: mean, standard deviation, 10th, 50th and 90th percentile,
    and slope per second; of pitch and harmonicity over the voiced frames alone. Beside them stand the durations: of the
    clip, of its pauses, of voiced stretches.

    Args:
        feature_set: "functionals", or "egemaps": the 88 functionals of eGeMAPSv02 (Eyben et al. 2016,
            doi:10.1109/TAFFC.2015.2457417), computed by the package opensmile (extra `opensmile`); "none" where an
            encoder is the only input.
        sampling_rate: in Hz, of the waveforms it accepts.
        n_fft: samples of a Fourier transform.
        win_length: samples of the Hann window; 640 at 16 kHz is 40 ms, two and a half periods of the lowest pitch.
        hop_length: samples from frame to frame; 320 at 16 kHz is 20 ms.
        encoder_inputs: the inputs of an encoder beside the functionals: `to_dict()` of a Wav2Vec2FeatureExtractor, of a
            Whisper one, or of a LogMelFeatureExtractor; None without an encoder.

    Raises:
        ValueError: for an unknown feature set or encoder extractor, or a window that leaves no room for the longest
            pitch period.
    """

    model_input_names = ["input_features", "encoder_inputs", "attention_mask"]  # noqa: RUF012 (a class attribute in transformers too)

    def __init__(
        self,
        feature_set: str = "functionals",
        sampling_rate: int = 16_000,
        n_fft: int = 1024,
        win_length: int = 640,
        hop_length: int = 320,
        encoder_inputs: Mapping | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if feature_set not in FEATURE_SETS:
            raise ValueError(f"feature_set must be one of {', '.join(FEATURE_SETS)}, not {feature_set!r}")
        if win_length + sampling_rate / MIN_PITCH_HZ > n_fft:
            raise ValueError(
                f"n_fft = {n_fft} must hold a window of {win_length} samples and a pitch period of "
                f"{sampling_rate / MIN_PITCH_HZ:.0f}: set a larger n_fft or a smaller win_length"
            )
        self.feature_set = feature_set
        self.sampling_rate = sampling_rate
        self.n_fft = n_fft
        self.win_length = win_length
        self.hop_length = hop_length
        self.encoder_inputs = None if encoder_inputs is None else dict(encoder_inputs)
        self._encoder_extractor()  # raises for one that is not known

    @property
    def feature_size(self) -> int:
        """Length of the vector."""
        return len(self.feature_names)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The name of each number of the vector."""
        if self.feature_set == "none":
            return ()
        if self.feature_set == "egemaps":
            return tuple(_smile().feature_names)
        return _feature_names(self.sampling_rate, self.n_fft, self.win_length, self.hop_length)

    def __call__(
        self,
        raw_speech: np.ndarray | Sequence[float] | Sequence[np.ndarray],
        sampling_rate: int | None = None,
        padding: bool | str = True,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Return `input_features` (batch, features) of waveforms, unless `feature_set` is "none".

        With an encoder also `encoder_inputs`, padded to the longest clip, and `attention_mask`, 1 on their real samples
        or frames.

        Args:
            raw_speech: a mono waveform, floats in [-1, 1], or a list of them.
            sampling_rate: of the waveforms, in Hz.
            padding: ignored; accepted because pipelines pass it.
            return_tensors: "pt", "np" or None (NumPy).

        Raises:
            ValueError: for another sampling rate, and for a waveform that is empty, not mono, not float or not finite.
            ImportError: for "egemaps" without the package opensmile.
        """
        check_sampling_rate(sampling_rate, self.sampling_rate)
        # Copies: arrays from Arrow are read-only.
        clips = [np.array(clip, dtype=np.float32) for clip in checked_waveforms(raw_speech)]
        outputs = {}
        if self.feature_set != "none":
            compute = self.functionals if self.feature_set == "functionals" else self._egemaps
            outputs["input_features"] = np.stack(_one_by_one(compute, clips))
        if self.encoder_inputs is not None:
            outputs |= self._for_encoder(clips)
        return BatchFeature(outputs, tensor_type=return_tensors)

    def _encoder_extractor(self) -> FeatureExtractionMixin | None:
        if self.encoder_inputs is None:
            return None
        return _encoder_extractor(json.dumps(self.encoder_inputs, sort_keys=True, default=np.ndarray.tolist))

    def _for_encoder(self, clips: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        extractor = self._encoder_extractor()
        batch = extractor(
            clips, sampling_rate=self.sampling_rate, padding=True, return_attention_mask=True, return_tensors="np"
        )
        return {"encoder_inputs": batch[extractor.model_input_names[0]], "attention_mask": batch["attention_mask"]}

    def functionals(self, waveform: np.ndarray) -> np.ndarray:
        """Return the functionals of a waveform, (samples,) -> (features,), float32."""
        spoken, voice, level = self._frames(waveform)
        seconds = self.hop_length / self.sampling_rate
        loud = level > level.max() - PAUSE_DB
        voiced = loud & (voice[:, 1] > VOICED_STRENGTH)
        stretches = int(voiced[0]) + int((voiced[1:] & ~voiced[:-1]).sum())
        times = torch.arange(len(level)) * seconds
        # Relative to 100 Hz, so that the pitch of a clip without any, 0, is no extreme.
        pitch = torch.stack([12 * torch.log2(voice[:, 0] / 100.0), harmonicity_db(voice[:, 1])], dim=1)
        durations = torch.tensor(
            [
                len(waveform) / self.sampling_rate,
                1.0 - float(loud.float().mean()),
                float(voiced.float().mean()),
                float(voiced.sum()) * seconds / max(1, stretches),
                stretches / (float(loud.sum()) * seconds),
            ]
        )
        vector = torch.cat([statistics(spoken[loud], times[loud]), statistics(pitch[voiced], times[voiced]), durations])
        return vector.numpy()

    def descriptors(self, waveform: np.ndarray) -> dict[str, np.ndarray]:
        """Return the descriptors of each frame by name, each (frames, values), of a waveform (samples,).

        Frame t is centred on sample t * hop_length; silence is assumed before and after the clip. A descriptor with the
        name of a function in `librosa.feature` has the same values.
        """
        spoken, voice, _ = self._frames(waveform)
        groups = {}
        start = 0
        for name, width in _descriptors(self.sampling_rate, self.n_fft).items():
            groups[name] = spoken[:, start : start + width].numpy()
            start += width
        return groups | {"pitch_hz": voice[:, :1].numpy(), "periodicity": voice[:, 1:].numpy()}

    def _frames(self, waveform: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return descriptors (frames, values), pitch in Hz and periodicity (frames, 2), and level in dB (frames,)."""
        samples = torch.from_numpy(waveform)
        window = torch.hann_window(self.win_length)
        spectra = torch.stft(
            samples, self.n_fft, self.hop_length, self.win_length, window, pad_mode="constant", return_complex=True
        )
        power = spectra.real.square().add_(spectra.imag.square()).mT  # (frames, frequencies)
        magnitude = power.sqrt()
        bank = filters(self.sampling_rate, self.n_fft)
        frequency = bank["frequency"]

        mel, chroma, bands = (power @ bank["energies"]).split([MEL_BINS, 12, 4], dim=1)
        mel = decibels(mel)
        cepstra = mel @ bank["cosines"]
        chroma = chroma / chroma.amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        tonnetz = chroma / chroma.sum(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) @ bank["tonnetz"]

        share = magnitude / magnitude.sum(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        centroid, square = (share @ bank["moments"]).split(1, dim=1)
        bandwidth = (square - centroid.square()).clamp_min(0).sqrt()
        cumulative = share.cumsum(dim=1)
        rolloff = torch.searchsorted(cumulative, 0.85 * cumulative[:, -1:]).clamp_max(len(frequency) - 1)
        floored = power.clamp_min(AMPLITUDE_FLOOR)
        log_flatness = -floored.mean(dim=1, keepdim=True).log() + floored.log_().mean(dim=1, keepdim=True)
        flux = torch.cat([torch.zeros(1, 1), (share[1:] - share[:-1]).square().sum(dim=1, keepdim=True).sqrt()])
        level = 10 * torch.log10(power.mean(dim=1, keepdim=True) / self.win_length + AMPLITUDE_FLOOR)
        bands = 10 * torch.log10(bands + AMPLITUDE_FLOOR)
        tilt = torch.stack([bands[:, 0] - bands[:, 1], bands[:, 2] - bands[:, 3]], dim=1)
        crossings = self._zero_crossings(samples, len(power))
        spoken = torch.cat(
            [
                mel, cepstra, chroma, contrast(magnitude, bank["octaves"]), tonnetz, level, centroid, bandwidth,
                frequency[rolloff], log_flatness, flux, tilt, crossings[:, None],
            ],
            dim=1,
        )  # fmt: skip
        return torch.cat([spoken, slopes(spoken, DELTA_FRAMES)], dim=1), self._pitch(power), level[:, 0]

    def _pitch(self, power: torch.Tensor) -> torch.Tensor:
        """Pitch in Hz and periodicity in [0, 1] of each frame, (frames, 2), by autocorrelation.

        Boersma (1993): the autocorrelation of a windowed frame, divided by that of the window, is near 1 at the period
        whatever the loudness.
        """
        cosines = autocorrelation_matrix(self.sampling_rate, self.n_fft, self.win_length)
        correlation = power[:, : len(cosines)] @ cosines
        correlation = correlation / correlation[:, :1].clamp_min(1e-9)
        first, last = lags_of_pitch(self.sampling_rate)
        left, middle, right = correlation[:, first - 1 : -2], correlation[:, first:-1], correlation[:, first + 1 :]
        lags = torch.arange(first, last)
        scores = middle - OCTAVE_COST * torch.log2(lags / first)
        scores = torch.where((middle >= left) & (middle > right), scores, -1.0)
        best = scores.argmax(dim=1)
        voiced = middle.gather(1, best[:, None])[:, 0] > VOICED_STRENGTH
        if voiced.any():
            typical = lags[best[voiced]].float().median()
            scores = torch.where(scores > -1.0, scores - JUMP_COST * torch.log2(lags / typical).abs(), scores)
            best = scores.argmax(dim=1)
        before, peak, after = (values.gather(1, best[:, None])[:, 0] for values in (left, middle, right))
        shift = torch.where(
            scores.amax(dim=1) > -1.0, 0.5 * (before - after) / (before - 2 * peak + after).clamp_max(-1e-9), 0.0
        )
        period = lags[best] + shift.clamp(-0.5, 0.5)
        return torch.stack([self.sampling_rate / period, peak.clamp(0.0, 1.0)], dim=1)

    def _zero_crossings(self, samples: torch.Tensor, frames: int) -> torch.Tensor:
        """Share of samples of each window where the sign changes, (frames,)."""
        signs = torch.signbit(samples)
        crossings = 1 + (signs[1:] ^ signs[:-1]).nonzero()[:, 0]
        centres = torch.arange(frames) * self.hop_length
        before, after = (torch.searchsorted(crossings, centres + side * self.win_length // 2) for side in (-1, 1))
        return (after - before) / self.win_length

    def _egemaps(self, waveform: np.ndarray) -> np.ndarray:
        return _smile().process_signal(waveform, self.sampling_rate).to_numpy(np.float32)[0]


def _one_by_one(compute: Callable, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Compute clip by clip on a single thread: the matrices are so small that threads would wait for each other."""
    _keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [compute(clip) for clip in clips]
    finally:
        torch.set_num_threads(threads)


@lru_cache(maxsize=1)
def _keep_freed_memory() -> None:
    """Make glibc keep the memory of freed tensors, which saves a third of the time.

    At first it returns large blocks to the system, and every clip fetches them again page by page. It stops doing so
    for all smaller blocks once a block of nearly 32 MB was freed.
    """
    torch.empty(30 * 2**20, dtype=torch.uint8)


def _descriptors(sampling_rate: int, n_fft: int) -> dict[str, int]:
    """Return the number of values of each descriptor, in their order; the slopes of all descriptors come last."""
    widths = {
        "mel_db": MEL_BINS, "mfcc": CEPSTRA, "chroma_stft": 12,
        "spectral_contrast": len(filters(sampling_rate, n_fft)["octaves"]), "tonnetz": 6, "level_db": 1,
        "spectral_centroid": 1, "spectral_bandwidth": 1, "spectral_rolloff": 1, "log_flatness": 1, "spectral_flux": 1,
        "tilt_db": 2, "zero_crossing_rate": 1,
    }  # fmt: skip
    return {**widths, **{f"{name}_delta": width for name, width in widths.items()}}


@lru_cache(maxsize=4)
def _feature_names(sampling_rate: int, n_fft: int, win_length: int, hop_length: int) -> tuple[str, ...]:
    values = [
        f"{name}_{number}" if width > 1 else name
        for name, width in _descriptors(sampling_rate, n_fft).items()
        for number in range(width)
    ]
    statistics = [f"{value}_{statistic}" for value in (*values, "pitch", "hnr_db") for statistic in STATISTICS]
    return (
        *statistics,
        "seconds",
        "pause_share",
        "voiced_share",
        "voiced_stretch_seconds",
        "voiced_stretches_per_second",
    )


@lru_cache(maxsize=4)
def _encoder_extractor(settings: str) -> FeatureExtractionMixin:
    settings = json.loads(settings)
    name = settings.pop("feature_extractor_type", None)
    kinds = (Wav2Vec2FeatureExtractor, LogMelFeatureExtractor, WhisperEncoderFeatureExtractor)
    known = {kind.__name__: kind for kind in kinds}
    if name not in known:
        raise ValueError(f"encoder_inputs: feature_extractor_type must be one of {', '.join(known)}, not {name!r}")
    return known[name](**settings)


@lru_cache(maxsize=1)
def _smile():
    try:
        import opensmile
    except ImportError as error:
        raise ImportError("feature_set egemaps needs the package opensmile: pip install 'ser_hf[opensmile]'") from error
    return opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
