"""Whisper's log-mel features at the clip's own length instead of 30 seconds."""

from __future__ import annotations

import numpy as np
from transformers import BatchFeature, WhisperFeatureExtractor

from .waveforms import check_sampling_rate, checked_waveforms


class WhisperEncoderFeatureExtractor(WhisperFeatureExtractor):
    """The stock Whisper features, padded only to the longest clip of the batch, with a mask over real frames.

    Unlike in the stock extractor, frames come before mel bins: a stock pipeline pads the second axis of
    `input_features` to the longest clip of its batch.

    >>> extractor = WhisperEncoderFeatureExtractor()
    >>> batch = extractor([np.zeros(16000), np.zeros(8000)], sampling_rate=16000)
    >>> batch["input_features"].shape, batch["attention_mask"].sum(axis=1).tolist()
    ((2, 100, 80), [100, 50])
    """

    model_input_names = ["input_features", "attention_mask"]  # noqa: RUF012 (a class attribute in transformers too)

    def __call__(self, raw_speech, *, sampling_rate=None, return_tensors=None, device="cpu", **_unused):
        """Return `input_features` (batch, frames, mel bins) and `attention_mask` (batch, frames) of waveforms.

        Args:
            raw_speech: a mono waveform, floats in [-1, 1], or a list of them.
            sampling_rate: of the waveforms, in Hz.
            return_tensors: "pt", "np" or None (NumPy).
            device: device that computes the spectra.

        Raises:
            ValueError: for another sampling rate, and for a waveform that is empty, not mono, not float or not finite.
        """
        check_sampling_rate(sampling_rate, self.sampling_rate)
        waveforms = [waveform.astype(np.float32) for waveform in checked_waveforms(raw_speech)]

        # At least one window of zeros follows every clip, so its last frames are the same alone and in a batch.
        longest = max(waveform.size for waveform in waveforms) + self.n_fft
        padded = [np.pad(waveform, (0, longest - waveform.size)) for waveform in waveforms]
        features = super().__call__(
            padded, sampling_rate=self.sampling_rate, padding="longest", truncation=False, return_tensors="np",
            device=device,
        )["input_features"]  # fmt: skip

        frames = np.asarray([-(-waveform.size // self.hop_length) for waveform in waveforms])
        mask = (np.arange(frames.max()) < frames[:, None]).astype(np.int64)
        features = features.transpose(0, 2, 1)[:, : frames.max()] * mask[..., None]
        return BatchFeature(
            {"input_features": features.astype(np.float32), "attention_mask": mask}, tensor_type=return_tensors
        )
