"""Temperature scaling inside the weights: calibrated scores in any pipeline, without code of ours.

Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv:1706.04599. Stock classes ignore a temperature in the
configuration; dividing the last linear layer by it is the same as dividing the logits, and every reader computes it.
"""

from __future__ import annotations

import math
from operator import attrgetter
from typing import TYPE_CHECKING

import torch
from torch import nn

from .family import ModelError, mark
from .records import family_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# In the configuration. Not `temperature`: to transformers that is a setting of text generation, refused when saving.
SETTING = "calibration_temperature"


def folded_temperature(model: PreTrainedModel) -> float | None:
    """Return the temperature that is merged into a model's weights; None if there is none."""
    return mark(model.config, SETTING)


def has_one_answer(model: PreTrainedModel) -> bool:
    """True if the scores are a softmax, which a temperature calibrates; False for a multi-label model."""
    return model.config.problem_type != "multi_label_classification"


@torch.no_grad()
def fold_temperature(model: PreTrainedModel, temperature: float) -> None:
    """Divide the weights of the emotion head by a temperature, and record the temperature in the configuration.

    The temperature refers to the weights as they were trained: the same temperature a second time changes nothing,
    another one replaces it, and 1 restores the trained weights. The most probable class never changes. Dimensions
    (valence, arousal, dominance) have their own layer, which is not changed.

    Raises:
        ValueError: for a temperature that is not a positive number.
        ModelError: for a multi-label model, or a model whose logits do not come from a known linear layer.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"a temperature must be a positive number, not {temperature}")
    if not has_one_answer(model):
        raise ModelError("a multi-label model cannot be calibrated by a temperature: its scores do not sum to 1")
    before = folded_temperature(model) or 1.0
    for tensor in weights_of_logits(model):
        tensor.mul_(before / temperature)
    setattr(model.config, SETTING, float(temperature))


def forget_temperature(model: PreTrainedModel) -> None:
    """Clear the recorded temperature; the weights keep it. A training that starts here is not calibrated."""
    vars(model.config).pop(SETTING, None)


def emotion_layer(model: PreTrainedModel) -> nn.Linear:
    """Return the linear layer whose outputs are the logits of a network.

    Raises:
        ModelError: if there is no such layer, as in a support vector machine.
    """
    family = family_of(model)
    try:
        layer = model.get_submodule(family.emotion_layer) if family.emotion_layer else None
    except AttributeError:  # other people's models
        layer = None
    if not isinstance(layer, nn.Linear) or layer.out_features != model.config.num_labels:
        raise ModelError(
            f"{type(model).__name__} has no linear layer `{family.emotion_layer or 'classifier'}` with "
            f"{model.config.num_labels} outputs for its logits: name it in the record of the family (emotion_layer, "
            "logits)"
        )
    return layer


def weights_of_logits(model: PreTrainedModel) -> list[torch.Tensor]:
    """Return weight and bias that give the logits of a model.

    Raises:
        ModelError: if the record of its family names none that it has.
    """
    family = family_of(model)
    if family.emotion_layer:
        emotion_layer(model)  # which refuses other people's models
    try:
        return [attrgetter(path)(model) for path in family.logits]
    except AttributeError as error:
        raise ModelError(
            f"{type(model).__name__} has no {' and '.join(family.logits)}: name the weight and the bias that give its "
            f"logits in the record of the family {family.name} (logits)"
        ) from error
