"""Feature extractor of the `fusion` family: log-mel frames, and the input of the self-supervised encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from transformers import Wav2Vec2FeatureExtractor
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature

from .feature_extraction_log_mel import LogMelFeatureExtractor
from .feature_extraction_whisper_encoder import WhisperEncoderFeatureExtractor
from .waveforms import check_sampling_rate, checked_waveforms


class FusionFeatureExtractor(SequenceFeatureExtractor):
    """Waveforms -> `input_features`, and `input_values` or `ssl_features`, each with its mask.

    Both are computed by `LogMelFeatureExtractor` and the encoder's own extractor, at a clip's own length, with the same
    result alone and in a batch. The model matches the frames.

    Args:
        front_end: settings of `LogMelFeatureExtractor`, with the hop of the encoder (20 ms); None: no log-mel frames.
            `do_normalize` must be False, because the model standardises.
        ssl: settings of a `Wav2Vec2FeatureExtractor` or `WhisperEncoderFeatureExtractor`, as returned by `to_dict`;
            None: no encoder.
        sampling_rate: of the waveforms, in Hz.

    Raises:
        ValueError: for settings that contradict each other.

    >>> extractor = FusionFeatureExtractor(front_end={"hop_length": 320, "do_normalize": False})
    >>> extractor([np.zeros(16000), np.zeros(8000)], sampling_rate=16000)["attention_mask"].sum(axis=1).tolist()
    [51, 26]
    """

    model_input_names = [  # noqa: RUF012 (a class attribute in transformers too)
        "input_features", "attention_mask", "input_values", "ssl_features", "ssl_attention_mask"
    ]  # fmt: skip

    def __init__(
        self,
        front_end: Mapping[str, Any] | None = None,
        ssl: Mapping[str, Any] | None = None,
        sampling_rate: int = 16_000,
        feature_size: int = 1,
        padding_value: float = 0.0,
        **kwargs,
    ):
        super().__init__(feature_size, sampling_rate, padding_value, **kwargs)
        self.front_end = None if front_end is None else LogMelFeatureExtractor(**front_end)
        self.ssl = None if ssl is None else _create_ssl_extractor(ssl)
        parts = [part for part in (self.front_end, self.ssl) if part is not None]
        if not parts:
            raise ValueError("the fusion extractor needs front_end, ssl, or both")
        for part in parts:
            if part.sampling_rate != sampling_rate:
                raise ValueError(
                    f"{type(part).__name__} needs {part.sampling_rate} Hz, but the waveforms are at {sampling_rate} Hz"
                )
        if self.front_end is not None and (self.front_end.do_normalize or self.front_end.crop_seconds is not None):
            raise ValueError(
                "front_end: do_normalize and crop_seconds cannot be used in this family: its model standardises the "
                "joined frames, and takes clips at their own length"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings of both parts, as `from_dict` takes them."""
        parts = {"front_end": self.front_end, "ssl": self.ssl}
        return {**super().to_dict(), **{name: part and part.to_dict() for name, part in parts.items()}}

    def __call__(
        self,
        raw_speech: np.ndarray | Sequence[float] | Sequence[np.ndarray],
        sampling_rate: int | None = None,
        padding: bool | str = True,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Return the inputs of `FusionForAudioClassification.forward` for waveforms, padded to the longest.

        Args:
            raw_speech: a mono waveform, floats in [-1, 1], or a list of them.
            sampling_rate: of the waveforms, in Hz.
            padding: True or "longest".
            return_tensors: "pt", "np" or None (NumPy too).

        Raises:
            ValueError: for another sampling rate, and for a waveform that is empty, not mono, not float or not finite.
        """
        check_sampling_rate(sampling_rate, self.sampling_rate)
        if padding not in (True, "longest"):
            raise ValueError(
                f'padding must be True or "longest", not {padding!r}: the two kinds of input differ in length'
            )
        clips = [clip.astype(np.float32) for clip in checked_waveforms(raw_speech)]
        features: dict[str, np.ndarray] = {}
        if self.front_end is not None:
            features |= self.front_end(clips, sampling_rate=self.sampling_rate, return_attention_mask=True)
        if self.ssl is not None:
            batch = self.ssl(
                clips, sampling_rate=self.sampling_rate, padding=True, return_attention_mask=True, return_tensors="np"
            )
            name = self.ssl.model_input_names[0]
            features["ssl_features" if name == "input_features" else name] = batch[name]
            features["ssl_attention_mask"] = batch["attention_mask"].astype(np.int64)
        return BatchFeature(features, tensor_type=return_tensors)


def _create_ssl_extractor(settings: Mapping[str, Any]) -> SequenceFeatureExtractor:
    kinds = {kind.__name__: kind for kind in (Wav2Vec2FeatureExtractor, WhisperEncoderFeatureExtractor)}
    kind = settings.get("feature_extractor_type")
    if kind not in kinds:
        raise ValueError(f"ssl: feature_extractor_type must be one of {', '.join(kinds)}, not {kind!r}")
    return kinds[kind](**{name: value for name, value in settings.items() if name != "feature_extractor_type"})
