"""A training step whose gradients are not finite is skipped, named, and not repeated for ever."""

from __future__ import annotations

import torch
from transformers import TrainerCallback
from transformers.utils import logging

logger = logging.get_logger(__name__)


class NonFiniteError(ArithmeticError):
    """Too many training steps had gradients that are not finite; the message names their utterances."""


class NonFiniteGuard(TrainerCallback):
    """Skips optimizer steps with NaN or infinite gradients, and stops after `limit` of them.

    One bad recording or one overflow would otherwise turn every weight into NaN, for good.

    Args:
        limit: skipped steps that are borne; a resumed training counts anew.
    """

    def __init__(self, limit: int):
        self.limit, self.skipped = limit, 0
        self.buffers: dict[str, torch.Tensor] = {}
        self.utterances: list[str] = []  # of this optimizer step, over all accumulated batches

    def on_step_begin(self, args, state, control, model=None, **kwargs) -> None:
        # By the time the gradients are looked at, the forward pass has spoiled the running statistics of batch norm.
        self.buffers = {name: buffer.clone() for name, buffer in model.named_buffers() if buffer.is_floating_point()}

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        # One number for all of them: the largest is NaN or infinite if any is.
        if gradients and not torch.stack(torch._foreach_norm(gradients, torch.inf)).isfinite().all():
            model.zero_grad(set_to_none=True)  # the optimizer passes over parameters without a gradient
            for name, buffer in model.named_buffers():
                if name in self.buffers:
                    buffer.copy_(self.buffers[name])
            self.skipped += 1
            message = (
                f"step {state.global_step + 1}: the gradients are not finite, the step is skipped "
                f"({self.skipped} of at most {self.limit}). Its utterances: {', '.join(self.utterances)}"
            )
            if self.skipped > self.limit:
                raise NonFiniteError(
                    f"{message}. Lower the learning rate, train without bf16, or look at these recordings."
                )
            logger.warning(message)
        self.utterances = []
