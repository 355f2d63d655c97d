"""Options of model and training that are not already among transformers' `TrainingArguments`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import psutil
import torch
import yaml
from transformers import TrainingArguments
from transformers.utils import logging

from ..data.augment import EFFECTS, Augmentation
from ..data.balance import BALANCE, BALANCE_BY
from ..data.targets import TARGETS
from ..models.lora import add_adapters, has_adapters
from ..models.pretrained import build_classifier, has_random_weights, set_trainable
from ..splits.ledger import Ledger

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


logger = logging.get_logger(__name__)


@dataclass(kw_only=True)
class ModelArguments:
    """Which encoder, and how much of it learns."""

    model_name_or_path: str = field(
        metadata={
            "help": "Hub name or folder of a HuBERT, wav2vec2, WavLM, Whisper or timm checkpoint; an architecture of "
            "timm (resnet18), vggish, parallel-transformer, parallel-blstm, cnn-lstm, cnn-attention-lstm or cnn, with "
            "random weights; fusion (log-mel beside the encoder that model_settings name as ssl=...); or a small "
            "random model: tiny-hubert, tiny-wav2vec2, tiny-wavlm, tiny-whisper."
        },
    )
    trainable: str = field(
        default="full",
        metadata={
            "help": "What learns: head, last<n> (head and last n encoder layers), encoder (all but the convolutional "
            "front end), full."
        },
    )
    lora_rank: int = field(
        default=0,
        metadata={
            "help": "Low-rank adapters of this rank learn in place of the encoder layers that `trainable` names, and "
            "are merged into them at the end; 0: the layers themselves learn."
        },
    )
    lora_alpha: int = field(default=16, metadata={"help": "Their changes are multiplied with lora_alpha / lora_rank."})
    in_channels: int = field(
        default=1, metadata={"help": "Channels of the images that a timm backbone sees: 1, or 3 equal ones."}
    )
    front_end: list[str] = field(
        default_factory=list,
        metadata={"help": "Settings of the log-mel features, as name=value, such as crop_seconds=3.5."},
    )
    model_settings: list[str] = field(
        default_factory=list,
        metadata={"help": "Settings of the model's configuration, as name=value, such as classifier_dropout=0.3."},
    )

    def __post_init__(self):
        for option in ("front_end", "model_settings"):
            if malformed := [word for word in getattr(self, option) if "=" not in word]:
                raise ValueError(f"{option}: {malformed[0]!r} is not of the form name=value")
        for option, is_fine, wanted in (
            ("in_channels", self.in_channels in (1, 3), "1 or 3"),
            ("lora_rank", self.lora_rank >= 0, "0 or more"),
            ("lora_alpha", self.lora_alpha > 0, "more than 0"),
        ):
            if not is_fine:
                raise ValueError(f"{option}: {getattr(self, option)}, wanted {wanted}")

    def build(self, labels: Sequence[str]) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
        """The classifier that these options describe, and its extractor."""
        model, extractor = build_classifier(
            self.model_name_or_path,
            labels,
            trainable=self.trainable,
            in_channels=self.in_channels,
            front_end=_named_values(self.front_end),
            settings=_named_values(self.model_settings),
        )
        self.adapt(model)
        return model, extractor

    def adapt(self, model: PreTrainedModel) -> None:
        """Lets learn what is to learn before a training, with the adapters that `lora_rank` asks for.

        A model that has adapters stays as it is; a finished training merged its own.
        """
        if has_adapters(model):
            return
        set_trainable(model, self.trainable)
        if self.lora_rank:
            add_adapters(model, rank=self.lora_rank, alpha=self.lora_alpha)

    def earlier_ledger(self) -> Ledger:
        """What the model has heard before this training: nothing, if its weights are random."""
        source = _named_values(self.model_settings).get("ssl", self.model_name_or_path)  # a fusion hears through `ssl`
        return Ledger() if has_random_weights(source) else Ledger.of_model(source) or Ledger()

    @property
    def model_name(self) -> str:
        """What reports and cards call the model: its Hub name, or the last part of a folder."""
        path = Path(self.model_name_or_path)
        return path.resolve().name if path.is_dir() else self.model_name_or_path


def _named_values(words: Sequence[str]) -> dict[str, Any]:
    """["name=value", ...] -> a dictionary, with values as YAML reads them, and 1e-6 as a number."""
    pairs = [word.split("=", 1) for word in words]
    return {name: _value(text) for name, text in pairs}


def _value(text: str) -> Any:
    try:
        return json.loads(text)  # knows a number without a point, which to YAML 1.1 is a word
    except ValueError:
        return yaml.safe_load(text)


@dataclass
class SERTrainingArguments(TrainingArguments):
    """transformers' options with the defaults of this field, and some more.

    Differing defaults: evaluation and saving every epoch, the epoch with the best validation UAR is kept, batches of
    similar length.
    """

    output_dir: Optional[str] = field(default="runs/latest", metadata={"help": "Folder of the trained model."})  # noqa: UP045 - HfArgumentParser needs it
    remove_unused_columns: bool = field(default=False, metadata={"help": "The collator needs all columns."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to evaluate: no, steps, epoch."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save: no, steps, epoch, best."})
    save_total_limit: Optional[int] = field(default=1, metadata={"help": "Checkpoints kept beside the best."})  # noqa: UP045
    logging_strategy: str = field(default="epoch", metadata={"help": "When to log: no, steps, epoch."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Keep the epoch with the best validation."})
    metric_for_best_model: Optional[str] = field(default="uar", metadata={"help": "Judge of the best epoch."})  # noqa: UP045
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Resume early stopping where it was, not only the weights."}
    )
    train_sampling_strategy: str = field(
        default="group_by_length", metadata={"help": "random, or group_by_length: batches of similar duration."}
    )
    length_column_name: str = field(default="duration", metadata={"help": "Column that batches are grouped by."})
    balance: str = field(
        default="none",
        metadata={"help": f"Draw groups of training utterances equally often: {', '.join(BALANCE)}."},
    )
    balance_by: str = field(
        default="resampling",
        metadata={
            "help": "How often that is: resampling (an epoch stays as long as it was), oversampling (as often as the "
            "largest group has utterances), undersampling (as often as the smallest has)."
        },
    )
    weight_classes: bool = field(
        default=False, metadata={"help": "Weigh the loss inversely to class frequency in the training part."}
    )
    weight_corpora: bool = field(
        default=False,
        metadata={
            "help": "Weigh the loss inversely to corpus frequency; with weight_classes, to that of each class of each "
            "corpus."
        },
    )
    targets: str = field(
        default="label",
        metadata={
            "help": "What is learned: label; votes (shares of the raters' votes); multi_label (every class with an "
            "even share of them)."
        },
    )
    augment: list[str] = field(
        default_factory=list,
        metadata={
            "help": "What the training part is altered by, as name=range, such as noise=5..20 pitch=-2..2 "
            f"specaugment=2x27x40 mixup=0.2: {', '.join(EFFECTS)} (docs/augmentation.md has the units)."
        },
    )
    augment_probability: float = field(
        default=0.5, metadata={"help": "Probability of each of them for each utterance, in (0, 1]."}
    )
    augment_rare_classes: bool = field(
        default=False,
        metadata={
            "help": "Alter utterances of rarer classes more often: those of a class with n utterances with 1 - (1 - p) "
            "n / N, N being the number of the commonest one."
        },
    )
    dimension_weight: float = field(
        default=1.0,
        metadata={"help": "Weight of valence, arousal and dominance in the loss of a model with dimensions."},
    )
    focal_gamma: float = field(
        default=0.0, metadata={"help": "Focal loss: what is recognised already teaches less. 0 is cross-entropy."}
    )
    layer_decay: float = field(
        default=1.0,
        metadata={"help": "Learning rate of each encoder layer relative to the one above it, in (0, 1]."},
    )
    step_epochs: float = field(
        default=0.0,
        metadata={"help": "Epochs after which the learning rate falls by step_factor, again and again; 0: never."},
    )
    step_factor: float = field(default=0.1, metadata={"help": "Factor of such a step, in (0, 1)."})
    ema_decay: float = field(
        default=0.0,
        metadata={"help": "Keep an exponential average of the weights, such as 0.999; 0 keeps the weights themselves."},
    )
    max_skipped_steps: int = field(
        default=10, metadata={"help": "Steps with gradients that are not finite that are skipped before giving up."}
    )
    early_stopping_patience: int = field(
        default=0, metadata={"help": "Stop after so many evaluations without a better validation score; 0 never stops."}
    )

    def __post_init__(self):
        if self.balance not in BALANCE:
            raise ValueError(f"balance: {self.balance!r}, wanted one of {', '.join(BALANCE)}")
        if self.targets not in TARGETS:
            raise ValueError(f"targets: {self.targets!r}, wanted one of {', '.join(TARGETS)}")
        if self.train_sampling_strategy not in ("random", "group_by_length"):
            raise ValueError(
                f"train_sampling_strategy: {self.train_sampling_strategy!r}, wanted random, group_by_length"
            )
        for option, is_fine, wanted in (
            ("label_smoothing_factor", 0 <= self.label_smoothing_factor < 1, "a share in [0, 1)"),
            ("early_stopping_patience", self.early_stopping_patience >= 0, "0 or more"),
            ("augment_probability", 0 < self.augment_probability <= 1, "a share in (0, 1]"),
            ("augment_rare_classes", not self.augment_rare_classes or self.augment, "it with augment alone"),
            ("dimension_weight", self.dimension_weight >= 0, "0 or more"),
            ("focal_gamma", self.focal_gamma >= 0, "0 or more"),
            ("layer_decay", 0 < self.layer_decay <= 1, "a factor in (0, 1]"),
            ("step_epochs", self.step_epochs >= 0, "0 or more"),
            ("step_factor", 0 < self.step_factor < 1, "a factor in (0, 1)"),
            ("lr_scheduler_type", not self.step_epochs or self.lr_scheduler_type == "linear", "none with step_epochs"),
            ("ema_decay", 0 <= self.ema_decay < 1, "a share in [0, 1)"),
            ("max_skipped_steps", self.max_skipped_steps >= 0, "0 or more"),
            ("balance_by", self.balance_by in BALANCE_BY, f"one of {', '.join(BALANCE_BY)}"),
            ("balance_by", self.balance_by == "resampling" or self.balance != "none", "it with --balance alone"),
            ("weight_classes", not (self.weight_classes and "class" in self.balance), "either it or --balance class"),
            ("weight_corpora", not (self.weight_corpora and "corpus" in self.balance), "either it or --balance corpus"),
        ):
            if not is_fine:
                raise ValueError(f"{option}: {getattr(self, option)}, wanted {wanted}")
        _ = self.augmentation  # what is wrong with it is told before anything is read
        super().__post_init__()
        if self.mixed_precision == "fp16":  # of the option, or of `accelerate launch`
            raise ValueError(
                "mixed precision: fp16, wanted bf16: fp16 overflows by design, which looks like broken recordings"
            )
        if self.n_gpu > 1:
            # DataParallel would multiply the loss by their number, and some parts of it not.
            logger.warning("%d GPUs are here and one is used; `accelerate launch --multi_gpu` takes all", self.n_gpu)
            self._n_gpu = 1
        if self.lr_scheduler_type == "reduce_lr_on_plateau":
            # PyTorch waits for a minimum unless told; left alone, a rising UAR would lower the learning rate.
            mode = "max" if self.greater_is_better else "min"
            self.lr_scheduler_kwargs = {"mode": mode, **(self.lr_scheduler_kwargs or {})}
        if int(os.environ.get("WORLD_SIZE", 1)) != self.world_size:
            raise ValueError(
                f"{os.environ['WORLD_SIZE']} processes were started, but each would train alone: on a machine without "
                "GPUs add --use_cpu true"
            )
        # Pinned memory serves the copy to an accelerator; without one PyTorch warns about it every epoch.
        self.dataloader_pin_memory = self.dataloader_pin_memory and torch.accelerator.is_available()
        # Without a GPU `accelerate launch` gives its one process a single thread, whatever cores there are.
        launched_alone = "ACCELERATE_MIXED_PRECISION" in os.environ and self.world_size == 1
        if launched_alone and self.device.type == "cpu" and os.environ.get("OMP_NUM_THREADS") == "1":
            torch.set_num_threads(psutil.cpu_count(logical=False) or os.cpu_count())

    @property
    def augmentation(self) -> Augmentation | None:
        """What `augment` asks for; None if it asks for nothing."""
        seed = self.seed if self.data_seed is None else self.data_seed
        return Augmentation.parse(self.augment, probability=self.augment_probability, seed=seed)
