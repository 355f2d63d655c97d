"""`RetentionTrainer`: trains the next stage of a curriculum and limits how much the model forgets."""

from __future__ import annotations

import os
from copy import copy, deepcopy
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from ..models.lora import has_adapters
from ..models.temperature import emotion_layer
from ..models.trainable import encoder_layers, is_frozen
from ..options import OptionError
from .arguments import SERTrainingArguments
from .losses import distillation_loss
from .parser import check_options
from .trainer import SERTrainer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Li and Hoiem (2016), section 3: softened, so that the small probabilities count as well.
TEMPERATURE = 2.0


@dataclass(kw_only=True)
class RetentionArguments:
    """Three ways to keep a model near the previous stage, from the second stage on."""

    freeze_layers: int = field(
        default=0,
        metadata={
            "help": "Number of lowest encoder layers that stop learning after the first stage, with everything below "
            "them. With a frozen encoder, 1 freezes the head below its last linear layer."
        },
    )
    l2_sp: float = field(
        default=0.0,
        metadata={
            "help": "Weight a of the penalty a/2 |w - w0|^2, where w0 are the weights after the previous stage. It "
            "replaces --weight_decay from the second stage on."
        },
    )
    distil_previous: float = field(
        default=0.0,
        metadata={
            "help": "Weight of the divergence from the answers of the previous stage's model to the utterances of this "
            "stage, at a temperature of 2."
        },
    )

    RANGES: ClassVar = dict.fromkeys(("freeze_layers", "l2_sp", "distil_previous"), "[0, inf)")

    def __post_init__(self):
        check_options(self)

    def check(self, model: PreTrainedModel, args: SERTrainingArguments) -> None:
        """Raise an `OptionError` for options that this model cannot have."""
        lowest_layers(model, self.freeze_layers)
        copied = [option for option in ("l2_sp", "distil_previous") if getattr(self, option)]
        if copied and os.environ.get("ACCELERATE_USE_FSDP") == "true":
            raise OptionError(f"--{copied[0]} cannot copy weights that are sharded over processes (FSDP): leave it out")
        if self.l2_sp and has_adapters(model):
            raise OptionError(
                "use --l2_sp or --lora_rank, not both: adapters have no earlier weights (see --distil_previous)"
            )
        if self.distil_previous and args.targets == "multi_label":
            raise OptionError(
                "use --distil_previous or --targets multi_label, not both: it compares scores that sum to 1"
            )


class RetentionTrainer(SERTrainer):
    """A `SERTrainer` that keeps a model near the weights it is given, those of the previous stage.

    * `freeze_layers`: the lowest layers keep their weights.
    * `l2_sp`: the gradient of a/2 |w - w0|^2 over all weights that learn is added to that of the loss (Li et al. 2018,
      arXiv:1802.01483). Weight decay, which pulls towards 0, is off.
    * `distil_previous`: a frozen copy answers to every batch, and the divergence from its answers is added to the loss
      (Li and Hoiem 2016, arXiv:1606.09282).

    `l2_sp`, which is |w - w0|^2 / 2, and `distillation` are logged beside the loss, both before their weights.

    Args:
        retention: None in a first stage: then this is `SERTrainer`.

    Raises:
        OptionError: as `RetentionArguments.check`.
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
        # Copied before a checkpoint is read: a resumed stage keeps the start of the unbroken one.
        self._start, self._previous = [], None
        if self.retention.l2_sp:
            learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
            self._start = [(parameter, parameter.detach().clone()) for parameter in learning]
        if self.retention.distil_previous:
            self._previous = deepcopy(model).eval().requires_grad_(False)

    def training_step(self, *args, **kwargs) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        # Added after all processes have summed their gradients, before clipping: DDP forbids losses of weights that its
        # forward pass did not use.
        if self._start and self.accelerator.sync_gradients:
            self._pull_back()
        return loss

    @torch.no_grad()
    def _pull_back(self) -> None:
        squares = 0.0
        for weight, start in self._start:
            away = weight - start
            squares = squares + (away**2).sum()
            if weight.grad is not None:  # else it did not move
                weight.grad.add_(away, alpha=self.retention.l2_sp)
        self.note("l2_sp", squares / 2)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self._previous is not None and model.training:  # the validation loss is that of the labels alone
            with torch.no_grad():
                answers = self._previous(**inputs).logits  # the labels have gone to the loss by now
            divergence = distillation_loss(outputs.logits, answers, temperature=TEMPERATURE).mean()
            self.note("distillation", divergence)
            # The mean over the accumulated batches.
            loss = loss + self.retention.distil_previous * divergence / self.current_gradient_accumulation_steps
        return (loss, outputs) if return_outputs else loss


def lowest_layers(model: PreTrainedModel, count: int) -> list[nn.Parameter]:
    """Return the parameters of the lowest layers of a model and of everything below them; none for 0.

    Raises:
        OptionError: for more layers than there are, or if none of them learns.
    """
    if count == 0:
        return []
    if is_frozen(model):
        elsewhere = [*emotion_layer(model).parameters(), *chain.from_iterable(encoder_layers(model))]
        # All of it, since an earlier stage may have frozen it.
        head = [one for one in model.parameters() if id(one) not in {id(other) for other in elsewhere}]
        layers, kind = [[], head], "with a frozen encoder it is 0 or 1"
    else:
        layers = encoder_layers(model)
        kind = f"this encoder has {len(layers) - 1} layers"
    if count >= len(layers):
        raise OptionError(f"--freeze_layers {count} is too many: {kind}")
    lowest = [parameter for layer in layers[: count + 1] for parameter in layer]
    if not is_frozen(model) and not any(parameter.requires_grad for parameter in lowest):
        raise OptionError(f"--freeze_layers {count} changes nothing: these layers do not learn (see --trainable)")
    return lowest
