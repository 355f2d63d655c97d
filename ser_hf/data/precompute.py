"""The cached path: what does not change while training is computed once, and read by all epochs and folds.

For a frozen encoder that is its output (named like the argument of `forward` that takes it), for a log-mel front end
the features (`log_mel`), and for every recording its fingerprint (`audio_hash`). Training gives the same numbers with
and without the cache, and a cache that was saved (`save_cache`) needs no audio at all.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PreTrainedModel

from ..audio import AudioError, read_audio, sample_hash
from ..files import naming_full_disk
from ..fingerprint import fingerprint
from ..fingerprint_mark import mark_of
from ..models.family import caches_log_mel, needs_speakers, not_finite
from ..models.records import family_of
from .cache_keys import CacheError, cached_under, digest, reading_code
from .columns import (
    AUDIO_HASH_COLUMN,
    AUDIO_MARK_COLUMN,
    LOG_MEL_COLUMN,
    SKIPPED,
    SPEAKER_COLUMNS,
    TRUNCATED,
    as_numpy,
    column_array,
    note_provenance,
    provenance,
    values_of,
)
from .durations import refuse_unfit_durations
from .rows import UNUSABLE, tell_unusable

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin

# Settings that only act when features are put together into a batch; the cache holds what comes before.
_ASSEMBLY_SETTINGS = ("mean", "std", "padding_value", "coefficients", "deltas", "do_normalize", "normalize")
# Settings of an encoder that change its output, and not the shape of its weights, have one of these words in their
# names. Others, such as `use_cache`, are changed by a training.
_OUTPUT_SETTINGS = (
    "heads", "hidden_act", "activation_function", "eps", "norm", "stride", "kernel", "groups", "buckets", "distance",
    "max_source_positions", "scale_embedding",
)  # fmt: skip


def precompute(
    dataset: Dataset, model: PreTrainedModel, extractor: FeatureExtractionMixin, *, frozen: bool, batch_size: int = 8
) -> Dataset:
    """Return the dataset with a column of what can be computed once; unchanged if the model has no such thing.

    To be cacheable, a model is a `models.family.CachingModel`, and its `Family` names the `cached_input` of `forward`.

    The result is cached under the Hugging Face datasets cache. Its key covers the recordings, the code that reads them,
    the extractor's settings and code and, for a frozen encoder, its weights, configuration and code, so that none of
    them can change without a new computation.

    Args:
        dataset: rows of `build_dataset`, or a saved cache (`load_cache`), which is only compared with the model.
        frozen: whether only the model's head learns.

    Returns:
        The rows in their old order, with `Family.cached_input`, float32 `model.cached_shape`, or `log_mel`, float32
        (frames, mel bins) before normalisation; read as NumPy. Where the extractor standardises per speaker, also
        `speaker_mean` and `speaker_std`, (width,): of all rows of that speaker in this dataset, which need no labels.

    Raises:
        CacheError: if a saved cache was made by another encoder or another front end.
        AudioError: if a recording is too short or too long for the model.
        ValueError: if the extractor standardises per speaker and a row has none.
    """
    column = _column(model, extractor, frozen)
    if "audio" not in dataset.column_names:
        check_cache(dataset, model, extractor, column)
        return as_numpy(_with_speaker_statistics(dataset, extractor))
    if column is None:
        return dataset
    refuse_unfit_durations(model, extractor, dataset["duration"], dataset["utterance_id"])
    if column == LOG_MEL_COLUMN:
        shape, compute = (None, extractor.feature_size), _log_mels(extractor, model.device)
    else:
        shape, compute = model.cached_shape, _embedder(model, extractor)
    made = _made_by(model, extractor, column)

    by_length = np.argsort(np.asarray(dataset["duration"]), kind="stable")  # hardly any padding within a batch
    was_training = model.training
    model.eval()
    computed = _map_audio(dataset.select(by_length), column, _feature(shape), compute, made["maker"], batch_size)
    model.train(was_training)
    computed = _with_speaker_statistics(computed, extractor).select(np.argsort(by_length))
    return as_numpy(note_provenance(computed, dataset, cache=made))


def check_cache(
    dataset: Dataset, model: PreTrainedModel, extractor: FeatureExtractionMixin, column: str | None
) -> None:
    """Raise a `CacheError` unless the dataset's cached column is what this model and extractor would compute."""
    if provenance(dataset)["cache"] != _made_by(model, extractor, column):
        raise CacheError(
            "this cache was made by another encoder, front end or version of ser_hf: make it again with `ser-hf "
            "precompute`"
        )


