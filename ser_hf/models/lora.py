"""Low-rank adapters in a speech encoder (LoRA, by peft): they and the head are trained, the encoder's weights are not.

The adapters are put into the model, whose class does not change, and are merged into the weights at the end of the
training: the saved model is an ordinary one and does not need peft.

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
# WavLM passes the weights of its projections to PyTorch's attention and never calls them: adapters would do nothing.
FEED_FORWARD = ("intermediate_dense", "output_dense")
ADAPTED = {"hubert": ATTENTION, "wav2vec2": ATTENTION, "wavlm": FEED_FORWARD, "whisper": ATTENTION}


def add_adapters(model: PreTrainedModel, *, rank: int, alpha: int) -> None:
    """Put adapters into the trainable Transformer layers, and freeze the encoder around them.

    They are on the projections of the attention; in WavLM, on the feed-forward layers. At first they change nothing.

    Args:
        model: of any family with a speech encoder; its trainable layers were chosen by `set_trainable`.
        rank: rank of the change to each weight matrix.
        alpha: the change is multiplied by alpha / rank.

    Raises:
        ModelError: if the model has no trainable Transformer layers.
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
            f"lora_rank: {model.config.model_type} has no trainable Transformer layer; adapters need a speech encoder "
            "and --trainable last<n>, encoder or full"
        )
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=learning), body)
    for name, parameter in body.named_parameters():
        parameter.requires_grad = ".lora_" in name
    # Marks checkpoints with unmerged adapters, which must not be loaded as models.
    model.config.has_adapters = True


def merge_adapters(model: PreTrainedModel) -> None:
    """Add the adapters' changes to the weights and remove the adapters; the outputs of the model stay the same."""
    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)
            model.set_submodule(name, module.get_base_layer())
    del family_of(model).encoder_of(model).peft_config
    del model.config.has_adapters


def has_adapters(model: PreTrainedModel) -> bool:
    """True if a model has adapters that are not merged."""
    return mark(model.config, "has_adapters", False)
