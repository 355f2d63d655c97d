"""`DistillationTrainer`: a student learns from labels and from what a teacher answers to the same utterances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..data.collate import UtteranceCollator
from ..data.targets import TEACHER_COLUMN
from ..splits.ledger import Ledger
from .arguments import SERTrainingArguments
from .losses import distillation_loss
from .trainer import SERTrainer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel


@dataclass(kw_only=True)
class DistillationArguments:
    """Who teaches, and how much the student listens."""

    teacher: str = field(
        metadata={
            "help": "Run folder or Hub name of an emotion classifier of any family; of a run over several folds, its "
            "fold n teaches fold n."
        }
    )
    teacher_labels: list[str] = field(
        default_factory=list,
        metadata={"help": "What labels of the teacher are called here, as label=class, such as hap=happiness."},
    )
    distillation_temperature: float = field(
        default=2.0,
        metadata={"help": "Softens the answers of both: the higher, the more improbable classes teach. Above 0."},
    )
    distillation_weight: float = field(
        default=0.5, metadata={"help": "Share of the teacher in the loss, in [0, 1]; labels have the rest."}
    )

    def __post_init__(self):
        if malformed := [word for word in self.teacher_labels if "=" not in word]:
            raise ValueError(f"teacher_labels: {malformed[0]!r} is not of the form label=class")
        for option, is_fine, wanted in (
            ("distillation_temperature", self.distillation_temperature > 0, "a number above 0"),
            ("distillation_weight", 0 <= self.distillation_weight <= 1, "a share in [0, 1]"),
        ):
            if not is_fine:
                raise ValueError(f"{option}: {getattr(self, option)}, wanted {wanted}")

    @property
    def label_map(self) -> Mapping[str, str] | None:
        """The teacher's labels as classes; None where they are called the same."""
        return dict(word.split("=", 1) for word in self.teacher_labels) or None


def refuse_unanswered(args: SERTrainingArguments) -> None:
    """Raises a ValueError for targets other than one label, and for mixed utterances: no teacher answers to these."""
    if args.targets != "label":
        raise ValueError(
            f"targets: {args.targets}, but a teacher's answers stand beside one label of each utterance: label"
        )
    if args.augmentation is not None and args.augmentation.mixes:
        raise ValueError(
            f"augment: the teacher answers to recordings, not to mixtures of two: leave "
            f"{', '.join(args.augmentation.mixes)} out"
        )


class DistillationTrainer(SERTrainer):
    """Trains an emotion classifier on labels and on a teacher's answers, of another family or not.

    The loss is (1 - `distillation_weight`) x that of `SERTrainer` + `distillation_weight` x `distillation_loss`. Class
    weights, smoothing and focus are the labels' alone. The answers are a column of the training part, computed before
    (`data.targets.with_teacher_logits`), so that they stay with their utterances in whatever order these are drawn.
    They are answers to the clean recordings: a student that hears them altered learns what the teacher says of the
    original. Logged beside the loss is the `distillation` before its weight.

    Args:
        train_dataset: as in `SERTrainer`, with the column `teacher_logits`.

    Raises:
        ValueError: without that column; for targets other than one label; and for mixed utterances, to which the
            teacher gave no answer.
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
            raise ValueError(f"the training part has no column {TEACHER_COLUMN}: add it with `with_teacher_logits`")
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
    """Passes on what the teacher answered to each utterance."""

    def __call__(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor | list[str]]:
        batch = super().__call__(rows)
        if TEACHER_COLUMN in rows[0]:  # not in those of the validation part
            batch[TEACHER_COLUMN] = torch.as_tensor(np.stack([row[TEACHER_COLUMN] for row in rows]))
        return batch
