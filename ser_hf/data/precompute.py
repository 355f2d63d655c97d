"""The cached path: what does not change while training is computed once, and read by all epochs and folds.

For a frozen encoder that is its output (`layer_statistics`), for a log-mel front end the features (`log_mel`). Training
gives the same numbers with and without the cache.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..audio import read_audio

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin, PreTrainedModel

STATISTICS_COLUMN = "layer_statistics"
LOG_MEL_COLUMN = "log_mel"
CACHED_COLUMNS = (STATISTICS_COLUMN, LOG_MEL_COLUMN)
# Settings that only act when features are put together into a batch; the cache holds what comes before.
_ASSEMBLY_SETTINGS = ("mean", "std", "padding_value")


def precompute(
    dataset: Dataset, model: PreTrainedModel, extractor: FeatureExtractionMixin, *, frozen: bool, batch_size: int = 8
) -> Dataset:
    """The dataset with what can be computed once: unchanged where nothing can.

    The result is cached under the Hugging Face datasets cache. Its key covers the recordings, the extractor's settings
    and, for a frozen encoder, its weights and code, so that none of them can change without a new computation.

    Args:
        frozen: whether only the model's head learns.

    Returns:
        The rows in their old order, with `layer_statistics`, float32 (layers + 1, 2 hidden), or `log_mel`, float32
        (frames, mel bins) before normalisation; read as NumPy.
    """
    import datasets

    if frozen and hasattr(model, "embed"):
        shape = (model.config.encoder_layers + 1, 2 * model.config.d_model)
        column, compute, code = STATISTICS_COLUMN, _embedder(model, extractor), [*_code(model), *_weights(model)]
    elif hasattr(extractor, "log_mel"):
        shape = (None, extractor.feature_size)
        column, compute, code = LOG_MEL_COLUMN, _log_mels(extractor, model.device), _code(extractor)
    else:
        return dataset

    key = _digest(_identity(dataset), [json.dumps(cached_settings(extractor), sort_keys=True).encode()], code)
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "ser_hf"
    folder.mkdir(parents=True, exist_ok=True)
    by_length = np.argsort(np.asarray(dataset["duration"]), kind="stable")  # hardly any padding within a batch
    was_training = model.training
    model.eval()
    computed = dataset.select(by_length).map(
        lambda audio: {column: compute(audio)}, input_columns="audio", batched=True, batch_size=batch_size,
        features=datasets.Features({**dataset.features, column: datasets.Array2D(shape, "float32")}),
        new_fingerprint=key, cache_file_name=str(folder / f"{key}.arrow"), desc="computing once",
    )  # fmt: skip
    model.train(was_training)
    return as_numpy(computed.select(np.argsort(by_length)))


def as_numpy(dataset: Dataset) -> Dataset:
    """Reads the cached columns as NumPy arrays, several times faster than as lists; the others as they are."""
    columns = [column for column in CACHED_COLUMNS if column in dataset.column_names]
    return dataset.with_format("numpy", columns=columns, output_all_columns=True) if columns else dataset


def fit_statistics(
    model: PreTrainedModel, extractor: FeatureExtractionMixin, train: Dataset, *, utterances: int = 400
) -> None:
    """Fits what standardises inputs (of the extractor, or of the head) to the training part, never to more.

    Cached columns are used in full; otherwise a sample of utterances is computed, by the untuned encoder.
    """
    of_extractor = getattr(extractor, "do_normalize", False) and hasattr(extractor, "fit_statistics")
    if not (of_extractor or hasattr(model, "fit_statistics")):
        return
    column = LOG_MEL_COLUMN if of_extractor else STATISTICS_COLUMN
    if column not in train.column_names:
        sample = train.shuffle(seed=0).select(range(min(utterances, len(train)))).flatten_indices()
        train = precompute(sample, model, extractor, frozen=not of_extractor)
    if of_extractor:
        extractor.fit_statistics(row[column] for row in train.select_columns([column]))
    else:
        model.fit_statistics(torch.as_tensor(np.stack(train[column])).to(model.device))


def cached_settings(extractor: FeatureExtractionMixin) -> dict[str, Any]:
    """The extractor's settings that cached features depend on: not those that a training part gave it."""
    settings = json.loads(extractor.to_json_string())
    return {name: value for name, value in settings.items() if name not in _ASSEMBLY_SETTINGS}


def _embedder(model: PreTrainedModel, extractor: FeatureExtractionMixin) -> Callable[[Sequence[Mapping]], np.ndarray]:
    @torch.inference_mode()
    def embed(audio: Sequence[Mapping]) -> np.ndarray:
        rate = extractor.sampling_rate
        waveforms = [read_audio(source, sampling_rate=rate) for source in audio]
        batch = extractor(waveforms, sampling_rate=rate, padding=True, return_tensors="pt")
        return model.embed(**{name: tensor.to(model.device) for name, tensor in batch.items()}).float().cpu().numpy()

    return embed


def _log_mels(extractor: FeatureExtractionMixin, device: torch.device) -> Callable[[Sequence[Mapping]], list]:
    def log_mels(audio: Sequence[Mapping]) -> list[np.ndarray]:
        waveforms = [read_audio(source, sampling_rate=extractor.sampling_rate) for source in audio]
        return [features.numpy(force=True) for features in extractor.log_mel(waveforms, device)]

    return log_mels


def _digest(*parts: Iterator[bytes] | Sequence[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        for piece in part:
            digest.update(piece)
    return digest.hexdigest()


def _identity(dataset: Dataset) -> Iterator[bytes]:
    yield str(dataset.features).encode()
    for row in dataset.remove_columns("audio"):
        yield repr(row).encode()
    for audio in dataset["audio"]:
        if audio["bytes"] is not None:
            yield audio["bytes"]
        else:
            file = os.stat(audio["path"])
            yield f"{audio['path']} {file.st_size} {file.st_mtime_ns}".encode()


def _code(of: object) -> list[bytes]:
    return [Path(inspect.getfile(type(of))).read_bytes()]


def _weights(model: PreTrainedModel) -> Iterator[bytes]:
    for name, tensor in sorted(model.encoder.state_dict().items()):
        yield name.encode() + tensor.detach().float().cpu().numpy().tobytes()
