"""`SERTrainer`: transformers' Trainer with balanced sampling and the losses of emotion recognition."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer
from transformers.utils import logging

from ..data.augment import AugmentedRows, DrawSampler, without_fixed_inputs
from ..data.balance import (
    Pace,
    UtteranceSampler,
    balancing_groups,
    class_weights,
    corpus_weights,
    epoch_length,
    sampling_weights,
)
from ..data.collate import UtteranceCollator
from ..data.columns import DIMENSIONS_COLUMN
from ..data.durations import refuse_unfit_durations
from ..data.targets import with_dimensions, with_targets
from ..emotions import unknown_name
from ..evaluation.metrics import METRICS, confusion_matrix
from ..files import naming_full_disk, share_like_folder
from ..inference.abstention import Abstention
from ..inference.offsets import OffsetRule
from ..models.lora import has_adapters, merge_adapters
from ..models.pretrained import is_padding_invariant
from ..models.records import family_of
from ..models.temperature import forget_temperature
from ..models.trainable import encoder_layers
from ..options import OptionError
from ..splits.ledger import Ledger
from .arguments import SERTrainingArguments
from .callbacks import DrawsOfEpoch, EpochClock, NonFiniteGuard, WeightAverage
from .losses import ccc_loss, classification_loss, multi_label_loss

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.get_logger(__name__)


class SERTrainer(Trainer):
    """Trains an emotion classifier on the rows of `build_dataset`, precomputed or not.

    It differs from the stock Trainer in the sampler and in the loss. Options add learning rates that fall towards the
    input or in steps, and averaged weights. Steps whose gradients are not finite are skipped and reported.

    Args:
        ledger: what the model is trained on, this training included; written beside every checkpoint.
        utterance_weights: draws of each training utterance relative to the others; default: by `args.balance`.
        utterances_per_epoch: default: by `args.balance_by`.
        pace: the utterances of each epoch; default: all of them in every epoch.

    Raises:
        OptionError: for options that this model or this dataset cannot have.
    """

    # Our loss divides by `num_items_in_batch`, which counts the whole accumulated batch. By default the Trainer assumes
    # so of HuBERT's own forward too, which computes a plain mean, and multiplies its gradients.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model,
        args: SERTrainingArguments,
        *,
        train_dataset,
        eval_dataset,
        processing_class,
        ledger: Ledger | None = None,
        utterance_weights: np.ndarray | None = None,
        utterances_per_epoch: int | None = None,
        pace: Pace | None = None,
        callbacks: Sequence = (),
    ):
        _refuse_unfit_model(model, args)
        self.ledger, self.pace = ledger, pace
        labels, corpora = np.asarray(train_dataset["label"]), np.asarray(train_dataset["corpus"])
        train_dataset = _with_targets(train_dataset, model, args)
        train_dataset = self._augmented(train_dataset, model, args, processing_class)
        faster = self.augmentation.fastest if self.augmentation else 1
        refuse_unfit_rows(train_dataset, model, processing_class, faster=faster)
        refuse_unfit_rows(eval_dataset, model, processing_class)

        groups = balancing_groups(labels, corpora, args.balance)
        self.utterance_weights = sampling_weights(groups) if utterance_weights is None else utterance_weights
        self.utterances_per_epoch = utterances_per_epoch or epoch_length(groups, args.balance_by)
        _refuse_unfit_batches(train_dataset, args, self.utterances_per_epoch)
        self._weight_loss(train_dataset, labels, model.config.num_labels, args)
        self.guard = NonFiniteGuard(args.max_skipped_steps)
        self.average = WeightAverage(args.ema_decay) if args.ema_decay else None
        self.clock = EpochClock()
        self._noted: dict[str, list[torch.Tensor]] = {}
        callbacks = [*callbacks, DrawsOfEpoch(), self.clock, self.guard]
        if self.average is not None:
            callbacks.append(self.average)
        if args.early_stopping_patience:
            callbacks.append(EarlyStoppingCallback(args.early_stopping_patience))
        super().__init__(
            model,
            _own_arguments(args, model, processing_class),
            data_collator=UtteranceCollator(processing_class, model, self.augmentation),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            compute_loss_func=self._loss,
            compute_metrics=compute_metrics,
            callbacks=callbacks,
        )

    def _augmented(self, train: Dataset, model, args: SERTrainingArguments, extractor) -> Dataset:
        """Set the augmentation, and return the training part without cached columns that would hide it."""
        self.augmentation = args.augmentation
        if self.augmentation is None:
            return train
        self.augmentation.check(model, extractor, train.column_names)
        train, slower = without_fixed_inputs(train, model, self.augmentation)
        if slower:
            logger.warning(
                f"augment: the training part is computed again in every epoch, which is slower than computing "
                f"{slower[0]} once; validation and test parts still use what was computed"
            )
        if self.augmentation.mixes and (self.pace is not None or args.weight_corpora):
            other = "--weight_corpora" if self.pace is None else "--pacing"
            raise OptionError(
                f"use --augment {' '.join(self.augmentation.mixes)} or {other}, not both: partners come from the whole "
                "training part"
            )
        if args.augment_rare_classes:
            self.augmentation = self.augmentation.favouring_rare_classes(
                np.asarray(train["label"]), model.config.num_labels
            )
        return train

    def _weight_loss(self, train: Dataset, labels: np.ndarray, classes: int, args: SERTrainingArguments) -> None:
        """Set the weights of classes in the loss, (classes,), or those of each corpus, (corpora, classes)."""
        self.class_weights, self.corpus_of, self.corpora_of_batch = None, {}, []
        drawn = self.utterance_weights
        if args.weight_corpora:
            within = "class_and_corpus" if args.weight_classes else "corpus"
            weights = corpus_weights(labels, train["corpus"], classes, within=within, drawn=drawn)
            numbers = np.unique(train["corpus"], return_inverse=True)[1]
            self.corpus_of = dict(zip(train["utterance_id"], numbers.tolist(), strict=True))
        elif args.weight_classes:
            weights = class_weights(labels, classes, drawn=drawn)
        else:
            return
        self.class_weights = torch.as_tensor(weights, dtype=torch.float32)

    def _loss(self, outputs, labels: torch.Tensor, num_items_in_batch=None) -> torch.Tensor:
        weights = None if self.class_weights is None else self.class_weights.to(labels.device)
        if self.corpus_of:
            corpora = self.corpora_of_batch[: len(labels)]
            weights = None if None in corpora else weights[corpora]  # the validation part has no weights
        if self.model.config.problem_type == "multi_label_classification":
            loss = multi_label_loss
        else:
            loss = classification_loss
        losses = loss(
            outputs.logits, labels, weights=weights,
            label_smoothing=self.args.label_smoothing_factor, focal_gamma=self.args.focal_gamma,
        )  # fmt: skip
        if num_items_in_batch is None:
            return losses.mean()
        # The Trainer counts all numbers of `labels`: votes have one for each class.
        return losses.sum() * (labels.numel() / len(labels)) / num_items_in_batch

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        dimensions = inputs.pop(DIMENSIONS_COLUMN, None)
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if dimensions is not None:
            # The mean over the accumulated batches.
            share = self.args.dimension_weight / self.current_gradient_accumulation_steps
            loss = loss + share * ccc_loss(outputs.dimensions, dimensions)
        return (loss, outputs) if return_outputs else loss

    def _prepare_inputs(self, inputs):
        names = inputs.pop("utterance_id", [])
        self.corpora_of_batch = [self.corpus_of.get(name) for name in names]
        if self.model.training:
            self.guard.utterances += names
        return super()._prepare_inputs(inputs)

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        if self.optimizer is None and self.args.layer_decay < 1:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = kind(self._discriminative_groups(), **options)
        return super().create_optimizer(model)

    def _discriminative_groups(self) -> list[dict]:
        """Return parameter groups whose learning rate falls by `layer_decay` from each layer to the one below.

        Source: Howard and Ruder (2018), arXiv:1801.06146, section 3.2.
        """
        decayed = self.get_decay_parameter_names(self.model)
        layers = encoder_layers(self.model)
        depth_of = {id(parameter): len(layers) - number for number, layer in enumerate(layers) for parameter in layer}
        groups: dict[tuple[int, bool], list] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:  # the head has depth 0
                groups.setdefault((depth_of.get(id(parameter), 0), name in decayed), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": self.args.learning_rate * self.args.layer_decay**depth,
                "weight_decay": self.args.weight_decay if has_decay else 0.0,
            }
            for (depth, has_decay), parameters in groups.items()
        ]

    def create_scheduler(self, num_training_steps: int, optimizer=None):
        if self.lr_scheduler is None and self.args.step_epochs:
            warmup = self.args.get_warmup_steps(num_training_steps)
            whole = math.floor if self.args.dataloader_drop_last else math.ceil
            batches = whole(self.utterances_per_epoch / (self.args.train_batch_size * self.args.world_size))
            period = self.args.step_epochs * math.ceil(batches / self.args.gradient_accumulation_steps)

            def factor(step: int) -> float:
                return (step + 1) / warmup if step < warmup else self.args.step_factor ** (step // period)

            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    def _get_train_sampler(self, train_dataset=None) -> UtteranceSampler:
        train_dataset = self.train_dataset if train_dataset is None else train_dataset
        grouped = self.args.train_sampling_strategy == "group_by_length"
        kind = UtteranceSampler if self.augmentation is None else DrawSampler
        return kind(
            self.utterance_weights,
            self.utterances_per_epoch,
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
            lengths=train_dataset[self.args.length_column_name] if grouped else None,
            batch_size=self.args.train_batch_size * self.args.world_size,
            pace=self.pace,
        )

    def get_train_dataloader(self) -> DataLoader:
        if self.augmentation is None:
            return super().get_train_dataloader()
        return self._get_dataloader(
            AugmentedRows(self.train_dataset, self.augmentation, self.utterance_weights),
            "Training",
            self._train_batch_size,
            sampler_fn=lambda _: self._get_train_sampler(),
            is_training=True,
        )

    # --- averaged weights are validated, saved, and kept at the end; adapters are merged into the weights ---

    def train(self, *args, **kwargs):
        with naming_full_disk(self.args.output_dir, "a checkpoint"):
            result = super().train(*args, **kwargs)
        self._note_training()
        if self.average is not None and not self.args.load_best_model_at_end:
            self.model.load_state_dict(self.average.average)
        if has_adapters(self.model):
            merge_adapters(self.model)
        # Mixed precision would stay on the model's `forward`, and change its scores until it is saved.
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        return result

    def note(self, name: str, figure: torch.Tensor) -> None:
        """Note a figure of a training step. Its mean is logged beside the loss."""
        self._noted.setdefault(name, []).append(figure.detach())

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        if "loss" in logs:
            figures = {name: torch.stack(ones).mean() for name, ones in self._noted.items()}
            # Each process has noted its own batches.
            logs = {**logs, **{name: self.accelerator.reduce(one, "mean").item() for name, one in figures.items()}}
            self._noted.clear()
            if self.clock.seconds is not None:
                logs["epoch_seconds"] = round(self.clock.seconds, 2)
        super().log(logs, *args, **kwargs)

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        with self._averaged():
            return super().evaluate(*args, **kwargs)

    def _save(self, output_dir=None, state_dict=None) -> None:
        self._note_training()
        with self._averaged():
            super()._save(output_dir, state_dict)
        if not self.args.should_save:
            return
        folder = output_dir or self.args.output_dir
        if self.average is not None:
            self.average.save_trained(self.model, folder)
        if self.ledger is not None:
            self.ledger.write(folder)
        share_like_folder(folder)

    def _note_training(self) -> None:
        """Note in the configuration whether the head is trained: an untrained one is refused in prediction, and further
        training of a trained one keeps its statistics."""
        self.model.config.head_is_trained = self.state.global_step > 0

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.average is not None:
            self.average.resume(self.model, resume_from_checkpoint)

    def _averaged(self) -> AbstractContextManager:
        is_training = self.average is not None and self.is_in_train
        return self.average.applied_to(self.model) if is_training else nullcontext()


def _refuse_unfit_model(model, args: SERTrainingArguments) -> None:
    """Raise an error if nothing of a model learns by gradients, or if an option does not go with it."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"this {model.config.model_type} cannot be trained by gradients: use recipes/train_svm.py")
    if family_of(model).has_dimensions(model.config) and args.per_device_train_batch_size < 2:
        raise OptionError(
            "--per_device_train_batch_size must be 2 or more: the loss of valence, arousal and dominance compares the "
            "utterances of a batch"
        )
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        if args.ema_decay:
            raise OptionError("--ema_decay cannot average weights that are sharded over processes (FSDP): leave it out")
        if has_adapters(model):
            raise OptionError("--lora_rank cannot merge weights that are sharded over processes (FSDP): leave it out")


