"""`SpeakerAdversarialTrainer`: embeddings from which emotions can be told, and the training speakers less well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..data.collate import UtteranceCollator
from ..data.precompute import as_numpy
from ..models.temperature import emotion_layer
from ..splits.ledger import Ledger
from .adaptation import ramp
from .alignment import reverse_gradient
from .arguments import SERTrainingArguments
from .trainer import SERTrainer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

SPEAKER_ID_COLUMN = "speaker_id"


@dataclass
class AdversarialTrainingArguments(SERTrainingArguments):
    """`SERTrainingArguments`, and how strongly the speakers are taken out of the embeddings."""

    speaker_adversary: float = field(
        default=0.0,
        metadata={
            "help": "Weight of a discriminator that tells the training speakers apart, whose gradient reaches the "
            "embeddings reversed, along a ramp from 0; such as 0.1. 0: none."
        },
    )

    def __post_init__(self):
        if not (math.isfinite(self.speaker_adversary) and self.speaker_adversary >= 0):
            raise ValueError(f"speaker_adversary: {self.speaker_adversary}, wanted 0 or more")
        super().__post_init__()
        if self.speaker_adversary > 0 and self.augmentation is not None and self.augmentation.mixes:
            raise ValueError(
                f"augment: {', '.join(self.augmentation.mixes)} makes clips of two speakers, which no "
                "speaker_adversary can name: leave one of them out"
            )


class SpeakerAdversarialTrainer(SERTrainer):
    """Trains an emotion classifier against a discriminator that tells the training speakers apart.

    The discriminator, one hidden layer, is given what the classifier's last linear layer is given, and learns at full
    strength; its gradient reaches the embeddings reversed, times `speaker_adversary` and the ramp of
    `training.adaptation`. It is part of the model while this trains, and is gone from what remains. With a weight of 0
    this is `SERTrainer`. Logged beside the loss is the `speaker_loss`, what the discriminator pays: log(speakers) where
    it cannot tell them apart.

    Source: Ganin et al. (2016), https://jmlr.org/papers/v17/15-239.html; against speakers, for emotions:
    arXiv:1903.09606, and Li et al. (2019), arXiv:1911.01533.

    Args:
        train_dataset: as in `SERTrainer`; speakers of the same name in two corpora are two.

    Raises:
        ModelError: for a model without a last linear layer.
        ValueError: if a speaker is unknown or there is only one, and for ways of training that this cannot follow.
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
        self.is_adversarial = args.speaker_adversary > 0
        if self.is_adversarial:
            self._width = emotion_layer(model).in_features
            if args.world_size > 1:
                raise ValueError("speaker_adversary: its discriminator is trained in one process")
            train_dataset, self.speakers = with_speaker_ids(train_dataset)
        super().__init__(
            model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, processing_class=processing_class,
            ledger=ledger, callbacks=callbacks,
        )  # fmt: skip
        if self.is_adversarial:
            self.data_collator = _SpeakerCollator(processing_class, model, self.augmentation)

    def train(self, *args, **kwargs):
        if not self.is_adversarial:
            return super().train(*args, **kwargs)
        hook = emotion_layer(self.model).register_forward_pre_hook(self._remember)
        # A part of the model while it learns, so that checkpoints, clipping and the guard know it like any other.
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
    """The dataset with a column `speaker_id`, and the (corpus, speaker) that each number stands for.

    Raises:
        ValueError: if a speaker is unknown, or if there is only one.
    """
    import datasets

    pairs = list(zip(dataset["corpus"], dataset["speaker"], strict=True))
    for row, (_, speaker) in enumerate(pairs):
        if speaker is None:
            raise ValueError(
                f"nobody knows who speaks in {dataset[row]['utterance_id']}: leave speaker_adversary out, or name the "
                "speakers"
            )
    speakers = sorted(set(pairs))
    if len(speakers) < 2:
        raise ValueError(f"speaker_adversary: {speakers[0][1]} is the only training speaker, wanted two or more")
    number = {pair: position for position, pair in enumerate(speakers)}
    numbered = dataset.with_format(None).add_column(
        SPEAKER_ID_COLUMN, [number[pair] for pair in pairs], feature=datasets.Value("int64")
    )
    numbered.info.description = dataset.info.description
    return as_numpy(numbered), speakers


def discriminator(width: int, speakers: int) -> nn.Sequential:
    """Embedding -> whose is it?, logits.  (batch, width) -> (batch, speakers)."""
    return nn.Sequential(nn.Linear(width, 100), nn.ReLU(), nn.Linear(100, speakers))  # 100: as of the domains


class _SpeakerCollator(UtteranceCollator):
    """Says as a number who speaks in each utterance."""

    def __call__(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor | list[str]]:
        batch = super().__call__(rows)
        if SPEAKER_ID_COLUMN in rows[0]:  # not in those of the validation part
            batch[SPEAKER_ID_COLUMN] = torch.tensor([int(row[SPEAKER_ID_COLUMN]) for row in rows])
        return batch
