"""What adaptation promises, seen on a problem that can be drawn: four heaps of points, displaced in the target."""

import datasets
import numpy as np
import pytest
import torch
from torch import nn
from toys import fed_by_points
from transformers import PreTrainedConfig, PreTrainedModel, TrainerCallback, Wav2Vec2FeatureExtractor, set_seed
from transformers.modeling_outputs import SequenceClassifierOutput

from ser_hf import split
from ser_hf.evaluation.metrics import unweighted_average_recall
from ser_hf.models.pretrained import ModelError, build_classifier
from ser_hf.training import adaptation
from ser_hf.training.adaptation import METHODS, AdaptationArguments, AdaptationTrainer, ComparedArguments
from ser_hf.training.arguments import SERTrainingArguments
from ser_hf.training.trainer import SERTrainer

pytestmark = pytest.mark.slow

WIDTH, CLASSES = 12, 4
MEANS = np.random.default_rng(7).normal(0, 1.5, (CLASSES, WIDTH))
# Towards the first heap and away from the others: who is displaced along it is taken for the first class.
DIRECTION = (MEANS[0] - MEANS[1:].mean(axis=0)) / np.linalg.norm(MEANS[0] - MEANS[1:].mean(axis=0))


class HeapConfig(PreTrainedConfig):
    model_type = "test_heaps"


@fed_by_points
class HeapClassifier(PreTrainedModel):
    """Points -> one hidden layer -> class, fed like a frozen encoder's head: from a cached column."""

    config_class, cached_shape = HeapConfig, (WIDTH,)

    def __init__(self, config):
        super().__init__(config)
        self.projector, self.classifier = nn.Linear(WIDTH, 32), nn.Linear(32, config.num_labels)
        self.post_init()

    def forward(self, points):
        return SequenceClassifierOutput(logits=self.classifier(self.projector(points).relu()))


def heaps(domain, count, seed):
    """Points (count, WIDTH) and their classes; `domain` is "source", or how the target differs from it."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % CLASSES)
    points = MEANS[labels] + random.normal(0, 1, (count, WIDTH))
    displaced = {"source": 0, "shifted": random.uniform(3, 9, (count, 1)), "spread": random.normal(0, 6, (count, 1))}
    return (points + displaced[domain] * DIRECTION).astype(np.float32), labels


def rows(domain, seed, count=320):
    points, labels = heaps(domain, count, seed)
    text, number = datasets.Value("string"), datasets.Value("float32")
    features = datasets.Features({
        "utterance_id": text, "corpus": text, "duration": number,
        "label": datasets.ClassLabel(names=["a", "b", "c", "d"]), "points": datasets.List(number, length=WIDTH),
    })  # fmt: skip
    names = [f"{domain}/{position}" for position in range(count)]
    columns = {"utterance_id": names, "corpus": [domain] * count, "duration": np.ones(count), "label": labels}
    dataset = datasets.Dataset.from_dict({**columns, "points": points.tolist()}, features=features)
    return dataset.with_format("numpy", columns=["points"], output_all_columns=True)


def arguments(folder, **options):
    defaults = dict(
        output_dir=str(folder), use_cpu=True, report_to="none", disable_tqdm=True, eval_strategy="no",
        save_strategy="no", load_best_model_at_end=False, logging_strategy="no", train_sampling_strategy="random",
        per_device_train_batch_size=32, learning_rate=5e-3,
    )  # fmt: skip
    return SERTrainingArguments(**{**defaults, **options})


def adapt(folder, source, target, *, method="lmmd", weight=3.0, floor=0.5, callbacks=(), resume=None, **options):
    """A trained heap classifier and its trainer."""
    set_seed(0)
    model = HeapClassifier(HeapConfig(num_labels=CLASSES))
    trainer = AdaptationTrainer(
        model, arguments(folder, **options),
        adaptation=AdaptationArguments(method=method, adaptation_weight=weight, confidence_floor=floor),
        train_dataset=source, target_dataset=target, eval_dataset=None, processing_class=Wav2Vec2FeatureExtractor(),
        callbacks=callbacks,
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resume)
    return model, trainer


@torch.no_grad()
def recall_on(model, domain):
    points, labels = heaps(domain, 2000, seed=3)
    return unweighted_average_recall(labels, model.eval()(torch.tensor(points)).logits.argmax(dim=1).numpy())


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.fixture(scope="module")
def limits(tmp_path_factory):
    """Recall on the target of a model that saw the source alone, and of one that saw the target's labels."""
    folder, found = tmp_path_factory.mktemp("limits"), {}
    for domain in ("shifted", "spread"):
        runs = [adapt(folder, rows(one, 1), None, method="none", num_train_epochs=15) for one in ("source", domain)]
        found[domain] = [recall_on(model, domain) for model, _ in runs]
    return found


