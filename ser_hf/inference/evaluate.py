"""Model + labelled utterances -> prediction table, from which every report is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..data.collate import UtteranceCollator
from ..data.dataset import provenance
from ..data.precompute import CACHED_COLUMNS, STATISTICS_COLUMN
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
STATISTICS_BATCH = 1024  # utterances; a few thousand numbers each


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
        dataset: rows of `build_dataset`, with or without what `precompute` adds to them.
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
    """Class probabilities (utterances, classes), through what `precompute` cached where the dataset has it."""
    classifier = Classifier(model, extractor)
    cached = next((column for column in CACHED_COLUMNS if column in dataset.column_names), None)
    if cached is None:
        return classifier.probabilities(dataset["audio"], progress=len(dataset) > 200)
    values = dataset.select_columns([cached])
    if cached == STATISTICS_COLUMN:  # all of one size
        batches = np.array_split(np.arange(len(values)), -(-len(values) // STATISTICS_BATCH))
    else:
        frames = [len(row[cached]) for row in values]
        batches = classifier.batches(list(zip(dataset["duration"], frames, strict=True)))
    collate = UtteranceCollator(extractor)
    probabilities = np.empty((len(values), len(classifier.labels)))
    for rows in batches:
        probabilities[rows] = classifier.score(collate.inputs(list(values.select(rows))))
    return probabilities
