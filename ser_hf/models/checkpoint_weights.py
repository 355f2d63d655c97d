"""Loading of models and extractors, and what it found: weights that are missing, unused, or of another size.

transformers mentions them in its log and goes on: missing weights are random, and unused ones are part of a model that
was not loaded as its author meant it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from ..files import one_line
from . import auto  # noqa: F401 - registers our families
from .checkpoint_files import refuse_unfit_repository
from .checkpoint_settings import needs_its_code, refuse_adapters, without_extractor
from .family import ModelError, mark
from .records import family_of

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PretrainedConfig, PreTrainedModel

# The type of all weights, however a checkpoint stores them: extractors return float32, and mixed precision needs it.
# Without it, transformers would keep the half precision of a file.
DTYPE = torch.float32
AUTO_CLASS = AutoModelForAudioClassification  # the class that belongs to a checkpoint
# Of pretraining, of speech recognition, and a vector for masked frames: they have no part in scores of emotions.
_HARMLESS = re.compile(
    r"(^|\.)(masked_spec_embed|lm_head|quantizer|project_q|project_hid|proj_out|ctc_proj|final_proj|label_embs_concat"
    r"|decoder|cls|num_batches_tracked|position_ids)(\.|$)"
)


@contextmanager
def refusing_damage(name: str) -> Iterator[None]:
    """Turn whatever transformers raises about foreign or damaged files into a `ModelError` of one line."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        refuse_unfit_repository(name, error)
        if "trust_remote_code" in str(error):
            raise needs_its_code(name) from error
        raise ModelError(f"the model {name!r} cannot be loaded ({one_line(error)}): fetch it again") from error


def load_model(
    name: str, model_class: Any = AUTO_CLASS, *, trust_remote_code: bool = False, **settings: Any
) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    """Return a model, and the names of weights that did not fit, for one of the functions below.

    Args:
        model_class: default: the class that belongs to the checkpoint.
        settings: settings of the configuration that differ from those of the checkpoint.
    """
    with refusing_damage(name):
        code = {"trust_remote_code": trust_remote_code} if model_class is AUTO_CLASS else {}
        return model_class.from_pretrained(
            name, dtype=DTYPE, output_loading_info=True, ignore_mismatched_sizes=True, **code, **settings
        )


def load_extractor(name: str, extractor_class: Any = AutoFeatureExtractor, **options: Any) -> FeatureExtractionMixin:
    """Return the extractor of a checkpoint.

    Raises:
        ModelError: if its settings are missing or damaged.
    """
    with refusing_damage(name):
        try:
            return extractor_class.from_pretrained(name, **options)
        except OSError as error:
            if "not a valid JSON" in str(error):
                raise
            raise without_extractor(name) from error


def refuse_damaged_weights(name: str, model: PreTrainedModel) -> None:
    """Raise a `ModelError` if a weight is NaN or infinite: all scores would be. A mask may hold -inf."""
    weights = dict(model.named_parameters())
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point() and (tensor.isnan().any() or (key in weights and not tensor.isfinite().all())):
            raise ModelError(
                f"{name} has NaN or infinite weights ({key}): its training failed, or the file is damaged; "
                "fetch it again, or train it with a smaller --learning_rate"
            )


def refuse_unfit_encoder(name: str, model: PreTrainedModel, loading: Mapping[str, Any]) -> None:
    """Raise a `ModelError` if the encoder to train on is not that of the checkpoint. Its head may be new."""
    family = family_of(model)
    encoder = family.encoder_of(model)
    # An encoder that was saved without a head has its parts outermost.
    parts = set() if encoder is None else {name for name, _ in encoder.named_children()}

    def of_encoder(keys: Iterable[str]) -> list[str]:
        inside = f"{family.encoder}." if family.encoder else ""
        return sorted(key for key in _harmful(keys) if key.startswith(inside) or key.split(".")[0] in parts)

    resized = of_encoder(key for key, *_ in loading["mismatched_keys"])
    missing, unused = of_encoder(loading["missing_keys"]), of_encoder(loading["unexpected_keys"])
    if missing or resized:
        raise ModelError(
            f"{name} does not hold the whole encoder that its config.json describes ({_some(missing or resized)} "
            f"{'missing' if missing else 'of another size'}): these weights would be random; fetch it again"
        )
    if unused:
        raise ModelError(
            f"{name} holds more than its config.json describes ({_some(unused)}): fetch it again, or correct its "
            "config.json"
        )


