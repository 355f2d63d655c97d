"""Building of classifiers: `build_classifier` finds the family of a name or checkpoint and calls its builder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, FeatureExtractionMixin, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from ..files import one_line
from . import auto  # noqa: F401 - registers our families
from .checkpoint_files import refuse_unfit_files, refuse_unfit_repository
from .checkpoint_settings import (
    is_nameless,
    read_settings,
    refuse_adapters,
    refuse_other_kind,
    refuse_single_class,
    refuse_unclear_labels,
)
from .checkpoint_weights import (
    AUTO_CLASS,
    load_extractor,
    load_model,
    refuse_damaged_weights,
    refuse_unfit_classifier,
    refuse_unfit_encoder,
    refusing_damage,
)
from .family import Family, LogMelExtractor, ModelError, Request, class_names, resolve
from .records import RECORDS, architectures, family_for, family_of, has_random_weights
from .speech_classification import Wav2Vec2ForSpeechClassification, is_speech_classification
from .temperature import weights_of_logits
from .trainable import set_trainable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PretrainedConfig, PreTrainedModel


def build_classifier(
    name_or_path: str,
    labels: Sequence[str],
    *,
    trainable: str = "full",
    in_channels: int = 1,
    front_end: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
    """Build an emotion classifier with these labels, and its feature extractor.

    Args:
        name_or_path: a Hub name or folder of a HuBERT, wav2vec2, WavLM, Whisper or timm checkpoint, or of a classifier
            of ours; or an architecture with random weights: one of `records.architectures`, or of timm.
        labels: class names in the order of their ids.
        trainable: "head", "last<n>" (the head and the last n layers of the encoder), "encoder" (all but the
            convolutional front end) or "full".
        in_channels: input channels of a backbone: 1, or 3 equal ones.
        front_end: settings of `LogMelFeatureExtractor` that differ from those of the backbone.
        settings: settings of the family's configuration, such as {"classifier_dropout": 0.3}. For a HuBERT, wav2vec2 or
            WavLM checkpoint, `pooling` or `dimensions` select the family `speech_encoder`; for "fusion" and "svm",
            `ssl` is the name or folder of the encoder.

    Raises:
        ModelError: if the checkpoint is of another kind, is trained for other labels, or has no such setting; if the
            record of its family does not name the layer that gives the logits.
    """
    settings = dict(settings or {})
    config = None if has_random_weights(name_or_path) else _read_config(name_or_path)
    family = family_for(name_or_path, config, settings)
    if family is None:
        raise _unsupported(name_or_path, config.model_type)
    check_settings(settings, family)
    is_ours = config is not None and config.model_type == family.model_type
    if front_end and (is_ours or not family.takes_front_end):
        raise ModelError(f"{name_or_path} has its own front end: leave front_end out")
    label_maps = {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}
    request = Request(
        name_or_path=name_or_path, config=config, settings={**settings, **label_maps}, labels=labels,
        in_channels=in_channels, front_end=front_end,
    )  # fmt: skip
    model, extractor = load_checkpoint(request) if is_ours and not family.is_stock else family.build(request)
    refuse_damaged_weights(name_or_path, model)
    weights_of_logits(model)  # calibration and adaptation need them; better told now than after the training
    if not family.is_fitted:
        set_trainable(model, trainable)
    return model, extractor


_OF_EVERY_MODEL = {field.name for field in fields(PreTrainedConfig)} - {"problem_type"}


def check_settings(settings: Mapping[str, Any], family: Family) -> None:
    """Raise a `ModelError` for a setting that a family does not have; transformers would accept it silently.

    >>> from ser_hf.models.spectrogram.record import FAMILIES
    >>> check_settings({"classifier_dropuot": 0.1}, FAMILIES[0])
    Traceback (most recent call last):
    ser_hf.models.family.ModelError: ser_spectrogram has no setting 'classifier_dropuot': did you mean ...
    """
    known = {field.name for field in fields(resolve(family.config_class))} - _OF_EVERY_MODEL
    known |= set(family.builder_settings)
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(sorted(known))}"
            raise ModelError(f"{family.model_type} has no setting {name!r}: {remedy}")


def load_checkpoint(request: Request, **head: Any) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
    """Load a checkpoint with the class that belongs to it, and its extractor.

    Args:
        head: settings that the request may replace.

    Raises:
        ModelError: if the checkpoint is trained for other labels, or holds adapters that are not merged.
    """
    name, config, labels = request.name_or_path, request.config, list(request.labels)
    refuse_adapters(name, config)
    if _is_classifier(config) and class_names(config) != labels:
        raise ModelError(
            f"{name} is trained for {class_names(config)}, not for {labels}: use the label scheme of its "
            "training, or an encoder without an emotion head"
        )
    model, loading = load_model(name, **{**head, **request.settings})
    refuse_unfit_encoder(name, model, loading)
    return model, load_extractor(name)


def load_classifier(
    name_or_path: str | os.PathLike, *, trust_remote_code: bool = False
) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
    """Load a trained classifier of any author, or a model that estimates values such as arousal, and its extractor.

    Raises:
        ModelError: if there is no such model, if it is of another kind, if it is damaged or incomplete, or if
            its scores would not be those of its author.
    """
    name = str(name_or_path)
    refuse_unfit_files(name)
    with refusing_damage(name):
        settings = read_settings(name)
    refuse_other_kind(name, settings, trust_remote_code=trust_remote_code)
    refuse_unclear_labels(name, settings)
    their_class = Wav2Vec2ForSpeechClassification if is_speech_classification(settings) else AUTO_CLASS
    model, loading = load_model(name, their_class, trust_remote_code=trust_remote_code)
    refuse_single_class(name, model.config)  # first, because its message is clearer than missing keys
    refuse_unfit_classifier(name, model, loading)
    refuse_damaged_weights(name, model)
    extractor = load_extractor(name, trust_remote_code=trust_remote_code)
    if not isinstance(getattr(extractor, "sampling_rate", None), (int, float)):
        raise ModelError(
            f"the front end of {name} is a {type(extractor).__name__}, which is not for sound: use a "
            "classifier of audio"
        )
    return model, extractor


def _read_config(name_or_path: str) -> PretrainedConfig:
    """Return the configuration of a checkpoint to train on."""
    refuse_unfit_files(name_or_path)
    try:
        kind = read_settings(name_or_path).get("model_type")
        if kind is not None and kind not in CONFIG_MAPPING_NAMES and kind not in {one.model_type for one in RECORDS}:
            raise _unsupported(name_or_path, kind)
        return AutoConfig.from_pretrained(name_or_path, trust_remote_code=False)
    except OSError as error:
        import timm

        near = get_close_matches(name_or_path, (*architectures(), *timm.list_models()), n=1)
        if not near:
            refuse_unfit_repository(name_or_path, error)
        raise ModelError(
            f"there is no model {name_or_path!r}{f' (did you mean {near[0]!r}?)' if near else ''}: it is not a folder "
            "with a config.json, not a model on the Hub, and not an architecture of timm (offline, pass a folder, or "
            f"one of {', '.join(architectures())})"
        ) from error
    except ModelError:
        raise
    except Exception as error:  # whatever damaged settings make transformers raise
        raise ModelError(
            f"the configuration of {name_or_path} cannot be read ({one_line(error)}): fetch it again"
        ) from error


def _unsupported(name: str, kind: str) -> ModelError:
    return ModelError(
        f"{name} is a {kind!r} model, which is not supported; use one of "
        f"{', '.join(record.model_type for record in RECORDS if record.is_stock)}, or a timm backbone"
    )


def _is_classifier(config: PretrainedConfig) -> bool:
    """True if a checkpoint has a trained head with names for its classes."""
    return not is_nameless(config) and any("Classification" in name for name in config.architectures or ())


def inputs_of(
    model: PreTrainedModel, extractor: FeatureExtractionMixin, waveforms: Sequence[np.ndarray]
) -> Mapping[str, torch.Tensor]:
    """Return what a model takes for waveforms, each (samples,), at the sampling rate of its extractor.

    They are padded to the longest one, or to the window of a model whose window is fixed.
    """
    padding = "max_length" if family_of(model).has_fixed_window else True
    return extractor(waveforms, sampling_rate=extractor.sampling_rate, padding=padding, return_tensors="pt")


def is_padding_invariant(model: PreTrainedModel, extractor: FeatureExtractionMixin) -> bool:
    """True if a recording has the same scores alone and padded in a batch; False for unknown families.

    If the extractor crops or pads every recording to one length, a batch changes nothing.
    """
    if isinstance(extractor, LogMelExtractor) and extractor.crop_seconds is not None:
        return True
    return family_of(model).padding_invariant(model, extractor)
