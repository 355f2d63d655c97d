"""The settings of a checkpoint, as its JSON files have them, examined before anything is built from them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from transformers import FeatureExtractionMixin, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES

from ..files import PREPROCESSOR
from .family import ModelError, class_names, mark
from .records import RECORDS

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# The largest number in a configuration and in the settings of an extractor, and the largest number of layers or labels;
# the largest speech encoders have a hundred layers.
MOST_IN_CONFIG, MOST_IN_EXTRACTOR, MOST_LAYERS = 100_000_000, 1_000_000, 1_000
# Labels of models that estimate values. Some of them do not state the `problem_type`.
VALUES = {"arousal", "activation", "valence", "dominance", "pleasure", "expectancy", "power"}
_NAMELESS = re.compile(r"LABEL_\d+")  # the defaults of transformers
_AUDIO_CLASSIFIER = "AutoModelForAudioClassification"


def read_settings(name_or_path: str | os.PathLike) -> dict[str, Any]:
    """Return the configuration of a checkpoint as it is in its file.

    Raises:
        ModelError: for settings of the model or its extractor that would take the memory of the machine: millions of
            layers are built one by one before anybody notices that the weights are missing.
        OSError: if there is no configuration that says what the model is.
    """
    model = PreTrainedConfig.get_config_dict(name_or_path)[0]
    if not model.get("model_type") and "architecture" not in model:  # the second is timm's
        raise OSError(f"{name_or_path} has no config.json with a model_type")
    try:
        extractor = FeatureExtractionMixin.get_feature_extractor_dict(name_or_path)[0]
    except OSError:
        extractor = {}  # `load_extractor` says so, if it is needed
    for what, settings, most in (("configuration", model, MOST_IN_CONFIG), ("front end", extractor, MOST_IN_EXTRACTOR)):
        for name, value in _numbers(settings):
            limit = MOST_LAYERS if re.search(r"layers|blocks|depth|stages|num_labels", name) else most
            if value > limit:
                raise ModelError(
                    f"the {what} of {name_or_path} has {name} = {value:,}, and no model has more than {limit:,}: it is "
                    "damaged, fetch it again"
                )
    rate = extractor.get("sampling_rate", 16_000)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 1_000 <= rate <= 768_000:
        raise ModelError(f"the front end of {name_or_path} has sampling_rate = {rate!r}: correct it, such as 16000")
    return model


def _numbers(settings: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield all numbers of nested settings, and the lengths of lists and maps."""
    if isinstance(settings, (Mapping, list, tuple)):
        yield f"the length of {name or 'itself'}", len(settings)
        items = settings.items() if isinstance(settings, Mapping) else ((name, one) for one in settings)
        for key, value in items:
            yield from _numbers(value, str(key))
    elif isinstance(settings, (int, float)) and not isinstance(settings, bool):
        yield name, abs(settings)


def refuse_other_kind(name: str, settings: Mapping[str, Any], *, trust_remote_code: bool) -> None:
    """Raise a `ModelError` for a model that cannot be an audio classifier, or that needs code of its repository."""
    kind, code = settings.get("model_type"), settings.get("auto_map") or {}
    if kind in MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES or kind in {family.model_type for family in RECORDS}:
        return
    if _AUDIO_CLASSIFIER in code:
        if trust_remote_code:
            return
        raise needs_its_code(name, code)
    if code:
        raise ModelError(
            f"{name} has code of its own, but none for audio classification ({_AUDIO_CLASSIFIER} in its auto_map): use "
            "it as its author describes"
        )
    if kind is None and "architecture" in settings:
        raise ModelError(f"{name} is a timm backbone without an emotion head: train it first")
    raise ModelError(f"{name} is a {kind!r} model, not a classifier of audio: pass a classifier of emotions in speech")


def needs_its_code(name: str, code: Mapping[str, Any] | None = None) -> ModelError:
    """Return the error for a model whose class is in its repository, with the file to read if `auto_map` names it."""
    file = f"its {str(code[_AUDIO_CLASSIFIER]).split('--')[-1].split('.')[0]}.py" if code else "it"
    return ModelError(
        f"{name} needs code of its own repository: read {file}, then pass --trust-remote-code (in Python: "
        "trust_remote_code=True)"
    )