def refuse_unfit_classifier(name: str, model: PreTrainedModel, loading: Mapping[str, Any]) -> None:
    """Raise a `ModelError` if scores of a loaded classifier would not be those that its author trained it for."""
    config = model.config
    refuse_adapters(name, config)
    _refuse_other_class(name, model, loading)
    if resized := sorted(loading["mismatched_keys"]):
        key, theirs, ours = resized[0]
        classes = f" (id2label names {config.num_labels} classes)" if ours[0] == config.num_labels else ""
        raise ModelError(
            f"{name} has {key} of the size {_size(theirs)}, but its config.json asks for {_size(ours)}{classes}: "
            "correct its config.json, or fetch it again"
        )
    if missing := _harmful(loading["missing_keys"]):
        inside = f"{family_of(model).encoder or model.base_model_prefix}."
        unused = _harmful(loading["unexpected_keys"])
        if unused and not any(key.startswith(inside) for key in missing):
            raise ModelError(
                f"{name} has the head of another class than {type(model).__name__} ({_some(unused)}; {_some(missing)} "
                "missing): its scores would be noise; load it with its author's code"
            )
        if not any(key.startswith(inside) for key in missing):
            raise _without_head(name, f"{_some(missing)} missing")
        raise ModelError(f"{name} lacks weights ({_some(missing)}): its scores would be noise; fetch it again")
    if unused := _harmful(loading["unexpected_keys"]):
        raise ModelError(
            f"{name} holds weights that {type(model).__name__} does not use ({_some(unused)}): its scores would not be "
            "those of its author; load it with its author's code"
        )
    if mark(config, "head_is_trained", True) is False:
        raise ModelError(f"the emotion head of {name} was saved before it was trained: its scores would be noise")


def _refuse_other_class(name: str, model: PreTrainedModel, loading: Mapping[str, Any]) -> None:
    """Raise a `ModelError` if the class that saved a model is not the one that loaded it."""
    config: PretrainedConfig = model.config
    author, used = next(iter(config.architectures or ()), None), type(model).__name__
    if author == used:
        return
    unused, missing = _harmful(loading["unexpected_keys"]), _harmful(loading["missing_keys"])
    if author is None and not missing:
        return  # a configuration without the name of a class; all weights fit
    if author is None or "Classification" not in author or "Frame" in author:
        raise _without_head(name, f"{author} saved it" if author else f"{_some(missing)} missing")
    if "AutoModelForAudioClassification" in (code := mark(config, "auto_map", {})):
        raise needs_its_code(name, code)
    detail = f" (without {_some(unused)})" if unused else ""
    raise ModelError(
        f"{name} was saved by {author}, which transformers does not have; {used} computes other scores{detail}: "
        "load it with its author's code"
    )


def _without_head(name: str, why: str) -> ModelError:
    return ModelError(
        f"{name} has no trained emotion head ({why}): train it first, for example with `ser-hf train "
        f"--model_name_or_path {name}`"
    )


def _harmful(keys: Iterable[str]) -> list[str]:
    """Return the names of weights that take part in scores."""
    return sorted(key for key in keys if not _HARMLESS.search(key))


def _some(keys: list[str]) -> str:
    """Return the first names of weights, and how many more there are.

    >>> _some(["a", "b", "c", "d"])
    'a, b and 2 more'
    """
    more = f" and {len(keys) - 2} more" if len(keys) > 2 else ""
    return ", ".join(keys[:2]) + more


def _size(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))


def digest_of_weights(model: PreTrainedModel) -> str:
    """Return a digest that two models share only if all of their weights are equal."""
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