def hash_audio(dataset: Dataset) -> Dataset:
    """Return the dataset with a column `audio_hash`, the `sample_hash` of every recording; it is cached too.

    This decodes every recording whole, before anything is computed from them. Of a dataset that was built with
    `skip_unusable`, recordings that cannot be read are left out and counted in its provenance.

    Raises:
        AudioError: if a recording cannot be read, or is silent.
        TruncatedAudioError: if the end of one is missing, and the dataset was not built with `allow_truncated`.
    """
    import datasets

    if AUDIO_HASH_COLUMN in dataset.column_names:
        return dataset
    facts = provenance(dataset)
    allowed, skipped = facts.get(TRUNCATED, False), facts.get(SKIPPED, False)
    pool = ThreadPoolExecutor()  # decoding and hashing leave the interpreter free

    def hash_of(audio: Mapping) -> str | None:
        try:
            return sample_hash(audio, allow_truncated=allowed, allow_silent=False)
        except AudioError:
            if not skipped:
                raise
            return None

    def hashes(audio: Sequence[Mapping]) -> list[str | None]:
        return list(pool.map(hash_of, audio))

    with pool:
        kind = datasets.Value("string")
        hashed = _map_audio(dataset, AUDIO_HASH_COLUMN, kind, hashes, f"{allowed}, {skipped}", 256)
    return without_unusable(hashed)


def mark_audio(dataset: Dataset) -> Dataset:
    """Return the dataset with a column `audio_mark`, by which later copies of each recording are known.

    The column is cached. A dataset without recordings, as of `load_cache`, is returned as it is. Procedural voices say
    a statement so much alike that they have no marks.
    """
    import datasets

    if AUDIO_MARK_COLUMN in dataset.column_names or "audio" not in dataset.column_names:
        return dataset
    if values_of(dataset, "label_source") == ["synthetic"]:
        return dataset
    pool = ThreadPoolExecutor()

    def marks(audio: Sequence[Mapping]) -> list[str]:
        return list(pool.map(lambda source: mark_of(fingerprint(source)), audio))

    with pool:
        maker = digest([Path(inspect.getfile(made)).read_bytes() for made in (fingerprint, mark_of)])
        return _map_audio(dataset, AUDIO_MARK_COLUMN, datasets.Value("string"), marks, maker, 256)


def without_unusable(hashed: Dataset) -> Dataset:
    """Return the rows that have a hash, with the number of the others in the provenance."""
    known = column_array(hashed, AUDIO_HASH_COLUMN).is_valid().to_numpy()
    if known.all():
        return hashed
    lost = hashed.select(np.flatnonzero(~known))
    dropped = {corpus: dict(reasons) for corpus, reasons in provenance(hashed)["dropped"].items()}
    for corpus, count in Counter(lost["corpus"]).items():
        reasons = dropped.setdefault(corpus, {})
        reasons[UNUSABLE] = reasons.get(UNUSABLE, 0) + count
        names = [name for name, own in zip(lost["utterance_id"], lost["corpus"], strict=True) if own == corpus]
        tell_unusable(corpus, [f"{name} is damaged or silent" for name in names])
    return note_provenance(hashed.select(np.flatnonzero(known)), hashed, dropped=dropped)


def _feature(shape: tuple):
    """Return the type of a column whose rows have this shape. Untyped lists would be read several times slower."""
    import datasets

    if len(shape) == 1:
        return datasets.List(datasets.Value("float32"), length=shape[0])
    return {2: datasets.Array2D, 3: datasets.Array3D}[len(shape)](shape, "float32")


def _column(model: PreTrainedModel, extractor: FeatureExtractionMixin, frozen: bool) -> str | None:
    """Return the name of the column that can be computed once: an encoder's output, log-mels, or None."""
    cached = family_of(model).cached_input_of(model)
    if frozen and cached is not None:
        return cached
    return LOG_MEL_COLUMN if caches_log_mel(extractor) else None


def _made_by(model: PreTrainedModel, extractor: FeatureExtractionMixin, column: str | None) -> dict[str, str | None]:
    """Return the column, and a digest of everything besides the recordings that its values follow from."""
    ignored = ("auto_map",)  # written into an extractor when it is first saved
    if column in (LOG_MEL_COLUMN, None):
        ignored += _ASSEMBLY_SETTINGS
        code = _code(extractor)
    else:
        code = [json.dumps(_obeyed(model), sort_keys=True).encode(), *_code(model), *_code(extractor), *_weights(model)]
    settings = {name: value for name, value in json.loads(extractor.to_json_string()).items() if name not in ignored}
    return {
        "column": column,
        "maker": digest([json.dumps(settings, sort_keys=True).encode()], [reading_code()], code),
    }


def _obeyed(model: PreTrainedModel) -> dict[str, Any]:
    """Return the settings that `embed` obeys: the same weights make something else with another number of heads."""
    family, config = family_of(model), model.config.to_dict()
    obeyed = {name: config[name] for name in family.cached_settings}
    encoder = family.encoder_of(model)
    facts = encoder.config.to_dict() if isinstance(encoder, PreTrainedModel) else {}
    of_encoder = {name: facts[name] for name in facts if any(word in name for word in _OUTPUT_SETTINGS)}
    return {**obeyed, "encoder": of_encoder}