@pytest.mark.parametrize(
    ("method", "weight", "domain"),
    [("lmmd", 3, "shifted"), ("lmmd", 3, "spread"), ("mmd", 3, "shifted"), ("dann", 3, "shifted"),
     ("coral", 1000, "spread")],
)  # fmt: skip
def test_adaptation_recovers_most_of_a_known_shift_and_the_source_alone_does_not(
    method, weight, domain, limits, tmp_path
):
    """CORAL compares covariances, so that it sees a spread and no displacement."""
    source_only, with_labels = limits[domain]
    assert with_labels > 0.85
    assert with_labels - source_only > 0.2
    model, _ = adapt(tmp_path, rows("source", 1), rows(domain, 2), method=method, weight=weight, num_train_epochs=15)
    assert recall_on(model, domain) > source_only + (with_labels - source_only) / 2
    assert recall_on(model, "source") > 0.85, "what was learned is kept"


@pytest.mark.parametrize("method", METHODS)
def test_labels_of_the_target_never_reach_the_weights(method, tmp_path):
    target, after = rows("shifted", 2), []
    wrong = target.remove_columns("label").add_column("label", [0] * len(target), feature=target.features["label"])
    for version in (target, wrong, target.remove_columns(["label", "corpus"])):
        model, trainer = adapt(tmp_path, rows("source", 1), version, method=method, num_train_epochs=2)
        after.append(weights(model))
        if method != "none":
            assert trainer.train_dataset.target.column_names == ["utterance_id", "duration", "points"]
    assert torch.equal(after[0], after[1])
    assert torch.equal(after[0], after[2])
    elsewhere, _ = adapt(tmp_path, rows("source", 1), rows("spread", 2), method=method, num_train_epochs=2)
    assert torch.equal(after[0], weights(elsewhere)) == (method == "none"), "its recordings do, but for the control"


def test_the_control_is_the_plain_trainer_on_the_source(tmp_path):
    model, _ = adapt(tmp_path, rows("source", 1), rows("shifted", 2), method="none", num_train_epochs=2)
    set_seed(0)
    plain = HeapClassifier(HeapConfig(num_labels=CLASSES))
    SERTrainer(
        plain, arguments(tmp_path, num_train_epochs=2), train_dataset=rows("source", 1), eval_dataset=None,
        processing_class=Wav2Vec2FeatureExtractor(),
    ).train()  # fmt: skip
    assert torch.equal(weights(model), weights(plain))


def test_with_a_floor_that_no_pseudo_label_reaches_lmmd_learns_from_the_source_alone(tmp_path):
    source, target = rows("source", 1), rows("shifted", 2)
    adapted, trainer = adapt(
        tmp_path, source, target, floor=1.0, num_train_epochs=1, logging_strategy="epoch", learning_rate=1e-3
    )
    (entry,) = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert (entry["alignment"], entry["confident_share"]) == (0, 0)
    alone, _ = adapt(tmp_path, source, None, method="none", num_train_epochs=1, learning_rate=1e-3)
    torch.testing.assert_close(weights(adapted), weights(alone), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", ["lmmd", "dann"])
def test_a_resumed_adaptation_ends_with_the_weights_of_an_unbroken_one(method, tmp_path):
    """Interrupted within an epoch: pairs, ramp and discriminator go on where they were."""

    class Interruption(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 8:
                raise KeyboardInterrupt

    source, target = rows("source", 1), rows("shifted", 2)
    options = dict(method=method, max_steps=14, save_strategy="steps", save_steps=6)
    whole, _ = adapt(tmp_path / "whole", source, target, **options)
    with pytest.raises(KeyboardInterrupt):
        adapt(tmp_path / "broken", source, target, callbacks=[Interruption()], **options)
    resumed, _ = adapt(tmp_path / "broken", source, target, resume=str(tmp_path / "broken/checkpoint-6"), **options)
    assert torch.equal(weights(whole), weights(resumed))
    assert not [name for name in resumed.state_dict() if "discriminator" in name]


def test_every_epoch_pairs_the_utterances_anew_and_hears_each_of_the_target_equally_often(tmp_path):
    _, trainer = adapt(tmp_path, rows("source", 1), rows("shifted", 2, count=160), num_train_epochs=1)
    sampler, epochs = trainer._get_train_sampler(), []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert epochs[0] == epochs[2] != epochs[1]
    source, target = np.asarray(epochs[0]).T
    assert sorted(source) == list(range(320))
    assert (np.bincount(target) == 2).all()


@pytest.mark.parametrize("method", ["mmd", "dann"])
def test_accumulated_batches_align_what_one_large_batch_aligns(method, synthetic, tmp_path, monkeypatch):
    """One clip again and again in each domain, so that every batch is as far apart; HuBERT's own loss is a mean."""
    monkeypatch.setattr(adaptation, "ramp", lambda progress: 1.0)
    train, after = split(synthetic, "synthetic/si4", 0)["train"], []
    for batch, accumulation in ((8, 1), (2, 4)):
        set_seed(0)
        model, extractor = build_classifier("tiny-hubert", train.features["label"].names)
        before = weights(model)
        AdaptationTrainer(
            model,
            arguments(
                tmp_path, max_steps=1, optim="sgd", learning_rate=0.1, lr_scheduler_type="constant", max_grad_norm=0,
                per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
            ),
            adaptation=AdaptationArguments(method=method, adaptation_weight=5.0),
            train_dataset=train.select([0] * 8), target_dataset=train.select([100] * 8), eval_dataset=None,
            processing_class=extractor,
        ).train()  # fmt: skip
        after.append(weights(model) - before)
    assert after[0].norm() > 1e-3
    torch.testing.assert_close(after[0], after[1], atol=1e-3 * after[0].abs().max().item(), rtol=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_recordings_and_a_validation_part_pass_through_a_speech_encoder(method, synthetic, tmp_path):
    parts = split(synthetic, "synthetic/si4", 0)
    model, extractor = build_classifier("tiny-whisper", synthetic.features["label"].names)
    before = weights(model)
    trainer = AdaptationTrainer(
        model,
        arguments(
            tmp_path, max_steps=2, eval_strategy="epoch", logging_strategy="epoch", per_device_train_batch_size=8,
            train_sampling_strategy="group_by_length", ema_decay=0.5,
        ),
        adaptation=AdaptationArguments(method=method, confidence_floor=0.0),
        train_dataset=parts["train"].select(range(0, 320, 20)),
        target_dataset=parts["test"].select(range(0, 240, 20)).remove_columns(["label", "emotion", "native_label"]),
        eval_dataset=parts["validation"].select(range(0, 240, 40)), processing_class=extractor,
    )  # fmt: skip
    trainer.train()
    logged = {name for entry in trainer.state.log_history for name in entry}
    assert "eval_uar" in logged
    assert ("alignment" in logged) == (method != "none")
    assert ("confident_share" in logged) == (method == "lmmd")
    assert weights(model).isfinite().all()
    assert not torch.equal(before, weights(model))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"method": "dan"}, "--method must be one of none, mmd, .* not 'dan'"),
     ({"adaptation_weight": -1}, "--adaptation_weight must be 0 or more, not -1"),
     ({"confidence_floor": 1.5}, "--confidence_floor must be in .*, not 1.5")],
)  # fmt: skip
def test_options_outside_their_range_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        AdaptationArguments(**options)


