"""`SERTrainer`: transformers' Trainer with the sampler and the loss of this field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import EarlyStoppingCallback, EvalPrediction, Trainer

from ..data.balance import UtteranceSampler, balancing_groups, class_weights, sampling_weights
from ..data.collate import UtteranceCollator
from ..evaluation.metrics import macro_f1, unweighted_average_recall, weighted_average_recall
from .arguments import SERTrainingArguments


class SERTrainer(Trainer):
    """Trains an emotion classifier on the rows of `build_dataset` (or of `embed_dataset`).

    Two things differ from the stock Trainer: which utterances an epoch draws, and the loss.

    Args:
        utterance_weights: how often each training utterance is drawn relative to the others; default: `args.balance`.
        utterances_per_epoch: default: as many as the training part has.
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
        utterance_weights: np.ndarray | None = None,
        utterances_per_epoch: int | None = None,
        callbacks: Sequence = (),
    ):
        labels = np.asarray(train_dataset["label"])
        if utterance_weights is None:
            utterance_weights = sampling_weights(balancing_groups(labels, train_dataset["corpus"], args.balance))
        self.utterance_weights = utterance_weights
        self.utterances_per_epoch = utterances_per_epoch or len(labels)
        weights = class_weights(labels, model.config.num_labels) if args.weight_classes else None
        self.class_weights = None if weights is None else torch.as_tensor(weights, dtype=torch.float32)
        if args.early_stopping_patience:
            callbacks = [*callbacks, EarlyStoppingCallback(args.early_stopping_patience)]
        super().__init__(
            model,
            args,
            data_collator=UtteranceCollator(processing_class),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            compute_loss_func=self._loss,
            compute_metrics=compute_metrics,
            callbacks=list(callbacks),
        )

    def _loss(self, outputs, labels: torch.Tensor, num_items_in_batch=None) -> torch.Tensor:
        weights = None if self.class_weights is None else self.class_weights.to(labels.device)
        total = cross_entropy(
            outputs.logits.float(), labels, weight=weights, reduction="sum",
            label_smoothing=self.args.label_smoothing_factor,
        )  # fmt: skip
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)

    def _get_train_sampler(self, train_dataset=None) -> UtteranceSampler:
        train_dataset = self.train_dataset if train_dataset is None else train_dataset
        grouped = self.args.train_sampling_strategy == "group_by_length"
        return UtteranceSampler(
            self.utterance_weights,
            self.utterances_per_epoch,
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
            lengths=train_dataset[self.args.length_column_name] if grouped else None,
            batch_size=self.args.train_batch_size * self.args.world_size,
        )

    def _save(self, output_dir=None, state_dict=None) -> None:
        # Written into the configuration, so that a folder saved before any training is refused in prediction.
        self.model.config.head_is_trained = self.state.global_step > 0
        super()._save(output_dir, state_dict)


def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """UAR, WAR and macro F1 of logits (utterances, classes) against class ids (utterances,)."""
    references, predictions = prediction.label_ids, np.asarray(prediction.predictions).argmax(axis=-1)
    return {
        "uar": unweighted_average_recall(references, predictions),
        "war": weighted_average_recall(references, predictions),
        "macro_f1": macro_f1(references, predictions),
    }
