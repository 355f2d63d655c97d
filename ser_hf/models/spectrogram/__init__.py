"""Image backbones (timm's, or VGGish) on log-mel spectrograms, as emotion classifiers."""

from .configuration_spectrogram import SpectrogramConfig
from .modeling_spectrogram import SpectrogramForAudioClassification

__all__ = ["SpectrogramConfig", "SpectrogramForAudioClassification"]
