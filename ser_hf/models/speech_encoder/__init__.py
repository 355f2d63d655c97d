"""Any self-supervised speech encoder with learned layer weights, a choice of pooling, and two heads."""

from .configuration_speech_encoder import SpeechEncoderConfig
from .modeling_speech_encoder import SpeechEncoderForAudioClassification

__all__ = ["SpeechEncoderConfig", "SpeechEncoderForAudioClassification"]
