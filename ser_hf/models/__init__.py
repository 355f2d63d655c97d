"""Model families. Importing this package registers every family of ours with the Auto classes: the only place."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from ..features.feature_extraction_functionals import FunctionalsFeatureExtractor
from ..features.feature_extraction_log_mel import LogMelFeatureExtractor
from .spectrogram import SpectrogramConfig, SpectrogramForAudioClassification
from .svm import SVMConfig, SVMForAudioClassification
from .whisper_encoder import (
    WhisperEncoderConfig,
    WhisperEncoderFeatureExtractor,
    WhisperEncoderForAudioClassification,
)

FAMILIES = (
    (WhisperEncoderConfig, WhisperEncoderForAudioClassification, WhisperEncoderFeatureExtractor),
    (SpectrogramConfig, SpectrogramForAudioClassification, LogMelFeatureExtractor),
    (SVMConfig, SVMForAudioClassification, FunctionalsFeatureExtractor),
)

for _config, _model, _extractor in FAMILIES:
    AutoConfig.register(_config.model_type, _config)
    AutoModelForAudioClassification.register(_config, _model)
    AutoFeatureExtractor.register(_config, _extractor)
    # So that save_pretrained copies the family's files beside the weights, for readers without ser_hf.
    _config.register_for_auto_class()
    _model.register_for_auto_class("AutoModelForAudioClassification")
    _extractor.register_for_auto_class("AutoFeatureExtractor")
