"""`AdaptationTrainer`: learns emotions from a labelled source domain and aligns an unlabelled target domain with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import Sampler
from transformers.modeling_outputs import SequenceClassifierOutput

from ..data.balance import UtteranceSampler
from ..data.collate import UtteranceCollator
from ..data.columns import LOG_MEL_COLUMN, SPEAKER_COLUMNS
from ..models.records import family_of
from ..models.temperature import emotion_layer
from ..options import OptionError
from ..splits.ledger import Ledger
from .arguments import SERTrainingArguments
from .losses import coral, lmmd, mmd, reverse_gradient
from .parser import check_each_once, check_options
from .trainer import SERTrainer, refuse_unfit_rows

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

METHODS = ("none", "mmd", "lmmd", "coral", "dann")


@dataclass(kw_only=True)
class AdaptationArguments:
    """The method that aligns the embeddings of the two domains, and its weight."""

    method: str = field(
        default="lmmd",
        metadata={"help": "Method that aligns the domains; none: train on the source alone.", "choices": METHODS},
    )
    adaptation_weight: float = field(
        default=1.0, metadata={"help": "Weight of the alignment beside the cross-entropy; grows from 0 to this."}
    )
    confidence_floor: float = field(
        default=0.5,
        metadata={"help": "lmmd: least probability of a pseudo-label, in [0, 1]; other utterances are left out."},
    )

    RANGES: ClassVar = {"adaptation_weight": "[0, inf)", "confidence_floor": "[0, 1]"}

    def __post_init__(self):
        check_options(self)


@dataclass(kw_only=True)
class ComparedArguments(AdaptationArguments):
    """`AdaptationArguments` of several methods. Each may have its own weight, since their distances differ in size."""

    method: list[str] = field(
        default_factory=lambda: ["lmmd"],
        metadata={
            "help": "Methods that align the domains, as name or name=weight, such as none lmmd coral=100: "
            f"{', '.join(METHODS)}. none trains on the source alone. Several are compared on one test set."
        },
    )
    keep_models: bool = field(
        default=True,
        metadata={"help": "Save model and report of every fold; false: only its tables, history and ledger."},
    )

    def __post_init__(self):
        self.each = [self._one(*word.split("=", 1)) for word in self.method]
        check_each_once("method", [one.method for one in self.each])

    def _one(self, method: str, weight: str | None = None) -> AdaptationArguments:
        try:
            weight = self.adaptation_weight if weight is None else float(weight)
        except ValueError:
            raise OptionError(f"--method {method}={weight} needs a number after the =") from None
        return AdaptationArguments(method=method, adaptation_weight=weight, confidence_floor=self.confidence_floor)


class AdaptationTrainer(SERTrainer):
    """Trains an emotion classifier on labelled utterances of a source domain and unlabelled ones of a target domain.

    Each batch holds as many utterances of the target as of the source. The loss is the cross-entropy of the source plus
    `adaptation_weight` x ramp x the distance of the embeddings. Embeddings are the inputs of the classifier's last
    linear layer. The ramp is that of Ganin et al. (2016), JMLR 17, section 5.2.

    With "none" this is `SERTrainer` on the source. Of the target only the input columns are kept (`input_columns`), so
    that its labels cannot reach the loss. The `alignment`, before its weight, is logged beside the loss, and with
    "lmmd" also the `confident_share` of target utterances.

    Args:
        train_dataset: of the source, as in `SERTrainer`.
        target_dataset: utterances of the target domain, without its test speakers.
        eval_dataset: validation speakers of the source.

    Raises:
        ModelError: for a model without a last linear layer.
        OptionError: for options that do not go with an adaptation.
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
            raise OptionError(f"adaptation needs --targets label, not {args.targets}")
        if adapts and family_of(model).has_dimensions(model.config):
            raise OptionError("adaptation does not learn dimensions: leave them out of --model_settings")
        if adapts and args.augmentation is not None:
            raise OptionError("adaptation does not use augmentation: leave out --augment")
        if adaptation.method == "dann" and args.world_size > 1:
            raise OptionError("--method dann works in one process only")
        super().__init__(
            model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, processing_class=processing_class,
            ledger=ledger, callbacks=callbacks,
        )  # fmt: skip
        self.train_dataset = _in_memory(self.train_dataset, model)
        if adapts:
            refuse_unfit_rows(target_dataset, model, processing_class)
            unlabelled = target_dataset.select_columns(input_columns(target_dataset, model))
            self.train_dataset = _Pairs(self.train_dataset, _in_memory(unlabelled, model))
            self.data_collator = _PairCollator(processing_class, model)

    def train(self, *args, **kwargs):
        hook = emotion_layer(self.model).register_forward_pre_hook(self._remember)
        if self.adaptation.method == "dann":
            # Part of the model during training, so that checkpoints, clipping and the guard include it.
            with torch.random.fork_rng():
                torch.manual_seed(self.args.seed)
                self.model.domain_discriminator = discriminator(self._width, 1).to(self.model.device)
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
            # The mean over the accumulated batches.
            loss = loss + self._alignment(outputs.logits, labels) / self.current_gradient_accumulation_steps
        return (loss, outputs) if return_outputs else loss

    def _alignment(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the weighted distance of the embeddings of the last batch; with "dann", the discriminator's loss."""
        (source, target), self._embeddings = self._embeddings.float().split(len(labels)), None
        weight = self.adaptation.adaptation_weight * ramp(self.state.global_step / self.state.max_steps)
        if self.adaptation.method == "dann":
            # The discriminator learns at full strength; the ramp is for what comes back to the embeddings.
            judged = self.model.domain_discriminator(reverse_gradient(torch.cat([source, target]), weight)).squeeze(1)
            is_target = torch.arange(len(judged), device=judged.device) >= len(labels)
            distance, weight = binary_cross_entropy_with_logits(judged, is_target.to(judged)), 1.0
        elif self.adaptation.method == "lmmd":
            probabilities = logits[len(labels) :].detach().float().softmax(dim=1)
            floor = self.adaptation.confidence_floor
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
            # In the order of the source, a parallel corpus would always pair the same utterances.
            seed=int(np.random.SeedSequence([source.seed, 1]).generate_state(1)[0]),
            lengths=None if source.lengths is None else unlabelled[self.args.length_column_name],
            batch_size=source.batch_size,
        )
        return _PairSampler(source, target)


