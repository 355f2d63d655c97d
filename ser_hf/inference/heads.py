"""What adaptation to a voice needs of a model besides its probabilities: logits of two heads, and vectors of voices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..models.family import ModelError
from .engine import Outputs
from .offsets import OffsetRule

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


class SpeakerLogits(Outputs):
    """A classifier whose scores are the logits, and then the centred logits, which are the same without a second head.

    Attributes:
        rule: what is done with them.

    Raises:
        ModelError: for a model that cannot be adapted.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__(model, extractor)
        self.rule = OffsetRule.of(model)
        self.labels: Sequence = range(2 * model.config.num_labels)

    @torch.inference_mode()
    def score(self, inputs: Mapping[str, torch.Tensor]) -> np.ndarray:
        outputs = self.model(**{name: tensor.to(self.model.device) for name, tensor in inputs.items()})
        centred = getattr(outputs, "centred_logits", None)
        both = [outputs.logits, outputs.logits if centred is None else centred]
        return torch.cat(both, dim=1).double().cpu().numpy()


class VoiceVectors(Outputs):
    """A classifier whose scores are vectors that lie close together if one person speaks.

    Raises:
        ModelError: for a model without such vectors.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__(model, extractor)
        OffsetRule.of(model)
        if not hasattr(model, "voices"):
            raise ModelError(
                f"{model.config.name_or_path or type(model).__name__} has no vectors of voices for pseudo-speakers: "
                "name the speakers, or train --model_name_or_path lda:openai/whisper-base"
            )
        self.labels = range(len(model.voices.mean))

    @torch.inference_mode()
    def score(self, inputs: Mapping[str, torch.Tensor]) -> np.ndarray:
        outputs = self.model(**{name: tensor.to(self.model.device) for name, tensor in inputs.items()})
        return outputs.voices.double().cpu().numpy()
