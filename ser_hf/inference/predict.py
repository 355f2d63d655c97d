"""Scores and embeddings of a dataset, from its recordings or from the cache of `precompute`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..data.collate import UtteranceCollator
from ..data.columns import LOG_MEL_COLUMN, SPEAKER_COLUMNS, provenance
from ..data.precompute import check_cache, precompute
from ..models.family import needs_speakers
from .engine import Engine
from .heads import Embedder

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin, PreTrainedModel

FIXED_SIZE_BATCH = 1024  # utterances; a few thousand numbers each


def predict_probabilities(model: PreTrainedModel, extractor: FeatureExtractionMixin, dataset: Dataset) -> np.ndarray:
    """Return class probabilities, (utterances, classes), from the cache of `precompute` if the dataset has one.

    An extractor that standardises by speaker uses all clips of the speaker in the dataset.
    """
    return predict(Engine(model, extractor), dataset)


def embed(model: PreTrainedModel, extractor: FeatureExtractionMixin, dataset: Dataset) -> np.ndarray:
    """Return the embeddings before the last layer, (utterances, width), float64, in the order of the dataset.

    Raises:
        ModelError: for a model without a last linear layer.
    """
    return predict(Embedder(model, extractor), dataset)


def predict(classifier: Engine, dataset: Dataset) -> np.ndarray:
    """Return the scores of a classifier, (utterances, labels), in the order of the dataset."""
    model, extractor = classifier.model, classifier.extractor
    if needs_speakers(extractor) and LOG_MEL_COLUMN not in dataset.column_names:
        dataset = precompute(dataset, model, extractor, frozen=False)
    collate = UtteranceCollator(extractor, model)
    possible = (collate.cached_input, LOG_MEL_COLUMN)
    cached = next((column for column in possible if column in dataset.column_names), None)
    if cached is not None and "cache" in provenance(dataset):
        check_cache(dataset, model, extractor, cached)
    if cached is None:
        # `hash_audio` has refused what is truncated, unless it is allowed.
        return classifier.scores(
            dataset["audio"], names=dataset["utterance_id"], allow_truncated=True, progress=len(dataset) > 200
        )
    values = dataset.select_columns([cached, *(name for name in SPEAKER_COLUMNS if name in dataset.column_names)])
    if cached == LOG_MEL_COLUMN or collate.varies:
        frames = [len(row[cached]) for row in values]
        samples = np.asarray(dataset["duration"]) * extractor.sampling_rate
        batches = classifier.batches(list(zip(samples, frames, strict=True)))
    else:
        batches = np.array_split(np.arange(len(values)), -(-len(values) // FIXED_SIZE_BATCH))
    scores, function = np.empty((len(values), len(classifier.labels))), classifier.function()
    for rows in batches:
        scores[rows] = function(classifier.score(collate.inputs(list(values.select(rows)))))
    return scores
