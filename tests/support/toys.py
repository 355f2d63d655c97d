"""Heaps of points in place of utterances, and a classifier of them that is fed like a frozen encoder's head."""

import datasets
import numpy as np
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, TrainerCallback
from transformers.modeling_outputs import SequenceClassifierOutput

from ser_hf.models.family import Family, always
from ser_hf.models.records import RECORDS
from ser_hf.training.arguments import SERTrainingArguments


def fed_by_points(model_class):
    """A toy with a family of its own: like a frozen encoder's head, it reads a cached column, `points`."""
    family = Family(
        name="points", summary="Points, for tests.", model_type=model_class.config_class.model_type, config_class="",
        model_class="", extractor_class="", is_stock=True, builder="", cached_input="points", padding_invariant=always,
    )  # fmt: skip
    RECORDS.append(family)
    return model_class


class PointConfig(PreTrainedConfig):
    model_type = "test_points"


@fed_by_points
class PointClassifier(PreTrainedModel):
    """Points (batch, 12) -> one hidden layer, the embedding -> class."""

    config_class, cached_shape = PointConfig, (12,)

    def __init__(self, config):
        super().__init__(config)
        self.projector, self.classifier = nn.Linear(12, 32), nn.Linear(32, config.num_labels)
        self.post_init()

    def embed(self, points):
        return self.projector(points).relu()

    def forward(self, points, labels=None):  # which tells the Trainer that it has labels; the loss is its own
        return SequenceClassifierOutput(logits=self.classifier(self.embed(points)))


def point_rows(points, labels, **columns):
    """Rows like those of a dataset that was precomputed; `columns` beside "toy" as the corpus of all."""
    count, text, number = len(points), datasets.Value("string"), datasets.Value("float32")
    names = [f"{chr(97 + label)}" for label in range(max(labels) + 1)]
    features = {
        "utterance_id": text, "corpus": text, "duration": number, "label": datasets.ClassLabel(names=names),
        "points": datasets.List(number, length=12), **dict.fromkeys(columns, text),
    }  # fmt: skip
    given = {
        "utterance_id": [f"toy/{row}" for row in range(count)], "corpus": ["toy"] * count,
        "duration": np.linspace(1, 5, count), "label": labels, "points": np.asarray(points).tolist(), **columns,
    }  # fmt: skip
    dataset = datasets.Dataset.from_dict(given, features=datasets.Features({name: features[name] for name in given}))
    return dataset.with_format("numpy", columns=["points"], output_all_columns=True)


def arguments(folder, kind=SERTrainingArguments, **options):
    defaults = dict(
        output_dir=str(folder), use_cpu=True, report_to="none", disable_tqdm=True, eval_strategy="no",
        save_strategy="no", load_best_model_at_end=False, logging_strategy="no", train_sampling_strategy="random",
        per_device_train_batch_size=32, learning_rate=5e-3,
    )  # fmt: skip
    return kind(**{**defaults, **options})


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


class Interruption(TrainerCallback):
    """A Ctrl-C before a step."""

    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt
