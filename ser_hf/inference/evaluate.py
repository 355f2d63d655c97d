"""Model + labelled utterances -> prediction table, from which every report is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..data.dataset import provenance
from ..data.precompute import STATISTICS_COLUMN
from ..evaluation.tables import PredictionTable, TableMetadata
from .engine import Classifier

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin, PreTrainedModel

    from ..data.splits import Protocol

KEPT_COLUMNS = (
    "utterance_id", "corpus", "language", "speaker", "gender", "age", "session", "statement", "intensity",
    "label_source", "duration",
)  # fmt: skip


def evaluate(
    model: PreTrainedModel,
    extractor: FeatureExtractionMixin,
    dataset: Dataset,
    protocol: Protocol,
    *,
    fold: int,
    seed: int,
    model_name: str,
) -> PredictionTable:
    """The prediction table of a test part.

    Args:
        dataset: rows of `build_dataset`, or of `embed_dataset` for a frozen encoder.
        protocol: what the test part is, from `data.splits.get_protocol`.
        model_name: what the report calls the model.
    """
    classes = dataset.features["label"].names
    probabilities = predict_probabilities(model, extractor, dataset)
    rows = dataset.select_columns(list(KEPT_COLUMNS)).to_pandas()
    rows["fold"], rows["seed"] = fold, seed
    rows["label"] = [classes[label] for label in dataset["label"]]
    rows["prediction"] = [classes[winner] for winner in probabilities.argmax(axis=1)]
    for number, name in enumerate(classes):
        rows[f"p_{name}"] = probabilities[:, number]
    facts = provenance(dataset)
    metadata = TableMetadata(
        protocol=protocol.name,
        scheme=facts["scheme"],
        classes=tuple(classes),
        dropped=facts["dropped"],
        partial=facts["partial"],
        model=model_name,
        speaker_knowledge="blind",
        speaker_independent=protocol.is_speaker_independent,
        synthetic=set(rows["label_source"]) == {"synthetic"},
    )
    return PredictionTable(rows, metadata)


def predict_probabilities(model: PreTrainedModel, extractor: FeatureExtractionMixin, dataset: Dataset) -> np.ndarray:
    """Class probabilities (utterances, classes), through the cached statistics where the dataset has them."""
    if STATISTICS_COLUMN not in dataset.column_names:
        return Classifier(model, extractor).probabilities(dataset["audio"], progress=len(dataset) > 200)
    model.eval()
    with torch.inference_mode():
        statistics = torch.as_tensor(np.stack(dataset[STATISTICS_COLUMN])).to(model.device)
        return model(layer_statistics=statistics).logits.double().softmax(dim=-1).cpu().numpy()