def refuse_unclear_labels(name: str, settings: Mapping[str, Any]) -> None:
    """Raise a `ModelError` if it is unclear which score belongs to which class.

    >>> refuse_unclear_labels("model", {"id2label": {"0": "anger", "2": "fear"}})
    Traceback (most recent call last):
    ser_hf.models.family.ModelError: model numbers its classes 0, 2 (id2label), ... correct its config.json
    """
    labels, numbers = settings.get("id2label"), settings.get("label2id")
    remedy = "correct its config.json"
    if not isinstance(labels, Mapping) or not labels:
        return  # transformers then takes LABEL_0, LABEL_1
    if sorted(map(str, labels)) != sorted(map(str, range(len(labels)))):
        raise ModelError(
            f"{name} numbers its classes {', '.join(map(str, labels))} (id2label), not 0 to {len(labels) - 1}: {remedy}"
        )
    if unnamed := [number for number, label in labels.items() if not isinstance(label, str) or not label.strip()]:
        raise ModelError(f"{name} calls its class {unnamed[0]} {labels[unnamed[0]]!r} (id2label): {remedy}")
    label, times = Counter(labels.values()).most_common(1)[0]
    if times > 1:
        raise ModelError(f"{name} has {times} classes called {label!r} (id2label): {remedy}")
    if isinstance(stated := settings.get("num_labels"), int) and stated != len(labels):
        raise ModelError(f"{name} has num_labels {stated}, but {len(labels)} names in id2label: {remedy}")
    if isinstance(numbers, Mapping) and set(numbers) == set(labels.values()):
        for number, label in labels.items():
            if str(numbers[label]) != str(number):
                raise ModelError(
                    f"{name} gives {label!r} the number {number} in id2label, {numbers[label]} in label2id: {remedy}"
                )


def gives_values(config: PretrainedConfig) -> bool:
    """True if a head estimates values such as arousal, of which a softmax is meaningless."""
    return config.problem_type == "regression" or {label.lower() for label in config.id2label.values()} <= VALUES


def function_of_scores(config: PretrainedConfig) -> str:
    """Return the function from logits to scores, as in a stock pipeline: "softmax", "sigmoid" or "none"."""
    if gives_values(config):
        return "none"
    return "sigmoid" if config.problem_type == "multi_label_classification" else "softmax"


def refuse_values(name: str, config: PretrainedConfig) -> None:
    """Raise a `ModelError` where probabilities are needed, if a head estimates values such as arousal."""
    if gives_values(config):
        raise ModelError(
            f"{name} estimates values of {', '.join(class_names(config))}, not probabilities of emotions: use a "
            "classifier, or train one (to estimate valence, arousal and dominance in addition, train with "
            "--model_settings pooling=attentive dimensions=true)"
        )


def refuse_single_class(name: str, config: PretrainedConfig) -> None:
    """Raise a `ModelError` for a classifier with one class."""
    if len(config.id2label) == 1 and not gives_values(config):
        (label,) = config.id2label.values()
        raise ModelError(f"{name} has a single class ({label}), whose probability is always 1: use another model")


def is_nameless(config: PretrainedConfig) -> bool:
    """True if the classes have no names but the defaults of transformers: LABEL_0, LABEL_1."""
    return all(_NAMELESS.fullmatch(label) for label in config.id2label.values())


def refuse_adapters(name_or_path: str, config: PretrainedConfig) -> None:
    """Raise a `ModelError` for weights that were saved with unmerged adapters (`models.lora`)."""
    if mark(config, "has_adapters", False):
        raise ModelError(
            f"{name_or_path} is a checkpoint of an unfinished LoRA training; adapters are merged at its end: run that "
            "training again, which continues from here, and use its finished folder"
        )


def without_extractor(name: str) -> ModelError:
    """Return the error for a model without the settings of its front end.

    No default is safe: of the published wav2vec2, HuBERT and WavLM checkpoints some normalise the waveform
    (`do_normalize`), some do not, and scores of a wrong choice look like right ones.
    """
    return ModelError(
        f"{name} has no {PREPROCESSOR}, so it is unknown how its input is prepared: copy that of the model it was "
        "trained from into its folder"
    )
