"""`DistillationTrainer`: a student learns from labels and from a teacher's answers to the same utterances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from ..data.collate import UtteranceCollator
from ..data.columns import TEACHER_COLUMN
from ..options import OptionError
from ..splits.ledger import Ledger
from .arguments import SERTrainingArguments
from .losses import distillation_loss
from .parser import check_options, check_pairs
from .trainer import SERTrainer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel


@dataclass(kw_only=True)
class DistillationArguments:
    """The teacher, and its share in the loss."""

    teacher: str = field(
        metadata={
            "help": "Run folder or Hub name of an emotion classifier of any family. In a run over several folds, fold "
            "n teaches fold n."
        }
    )
    teacher_labels: list[str] = field(
        default_factory=list,
        metadata={"help": "Classes for the labels of the teacher, as label=class, such as hap=happiness."},
    )
    distillation_temperature: float = field(
        default=2.0,
        metadata={"help": "Temperature of both answers, above 0. A high one gives improbable classes more weight."},
    )
    distillation_weight: float = field(
        default=0.5, metadata={"help": "Share of the teacher in the loss, in [0, 1]; the rest is that of the labels."}
    )

    RANGES: ClassVar = {"distillation_temperature": "(0, inf)", "distillation_weight": "[0, 1]"}

    def __post_init__(self):
        check_options(self)
        # Of the teacher's labels, their classes; None if both have the same names.
        self.label_map = check_pairs("teacher_labels", self.teacher_labels, "label=class") or None


def refuse_unanswered(args: SERTrainingArguments) -> None:
    """Raise an `OptionError` for targets other than one label, and for mixtures of utterances."""
    if args.targets != "label":
        raise OptionError(f"distillation needs --targets label, not {args.targets}")
    if args.augmentation is not None and args.augmentation.mixes:
        raise OptionError(
            f"leave {', '.join(args.augmentation.mixes)} out of --augment: the teacher has no answers to mixtures"
        )


class DistillationTrainer(SERTrainer):
    """Trains an emotion classifier on labels and on the answers of a teacher of any family.

    The loss is (1 - `distillation_weight`) x that of `SERTrainer` + `distillation_weight` x `distillation_loss`. Class
    weights, smoothing and focal loss apply to the labels only. The answers are a column of the training part
    (`data.targets.with_teacher_logits`). They are answers to the clean recordings, also if the student's inputs are
    augmented. The `distillation`, before its weight, is logged beside the loss.

    Args:
        train_dataset: as in `SERTrainer`, with the column `teacher_logits`.

    Raises:
        ValueError: without that column, for targets other than one label, and for mixtures of utterances.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: SERTrainingArguments,
        *,
        distillation: DistillationArguments,
        train_dataset: Dataset,
        eval_dataset: Dataset | None,
        processing_class,
        ledger: Ledger | None = None,
        callbacks: Sequence = (),
    ):
        self.distillation = distillation
        self._teacher_logits: torch.Tensor | None = None
        if TEACHER_COLUMN not in train_dataset.column_names:
            raise ValueError(f"the training part needs the column {TEACHER_COLUMN}: add it with `with_teacher_logits`")
        refuse_unanswered(args)
        super().__init__(
            model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, processing_class=processing_class,
            ledger=ledger, callbacks=callbacks,
        )  # fmt: skip
        self.data_collator = _TaughtCollator(processing_class, model, self.augmentation)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        self._teacher_logits = inputs.pop(TEACHER_COLUMN, None)  # None in the validation part
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _loss(self, outputs, labels: torch.Tensor, num_items_in_batch=None) -> torch.Tensor:
        hard = super()._loss(outputs, labels, num_items_in_batch)
        if self._teacher_logits is None:
            return hard
        losses = distillation_loss(
            outputs.logits, self._teacher_logits, temperature=self.distillation.distillation_temperature
        )
        self.note("distillation", losses.mean())
        soft = losses.mean() if num_items_in_batch is None else losses.sum() / num_items_in_batch
        weight = self.distillation.distillation_weight
        return (1 - weight) * hard + weight * soft


class _TaughtCollator(UtteranceCollator):
    """A collator that adds the teacher's answers."""

    def __call__(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor | list[str]]:
        batch = super().__call__(rows)
        if TEACHER_COLUMN in rows[0]:  # not in those of the validation part
            batch[TEACHER_COLUMN] = torch.as_tensor(np.stack([row[TEACHER_COLUMN] for row in rows]))
        return batch
