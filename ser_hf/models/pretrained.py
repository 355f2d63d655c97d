"""Building of classifiers: `build_classifier` finds the family of a name or checkpoint and calls its builder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    FeatureExtractionMixin,
    PreTrainedConfig,
)

from . import auto  # noqa: F401 - registers our families
from .family import Family, LogMelExtractor, ModelError, Request, mark, resolve
from .records import RECORDS, architectures, family_for, family_of, has_random_weights
from .temperature import weights_of_logits
from .trainable import set_trainable

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# The type of all weights, however a checkpoint stores them: extractors return float32, and mixed precision needs it.
# Without it, transformers would keep the half precision of a file.
DTYPE = torch.float32
# Of any number in a configuration, of any in the settings of an extractor, and of layers and labels; the largest speech
# encoders have a hundred layers.
MOST, MOST_OF_EXTRACTOR, MOST_LAYERS = 100_000_000, 1_000_000, 1_000


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
    if has_random_weights(name_or_path):
        config = None
    else:
        refuse_absurd_settings(name_or_path)
        config = _read_config(name_or_path)
    family = family_for(name_or_path, config, settings)
    if family is None:
        raise ModelError(
            f"{name_or_path} is a {config.model_type!r} model, which is not supported; use one of "
            f"{', '.join(record.model_type for record in RECORDS if record.is_stock)}, or a timm backbone"
        )
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
    known = {field.name for field in fields(resolve(family.config_class))} - _OF_EVERY_MODEL | {
        *family.builder_settings
    }
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, n=1) or sorted(known)
            raise ModelError(f"{family.model_type} has no setting {name!r}: did you mean {' or '.join(near)}?")


def load_checkpoint(request: Request, **head: Any) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
    """Load a checkpoint with the class that belongs to it, and its extractor.

    Args:
        head: settings that the request may replace.

    Raises:
        ModelError: if the checkpoint is trained for other labels, or holds adapters that are not merged.
    """
    name, config, labels = request.name_or_path, request.config, list(request.labels)
    refuse_adapters(name, config)
    if _is_classifier(config) and list(config.id2label.values()) != labels:
        raise ModelError(
            f"{name} is trained for {list(config.id2label.values())}, not for {labels}: use the label scheme of its "
            "training, or an encoder without an emotion head"
        )
    model = AutoModelForAudioClassification.from_pretrained(name, dtype=DTYPE, **{**head, **request.settings})
    return model, AutoFeatureExtractor.from_pretrained(name)


def _read_config(name_or_path: str) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(name_or_path)
    except OSError as error:
        import timm

        near = get_close_matches(name_or_path, (*architectures(), *timm.list_models()), n=1)
        raise ModelError(
            f"there is no model {name_or_path!r}{f' (did you mean {near[0]!r}?)' if near else ''}: it is not a folder "
            "with a config.json, not a model on the Hub, and not an architecture of timm (offline, pass a folder, or "
            f"one of {', '.join(architectures())})"
        ) from error


def _is_classifier(config: PretrainedConfig) -> bool:
    """True if a checkpoint has a trained head; the names LABEL_0, LABEL_1 are defaults of transformers."""
    is_named = not all(re.fullmatch(r"LABEL_\d+", label) for label in config.id2label.values())
    return is_named and any("Classification" in name for name in config.architectures or ())


def is_padding_invariant(model: PreTrainedModel, extractor: FeatureExtractionMixin) -> bool:
    """True if a recording has the same scores alone and padded in a batch; False for unknown families.

    If the extractor crops or pads every recording to one length, a batch changes nothing.
    """
    if isinstance(extractor, LogMelExtractor) and extractor.crop_seconds is not None:
        return True
    return family_of(model).padding_invariant(model, extractor)


def refuse_adapters(name_or_path: str, config: PretrainedConfig) -> None:
    """Raise a `ModelError` for weights that were saved with unmerged adapters (`models.lora`)."""
    if mark(config, "has_adapters", False):
        raise ModelError(
            f"{name_or_path} is a checkpoint of an unfinished LoRA training; adapters are merged at its end: run that "
            "training again, which continues from here, and use its finished folder"
        )


def refuse_regression(name_or_path: str, config: PretrainedConfig) -> None:
    """Raise a `ModelError` for a head whose outputs are values such as arousal, of which a softmax is meaningless."""
    if config.problem_type == "regression":
        raise ModelError(
            f"{name_or_path} estimates values of {', '.join(config.id2label.values())} (problem_type 'regression'), "
            "not probabilities of emotions: use a classifier, or train one. To estimate valence, arousal and dominance "
            "in addition, train with --model_settings pooling=attentive dimensions=true"
        )


def refuse_absurd_settings(name_or_path: str | os.PathLike) -> None:
    """Raise a `ModelError` for settings of a model or its extractor that would take the memory of the machine.

    They are read as JSON, before anything is built from them: millions of layers are built one by one before anybody
    notices that the weights are missing. Nothing is raised for a model without such files, which others say better.
    """
    try:
        model = PreTrainedConfig.get_config_dict(name_or_path)[0]
        extractor = FeatureExtractionMixin.get_feature_extractor_dict(name_or_path)[0]
    except OSError:
        return
    for what, settings, most_of_all in (("configuration", model, MOST), ("front end", extractor, MOST_OF_EXTRACTOR)):
        for name, value in _numbers(settings):
            is_deep = re.search(r"layers|blocks|depth|stages|num_labels", name)
            if value > (most := MOST_LAYERS if is_deep else most_of_all):
                raise ModelError(
                    f"the {what} of {name_or_path} has {name} = {value:,}, and no model has more than {most:,}: it is "
                    "damaged, fetch it again"
                )
    rate = extractor.get("sampling_rate", 16_000)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 1_000 <= rate <= 768_000:
        raise ModelError(f"the front end of {name_or_path} has sampling_rate = {rate!r}: correct it, such as 16000")


def _numbers(settings: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield all numbers of nested settings, and the lengths of lists and maps."""
    if isinstance(settings, (Mapping, list, tuple)):
        yield f"the length of {name or 'itself'}", len(settings)
        items = settings.items() if isinstance(settings, Mapping) else ((name, one) for one in settings)
        for key, value in items:
            yield from _numbers(value, str(key))
    elif isinstance(settings, (int, float)) and not isinstance(settings, bool):
        yield name, abs(settings)


def refuse_damaged_weights(name_or_path: str, model: PreTrainedModel) -> None:
    """Raise a `ModelError` if a weight is NaN or infinite: all scores would be. A mask may hold -inf."""
    weights = dict(model.named_parameters())
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and (tensor.isnan().any() or (name in weights and not tensor.isfinite().all())):
            raise ModelError(
                f"{name_or_path} has NaN or infinite weights ({name}): its training failed, or the file is damaged; "
                "fetch it again, or train it with a smaller --learning_rate"
            )


def refuse_untrained_head(name_or_path: str, missing_keys: Sequence[str], config: PretrainedConfig) -> None:
    """Raise a `ModelError` if the emotion head was not trained."""
    refuse_adapters(name_or_path, config)
    if missing_keys:
        raise ModelError(
            f"{name_or_path} has no trained emotion head ({sorted(missing_keys)[0]} is missing): its scores would be "
            "noise. Train it first, for example: python recipes/train_classifier.py --model_name_or_path "
            f"{name_or_path}"
        )
    is_classifier = any("Classification" in name for name in config.architectures or ())
    if not is_classifier or mark(config, "head_is_trained", True) is False:
        raise ModelError(
            f"the emotion head of {name_or_path} was saved before it was trained: its scores would be noise"
        )
