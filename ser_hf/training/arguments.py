"""Every option of a recipe that is not already one of transformers' `TrainingArguments`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import psutil
import torch
from transformers import TrainingArguments

from ..data.balance import BALANCE
from ..data.dataset import build_dataset

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(kw_only=True)
class DataArguments:
    """Which recordings, under which labels, divided how."""

    corpora: list[str] = field(metadata={"help": "Names of corpora (`ser-hf corpora` lists them)."})
    roots: list[str] = field(
        default_factory=list,
        metadata={"help": "Folder of each corpus, as name=folder; others are looked for under $SER_HF_CORPORA."},
    )
    label_sources: list[str] = field(
        default_factory=list,
        metadata={"help": "Which labels of a corpus with several kinds, as name=source, such as crema_d=voice."},
    )
    scheme: str = field(metadata={"help": "Label scheme: which emotions are kept and merged."})
    protocols: list[str] = field(
        metadata={"help": "Evaluation protocol of each corpus, such as ravdess/si6; or loco for several at once."}
    )
    folds: list[int] = field(
        default_factory=lambda: [0],
        metadata={"help": "Folds to run, from 0; -1 means all folds of the protocol, pooled into one report."},
    )
    allow_partial: bool = field(default=False, metadata={"help": "Accept corpora that are not complete."})
    emobox_root: Optional[str] = field(  # noqa: UP045 - HfArgumentParser needs it
        default=None,
        metadata={"help": "A checkout of https://github.com/emo-box/EmoBox, for the protocols <corpus>/emobox."},
    )

    def __post_init__(self):
        for option, form in (("roots", "name=folder"), ("label_sources", "name=source")):
            if malformed := [word for word in getattr(self, option) if "=" not in word]:
                raise ValueError(f"{option}: {malformed[0]!r} is not of the form {form}")
        if any(fold < -1 for fold in self.folds) or (-1 in self.folds and len(self.folds) > 1):
            raise ValueError(f"folds: {self.folds}, wanted numbers from 0, or -1 alone for all")

    def load(self) -> Dataset:
        """The dataset that these options describe."""
        return build_dataset(
            self.corpora,
            dict(root.split("=", 1) for root in self.roots),
            self.scheme,
            label_sources=dict(word.split("=", 1) for word in self.label_sources),
            allow_partial=self.allow_partial,
        )


@dataclass(kw_only=True)
class ModelArguments:
    """Which encoder, and how much of it learns."""

    model_name_or_path: str = field(
        metadata={
            "help": "Hub name or folder of a HuBERT, wav2vec2, WavLM or Whisper checkpoint, or a small random model: "
            "tiny-hubert, tiny-wav2vec2, tiny-wavlm, tiny-whisper."
        },
    )
    trainable: str = field(
        default="full",
        metadata={
            "help": "What learns: head, last<n> (head and last n encoder layers), encoder (all but the convolutional "
            "front end), full."
        },
    )

    @property
    def model_name(self) -> str:
        """What reports and cards call the model: its Hub name, or the last part of a folder."""
        path = Path(self.model_name_or_path)
        return path.resolve().name if path.is_dir() else self.model_name_or_path


@dataclass
class SERTrainingArguments(TrainingArguments):
    """transformers' options with the defaults of this field, and three more.

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
    greater_is_better: Optional[bool] = field(default=True, metadata={"help": "Whether more of it is better."})  # noqa: UP045
    train_sampling_strategy: str = field(
        default="group_by_length", metadata={"help": "random, or group_by_length: batches of similar duration."}
    )
    length_column_name: str = field(default="duration", metadata={"help": "Column that batches are grouped by."})
    balance: str = field(
        default="none",
        metadata={"help": f"Draw groups of training utterances equally often: {', '.join(BALANCE)}."},
    )
    weight_classes: bool = field(
        default=False, metadata={"help": "Weigh the loss inversely to class frequency in the training part."}
    )
    early_stopping_patience: int = field(
        default=0, metadata={"help": "Stop after so many evaluations without a better validation score; 0 never stops."}
    )

    def __post_init__(self):
        if self.balance not in BALANCE:
            raise ValueError(f"balance: {self.balance!r}, wanted one of {', '.join(BALANCE)}")
        if self.train_sampling_strategy not in ("random", "group_by_length"):
            raise ValueError(
                f"train_sampling_strategy: {self.train_sampling_strategy!r}, wanted random, group_by_length"
            )
        if not 0 <= self.label_smoothing_factor < 1:
            raise ValueError(f"label_smoothing_factor: {self.label_smoothing_factor}, wanted a share in [0, 1)")
        if self.early_stopping_patience < 0:
            raise ValueError(f"early_stopping_patience: {self.early_stopping_patience}, wanted 0 or more")
        super().__post_init__()
        # Pinned memory serves the copy to an accelerator; without one PyTorch warns about it every epoch.
        self.dataloader_pin_memory = self.dataloader_pin_memory and torch.accelerator.is_available()
        # Without a GPU `accelerate launch` gives its one process a single thread, whatever cores there are.
        launched_alone = "ACCELERATE_MIXED_PRECISION" in os.environ and self.world_size == 1
        if launched_alone and self.device.type == "cpu" and os.environ.get("OMP_NUM_THREADS") == "1":
            torch.set_num_threads(psutil.cpu_count(logical=False) or os.cpu_count())
