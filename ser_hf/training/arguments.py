"""Options of model and training that are not already among transformers' `TrainingArguments`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import psutil
import torch
import yaml
from transformers import Trainer, TrainingArguments, get_scheduler
from transformers.integrations import get_reporting_integration_callbacks
from transformers.trainer_utils import IntervalStrategy, SaveStrategy
from transformers.utils import logging

from ..data.augment import EFFECTS, Augmentation
from ..data.balance import BALANCE, BALANCE_BY
from ..data.targets import TARGETS
from ..emotions import unknown_name
from ..evaluation.metrics import METRICS
from ..files import one_line
from ..models.lora import add_adapters, has_adapters
from ..models.pretrained import build_classifier
from ..models.records import architectures, has_random_weights
from ..models.trainable import set_trainable
from ..options import OptionError, refuse_unused
from ..splits.ledger import Ledger
from .parser import check_options, check_pairs

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


logger = logging.get_logger(__name__)


@dataclass(kw_only=True)
class ModelArguments:
    """Options of the model: its weights or architecture, and the parts that are trained."""

    model_name_or_path: str = field(
        metadata={
            "help": "Hub name or folder of a HuBERT, wav2vec2, WavLM, Whisper or timm checkpoint. With random weights: "
            f"an architecture of timm (resnet18), {', '.join(architectures())}. fusion: log-mel beside an encoder that "
            "--model_settings name as ssl=.... The tiny-... models are small, to try things out."
        },
    )
    trainable: str = field(
        default="full",
        metadata={
            "help": "Parts that are trained: head, last<n> (head and last n encoder layers), encoder (all but the "
            "convolutional front end), full."
        },
    )
    lora_rank: int = field(
        default=0,
        metadata={
            "help": "Rank of low-rank adapters (LoRA). They are trained instead of the encoder layers named by "
            "--trainable, and merged into them at the end. 0: no adapters, the layers themselves are trained."
        },
    )
    lora_alpha: int = field(default=16, metadata={"help": "The adapters are scaled by lora_alpha / lora_rank."})
    in_channels: int = field(
        default=1, metadata={"help": "Input channels of a timm backbone: 1, or 3 equal ones.", "choices": (1, 3)}
    )
    front_end: list[str] = field(
        default_factory=list,
        metadata={"help": "Settings of the log-mel features, as name=value, such as crop_seconds=3.5."},
    )
    model_settings: list[str] = field(
        default_factory=list,
        metadata={"help": "Settings of the model's configuration, as name=value, such as classifier_dropout=0.3."},
    )

    RANGES: ClassVar = {"lora_rank": "[0, inf)", "lora_alpha": "(0, inf)"}

    def __post_init__(self):
        check_options(self)
        check_pairs("front_end", self.front_end, "name=value")
        check_pairs("model_settings", self.model_settings, "name=value")

    def build(self, labels: Sequence[str]) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
        """Return the classifier that these options describe, and its extractor."""
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
        """Prepare a model for a training: freeze the other parts, and add the adapters of `lora_rank`.

        A model that has adapters is not changed. At the end of a training its adapters are merged.
        """
        if has_adapters(model):
            return
        set_trainable(model, self.trainable)
        if self.lora_rank:
            add_adapters(model, rank=self.lora_rank, alpha=self.lora_alpha)

    def earlier_ledger(self) -> Ledger:
        """Return the ledger of earlier trainings of this model. It is empty if the weights are random."""
        source = _named_values(self.model_settings).get("ssl", self.model_name_or_path)  # the encoder of a fusion
        return Ledger() if has_random_weights(source) else Ledger.of_model(source) or Ledger()

    @property
    def model_name(self) -> str:
        """The name of the model in reports and cards: its Hub name, or the last part of a folder."""
        path = Path(self.model_name_or_path)
        return path.resolve().name if path.is_dir() else self.model_name_or_path


def _named_values(words: Sequence[str]) -> dict[str, Any]:
    """Return ["name=value", ...] as a dictionary, with values as YAML reads them, and 1e-6 as a number."""
    return {name: _value(text) for name, text in (word.split("=", 1) for word in words)}


def _value(text: str) -> Any:
    try:
        return json.loads(text)  # YAML 1.1 reads 1e-6, which has no point, as text
    except ValueError:
        return yaml.safe_load(text)


@dataclass
class SERTrainingArguments(TrainingArguments):
    """transformers' `TrainingArguments` with defaults for emotion recognition, and further options.

    Other defaults: the model is evaluated and saved after every epoch, the epoch with the best validation UAR is kept,
    and utterances of similar length share a batch.
    """

    output_dir: str | None = field(default="runs/latest", metadata={"help": "Folder of the run."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "Leave false: all columns are needed."})
    eval_strategy: str = field(default="epoch", metadata={"help": "When to validate: no, steps, epoch."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save checkpoints: no, steps, epoch, best."})
    save_total_limit: int | None = field(default=1, metadata={"help": "Checkpoints to keep besides the best."})
    logging_strategy: str = field(default="epoch", metadata={"help": "When to log: no, steps, epoch."})
    load_best_model_at_end: bool = field(
        default=True, metadata={"help": "Keep the epoch with the best validation score; false: the last epoch."}
    )
    metric_for_best_model: str | None = field(default="uar", metadata={"help": "Validation score of the best epoch."})
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "When a run resumes, restore the state of early stopping, too."}
    )
    train_sampling_strategy: str = field(
        default="group_by_length",
        metadata={
            "help": "Order of the training utterances: random, or group_by_length (batches of similar duration).",
            "choices": ("random", "group_by_length"),
        },
    )
    length_column_name: str = field(
        default="duration", metadata={"help": "Column with the length for group_by_length."}
    )
    balance: str = field(
        default="none",
        metadata={"help": "Draw these groups of training utterances equally often.", "choices": tuple(BALANCE)},
    )
    balance_by: str = field(
        default="resampling",
        metadata={
            "help": "Draws from each group per epoch with --balance: resampling (an epoch keeps its length), "
            "oversampling (as many as the largest group has utterances), undersampling (as the smallest has).",
            "choices": tuple(BALANCE_BY),
        },
    )
    weight_classes: bool = field(
        default=False, metadata={"help": "Weight the loss by inverse class frequency in the training part."}
    )
    weight_corpora: bool = field(
        default=False,
        metadata={
            "help": "Weight the loss by inverse corpus frequency; with --weight_classes, by that of each class of each "
            "corpus."
        },
    )
    targets: str = field(
        default="label",
        metadata={
            "help": "Training targets: label; votes (shares of the raters' votes); multi_label (every class with at "
            "least an even share of them).",
            "choices": tuple(TARGETS),
        },
    )
    augment: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Augmentation of the training part, as name=range, such as noise=5..20 pitch=-2..2 "
            f"specaugment=2x27x40 mixup=0.2: {', '.join(EFFECTS)} (units: docs/augmentation.md)."
        },
    )
    augment_probability: float = field(
        default=0.5, metadata={"help": "Probability of each effect for each utterance, in (0, 1]."}
    )
    augment_rare_classes: bool = field(
        default=False,
        metadata={
            "help": "Augment rare classes more often: a class with n utterances with probability 1 - (1 - p) n / N, "
            "where p is --augment_probability and the most frequent class has N utterances."
        },
    )
    dimension_weight: float = field(
        default=1.0,
        metadata={
            "help": "Weight of valence, arousal and dominance in the loss of a model with dimensions, 0 or more."
        },
    )
    focal_gamma: float = field(
        default=0.0,
        metadata={"help": "Exponent of the focal loss, 0 or more; easy utterances count less. 0 is cross-entropy."},
    )
    layer_decay: float = field(
        default=1.0,
        metadata={"help": "Learning rate of each encoder layer relative to the one above it, in (0, 1]."},
    )
    step_epochs: float = field(
        default=0.0,
        metadata={"help": "The learning rate is multiplied by --step_factor after every so many epochs; 0: never."},
    )
    step_factor: float = field(default=0.1, metadata={"help": "Factor for --step_epochs, in (0, 1)."})
    ema_decay: float = field(
        default=0.0,
        metadata={"help": "Keep an exponential average of the weights, such as 0.999, in [0, 1). 0: no average."},
    )
    max_skipped_steps: int = field(
        default=10,
        metadata={"help": "Stop with an error after skipping so many steps with gradients that are not finite."},
    )
    early_stopping_patience: int = field(
        default=0, metadata={"help": "Stop after so many evaluations without a better validation score; 0: never."}
    )

    RANGES: ClassVar = {
        "label_smoothing_factor": "[0, 1)",
        "early_stopping_patience": "[0, inf)",
        "augment_probability": "(0, 1]",
        "dimension_weight": "[0, inf)",
        "focal_gamma": "[0, inf)",
        "layer_decay": "(0, 1]",
        "step_epochs": "[0, inf)",
        "step_factor": "(0, 1)",
        "ema_decay": "[0, 1)",
        "max_skipped_steps": "[0, inf)",
        "per_device_train_batch_size": "[1, inf)",
        "per_device_eval_batch_size": "[1, inf)",
        "gradient_accumulation_steps": "[1, inf)",
        "dataloader_num_workers": "[0, inf)",
        "learning_rate": "[0, inf)",
        "weight_decay": "[0, inf)",
        "max_grad_norm": "[0, inf)",
        "warmup_steps": "[0, inf)",
        "adam_beta1": "[0, 1)",
        "adam_beta2": "[0, 1)",
        "adam_epsilon": "(0, inf)",
        "logging_steps": "(0, inf)",
        "eval_steps": "(0, inf)",
        "save_steps": "(0, inf)",
        "save_total_limit": "[1, inf)",
    }

    def __post_init__(self):
        check_options(self)
        refuse_unused(self)
        self._refuse_no_steps()
        self._refuse_no_best_epoch()
        if self.dataloader_persistent_workers and not self.dataloader_num_workers:
            raise OptionError("--dataloader_persistent_workers needs --dataloader_num_workers")
        if self.balance_by != "resampling" and self.balance == "none":
            raise OptionError("--balance_by needs --balance")
        if self.weight_classes and "class" in self.balance:
            raise OptionError(f"use --weight_classes or --balance {self.balance}, not both")
        if self.weight_corpora and "corpus" in self.balance:
            raise OptionError(f"use --weight_corpora or --balance {self.balance}, not both")
        if self.augment_rare_classes and not self.augment:
            raise OptionError("--augment_rare_classes needs --augment")
        if self.step_epochs and self.lr_scheduler_type != "linear":
            raise OptionError("use --step_epochs or --lr_scheduler_type, not both")
        _ = self.augmentation  # raises its errors before anything is read
        try:
            super().__post_init__()
        except ImportError as error:  # of --deepspeed, for one
            raise OptionError(one_line(error)) from error
        self._refuse_unfit_integrations()
        if self.mixed_precision == "fp16":  # of the option, or of `accelerate launch`
            raise OptionError("use --bf16, not fp16: numbers overflow in fp16, as if recordings were damaged")
        if self.n_gpu > 1:
            # DataParallel would multiply parts of the loss by the number of GPUs.
            logger.warning("only one of %d GPUs is used: use `accelerate launch --multi_gpu` for all", self.n_gpu)
            self._n_gpu = 1
        if self.lr_scheduler_type == "reduce_lr_on_plateau":
            # PyTorch minimises by default: a rising UAR would lower the learning rate.
            mode = "max" if self.greater_is_better else "min"
            self.lr_scheduler_kwargs = {"mode": mode, **(self.lr_scheduler_kwargs or {})}
        self._refuse_unfit_schedule()
        if int(os.environ.get("WORLD_SIZE", 1)) != self.world_size:
            raise OptionError(
                f"{os.environ['WORLD_SIZE']} processes were started, but each would train alone: on a machine without "
                "GPUs, add --use_cpu true"
            )
        # Pinned memory speeds up the copy to an accelerator; without one PyTorch warns about it every epoch.
        self.dataloader_pin_memory = self.dataloader_pin_memory and torch.accelerator.is_available()
        # Without a GPU, `accelerate launch` gives its one process a single thread, however many cores there are.
        launched_alone = "ACCELERATE_MIXED_PRECISION" in os.environ and self.world_size == 1
        if launched_alone and self.device.type == "cpu" and os.environ.get("OMP_NUM_THREADS") == "1":
            torch.set_num_threads(psutil.cpu_count(logical=False) or os.cpu_count())

    def _refuse_no_steps(self) -> None:
        """Raise an `OptionError` for a training without a step: its model would be random."""
        if self.max_steps != -1 and self.max_steps < 1:
            raise OptionError(f"--max_steps must be 1 or more, not {self.max_steps}; -1 trains --num_train_epochs")
        if self.max_steps == -1 and not 0 < self.num_train_epochs < math.inf:
            raise OptionError(f"--num_train_epochs must be above 0, not {self.num_train_epochs}")

    def _refuse_no_best_epoch(self) -> None:
        """Raise an `OptionError` if the best epoch cannot be found, or if the worst one would be kept."""
        if self.eval_strategy == "no":
            for name, is_asked in (
                ("load_best_model_at_end", self.load_best_model_at_end),
                ("early_stopping_patience", self.early_stopping_patience),
                ("save_strategy best", self.save_strategy == "best"),
            ):
                if is_asked:
                    raise OptionError(f"--{name} needs validation scores: use --eval_strategy epoch or steps")
        evaluated, saved = IntervalStrategy(self.eval_strategy).value, SaveStrategy(self.save_strategy).value
        if self.load_best_model_at_end and saved not in (evaluated, "best"):
            raise OptionError(
                f"--load_best_model_at_end needs equal --eval_strategy and --save_strategy, not {evaluated} and {saved}"
            )
        score = (self.metric_for_best_model or "loss").removeprefix("eval_")
        if score not in (known := [*METRICS, "loss"]):
            raise OptionError(f"--metric_for_best_model: {unknown_name('score', score, known)}")
        if self.greater_is_better is not None and self.greater_is_better != (score != "loss"):
            better = "lower" if score == "loss" else "higher"
            raise OptionError(f"leave --greater_is_better out: a {better} {score} is better")

    def _refuse_unfit_integrations(self) -> None:
        """Raise an `OptionError` for a tracker or an optimizer that does not exist or is not installed."""
        try:
            for callback in get_reporting_integration_callbacks(self.report_to):
                callback()
            Trainer.get_optimizer_cls_and_kwargs(self)
        except (ImportError, RuntimeError, ValueError) as error:
            raise OptionError(one_line(error)) from error

    def _refuse_unfit_schedule(self) -> None:
        """Raise an `OptionError` for settings that the schedule of the learning rate lacks or does not have."""
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
        try:
            get_scheduler(
                self.lr_scheduler_type, optimizer, num_warmup_steps=1, num_training_steps=10,
                scheduler_specific_kwargs=dict(self.lr_scheduler_kwargs or {}),
            )  # fmt: skip
        except (TypeError, ValueError) as error:
            name = getattr(self.lr_scheduler_type, "value", self.lr_scheduler_type)
            raise OptionError(
                f"--lr_scheduler_type {name} with --lr_scheduler_kwargs {self.lr_scheduler_kwargs or '{}'}: "
                f"{one_line(error)}"
            ) from error

    @property
    def augmentation(self) -> Augmentation | None:
        """The augmentation that `augment` describes; None if it is empty."""
        seed = self.seed if self.data_seed is None else self.data_seed
        return Augmentation.parse(self.augment, probability=self.augment_probability, seed=seed)
