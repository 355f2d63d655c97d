"""Exponential moving average of the weights: what is validated and saved is the average of the last steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback

# Beside the averaged weights in each checkpoint, so that a resumed training goes on from the weights it had.
TRAINED_WEIGHTS = "trained_weights.safetensors"


class WeightAverage(TrainerCallback):
    """Follows a model's weights and running statistics.

    In its first steps it forgets faster, as min(decay, (1 + step) / (10 + step)), so that the random weights of the
    beginning do not linger. Source: Polyak and Juditsky (1992); the warm-up is that of TensorFlow and timm.

    Args:
        decay: share of the average that each step keeps, in (0, 1).
    """

    def __init__(self, decay: float):
        self.decay = decay
        self.average: dict[str, torch.Tensor] = {}

    def on_train_begin(self, args, state, control, model=None, **kwargs) -> None:
        if not self.average:  # a resumed training has it already
            self.average = _copy(model)

    @torch.no_grad()
    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        keep = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        for name, tensor in model.state_dict().items():
            average = self.average[name]
            if average.is_floating_point():
                average.lerp_(tensor.detach().to(average), 1 - keep)
            else:  # counters of batch norm
                average.copy_(tensor)

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """Within it the model has the averaged weights, afterwards its own again."""
        trained = _copy(model)
        model.load_state_dict(self.average)
        try:
            yield
        finally:
            model.load_state_dict(trained)

    def save_trained(self, model: nn.Module, folder: str | Path) -> None:
        save_file({name: tensor.contiguous() for name, tensor in _copy(model).items()}, Path(folder, TRAINED_WEIGHTS))

    def resume(self, model: nn.Module, folder: str | Path) -> None:
        """Takes the model's weights, those of a checkpoint, as the average, and gives the model its trained ones."""
        self.average = _copy(model)
        model.load_state_dict(load_file(Path(folder, TRAINED_WEIGHTS)))


def _copy(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
