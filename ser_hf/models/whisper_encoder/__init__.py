"""Whisper's encoder at the clip's own length, with learned layer weights, as an emotion classifier."""

from .configuration_whisper_encoder import WhisperEncoderConfig
from .feature_extraction_whisper_encoder import WhisperEncoderFeatureExtractor
from .modeling_whisper_encoder import WhisperEncoderForAudioClassification

__all__ = ["WhisperEncoderConfig", "WhisperEncoderFeatureExtractor", "WhisperEncoderForAudioClassification"]
