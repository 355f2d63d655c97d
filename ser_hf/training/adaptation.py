"""`AdaptationTrainer`: learns emotions from one domain and brings another, of which it knows no label, near to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import Sampler
from transformers.modeling_outputs import SequenceClassifierOutput

from ..data.balance import UtteranceSampler
from ..data.collate import UtteranceCollator
from ..data.precompute import LOG_MEL_COLUMN, SPEAKER_COLUMNS, refuse_too_short
from ..models.temperature import emotion_layer
from ..splits.ledger import Ledger
from .alignment import coral, lmmd, mmd, reverse_gradient
from .arguments import SERTrainingArguments
from .trainer import SERTrainer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

METHODS = ("none", "mmd", "lmmd", "coral", "dann")


@dataclass(kw_only=True)
class AdaptationArguments:
    """How, and how strongly, the embeddings of the two domains are aligned."""

    method: str = field(
        default="lmmd",
        metadata={"help": f"What brings the domains together: {', '.join(METHODS)} (none: the source alone)."},
    )
    adaptation_weight: float = field(
        default=1.0, metadata={"help": "Its weight beside the cross-entropy, reached along a ramp from 0."}
    )
    confidence_floor: float = field(
        default=0.5,
        metadata={"help": "lmmd: probability that a pseudo-label needs, in [0, 1]; utterances below it are left out."},
    )

    def __post_init__(self):
        for option, is_fine, wanted in (
            ("method", self.method in METHODS, f"one of {', '.join(METHODS)}"),
            ("adaptation_weight", self.adaptation_weight >= 0, "0 or more"),
            ("confidence_floor", 0 <= self.confidence_floor <= 1, "a probability in [0, 1]"),
        ):
            if not is_fine:
                raise ValueError(f"{option}: {getattr(self, option)!r}, wanted {wanted}")


@dataclass(kw_only=True)
class ComparedArguments(AdaptationArguments):
    """The same for several methods, each of which may have a weight of its own: distances are of different size."""

    method: list[str] = field(
        default_factory=lambda: ["lmmd"],
        metadata={
            "help": "What brings the domains together, as name or name=weight; several are compared on one test set, "
            f"as in none lmmd coral=100: {', '.join(METHODS)} (none: the source alone)."
        },
    )
    keep_models: bool = field(
        default=True,
        metadata={"help": "Save model and report of every fold; false: its tables, history and ledger alone."},
    )

    def __post_init__(self):
        self.each = [self._one(*word.split("=", 1)) for word in self.method]
        names = [one.method for one in self.each]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"method: {twice[0]} is named twice")

    def _one(self, method: str, weight: str | None = None) -> AdaptationArguments:
        try:
            weight = self.adaptation_weight if weight is None else float(weight)
        except ValueError:
            raise ValueError(f"method: {method}={weight}, wanted a number as its weight") from None
        return AdaptationArguments(method=method, adaptation_weight=weight, confidence_floor=self.confidence_floor)


class AdaptationTrainer(SERTrainer):
    """Trains an emotion classifier on labelled utterances of a source domain and unlabelled ones of a target domain.

    Each batch holds as many utterances of the target as of the source, and passes through the model as one. The loss is
    the cross-entropy of the source plus `adaptation_weight` x ramp x the distance of the embeddings, which are what the
    classifier's last linear layer is given. The ramp is that of Ganin et al. (2016), JMLR 17, section 5.2.

    With "none" the target is not even loaded: it is `SERTrainer` on the source. Of the target only the columns that a
    model hears are kept (`heard_columns`), so that its labels cannot reach the loss. Logged beside the loss are the
    `alignment` before its weight and, with "lmmd", the `confident_share` of target utterances.

    Args:
        train_dataset: of the source, as in `SERTrainer`.
        target_dataset: utterances of the target domain, none of its test speakers among them.
        eval_dataset: validation speakers of the source; those of the target have no labels here.

    Raises:
        ModelError: for a model without a last linear layer.
        ValueError: for targets other than one label, and for ways of training that the alignment cannot follow.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: SERTrainingArguments,
        *,
        adaptation: AdaptationArguments,
        train_dataset: Dataset,
        target_dataset: Dataset,
        eval_dataset: Dataset | None,
        processing_class,
        ledger: Ledger | None = None,
        callbacks: Sequence = (),
    ):
        self.adaptation = adaptation
        self._width = emotion_layer(model).in_features
        self._embeddings: torch.Tensor | None = None
        adapts = adaptation.method != "none"
        if adapts and args.targets != "label":
            raise ValueError(f"targets: {args.targets}, but adaptation learns from one label of each utterance: label")
        if adapts and getattr(model.config, "dimensions", False):
            raise ValueError("dimensions: adaptation aligns emotions alone; leave them out of model_settings")
        if adapts and args.augmentation is not None:
            raise ValueError("augment: adaptation aligns recordings as they are; leave augment out")
        if adaptation.method == "dann" and args.world_size > 1:
            raise ValueError("method: dann trains its discriminator in one process; choose another, or one process")
        super().__init__(
            model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, processing_class=processing_class,
            ledger=ledger, callbacks=callbacks,
        )  # fmt: skip
        self.train_dataset = _in_memory(self.train_dataset, model)
        if adapts:
            if "audio" in target_dataset.column_names:
                refuse_too_short(model, processing_class, target_dataset["duration"], target_dataset["utterance_id"])
            unlabelled = target_dataset.select_columns(heard_columns(target_dataset, model))
            self.train_dataset = _Pairs(self.train_dataset, _in_memory(unlabelled, model))
            self.data_collator = _PairCollator(processing_class, model)

    def train(self, *args, **kwargs):
        hook = emotion_layer(self.model).register_forward_pre_hook(self._remember)
        if self.adaptation.method == "dann":
            # A part of the model while it learns, so that checkpoints, clipping and the guard know it like any other.
            with torch.random.fork_rng():
                torch.manual_seed(self.args.seed)
                self.model.domain_discriminator = _discriminator(self._width).to(self.model.device)
        try:
            return super().train(*args, **kwargs)
        finally:
            hook.remove()
            if self.adaptation.method == "dann":
                del self.model.domain_discriminator

    def _remember(self, layer: nn.Linear, inputs: tuple[torch.Tensor]) -> None:
        self._embeddings = inputs[0]

    def _loss(self, outputs, labels: torch.Tensor, num_items_in_batch=None) -> torch.Tensor:
        of_source = SequenceClassifierOutput(logits=outputs.logits[: len(labels)])  # the target's come after them
        return super()._loss(of_source, labels, num_items_in_batch)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs["labels"]
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if len(outputs.logits) > len(labels):
            # A figure of whole batches: each one of an accumulated step has its share.
            loss = loss + self._alignment(outputs.logits, labels) / self.current_gradient_accumulation_steps
        return (loss, outputs) if return_outputs else loss

    def _alignment(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The weighted distance of the embeddings of the last batch; of "dann", what the discriminator has to pay."""
        (source, target), self._embeddings = self._embeddings.float().split(len(labels)), None
        weight = self.adaptation.adaptation_weight * ramp(self.state.global_step / self.state.max_steps)
        if self.adaptation.method == "dann":
            # The discriminator learns at full strength; the ramp is for what comes back to the embeddings.
            judged = self.model.domain_discriminator(reverse_gradient(torch.cat([source, target]), weight)).squeeze(1)
            is_target = torch.arange(len(judged), device=judged.device) >= len(labels)
            distance, weight = binary_cross_entropy_with_logits(judged, is_target.to(judged)), 1.0
        elif self.adaptation.method == "lmmd":
            probabilities, floor = (
                logits[len(labels) :].detach().float().softmax(dim=1),
                self.adaptation.confidence_floor,
            )
            distance = lmmd(source, labels, target, probabilities, confidence_floor=floor)
            self.note("confident_share", (probabilities.amax(dim=1) >= floor).float().mean())
        else:
            distance = {"mmd": mmd, "coral": coral}[self.adaptation.method](source, target)
        self.note("alignment", distance)
        return weight * distance

    def _get_train_sampler(self, train_dataset=None) -> Sampler:
        if not isinstance(self.train_dataset, _Pairs):
            return super()._get_train_sampler(train_dataset)
        source, unlabelled = super()._get_train_sampler(self.train_dataset.source), self.train_dataset.target
        target = UtteranceSampler(
            np.ones(len(unlabelled)),
            source.count,
            # Another order than the source's, which would meet the same utterances of a parallel corpus.
            seed=int(np.random.SeedSequence([source.seed, 1]).generate_state(1)[0]),
            lengths=None if source.lengths is None else unlabelled[self.args.length_column_name],
            batch_size=source.batch_size,
        )
        return _PairSampler(source, target)


def heard_columns(dataset: Dataset, model: PreTrainedModel) -> list[str]:
    """The columns of a dataset that say how an utterance sounds and what it is called: none says what it expresses."""
    kept = ("utterance_id", "duration", "audio", LOG_MEL_COLUMN, *SPEAKER_COLUMNS, getattr(model, "cached_input", None))
    return [name for name in dataset.column_names if name in kept]


def ramp(progress: float) -> float:
    """From 0 to almost 1 while the progress of a training goes from 0 to 1; early pseudo-labels are worth little.

    >>> [round(ramp(progress), 3) for progress in (0.0, 0.1, 0.5, 1.0)]
    [0.0, 0.462, 0.987, 1.0]
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1


def _discriminator(width: int) -> nn.Sequential:
    """Embedding -> is it of the target?, a logit.  (batch, width) -> (batch, 1)."""
    return nn.Sequential(nn.Linear(width, 100), nn.ReLU(), nn.Linear(100, 1))  # 100: Ganin et al. (2016), figure 4


def _in_memory(dataset: Dataset, model: PreTrainedModel) -> Dataset | _Rows:
    """The rows in memory where each is one embedding: to read them anew takes as long as a head takes to learn them."""
    cached = getattr(model, "cached_input", None)
    fits = cached in dataset.column_names and model.cached_shape[0] is not None
    return _Rows(dataset) if fits else dataset


class _Rows(torch.utils.data.Dataset):
    """Rows that were read once; by a name, a column of them."""

    def __init__(self, dataset: Dataset):
        kept = [name for name in dataset.column_names if name != "audio"]
        self.rows, self.column_names = list(dataset.select_columns(kept)), kept

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: str | int) -> list | Mapping:
        return [row[key] for row in self.rows] if isinstance(key, str) else self.rows[key]

    def __getitems__(self, keys: Sequence[int]) -> list[Mapping]:
        return [self.rows[key] for key in keys]


