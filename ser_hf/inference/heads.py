"""Engines for adaptation to a voice: one gives the logits of both heads, one gives vectors of voices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ..models.family import ModelError
from .engine import Outputs
from .offsets import OffsetRule

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel
    from transformers.utils import ModelOutput

    from ..export.compiled import Compiled


class SpeakerLogits(Outputs):
    """An engine whose scores are the logits, and then the centred logits. A model with one head gives its logits twice.

    Attributes:
        rule: what is done with them.

    Raises:
        ModelError: for a model that cannot be adapted.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin, *, compiled: Compiled | None = None):
        super().__init__(model, extractor, compiled=compiled)
        self.rule = OffsetRule.of(model)
        self.labels: Sequence = range(2 * model.config.num_labels)

    def chosen(self, outputs: ModelOutput) -> torch.Tensor:
        centred = getattr(outputs, "centred_logits", None)
        return torch.cat([outputs.logits, outputs.logits if centred is None else centred], dim=1)


class VoiceVectors(Outputs):
    """An engine whose scores are vectors that lie close together if one person speaks.

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

    def chosen(self, outputs: ModelOutput) -> torch.Tensor:
        return outputs.voices
