"""What a model of the family `lda` says besides its probabilities: the logits of both heads, and vectors of voices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..models.family import ModelError
from ..models.records import family_of
from .classifier import Classifier

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


class SpeakerLogits(Classifier):
    """A classifier whose scores are the logits of both heads, those of the centred head last.

    Raises:
        ModelError: for a model without a centred head.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__(model, extractor)
        if not family_of(model).adapts_to_speakers(model.config):
            raise ModelError(
                f"{model.config.name_or_path or type(model).__name__} cannot be adapted to a speaker: train "
                "one that can with --model_name_or_path lda:openai/whisper-base, on three speakers or more with five "
                "utterances each"
            )
        self.labels: Sequence = range(2 * model.config.num_labels)

    @torch.inference_mode()
    def score(self, inputs: Mapping[str, torch.Tensor]) -> np.ndarray:
        outputs = self.model(**{name: tensor.to(self.model.device) for name, tensor in inputs.items()})
        return torch.cat([outputs.logits, outputs.centred_logits], dim=1).double().cpu().numpy()


class VoiceVectors(SpeakerLogits):
    """A classifier whose scores are vectors that lie close together if one person speaks."""

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__(model, extractor)
        self.labels = range(len(model.voices.mean))

    @torch.inference_mode()
    def score(self, inputs: Mapping[str, torch.Tensor]) -> np.ndarray:
        outputs = self.model(**{name: tensor.to(self.model.device) for name, tensor in inputs.items()})
        return outputs.voices.double().cpu().numpy()