class _Pairs(torch.utils.data.Dataset):
    """Utterances of the source, each with one of the target."""

    def __init__(self, source: Dataset, target: Dataset):
        self.source, self.target = source, target

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[Mapping, Mapping]]:
        ours, theirs = map(list, zip(*pairs, strict=True))
        return list(zip(self.source.__getitems__(ours), self.target.__getitems__(theirs), strict=True))


class _PairSampler(Sampler[tuple[int, int]]):
    """Both orders depend on (seed, epoch) alone, so a resumed run meets the pairs of an unbroken one."""

    def __init__(self, source: UtteranceSampler, target: UtteranceSampler):
        self.source, self.target = source, target

    def set_epoch(self, epoch: int) -> None:
        self.source.set_epoch(epoch)
        self.target.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.source, self.target, strict=True)


class _PairCollator(UtteranceCollator):
    """Pairs -> one batch: utterances of the source with their labels, then as many of the target without."""

    def __call__(self, rows: Sequence) -> dict[str, torch.Tensor | list[str]]:
        if not isinstance(rows[0], tuple):  # of the validation part
            return super().__call__(rows)
        source, target = map(list, zip(*rows, strict=True))
        both = self.inputs([*source, *target])
        labels = torch.tensor([int(row["label"]) for row in source])
        return both | {"utterance_id": [row["utterance_id"] for row in [*source, *target]], "labels": labels}
