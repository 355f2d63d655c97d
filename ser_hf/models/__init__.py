"""Model families. Importing this package registers every family of ours with the Auto classes: the only place."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from ..features.feature_extraction_functionals import FunctionalsFeatureExtractor
from ..features.feature_extraction_fusion import FusionFeatureExtractor
from ..features.feature_extraction_log_mel import LogMelFeatureExtractor
from .fusion import FusionConfig, FusionForAudioClassification
from .hybrid import (
    HybridParallelConfig,
    HybridParallelForAudioClassification,
    HybridStackedConfig,
    HybridStackedForAudioClassification,
)
from .spectrogram import SpectrogramConfig, SpectrogramForAudioClassification
from .speech_encoder import SpeechEncoderConfig, SpeechEncoderForAudioClassification
from .svm import SVMConfig, SVMForAudioClassification
from .whisper_encoder import (
    WhisperEncoderConfig,
    WhisperEncoderFeatureExtractor,
    WhisperEncoderForAudioClassification,
)

FAMILIES = (
    (WhisperEncoderConfig, WhisperEncoderForAudioClassification, WhisperEncoderFeatureExtractor),
    (SpectrogramConfig, SpectrogramForAudioClassification, LogMelFeatureExtractor),
    # Fed by the extractor of its encoder: a stock one, which needs no registration, or that of `whisper_encoder`.
    (SpeechEncoderConfig, SpeechEncoderForAudioClassification, None),
    (HybridParallelConfig, HybridParallelForAudioClassification, LogMelFeatureExtractor),
    (HybridStackedConfig, HybridStackedForAudioClassification, LogMelFeatureExtractor),
    (FusionConfig, FusionForAudioClassification, FusionFeatureExtractor),
    (SVMConfig, SVMForAudioClassification, FunctionalsFeatureExtractor),
)

for _config, _model, _extractor in FAMILIES:
    AutoConfig.register(_config.model_type, _config)
    AutoModelForAudioClassification.register(_config, _model)
    # So that save_pretrained copies the family's files beside the weights, for readers without ser_hf.
    _config.register_for_auto_class()
    _model.register_for_auto_class("AutoModelForAudioClassification")
    if _extractor is not None:
        AutoFeatureExtractor.register(_config, _extractor)
        _extractor.register_for_auto_class("AutoFeatureExtractor")
