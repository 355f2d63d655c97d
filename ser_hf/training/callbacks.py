"""Callbacks of `SERTrainer` (draws of a resumed epoch, epoch times, steps that are not finite, averaged weights) and
checkpoints."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import logging

logger = logging.get_logger(__name__)

# Beside the averaged weights in each checkpoint: a resumed training continues from the trained weights.
TRAINED_WEIGHTS = "trained_weights.safetensors"


class DrawsOfEpoch(TrainerCallback):
    """Tells the sampler its epoch. The Trainer does so too, but misses it in the first epoch of a resumed training in
    several processes, which would be drawn like epoch 0."""

    def on_epoch_begin(self, args, state, control, train_dataloader=None, **_unused) -> None:
        train_dataloader.set_epoch(int(state.epoch or 0))


class StopAfter(TrainerCallback):
    """Ends a training after some epochs of its schedule."""

    def __init__(self, epochs: int):
        self.epochs = epochs

    def on_epoch_end(self, args, state, control, **_unused):
        control.should_training_stop = control.should_training_stop or state.epoch >= self.epochs


class EpochClock(TrainerCallback):
    """Measures the wall time of each epoch, without evaluation and saving at its end.

    Attributes:
        seconds: of the last whole epoch; None before its end. The rest of a resumed epoch does not count.
    """

    def __init__(self):
        self.seconds: float | None = None

    def on_epoch_begin(self, args, state, control, **_unused):
        self._is_whole = float(state.epoch or 0).is_integer()
        self._began = perf_counter()

    def on_epoch_end(self, args, state, control, **_unused):
        if self._is_whole:
            self.seconds = perf_counter() - self._began


class NonFiniteError(ArithmeticError):
    """Too many training steps had gradients that are not finite; the message names their utterances."""


class NonFiniteGuard(TrainerCallback):
    """Skips optimizer steps with NaN or infinite gradients, and stops after `limit` of them.

    One bad recording or one overflow would otherwise turn every weight into NaN, for good.

    Args:
        limit: number of steps that may be skipped; a resumed training counts from 0.
    """

    def __init__(self, limit: int):
        self.limit, self.skipped = limit, 0
        self.buffers: dict[str, torch.Tensor] = {}
        self.utterances: list[str] = []  # of this optimizer step, over all accumulated batches

    def on_step_begin(self, args, state, control, model=None, **kwargs) -> None:
        # When the gradients are checked, the forward pass has changed the running statistics of batch norm already.
        self.buffers = {name: buffer.clone() for name, buffer in model.named_buffers() if buffer.is_floating_point()}

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        # The largest norm is NaN or infinite if any gradient is.
        if gradients and not torch.nn.utils.get_total_norm(gradients, torch.inf).isfinite():
            model.zero_grad(set_to_none=True)  # the optimizer skips parameters without a gradient
            for name, buffer in model.named_buffers():
                if name in self.buffers:
                    buffer.copy_(self.buffers[name])
            self.skipped += 1
            message = (
                f"step {state.global_step + 1} is skipped: its gradients are not finite ({self.skipped} of at most "
                f"{self.limit}). Its utterances: {', '.join(self.utterances)}"
            )
            if self.skipped > self.limit:
                raise NonFiniteError(
                    f"{message}. Lower the learning rate, train without bf16, or check these recordings."
                )
            logger.warning(message)
        self.utterances = []


class WeightAverage(TrainerCallback):
    """Keeps an exponential average of a model's weights and running statistics, which is validated and saved.

    Its decay begins lower, as min(decay, (1 + step) / (10 + step)), so that the random first weights soon fade.
    Source: Polyak and Juditsky (1992); the warm-up is that of TensorFlow and timm.

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
        """Give the model the averaged weights within a `with` block."""
        trained = _copy(model)
        model.load_state_dict(self.average)
        try:
            yield
        finally:
            model.load_state_dict(trained)

    def save_trained(self, model: nn.Module, folder: str | Path) -> None:
        save_file({name: tensor.contiguous() for name, tensor in _copy(model).items()}, Path(folder, TRAINED_WEIGHTS))

    def resume(self, model: nn.Module, folder: str | Path) -> None:
        """Take the model's weights, which a checkpoint gave it, as the average, and load its trained weights."""
        self.average = _copy(model)
        model.load_state_dict(load_file(Path(folder, TRAINED_WEIGHTS)))


def _copy(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


# --- checkpoints ---


def last_checkpoint(folder: str | Path) -> str | None:
    """Return the newest whole checkpoint of a run folder, for `train(resume_from_checkpoint=...)`, or None.

    The Trainer writes the state of a checkpoint last: one without it was interrupted. One that is damaged (a disk that
    failed, a copy that broke off) is told in a warning, and the one before is taken.
    """
    checkpoints = [path for path in Path(folder).glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    for checkpoint in sorted(checkpoints, key=lambda path: int(path.name.split("-")[1]), reverse=True):
        damage = damage_of(checkpoint)
        if damage is None:
            return str(checkpoint)
        logger.warning(f"{checkpoint} is damaged or incomplete ({damage}): the training goes on from the one before")
    return None


def damage_of(checkpoint: Path) -> str | None:
    """Return the name of a file of a checkpoint that is missing or cannot be read; None if all is well."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    if not any(path.suffix in (".safetensors", ".bin", ".distcp") for path in files):
        return "no weights"
    for path in (checkpoint / TRAINER_STATE_NAME, *files):
        try:
            _read_whole(path)
        except Exception:  # whatever a library raises about a damaged file
            return path.name
    return None


def _read_whole(path: Path) -> None:
    """Raise an error if a file of a checkpoint is missing, damaged, or holds weights that are not finite."""
    if path.name == TRAINER_STATE_NAME:
        int(json.loads(path.read_text(encoding="utf-8"))["global_step"])
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".safetensors":
        if not all(tensor.isfinite().all() for tensor in load_file(path).values()):
            raise ValueError("weights are not finite")
    elif path.suffix in (".pt", ".pth", ".bin"):  # ZIP archives with checksums
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ValueError("a checksum is wrong")
