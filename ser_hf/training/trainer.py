"""`SERTrainer`: transformers' Trainer with the sampler and the loss of this field."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer
from transformers.utils import logging

from ..data.augment import AugmentedRows, DrawSampler, without_unheard
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
from ..data.precompute import refuse_too_short
from ..data.targets import DIMENSIONS_COLUMN, with_dimensions, with_targets
from ..evaluation.metrics import macro_f1, unweighted_average_recall, weighted_average_recall
from ..models.lora import has_adapters, merge_adapters
from ..models.pretrained import encoder_layers, is_padding_invariant
from ..models.temperature import forget_temperature
from ..splits.ledger import Ledger
from .arguments import SERTrainingArguments
from .averaging import WeightAverage
from .curves import EpochClock
from .guard import NonFiniteGuard
from .losses import ccc_loss, classification_loss, multi_label_loss
from .resume import DrawsOfEpoch

logger = logging.get_logger(__name__)


class SERTrainer(Trainer):
    """Trains an emotion classifier on the rows of `build_dataset`, precomputed or not.

    It differs from the stock Trainer in which utterances an epoch draws and in the loss; on request in learning rates
    that fall towards the input or in steps, and in weights that are averaged. Steps whose gradients are not finite are
    skipped and named.

    Args:
        ledger: what the model has heard, this training included; written beside every checkpoint.
        utterance_weights: how often each training utterance is drawn relative to the others; default: `args.balance`.
        utterances_per_epoch: default: as many as the training part has, or what `args.balance_by` makes of it.
        pace: which of them are drawn in which epoch; default: all in every one.
    """

    # Our loss divides by `num_items_in_batch`, which counts the whole accumulated batch; left to itself the Trainer
    # believes this of HuBERT's own forward as well, which computes a plain mean, and multiplies its gradients.
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
        self.ledger = ledger
        forget_temperature(model)
        labels = np.asarray(train_dataset["label"])
        train_dataset = with_targets(train_dataset, args.targets)
        # A pipeline scores each class by itself where several may be present.
        several = args.targets == "multi_label"
        model.config.problem_type = f"{'multi' if several else 'single'}_label_classification"
        if getattr(model.config, "dimensions", False):
            if args.per_device_train_batch_size < 2:
                raise ValueError(
                    "per_device_train_batch_size: 1, but agreement on valence, arousal and dominance is measured "
                    "within a batch: take 2 or more"
                )
            train_dataset = with_dimensions(train_dataset)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError(
                f"nothing of this {model.config.model_type} learns by gradients; a support vector machine is fitted by "
                "recipes/train_svm.py"
            )
        self.augmentation = args.augmentation
        if self.augmentation is not None:
            self.augmentation.check(model, processing_class, train_dataset.column_names)
            train_dataset, slower = without_unheard(train_dataset, model, self.augmentation)
            if slower:
                logger.warning(
                    "augment: the training part is heard anew in every epoch, which is slower than to compute "
                    f"{slower[0]} once; validation and test parts still read what was computed"
                )
            if args.augment_rare_classes:
                self.augmentation = self.augmentation.favouring_rare_classes(labels, model.config.num_labels)
        for part, faster in ((train_dataset, self.augmentation.fastest if self.augmentation else 1), (eval_dataset, 1)):
            if part is not None and "audio" in part.column_names:
                seconds = np.asarray(part["duration"]) / faster
                refuse_too_short(model, processing_class, seconds, part["utterance_id"])
        mixes = self.augmentation is not None and self.augmentation.mixes
        if mixes and (pace is not None or args.weight_corpora):
            raise ValueError(
                f"{'weight_corpora' if pace is None else 'pacing'}: mixup and cutmix take partners from the whole "
                "training part, of whatever corpus and difficulty; leave them out of augment"
            )
        groups = balancing_groups(labels, train_dataset["corpus"], args.balance)
        self.utterance_weights = sampling_weights(groups) if utterance_weights is None else utterance_weights
        self.utterances_per_epoch = utterances_per_epoch or epoch_length(groups, args.balance_by)
        self.pace = pace
        self.class_weights = None
        if args.weight_classes:
            weights = class_weights(labels, model.config.num_labels, drawn=self.utterance_weights)
            self.class_weights = torch.as_tensor(weights, dtype=torch.float32)
        self.corpus_of, self.corpora_of_batch = {}, []  # of the training part, if corpora have weights
        if args.weight_corpora:
            by_corpus = corpus_weights(
                labels, train_dataset["corpus"], model.config.num_labels,
                within="class_and_corpus" if args.weight_classes else "corpus", drawn=self.utterance_weights,
            )  # fmt: skip
            self.class_weights = torch.as_tensor(by_corpus, dtype=torch.float32)
            corpora = np.unique(train_dataset["corpus"], return_inverse=True)[1]
            self.corpus_of = dict(zip(train_dataset["utterance_id"], corpora.tolist(), strict=True))
        self.guard = NonFiniteGuard(args.max_skipped_steps)
        is_sharded = os.environ.get("ACCELERATE_USE_FSDP") == "true"
        if args.ema_decay and is_sharded:
            raise ValueError(
                "ema_decay: weights that are sharded over processes (FSDP) cannot be averaged; leave it out"
            )
        if has_adapters(model) and is_sharded:
            raise ValueError(
                "lora_rank: weights that are sharded over processes (FSDP) cannot be merged with adapters; leave it out"
            )
        self.average = WeightAverage(args.ema_decay) if args.ema_decay else None
        self.clock = EpochClock()
        self._noted: dict[str, list[torch.Tensor]] = {}
        callbacks = [*callbacks, DrawsOfEpoch(), self.clock, self.guard, *([self.average] if self.average else [])]
        if args.early_stopping_patience:
            callbacks.append(EarlyStoppingCallback(args.early_stopping_patience))
        # The stock Trainer would publish every checkpoint, with a card of its own: `hub.push` publishes the finished
        # run. Without the token, since the Trainer pickles its arguments beside every checkpoint.
        args = copy(args)
        args.push_to_hub, args.hub_token = False, None
        if not is_padding_invariant(model, processing_class):
            args.per_device_eval_batch_size = 1  # padding would change the validation scores
        super().__init__(
            model,
            args,
            data_collator=UtteranceCollator(processing_class, model, self.augmentation),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            compute_loss_func=self._loss,
            compute_metrics=compute_metrics,
            callbacks=callbacks,
        )

    def _loss(self, outputs, labels: torch.Tensor, num_items_in_batch=None) -> torch.Tensor:
        weights = None if self.class_weights is None else self.class_weights.to(labels.device)
        if self.corpus_of:
            corpora = self.corpora_of_batch[: len(labels)]
            weights = None if None in corpora else weights[corpora]  # those of the validation part weigh the same
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
        # The Trainer counts every number of `labels`: with votes, as many for each utterance as there are classes.
        return losses.sum() * (labels.numel() / len(labels)) / num_items_in_batch

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        dimensions = inputs.pop(DIMENSIONS_COLUMN, None)
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if dimensions is not None:
            # A figure of whole batches, whatever their size: each one of an accumulated step has its share.
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
        """Parameter groups whose learning rate falls by `layer_decay` from each layer to the one below it.

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
            batch = self.args.train_batch_size * self.args.world_size * self.args.gradient_accumulation_steps
            whole = math.floor if self.args.dataloader_drop_last else math.ceil
            period = self.args.step_epochs * whole(self.utterances_per_epoch / batch)

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

    # --- averaged weights are validated, saved, and kept at the end; adapters end in the weights ---

    def train(self, *args, **kwargs):
        result = super().train(*args, **kwargs)
        self._note_training()
        if self.average is not None and not self.args.load_best_model_at_end:
            self.model.load_state_dict(self.average.average)
        if has_adapters(self.model):
            merge_adapters(self.model)
        # Mixed precision stays on a model's `forward`: it would be judged by other scores than those it gives when
        # it is loaded again.
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        return result

    def note(self, name: str, figure: torch.Tensor) -> None:
        """A figure of a training step, whose mean is logged beside the loss."""
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

    def _note_training(self) -> None:
        """In the configuration: a folder saved before any training is refused in prediction, and what goes on from a
        trained head keeps its statistics."""
        self.model.config.head_is_trained = self.state.global_step > 0

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self.average is not None:
            self.average.resume(self.model, resume_from_checkpoint)

    def _averaged(self) -> AbstractContextManager:
        is_training = self.average is not None and self.is_in_train
        return self.average.applied_to(self.model) if is_training else nullcontext()


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """UAR, WAR and macro F1 of logits (utterances, classes) against class ids (utterances,)."""
    references, predictions = prediction.label_ids, np.asarray(prediction.predictions).argmax(axis=-1)
    return {
        "uar": unweighted_average_recall(references, predictions),
        "war": weighted_average_recall(references, predictions),
        "macro_f1": macro_f1(references, predictions),
    }
