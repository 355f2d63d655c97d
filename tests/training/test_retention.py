"""What holds a model near its earlier stage, seen on points: fast, and with float64 at hand."""

from copy import deepcopy
from itertools import pairwise

import datasets
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from toys import fed_by_points
from transformers import PreTrainedConfig, PreTrainedModel, Wav2Vec2FeatureExtractor, set_seed
from transformers.modeling_outputs import SequenceClassifierOutput

from ser_hf.models.pretrained import build_classifier
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.callbacks import last_checkpoint
from ser_hf.training.losses import distillation_loss
from ser_hf.training.retention import TEMPERATURE, RetentionArguments, RetentionTrainer
from ser_hf.training.trainer import SERTrainer

pytestmark = pytest.mark.slow

WIDTH, CLASSES = 10, 4
MEANS = np.random.default_rng(7).normal(0, 1, (CLASSES, WIDTH))


class PointConfig(PreTrainedConfig):
    model_type = "test_retained_points"


@fed_by_points
class PointClassifier(PreTrainedModel):
    """Points -> two hidden layers -> class, fed like a frozen encoder's head: from a cached column."""

    config_class, cached_shape = PointConfig, (WIDTH,)
    encoder = None

    def __init__(self, config):
        super().__init__(config)
        self.lower, self.upper = nn.Linear(WIDTH, 16), nn.Linear(16, 16)
        self.classifier = nn.Linear(16, config.num_labels)
        self.post_init()

    def forward(self, points):
        return SequenceClassifierOutput(logits=self.classifier(self.upper(self.lower(points).tanh()).tanh()))


def rows(stage, count=96, seed=0):
    """Heaps of points, one for each class; in the second stage they lie elsewhere."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    points = MEANS[labels] + random.normal(0, 0.7, (count, WIDTH)) + (stage - 1) * MEANS[(labels + 1) % CLASSES] * 1.2
    text, number = datasets.Value("string"), datasets.Value("float32")
    features = datasets.Features({
        "utterance_id": text, "corpus": text, "duration": number,
        "label": datasets.ClassLabel(names=["a", "b", "c", "d"]), "points": datasets.List(number, length=WIDTH),
    })  # fmt: skip
    names = [f"{stage}/{position}" for position in range(count)]
    columns = {"utterance_id": names, "corpus": [str(stage)] * count, "duration": np.ones(count), "label": labels}
    dataset = datasets.Dataset.from_dict({**columns, "points": points.tolist()}, features=features)
    return dataset.with_format("numpy", columns=["points"], output_all_columns=True)


def train(model, folder, data, *, kind=RetentionTrainer, resume=None, extractor=None, before=(), **options):
    own = {"retention": options.pop("retention", None)} if kind is RetentionTrainer else {}
    defaults = dict(
        output_dir=str(folder), use_cpu=True, report_to="none", disable_tqdm=True, eval_strategy="no",
        save_strategy="no", load_best_model_at_end=False, logging_strategy="no", train_sampling_strategy="random",
        per_device_train_batch_size=32, learning_rate=1e-2,
    )  # fmt: skip
    trainer = kind(
        model, SERTrainingArguments(**{**defaults, **options}), train_dataset=data, eval_dataset=None,
        processing_class=extractor or Wav2Vec2FeatureExtractor(), **own,
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A model that knows the first stage."""
    set_seed(0)
    model = PointClassifier(PointConfig(num_labels=CLASSES))
    train(model, tmp_path_factory.mktemp("first"), rows(1), num_train_epochs=20)
    return model


@pytest.fixture
def model(learnt):
    return deepcopy(learnt)


def logits(model, data):
    with torch.no_grad():
        return model(torch.as_tensor(np.stack(list(data["points"])))).logits


@pytest.mark.parametrize("retention", [None, RetentionArguments()])
def test_without_options_it_is_the_trainer_that_it_extends(model, retention, tmp_path):
    """To the last bit, weight decay and averaged weights included."""
    options = dict(num_train_epochs=3, weight_decay=0.1, ema_decay=0.9)
    other = deepcopy(model)
    train(model, tmp_path / "one", rows(2), retention=retention, **options)
    train(other, tmp_path / "two", rows(2), kind=SERTrainer, **options)
    assert torch.equal(weights(model), weights(other))


