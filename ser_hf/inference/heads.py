"""Engines whose scores are other outputs of a model: embeddings, the logits of both heads, vectors of voices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..emotions import DIMENSIONS
from ..models.checkpoint_settings import gives_values
from ..models.family import ModelError
from ..models.records import family_of
from ..models.temperature import emotion_layer
from .engine import Outputs
from .offsets import OffsetRule

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel
    from transformers.utils import ModelOutput

    from ..export.compiled import Compiled


class Embedder(Outputs):
    """An engine whose scores are the embedding of an utterance."""

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__(model, extractor)
        self.layer = emotion_layer(model)
        self.labels = range(self.layer.in_features)

    def score(self, inputs: Mapping[str, torch.Tensor]) -> np.ndarray:
        seen: list[torch.Tensor] = []
        hook = self.layer.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
        try:
            super().score(inputs)
        finally:
            hook.remove()
        return seen[0].double().cpu().numpy()


class Dimensions(Outputs):
    """An engine whose scores are valence, arousal and dominance, or the values of a model that gives only such.

    Raises:
        ModelError: for a model that estimates none.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__(model, extractor)
        if gives_values(model.config):
            return
        if not family_of(model).has_dimensions(model.config):
            raise ModelError(
                f"{model.config.name_or_path or type(model).__name__} estimates no valence, arousal and dominance: "
                "train with --model_settings pooling=attentive dimensions=true on a corpus that has them"
            )
        self.labels = list(DIMENSIONS)

    def chosen(self, outputs: ModelOutput) -> torch.Tensor:
        return outputs.logits if gives_values(self.model.config) else outputs.dimensions


class LogitsAndDimensions(Outputs):
    """An engine whose scores are the logits, and then valence, arousal and dominance; the encoder runs once."""

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__(model, extractor)
        self.labels: Sequence = range(model.config.num_labels + len(DIMENSIONS))

    def chosen(self, outputs: ModelOutput) -> torch.Tensor:
        return torch.cat([outputs.logits, outputs.dimensions], dim=1)


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
