"""The records of all model families, and functions that find the family of a model. Imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from . import FAMILIES
from .family import WAVEFORM_ENCODERS, Family, never

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# A list: a family that is defined outside this package appends its record.
RECORDS: list[Family] = [
    family for folder in FAMILIES for family in import_module(f".{folder}.record", __package__).FAMILIES
]
# Other people's classifiers: their utterances are scored one by one, and nothing else is known of them.
_UNKNOWN = Family(
    name="other", summary="", model_type="", config_class="", model_class="", extractor_class="", is_stock=True,
    builder="", padding_invariant=never,
)  # fmt: skip


# Classes with the configuration of a family that are not its class.
_OF_OTHERS = ("transformers_modules.", f"{__package__}.speech_classification")


def family_of(model: PreTrainedModel) -> Family:
    """Return the record of a model's family; for other models, a record without any abilities.

    A class of other people is an other model, even if its configuration is a stock one.
    """
    if type(model).__module__.startswith(_OF_OTHERS):
        return _UNKNOWN
    return next((family for family in RECORDS if family.model_type == model.config.model_type), _UNKNOWN)


def waveform_encoder_of(model: PreTrainedModel) -> PreTrainedModel | None:
    """Return the encoder of a model if it takes waveforms (HuBERT, wav2vec2, WavLM), else None."""
    encoder = family_of(model).encoder_of(model)
    kind = getattr(getattr(encoder, "config", None), "model_type", None)
    return encoder if kind in WAVEFORM_ENCODERS else None


def family_for(name: str, config: PretrainedConfig | None, settings: dict) -> Family | None:
    """Return the family that builds a model from a name or a checkpoint; None if no family does.

    The settings decide if several families can use the same checkpoint.

    Args:
        name: the name that `build_classifier` was called with.
        config: the configuration of a checkpoint; None for an architecture.
        settings: the settings of the model to build.
    """
    able = [family for family in RECORDS if family.builder and _can_read(family, name, config)]
    chosen = [family for family in able if any(setting in settings for setting in family.chosen_by)]
    return next(iter([*chosen, *able]), None)


def _can_read(family: Family, name: str, config: PretrainedConfig | None) -> bool:
    if config is None:
        return family.has_architecture(name)
    return config.model_type in (family.model_type, *family.reads)


def has_random_weights(name_or_path: str) -> bool:
    """True if a name stands for an architecture, not for a checkpoint."""
    return any(family.has_architecture(name_or_path) for family in RECORDS)


def architectures() -> tuple[str, ...]:
    """Return the names of our own small or untrained networks; those of timm can be used in addition."""
    return tuple(dict.fromkeys(name for family in RECORDS for name in family.architectures))
