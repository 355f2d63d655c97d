"""Embeddings of utterances: the inputs of a model's last linear layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..models.temperature import emotion_layer
from .engine import Outputs
from .predict import predict

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin, PreTrainedModel


def embed(model: PreTrainedModel, extractor: FeatureExtractionMixin, dataset: Dataset) -> np.ndarray:
    """Return the embeddings before the last layer, (utterances, width), float64, in the order of the dataset.

    Raises:
        ModelError: for a model without a last linear layer.
    """
    return predict(Embedder(model, extractor), dataset)


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
