"""Registers all our families with the Auto classes of transformers when it is imported."""

from __future__ import annotations

import inspect
from pathlib import Path

from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification
from transformers.dynamic_module_utils import get_relative_imports

from .family import Family, ModelError, resolve
from .records import RECORDS


def register(family: Family) -> None:
    """Register the classes of a family.

    Raises:
        ModelError: if the model class does not name its configuration, or if a file that travels to the Hub beside the
            weights needs one that does not.
    """
    config, model, extractor = map(resolve, (family.config_class, family.model_class, family.extractor_class))
    if model.config_class is not config:
        raise ModelError(
            f"the model class {model.__name__} of the family {family.name} does not name its configuration: write "
            f"config_class = {config.__name__} in the class"
        )
    classes = {"AutoConfig": config, "AutoModelForAudioClassification": model, "AutoFeatureExtractor": extractor}
    for auto, one in classes.items():
        if not one.__module__.startswith("transformers."):  # which everybody has
            _refuse_what_stays_at_home(family, Path(inspect.getfile(one)), set())
            # Lets save_pretrained copy the family's files beside the weights, for users without ser_hf.
            one.register_for_auto_class(auto)
    AutoConfig.register(config.model_type, config)
    AutoModelForAudioClassification.register(config, model)
    AutoFeatureExtractor.register(config, extractor)


def _refuse_what_stays_at_home(family: Family, file: Path, seen: set[Path]) -> None:
    """Raise a `ModelError` for an import that transformers cannot follow when it copies a file and its siblings."""
    seen.add(file)
    for name in get_relative_imports(file):
        if name.startswith("."):
            raise ModelError(
                f"{file} of the family {family.name} imports from .{name}, but it travels to the Hub beside the "
                "weights: import only third-party libraries and siblings (from .x import y)"
            )
        if (sibling := file.with_name(f"{name}.py")) not in seen:
            _refuse_what_stays_at_home(family, sibling, seen)


for _family in RECORDS:
    if not _family.is_stock:
        register(_family)