def _embedder(model: PreTrainedModel, extractor: FeatureExtractionMixin) -> Callable[[Sequence[Mapping]], list]:
    rate = extractor.sampling_rate

    def embed_together(waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        batch = extractor(waveforms, sampling_rate=rate, padding=True, return_tensors="pt")
        embedded = model.embed(**{name: tensor.to(model.device) for name, tensor in batch.items()})
        arrays = [utterance.float().numpy(force=True) for utterance in embedded]
        if not all(np.isfinite(array).all() for array in arrays):
            raise not_finite(model)
        return arrays

    @torch.inference_mode()
    def embed(audio: Sequence[Mapping]) -> list[np.ndarray]:
        waveforms = _waveforms(audio, extractor)
        if family_of(model).padding_invariant(model, extractor):
            return embed_together(waveforms)
        return [embedded for waveform in waveforms for embedded in embed_together([waveform])]

    return embed


def _waveforms(audio: Sequence[Mapping], extractor: FeatureExtractionMixin) -> list[np.ndarray]:
    # `hash_audio` refuses truncated recordings, unless they are allowed.
    return [read_audio(source, sampling_rate=extractor.sampling_rate, allow_truncated=True) for source in audio]


def embed_rows(
    dataset: Dataset, model: PreTrainedModel, extractor: FeatureExtractionMixin, batch_size: int = 8
) -> list[np.ndarray]:
    """Return the output of the model's `embed` for each row, float32, `model.cached_shape`; nothing is cached."""
    was_training, embed = model.training, _embedder(model, extractor)
    model.eval()
    rows = [row for batch in dataset.iter(batch_size) for row in embed(batch["audio"])]
    model.train(was_training)
    return rows


def _log_mels(extractor: FeatureExtractionMixin, device: torch.device) -> Callable[[Sequence[Mapping]], list]:
    def log_mels(audio: Sequence[Mapping]) -> list[np.ndarray]:
        waveforms = _waveforms(audio, extractor)
        return [features.numpy(force=True) for features in extractor.log_mel(waveforms, device)]

    return log_mels


def _map_audio(dataset: Dataset, column: str, feature, compute: Callable, maker: str, batch_size: int) -> Dataset:
    """Return the dataset with one column computed from its recordings, or read from the cache."""
    import datasets

    with naming_full_disk(datasets.config.HF_DATASETS_CACHE, f"the column {column}"):
        return dataset.map(
            lambda audio: {column: compute(audio)}, input_columns="audio", batched=True, batch_size=batch_size,
            features=datasets.Features({**dataset.features, column: feature}), desc=f"computing {column} once",
            **cached_under(dataset, column.encode(), maker.encode()),
        )  # fmt: skip


def _with_speaker_statistics(dataset: Dataset, extractor: FeatureExtractionMixin) -> Dataset:
    """Return the rows with the `SPEAKER_COLUMNS`, if the extractor standardises per speaker."""
    import datasets

    if not needs_speakers(extractor):
        return dataset
    dataset = dataset.remove_columns([name for name in SPEAKER_COLUMNS if name in dataset.column_names])
    speakers = np.asarray(dataset["speaker"], dtype=object)
    if any(speaker is None for speaker in speakers):
        nameless = dataset[int(np.flatnonzero(speakers == None)[0])]["utterance_id"]  # noqa: E711 (element by element)
        raise ValueError(f'{nameless} has no speaker, but normalize "speaker" needs one: use normalize "utterance"')
    columns = np.empty((len(SPEAKER_COLUMNS), len(speakers), extractor.width), np.float32)
    log_mels = as_numpy(dataset.select_columns([LOG_MEL_COLUMN]))
    for speaker in np.unique(speakers):
        rows = np.flatnonzero(speakers == speaker)
        statistics = extractor.statistics(row[LOG_MEL_COLUMN] for row in log_mels.select(rows))
        columns[:, rows] = np.stack(statistics)[:, None]
    feature = datasets.List(datasets.Value("float32"), length=extractor.width)
    for name, column in zip(SPEAKER_COLUMNS, columns, strict=True):
        dataset = dataset.add_column(name, list(column), feature=feature)
    return dataset


def _code(of: object) -> list[bytes]:
    """Return the source of an object's class and of its siblings, which it may use."""
    return [file.read_bytes() for file in sorted(Path(inspect.getfile(type(of))).parent.glob("*.py"))]


def _weights(model: PreTrainedModel) -> Iterator[bytes]:
    encoder = family_of(model).encoder_of(model)
    for name, tensor in sorted(encoder.state_dict().items() if encoder is not None else ()):
        yield name.encode() + tensor.detach().float().cpu().numpy().tobytes()
