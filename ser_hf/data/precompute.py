"""The cached path of a frozen encoder: every utterance is encoded once, all epochs and folds read the result."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin, PreTrainedModel

STATISTICS_COLUMN = "layer_statistics"


def embed_dataset(
    dataset: Dataset, model: PreTrainedModel, extractor: FeatureExtractionMixin, *, batch_size: int = 8
) -> Dataset:
    """The dataset with a column `layer_statistics`: what `model.embed` makes of each utterance.

    The result is cached under the Hugging Face datasets cache. Its key covers the recordings, the extractor's
    settings, the encoder's weights and its code, so that none of them can change without a new computation.

    Returns:
        The rows in their old order; `layer_statistics` is float32, (layers + 1, 2 hidden), read as NumPy.
    """
    import datasets

    from .collate import UtteranceCollator

    collate = UtteranceCollator(extractor)
    shape = (model.config.encoder_layers + 1, 2 * model.config.d_model)
    features = datasets.Features({**dataset.features, STATISTICS_COLUMN: datasets.Array2D(shape, "float32")})

    @torch.inference_mode()
    def embed(rows: dict[str, list]) -> dict[str, np.ndarray]:
        batch = collate([dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)])
        batch.pop("labels")
        statistics = model.embed(**{name: tensor.to(model.device) for name, tensor in batch.items()})
        return {STATISTICS_COLUMN: statistics.float().cpu().numpy()}

    key = _key(dataset, model, extractor)
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "ser_hf"
    folder.mkdir(parents=True, exist_ok=True)
    by_length = np.argsort(np.asarray(dataset["duration"]), kind="stable")  # hardly any padding within a batch
    was_training = model.training
    model.eval()
    embedded = dataset.select(by_length).map(
        embed, batched=True, batch_size=batch_size, features=features, new_fingerprint=key,
        cache_file_name=str(folder / f"{key}.arrow"), desc="encoding once",
    )  # fmt: skip
    model.train(was_training)
    return embedded.select(np.argsort(by_length)).with_format(
        "numpy", columns=[STATISTICS_COLUMN], output_all_columns=True
    )


def fit_head_statistics(
    model: PreTrainedModel, extractor: FeatureExtractionMixin, train: Dataset, *, utterances: int = 400
) -> None:
    """Fits the standardisation of a head that has one (`model.fit_statistics`) to the training part, never to more.

    With a frozen encoder all of its cached statistics are used; otherwise a sample, encoded by the untuned encoder.
    """
    if not hasattr(model, "fit_statistics"):
        return
    if STATISTICS_COLUMN not in train.column_names:
        sample = train.shuffle(seed=0).select(range(min(utterances, len(train)))).flatten_indices()
        train = embed_dataset(sample, model, extractor)
    model.fit_statistics(torch.as_tensor(np.stack(train[STATISTICS_COLUMN])).to(model.device))


def _key(dataset: Dataset, model: PreTrainedModel, extractor: FeatureExtractionMixin) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in _identity(dataset, model, extractor):
        digest.update(part)
    return digest.hexdigest()


def _identity(dataset: Dataset, model: PreTrainedModel, extractor: FeatureExtractionMixin) -> Iterator[bytes]:
    yield str(dataset.features).encode()
    for row in dataset.remove_columns("audio"):
        yield repr(row).encode()
    for audio in dataset["audio"]:
        if audio["bytes"] is not None:
            yield audio["bytes"]
        else:
            file = os.stat(audio["path"])
            yield f"{audio['path']} {file.st_size} {file.st_mtime_ns}".encode()
    yield extractor.to_json_string().encode()
    yield Path(inspect.getfile(type(model))).read_bytes()
    for name, tensor in sorted(model.encoder.state_dict().items()):
        yield name.encode() + tensor.detach().float().cpu().numpy().tobytes()
