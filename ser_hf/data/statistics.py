"""Means and deviations that inputs are standardised with, fitted to the training part and to nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..models.family import mark, needs_statistics
from ..models.records import family_of
from .columns import LOG_MEL_COLUMN
from .precompute import embed_rows, precompute

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import FeatureExtractionMixin, PreTrainedModel


SAMPLE = 400  # utterances of which statistics are computed where nothing is cached


def fit_statistics(model: PreTrainedModel, extractor: FeatureExtractionMixin, train: Dataset) -> None:
    """Fit the means and deviations of the extractor or of the head to the training part.

    Cached columns are used in full; otherwise a `SAMPLE` of utterances is computed, by the untuned encoder.
    """
    if mark(model.config, "head_is_trained", False):  # it was trained with the statistics that it has
        return
    family, of_extractor = family_of(model), needs_statistics(extractor)
    if not (of_extractor or family.fits_statistics):
        return
    column = LOG_MEL_COLUMN if of_extractor else family.cached_input_of(model)
    if column not in train.column_names:
        train = train.shuffle(seed=0).select(range(min(SAMPLE, len(train)))).flatten_indices()
        train = precompute(train, model, extractor, frozen=not of_extractor)
    if column is None:  # nothing of this model is cached, since its head looks at frames; their statistics are fitted
        rows = embed_rows(train, model, extractor)
    else:
        rows = (row[column] for row in train.select_columns([column]))
    if of_extractor:
        extractor.fit_statistics(rows)
    elif model.cached_shape[0] is None:
        model.fit_statistics(torch.as_tensor(row) for row in rows)
    else:
        model.fit_statistics(torch.as_tensor(np.stack(list(rows))).to(model.device))


def standardised(parts: Mapping[str, Dataset], model: PreTrainedModel) -> DatasetDict:
    """Return the parts of a corpus with cached embeddings centred and scaled by their own training part.

    What rooms, microphones and a language add to every recording of a corpus leaves with its mean; no label is needed.
    Source: Schuller et al. (2010), doi:10.1109/T-AFFC.2010.8, "corpus normalisation".

    Args:
        parts: train, validation and test part, as `precompute` made them for this model.

    Raises:
        ValueError: if the model has no cached embedding of a fixed size that its head standardises.
    """
    import datasets

    family = family_of(model)
    column = family.cached_input_of(model)
    if column not in parts["train"].column_names or model.cached_shape[0] is None or not family.fits_statistics:
        raise ValueError(
            f"own_statistics: the head of this {model.config.model_type} does not standardise embeddings that are "
            "computed once; choose a frozen encoder (trainable: head), or leave it out"
        )
    train = np.stack(parts["train"].select_columns([column])[:][column])
    mean, deviation = train.mean(axis=0), train.std(axis=0, ddof=1).clip(min=1e-5)

    def scale(values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {column: (np.stack(values) - mean) / deviation}

    options = dict(batched=True, batch_size=256, input_columns=[column], keep_in_memory=True)
    return datasets.DatasetDict(
        {part: rows.map(scale, features=rows.features, **options) for part, rows in parts.items()}
    )
