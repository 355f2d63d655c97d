"""The trainable parameters of a model: layers of an encoder by depth, and freezing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from transformers.models.whisper.modeling_whisper import WhisperEncoder

from .family import ModelError
from .records import family_of

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def encoder_layers(model: PreTrainedModel) -> list[list[nn.Parameter]]:
    """Return the encoder's parameters by depth: everything before its layers, then layer by layer."""
    return family_of(model).layers_of(model)


def transformer_layers(model: PreTrainedModel) -> list[list[nn.Parameter]]:
    """Return the parameters of a speech encoder by depth; one empty list for a model without an encoder."""
    body = family_of(model).encoder_of(model)
    if body is None:
        return [[]]
    transformer = body if isinstance(body, WhisperEncoder) else body.encoder
    layers = [list(layer.parameters()) for layer in transformer.layers]
    within = {id(parameter) for layer in layers for parameter in layer}
    return [[parameter for parameter in body.parameters() if id(parameter) not in within], *layers]


def set_trainable(model: PreTrainedModel, trainable: str) -> None:
    """Freeze all parameters that are not to be trained.

    Args:
        trainable: "head", "last<n>" (the head and the last n layers), "encoder" (all but the parts before the layers)
            or "full".

    Raises:
        ModelError: for another word, for more layers than there are, or for a model that is not trained by gradients.
    """
    if family_of(model).is_fitted:
        raise ModelError(
            f"a {model.config.model_type} is fitted, not trained: use recipes/train_{family_of(model).name}.py"
        )
    front, *layers = encoder_layers(model)
    match = re.fullmatch(r"last([1-9]\d*)", trainable)
    if trainable not in ("head", "encoder", "full") and (match is None or int(match[1]) > len(layers)):
        some = f"'last1' to 'last{len(layers)}', " if layers else ""
        raise ModelError(f"trainable must be 'head', {some}'encoder' or 'full', not {trainable!r}")
    learning = int(match[1]) if match else 0 if trainable == "head" else len(layers)
    for number, layer in enumerate([front, *layers]):
        for parameter in layer:
            parameter.requires_grad = trainable == "full" or number > len(layers) - learning
    body = family_of(model).encoder_of(model)
    if isinstance(body, WhisperEncoder):
        body.embed_positions.requires_grad_(False)  # Whisper's positions are fixed sinusoids


def is_frozen(model: PreTrainedModel) -> bool:
    """True if only the head is trained."""
    if family_of(model).is_fitted:
        return True
    return not any(parameter.requires_grad for layer in encoder_layers(model) for parameter in layer)
