"""Log-mel and self-supervised features, frame by frame, under dilated convolutions."""

from .configuration_fusion import FusionConfig
from .modeling_fusion import FusionForAudioClassification

__all__ = ["FusionConfig", "FusionForAudioClassification"]
