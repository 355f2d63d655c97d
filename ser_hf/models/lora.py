"""Low-rank adapters in a speech encoder (LoRA, by peft): they and the head learn, the encoder's own weights do not.

The adapters stand in the model itself, which stays of its class, and are merged into the weights they adapt when
training ends: what is saved is an ordinary model that knows nothing of peft.

LoRA: Hu et al. (2021), arXiv:2106.09685. For emotion in speech: Feng and Narayanan (2023), arXiv:2306.05350.
"""

from __future__ import annotations

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import PreTrainedModel

from .family import ModelError, mark
from .records import family_of

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
# WavLM hands the weights of its projections to PyTorch's attention and never calls them: adapters there do nothing.
FEED_FORWARD = ("intermediate_dense", "output_dense")
ADAPTED = {"hubert": ATTENTION, "wav2vec2": ATTENTION, "wavlm": FEED_FORWARD, "whisper": ATTENTION}


def add_adapters(model: PreTrainedModel, *, rank: int, alpha: int) -> None:
    """Put adapters into the Transformer layers that are to learn, and freezes the encoder around them.

    They stand on the projections of the attention, in WavLM on the feed-forward layers. At first they change nothing.

    Args:
        model: of any family on a speech encoder; `set_trainable` has said which of its layers learn.
        rank: of the change to each weight matrix.
        alpha: the change is multiplied with alpha / rank.

    Raises:
        ModelError: if the model has no such layers, or none of them is to learn.
    """
    body = family_of(model).encoder_of(model)
    targets = ADAPTED.get(body.config.model_type, ()) if isinstance(body, PreTrainedModel) else ()
    learning = [
        name
        for name, module in (body.named_modules() if targets else ())
        if name.split(".")[-1] in targets and isinstance(module, nn.Linear) and module.weight.requires_grad
    ]
    if not learning:
        raise ModelError(
            f"lora_rank: {model.config.model_type} has no Transformer layer that is to learn; adapters need a speech "
            "encoder, and trainable last<n>, encoder or full"
        )
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=learning), body)
    for name, parameter in body.named_parameters():
        parameter.requires_grad = ".lora_" in name
    # Written beside the weights of a checkpoint, which is no model to be loaded.
    model.config.has_adapters = True


def merge_adapters(model: PreTrainedModel) -> None:
    """Add the adapters' changes to the weights and take the adapters out; the model computes the same as before."""
    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)
            model.set_submodule(name, module.get_base_layer())
    del family_of(model).encoder_of(model).peft_config
    del model.config.has_adapters


def has_adapters(model: PreTrainedModel) -> bool:
    """Whether a model has adapters that are not merged."""
    return mark(model.config, "has_adapters", False)