def _with_targets(train: Dataset, model, args: SERTrainingArguments) -> Dataset:
    """Return the training part with its targets, and set the problem type of a model that has no temperature yet."""
    forget_temperature(model)
    OffsetRule.forget(model)
    Abstention.forget(model)
    # A pipeline scores each class on its own if several may be present.
    several = args.targets == "multi_label"
    model.config.problem_type = f"{'multi' if several else 'single'}_label_classification"
    train = with_targets(train, args.targets)
    return with_dimensions(train) if family_of(model).has_dimensions(model.config) else train


def refuse_unfit_rows(rows: Dataset | None, model, extractor, *, faster: float = 1) -> None:
    """Raise an `AudioError` for a recording that does not fit the model when it is played `faster`."""
    if rows is not None and "audio" in rows.column_names:
        refuse_unfit_durations(model, extractor, np.asarray(rows["duration"]) / faster, rows["utterance_id"])


def _refuse_unfit_batches(train: Dataset, args: SERTrainingArguments, utterances: int) -> None:
    """Raise an `OptionError` if an epoch has no batch, or if its batches cannot be grouped by length."""
    batch = args.train_batch_size * args.world_size
    if args.dataloader_drop_last and utterances < batch:
        raise OptionError(
            f"--dataloader_drop_last leaves nothing of an epoch of {utterances} utterances in batches of {batch}: "
            "leave it out, or choose a smaller --per_device_train_batch_size"
        )
    if args.train_sampling_strategy == "group_by_length" and args.length_column_name not in train.column_names:
        raise OptionError(
            f"--length_column_name: {unknown_name('column', args.length_column_name, train.column_names)}"
        )


def _own_arguments(args: SERTrainingArguments, model, extractor) -> SERTrainingArguments:
    """Return the arguments for the stock Trainer."""
    own = copy(args)
    # The stock Trainer would publish every checkpoint, with its own card: `hub.push` publishes the finished run. The
    # token is removed, since the Trainer pickles its arguments beside every checkpoint.
    own.push_to_hub, own.hub_token = False, None
    if not is_padding_invariant(model, extractor):
        own.per_device_eval_batch_size = 1  # padding would change the validation scores
    return own


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """Return every metric of `METRICS` for logits (utterances, classes) and class ids (utterances,)."""
    logits = np.asarray(prediction.predictions)
    confusion = confusion_matrix(prediction.label_ids, logits.argmax(axis=-1), logits.shape[-1])
    return {name: float(metric(confusion)) for name, metric in METRICS.items()}