@pytest.mark.parametrize(("batch", "accumulation"), [(96, 1), (24, 4)])
@pytest.mark.parametrize("held", [{"l2_sp": 3.0}, {"distil_previous": 2.0}, {"l2_sp": 0.5, "distil_previous": 0.7}])
def test_the_gradients_are_those_of_the_penalties_in_float64(model, held, batch, accumulation, tmp_path):
    """Three steps of plain gradient descent; in the first one there is no distance yet."""
    rate, data = 0.2, rows(2)
    reference = deepcopy(model).double()
    start, points = deepcopy(reference), torch.as_tensor(np.stack(list(data["points"]))).double()
    labels = torch.tensor(data["label"])
    for _ in range(3):
        answers, old = reference(points).logits, start(points).logits.detach()
        loss = cross_entropy(answers, labels)
        soft = (old / 2).softmax(dim=1)
        divergence = 4 * (soft * (soft.log() - (answers / 2).log_softmax(dim=1))).sum(dim=1).mean()
        gradients = torch.autograd.grad(loss + held.get("distil_previous", 0) * divergence, reference.parameters())
        with torch.no_grad():
            for parameter, first, gradient in zip(reference.parameters(), start.parameters(), gradients, strict=True):
                parameter -= rate * (gradient + held.get("l2_sp", 0) * (parameter - first))
    train(
        model, tmp_path, data, retention=RetentionArguments(**held), max_steps=3, learning_rate=rate, optim="sgd",
        lr_scheduler_type="constant", max_grad_norm=0, per_device_train_batch_size=batch,
        weight_decay=0.3 if "l2_sp" in held else 0.0,
        gradient_accumulation_steps=accumulation,
    )  # fmt: skip
    torch.testing.assert_close(weights(model).double(), weights(reference), atol=1e-5, rtol=1e-4)


def test_distillation_keeps_the_old_answers_and_l2_sp_the_old_weights(learnt, tmp_path):
    old, new = rows(1, seed=5), rows(2, seed=6)
    before, departed, moved, right = logits(learnt, old), {}, {}, {}
    for name, held in {
        "naive": {}, "distil": {"distil_previous": 3.0}, "l2_sp": {"l2_sp": 0.3}, "frozen": {"freeze_layers": 1},
    }.items():  # fmt: skip
        model = deepcopy(learnt)
        train(model, tmp_path / name, rows(2), retention=RetentionArguments(**held), num_train_epochs=12)
        departed[name] = distillation_loss(logits(model, old), before, temperature=TEMPERATURE).mean().item()
        moved[name] = (weights(model) - weights(learnt)).norm().item()
        right[name] = (logits(model, new).argmax(dim=1).numpy() == new["label"]).mean()
    assert departed["distil"] < 0.5 * departed["naive"]
    assert departed["l2_sp"] < departed["naive"]
    assert moved["l2_sp"] < 0.5 * moved["naive"]
    assert min(right.values()) > (logits(learnt, new).argmax(dim=1).numpy() == new["label"]).mean() + 0.1


@pytest.mark.parametrize(
    "held", [{"l2_sp": 0.3}, {"distil_previous": 2.0}, {"freeze_layers": 1, "l2_sp": 0.1, "distil_previous": 1.0}]
)
def test_an_interrupted_stage_is_held_where_an_unbroken_one_is(learnt, held, tmp_path):
    options = dict(
        retention=RetentionArguments(**held), num_train_epochs=4, save_strategy="epoch", save_total_limit=9,
        max_grad_norm=0.5, ema_decay=0.9,
    )  # fmt: skip
    whole, resumed = deepcopy(learnt), deepcopy(learnt)
    train(whole, tmp_path, rows(2), **options)
    for number in (4, 3):
        for file in sorted((tmp_path / f"checkpoint-{3 * number}").iterdir()):
            file.unlink()
    assert last_checkpoint(tmp_path).endswith("checkpoint-6")
    train(resumed, tmp_path, rows(2), resume=last_checkpoint(tmp_path), **options)
    assert torch.equal(weights(whole), weights(resumed))
    assert not torch.equal(weights(whole), weights(learnt))


