"""The records of all model families, and the questions "which family is this?". Imports no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from . import FAMILIES
from .family import Family, never

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# A list, so that whoever has a family outside this package may append its record.
RECORDS: list[Family] = [
    family for folder in FAMILIES for family in import_module(f".{folder}.record", __package__).FAMILIES
]
# Other people's classifiers: they are scored one by one, and nothing else is promised.
_UNKNOWN = Family(
    name="other", summary="", model_type="", config_class="", model_class="", extractor_class="", is_stock=True,
    builder="", padding_invariant=never,
)  # fmt: skip


def family_of(model: PreTrainedModel) -> Family:
    """Return the record of a model's family; for a model of no known family one that promises nothing."""
    return next((family for family in RECORDS if family.model_type == model.config.model_type), _UNKNOWN)


def family_for(name: str, config: PretrainedConfig | None, settings: dict) -> Family | None:
    """Return the family that builds a model from a name or a checkpoint; None if no family does.

    The settings decide where several families take the same checkpoint.

    Args:
        name: what `build_classifier` is given.
        config: the configuration of a checkpoint; None for an architecture.
        settings: of the wanted model.
    """
    able = [
        family
        for family in RECORDS
        if family.builder
        and (
            family.has_architecture(name) if config is None else config.model_type in (family.model_type, *family.reads)
        )
    ]
    chosen = [family for family in able if any(setting in settings for setting in family.chosen_by)]
    return next(iter([*chosen, *able]), None)


def has_random_weights(name_or_path: str) -> bool:
    """Whether a name stands for an architecture, not for a checkpoint."""
    return any(family.has_architecture(name_or_path) for family in RECORDS)


def architectures() -> tuple[str, ...]:
    """Return the names that stand for small or untrained networks of ours; those of timm come on top."""
    return tuple(dict.fromkeys(name for family in RECORDS for name in family.architectures))
