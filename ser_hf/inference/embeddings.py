"""Embeddings of utterances: the inputs of a model's last linear layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .heads import Embedder
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
