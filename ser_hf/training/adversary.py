"""`SpeakerAdversarialTrainer`: learns embeddings that tell emotions apart, but not the training speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from datasets import Value
from torch import nn
from torch.nn.functional import cross_entropy

from ..data.collate import UtteranceCollator
from ..data.columns import SPEAKER_ID_COLUMN, as_numpy
from ..models.temperature import emotion_layer
from ..options import OptionError
from ..splits.ledger import Ledger
from .adaptation import discriminator, ramp
from .arguments import SERTrainingArguments
from .losses import reverse_gradient
from .trainer import SERTrainer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel


@dataclass
class AdversarialTrainingArguments(SERTrainingArguments):
    """`SERTrainingArguments`, and the weight of a speaker adversary."""

    speaker_adversary: float = field(
        default=0.0,
        metadata={
            "help": "Weight of a discriminator that tells the training speakers apart, such as 0.1. Its gradient "
            "reaches the embeddings reversed, and grows from 0. 0: no discriminator."
        },
    )

    RANGES: ClassVar = SERTrainingArguments.RANGES | {"speaker_adversary": "[0, inf)"}

    def __post_init__(self):
        super().__post_init__()
        if self.speaker_adversary > 0 and self.augmentation is not None and self.augmentation.mixes:
            raise OptionError(
                f"use --speaker_adversary or --augment {' '.join(self.augmentation.mixes)}, not both: a mixture has "
                "two speakers"
            )


class SpeakerAdversarialTrainer(SERTrainer):
    """Trains an emotion classifier against a discriminator that tells the training speakers apart.

    The discriminator has one hidden layer. Its input is that of the classifier's last linear layer. It learns at full
    strength; its gradient reaches the embeddings reversed, times `speaker_adversary` and the ramp of
    `training.adaptation`. It is part of the model only during training. Its loss is logged as `speaker_loss`, which is
    log(speakers) if it cannot tell them apart.

    Source: Ganin et al. (2016), https://jmlr.org/papers/v17/15-239.html; against speakers, for emotions:
    arXiv:1903.09606, and Li et al. (2019), arXiv:1911.01533.

    Args:
        train_dataset: as in `SERTrainer`; speakers of the same name in two corpora are two.

    Raises:
        ModelError: for a model without a last linear layer.
        ValueError: if a speaker is unknown, if there is only one, or if there are several processes.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: AdversarialTrainingArguments,
        *,
        train_dataset: Dataset,
        eval_dataset: Dataset | None,
        processing_class,
        ledger: Ledger | None = None,
        callbacks: Sequence = (),
    ):
        self._embeddings = self._speakers = None
        self._width = emotion_layer(model).in_features
        if args.world_size > 1:
            raise OptionError("--speaker_adversary works in one process only")
        train_dataset, self.speakers = with_speaker_ids(train_dataset)
        super().__init__(
            model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, processing_class=processing_class,
            ledger=ledger, callbacks=callbacks,
        )  # fmt: skip
        self.data_collator = _SpeakerCollator(processing_class, model, self.augmentation)

    def train(self, *args, **kwargs):
        hook = emotion_layer(self.model).register_forward_pre_hook(self._remember)
        # Part of the model during training, so that checkpoints, clipping and the guard include it.
        with torch.random.fork_rng():
            torch.manual_seed(self.args.seed)
            self.model.speaker_discriminator = discriminator(self._width, len(self.speakers)).to(self.model.device)
        try:
            return super().train(*args, **kwargs)
        finally:
            hook.remove()
            del self.model.speaker_discriminator

    def _remember(self, layer: nn.Linear, inputs: tuple[torch.Tensor]) -> None:
        self._embeddings = inputs[0]

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        self._speakers = inputs.pop(SPEAKER_ID_COLUMN, None)  # None in the validation part
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _loss(self, outputs, labels: torch.Tensor, num_items_in_batch=None) -> torch.Tensor:
        loss = super()._loss(outputs, labels, num_items_in_batch)
        embeddings, self._embeddings = self._embeddings, None
        if self._speakers is None:
            return loss
        # The discriminator learns at full strength; weight and ramp are for what comes back to the embeddings.
        strength = self.args.speaker_adversary * ramp(self.state.global_step / self.state.max_steps)
        judged = self.model.speaker_discriminator(reverse_gradient(embeddings.float(), strength))
        losses = cross_entropy(judged, self._speakers, reduction="none")
        self.note("speaker_loss", losses.mean())
        if num_items_in_batch is None:
            return loss + losses.mean()
        return loss + losses.sum() * (labels.numel() / len(labels)) / num_items_in_batch  # as in `SERTrainer._loss`


def with_speaker_ids(dataset: Dataset) -> tuple[Dataset, list[tuple[str, str]]]:
    """Return the dataset with a column `speaker_id`, and the (corpus, speaker) of each number.

    Raises:
        ValueError: if a speaker is unknown, or if there is only one.
    """
    pairs = list(zip(dataset["corpus"], dataset["speaker"], strict=True))
    for row, (_, speaker) in enumerate(pairs):
        if speaker is None:
            raise ValueError(
                f"{dataset[row]['utterance_id']} has no speaker: leave out --speaker_adversary, or add the speakers"
            )
    speakers = sorted(set(pairs))
    if len(speakers) < 2:
        raise ValueError(f"--speaker_adversary needs two training speakers; there is only {speakers[0][1]}")
    number = {pair: position for position, pair in enumerate(speakers)}
    numbered = dataset.with_format(None).add_column(
        SPEAKER_ID_COLUMN, [number[pair] for pair in pairs], feature=Value("int64")
    )
    return as_numpy(numbered), speakers


class _SpeakerCollator(UtteranceCollator):
    """A collator that adds the number of each utterance's speaker."""

    def __call__(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor | list[str]]:
        batch = super().__call__(rows)
        if SPEAKER_ID_COLUMN in rows[0]:  # not in those of the validation part
            batch[SPEAKER_ID_COLUMN] = torch.tensor([int(row[SPEAKER_ID_COLUMN]) for row in rows])
        return batch
