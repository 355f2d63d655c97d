"""`RetentionTrainer`: learns the next corpus of a curriculum and is held near what was learnt before."""

from __future__ import annotations

import os
from copy import copy, deepcopy
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..models.lora import has_adapters
from ..models.pretrained import encoder_layers, is_frozen
from ..models.temperature import emotion_layer
from .arguments import SERTrainingArguments
from .losses import distillation_loss
from .trainer import SERTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Li and Hoiem (2016), section 3: softened, so that the small probabilities count as well.
TEMPERATURE = 2.0


@dataclass(kw_only=True)
class RetentionArguments:
    """What holds a model near the previous stage, from the second stage on; rehearsal is a matter of the data."""

    freeze_layers: int = field(
        default=0,
        metadata={
            "help": "Lowest layers of the encoder, with what stands before them, that stop learning after the first "
            "stage. Where the encoder does not learn anyway, 1 stops the head below its last linear layer."
        },
    )
    l2_sp: float = field(
        default=0.0,
        metadata={
            "help": "Weight a of the penalty a/2 |w - w0|^2, w0 being the weights at the end of the previous stage; it "
            "takes the place of weight_decay from the second stage on."
        },
    )
    distil_previous: float = field(
        default=0.0,
        metadata={
            "help": "Weight of the divergence from what the model of the previous stage answers to the utterances of "
            "this one, at a temperature of 2."
        },
    )

    def __post_init__(self):
        for option in ("freeze_layers", "l2_sp", "distil_previous"):
            if getattr(self, option) < 0:
                raise ValueError(f"{option}: {getattr(self, option)}, wanted 0 or more")

    def check(self, model: PreTrainedModel, args: SERTrainingArguments) -> None:
        """Raises a `ValueError` for what cannot be done to this model, before its first stage is trained."""
        lowest_layers(model, self.freeze_layers)
        copied = [option for option in ("l2_sp", "distil_previous") if getattr(self, option)]
        if copied and os.environ.get("ACCELERATE_USE_FSDP") == "true":
            raise ValueError(
                f"{copied[0]}: weights that are sharded over processes (FSDP) cannot be copied; leave it out"
            )
        if self.l2_sp and has_adapters(model):
            raise ValueError(
                "l2_sp: with lora_rank the weights stand still, and a change that is a product of two matrices has no "
                "start to be near; take distil_previous, or leave lora_rank out"
            )
        if self.distil_previous and args.targets == "multi_label":
            raise ValueError(
                "distil_previous: compares scores that sum to 1, as those of targets multi_label do not; leave it out"
            )


class RetentionTrainer(SERTrainer):
    """`SERTrainer` of a stage of a curriculum; without `retention` it is that and nothing else.

    The model as it is given, with the weights of the previous stage, is what it is held near:

    * `freeze_layers`: its lowest layers keep their weights.
    * `l2_sp`: the gradient of a/2 |w - w0|^2 over all weights that learn is added to that of the loss (Li et al. 2018,
      arXiv:1802.01483). The classes are those of all stages, so that the head has a start like any other layer. Decay
      towards 0 would pull elsewhere: there is none then.
    * `distil_previous`: a frozen copy answers to every batch, augmented or cached as it is, and the divergence from its
      answers is added to the loss (Li and Hoiem 2016, arXiv:1606.09282).

    Logged beside the loss are `l2_sp`, which is |w - w0|^2 / 2, and `distillation`, both before their weights.

    Args:
        retention: None in a first stage, which has nothing to keep.

    Raises:
        ValueError: as `RetentionArguments.check`.
    """

    def __init__(
        self, model: PreTrainedModel, args: SERTrainingArguments, *, retention: RetentionArguments | None, **options
    ):
        self.retention = retention or RetentionArguments()
        self.retention.check(model, args)
        for parameter in lowest_layers(model, self.retention.freeze_layers):
            parameter.requires_grad_(False)
        if self.retention.l2_sp:
            args = copy(args)
            args.weight_decay = 0.0
        super().__init__(model, args, **options)
        # Copied here, before a checkpoint is read: an interrupted stage goes on with what it began with.
        self._start, self._previous = [], None
        if self.retention.l2_sp:
            learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
            self._start = [(parameter, parameter.detach().clone()) for parameter in learning]
        if self.retention.distil_previous:
            self._previous = deepcopy(model).eval().requires_grad_(False)

    def training_step(self, *args, **kwargs) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        # Added to the gradients when all processes have summed theirs, and before they are clipped: DDP does not bear
        # losses of weights that its forward pass did not use.
        if self._start and self.accelerator.sync_gradients:
            self._pull_back()
        return loss

    @torch.no_grad()
    def _pull_back(self) -> None:
        squares = 0.0
        for weight, start in self._start:
            away = weight - start
            squares = squares + (away**2).sum()
            if weight.grad is not None:  # else it is where it started
                weight.grad.add_(away, alpha=self.retention.l2_sp)
        self.note("l2_sp", squares / 2)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self._previous is not None and model.training:  # the validation loss is that of the labels alone
            with torch.no_grad():
                answers = self._previous(**inputs).logits  # the labels have gone to the loss by now
            divergence = distillation_loss(outputs.logits, answers, temperature=TEMPERATURE).mean()
            self.note("distillation", divergence)
            # A figure of whole batches: each one of an accumulated step has its share.
            loss = loss + self.retention.distil_previous * divergence / self.current_gradient_accumulation_steps
        return (loss, outputs) if return_outputs else loss


def lowest_layers(model: PreTrainedModel, count: int) -> list[nn.Parameter]:
    """The parameters of the lowest layers of a model, and of what stands before them; none for 0.

    Raises:
        ValueError: for more layers than there are, or if none of them learns.
    """
    if count == 0:
        return []
    if is_frozen(model):
        elsewhere = [*emotion_layer(model).parameters(), *chain.from_iterable(encoder_layers(model))]
        # Whether it learns is not asked: a stage before may have frozen it.
        head = [one for one in model.parameters() if id(one) not in {id(other) for other in elsewhere}]
        layers, kind = [[], head], "an encoder that does not learn has the one layer of its head below the last"
    else:
        layers = encoder_layers(model)
        kind = f"this encoder has {len(layers) - 1} layers"
    if count >= len(layers):
        raise ValueError(f"freeze_layers: {count}, but {kind}")
    lowest = [parameter for layer in layers[: count + 1] for parameter in layer]
    if not is_frozen(model) and not any(parameter.requires_grad for parameter in lowest):
        raise ValueError(f"freeze_layers: {count}, but none of them learns anyway: freeze more, or widen trainable")
    return lowest
