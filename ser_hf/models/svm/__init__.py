"""A support vector machine on functionals, on embeddings of a frozen encoder, or on both joined."""

from .configuration_svm import SVMConfig
from .modeling_svm import SVMForAudioClassification

__all__ = ["SVMConfig", "SVMForAudioClassification"]