def test_each_of_several_methods_has_its_weight_and_is_named_once():
    several = ComparedArguments(method=["none", "lmmd", "coral=100"], adaptation_weight=1.5, confidence_floor=0.7)
    assert several.each == [
        AdaptationArguments(method=name, adaptation_weight=weight, confidence_floor=0.7)
        for name, weight in (("none", 1.5), ("lmmd", 1.5), ("coral", 100.0))
    ]
    for words, said in (
        (["lmmd", "lmmd=2"], "--method names 'lmmd' twice"), ([], "--method needs a value"),
        (["lmmd=much"], "--method lmmd=much needs a number"),
        (["mdd"], "--method must be one of none, .* not 'mdd'"),
        (["mmd=-1"], "--adaptation_weight must be 0 or more, not -1.0"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            ComparedArguments(method=words)


def test_what_cannot_be_aligned_is_refused_at_the_door(synthetic, tmp_path):
    names = synthetic.features["label"].names
    some = synthetic.select(range(8))

    def build(model, extractor, **options):
        return AdaptationTrainer(
            model, arguments(tmp_path, **options), adaptation=AdaptationArguments(), train_dataset=some,
            target_dataset=some, eval_dataset=None, processing_class=extractor,
        )  # fmt: skip

    with pytest.raises(ValueError, match="adaptation needs --targets label, not votes"):
        build(*build_classifier("tiny-whisper", names), targets="votes")
    with pytest.raises(ValueError, match="leave out --augment"):
        build(*build_classifier("tiny-whisper", names), augment=["noise=5..20"])
    with pytest.raises(ValueError, match="dimensions: leave them out of --model_settings"):
        build(*build_classifier("tiny-whisper", names, settings={"dimensions": True}))
    model, extractor = build_classifier("tiny-whisper", names)
    model.classifier = nn.Linear(2, 2)
    with pytest.raises(ModelError, match="no linear layer `classifier` with 5 outputs"):
        build(model, extractor)


def test_a_discriminator_of_several_processes_is_refused(tmp_path, monkeypatch):
    args = arguments(tmp_path)
    monkeypatch.setattr(type(args), "world_size", 2)
    with pytest.raises(ValueError, match="--method dann works in one process only"):
        AdaptationTrainer(
            HeapClassifier(HeapConfig(num_labels=CLASSES)), args, adaptation=AdaptationArguments(method="dann"),
            train_dataset=rows("source", 1), target_dataset=rows("shifted", 2), eval_dataset=None,
            processing_class=Wav2Vec2FeatureExtractor(),
        )  # fmt: skip