def input_columns(dataset: Dataset, model: PreTrainedModel) -> list[str]:
    """Return the columns that hold the sound or the name of an utterance, and no label."""
    cached = (LOG_MEL_COLUMN, *SPEAKER_COLUMNS, family_of(model).cached_input_of(model))
    kept = ("utterance_id", "duration", "audio", *cached)
    return [name for name in dataset.column_names if name in kept]


def ramp(progress: float) -> float:
    """Return a factor that grows from 0 to almost 1 with the progress of a training: early pseudo-labels are wrong.

    >>> [round(ramp(progress), 3) for progress in (0.0, 0.1, 0.5, 1.0)]
    [0.0, 0.462, 0.987, 1.0]
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1


def discriminator(width: int, outputs: int) -> nn.Sequential:
    """Embedding -> logits of what it tells apart, such as domains or speakers.  (batch, width) -> (batch, outputs)."""
    return nn.Sequential(nn.Linear(width, 100), nn.ReLU(), nn.Linear(100, outputs))  # 100: Ganin et al. 2016, figure 4


def _in_memory(dataset: Dataset, model: PreTrainedModel) -> Dataset | _Rows:
    """Return the rows in memory if each is one embedding: reading them takes as long as training a head on them."""
    cached = family_of(model).cached_input_of(model)
    fits = cached in dataset.column_names and model.cached_shape[0] is not None
    return _Rows(dataset) if fits else dataset


class _Rows(torch.utils.data.Dataset):
    """A dataset whose rows were read once. A name as key returns a column."""

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
    """A dataset of pairs: an utterance of the source and one of the target."""

    def __init__(self, source: Dataset, target: Dataset):
        self.source, self.target = source, target

    def __len__(self) -> int:
        return len(self.source)

    def __getitems__(self, pairs: Sequence[tuple[int, int]]) -> list[tuple[Mapping, Mapping]]:
        ours, theirs = map(list, zip(*pairs, strict=True))
        return list(zip(self.source.__getitems__(ours), self.target.__getitems__(theirs), strict=True))


class _PairSampler(Sampler[tuple[int, int]]):
    """A sampler of pairs. Both orders depend on (seed, epoch) only, so a resumed run draws the same pairs."""

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