@pytest.mark.parametrize(
    ("name", "trainable", "lora_rank", "layers"),
    [
        ("tiny-hubert", "full", 0, 1),
        ("tiny-hubert", "full", 0, 2),
        ("tiny-whisper", "encoder", 2, 1),
        ("cnn", "full", 0, 1),
    ],
)
def test_frozen_layers_are_equal_to_the_last_bit_and_the_others_learn(
    synthetic, name, trainable, lora_rank, layers, tmp_path
):
    data = synthetic.select(range(0, 320, 40))
    set_seed(0)
    built = ModelArguments(model_name_or_path=name, trainable=trainable, lora_rank=lora_rank)
    model, extractor = built.build(data.features["label"].names)
    retention = RetentionArguments(freeze_layers=layers)
    retention.check(model, SERTrainingArguments(output_dir=str(tmp_path), use_cpu=True))
    common = dict(extractor=extractor, max_steps=2, per_device_train_batch_size=4, layer_decay=0.9)
    train(model, tmp_path, data, **common)
    states = [{key: tensor.clone() for key, tensor in model.state_dict().items()}]
    for _ in range(2):  # stages: what was frozen in one is in the next one as well
        built.adapt(model)
        train(model, tmp_path, data, retention=retention, **common)
        states.append({key: tensor.clone() for key, tensor in model.state_dict().items()})
    moved = [{key for key in one if not torch.equal(one[key], two[key])} for one, two in pairwise(states)]
    assert moved[0] == moved[1]
    assert any("classifier" in key for key in moved[0])
    # Before the layers of a CNN, whose running statistics stand still as well, there is its first one.
    at, first = {
        "tiny-hubert": ("hubert.encoder.layers.", 0),
        "tiny-whisper": ("encoder.layers.", 0),
        "cnn": ("blocks.", 1),
    }[name]
    for layer in range(2):
        assert any(key.startswith(f"{at}{first + layer}.") for key in moved[0]) == (layer >= layers)
    assert not any(word in key for key in moved[0] for word in ("feature_extractor", "conv1", "conv2", "blocks.0"))


def test_of_an_encoder_that_stands_still_the_head_below_its_last_layer_is_frozen(synthetic, tmp_path):
    data = synthetic.select(range(0, 320, 40))
    model, extractor = build_classifier("tiny-whisper", data.features["label"].names, trainable="head")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for _ in range(2):  # stages: what was frozen in one is in the next one as well
        train(model, tmp_path, data, extractor=extractor, max_steps=2, retention=RetentionArguments(freeze_layers=1))
    moved = {key for key, tensor in model.state_dict().items() if not torch.equal(before[key], tensor)}
    assert moved == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(
    ("model_options", "held", "message"),
    [
        ({}, {"freeze_layers": 3}, "--freeze_layers 3 is too many: this encoder has 2 layers"),
        ({"trainable": "last1"}, {"freeze_layers": 1}, "these layers do not learn"),
        ({"trainable": "head"}, {"freeze_layers": 2}, "with a frozen encoder it is 0 or 1"),
        ({"lora_rank": 2}, {"l2_sp": 0.1}, "--l2_sp or --lora_rank, not both"),
    ],
)
def test_what_cannot_be_held_is_refused_before_the_first_stage(model_options, held, message, tmp_path):
    model, _ = ModelArguments(model_name_or_path="tiny-whisper", **model_options).build(["a", "b"])
    args = SERTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    with pytest.raises(ValueError, match=message):
        RetentionArguments(**held).check(model, args)


def test_options_that_make_no_sense_together_are_refused(model, tmp_path, monkeypatch):
    args = SERTrainingArguments(output_dir=str(tmp_path), use_cpu=True, targets="multi_label")
    with pytest.raises(ValueError, match="--distil_previous or --targets multi_label, not both"):
        RetentionArguments(distil_previous=1.0).check(model, args)
    with pytest.raises(ValueError, match=r"--l2_sp must be 0 or more, not -1\.0"):
        RetentionArguments(l2_sp=-1.0)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ValueError, match="--l2_sp cannot copy weights that are sharded"):
        RetentionArguments(l2_sp=0.1).check(model, args)
