"""What speaker-adversarial training promises, on points that hold an emotion and a voice."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn.functional import cross_entropy
from toys import Interruption, PointClassifier, PointConfig, arguments, point_rows, weights
from transformers import Wav2Vec2FeatureExtractor, set_seed

from ser_hf.models.pretrained import ModelError
from ser_hf.training import adversary
from ser_hf.training.adaptation import discriminator
from ser_hf.training.adversary import AdversarialTrainingArguments, SpeakerAdversarialTrainer, with_speaker_ids

pytestmark = pytest.mark.slow

CLASSES, SPEAKERS = 3, 6
EMOTIONS, VOICES = np.zeros((CLASSES, 12)), np.zeros((SPEAKERS, 12))
EMOTIONS[:, :4] = np.random.default_rng(3).normal(0, 1.6, (CLASSES, 4))
VOICES[:, 4:] = np.random.default_rng(4).normal(0, 1.5, (SPEAKERS, 8))


def voices(count, seed, *, cue=0.0):
    """Points (count, 12), emotions and speakers; `cue` is the share in which a speaker has an emotion of their own."""
    random = np.random.default_rng(seed)
    speakers = random.integers(0, SPEAKERS, count)
    own = random.uniform(size=count) < cue
    labels = np.where(own, speakers % CLASSES, random.integers(0, CLASSES, count))
    points = EMOTIONS[labels] + VOICES[speakers] + random.normal(0, 1, (count, 12))
    return points.astype(np.float32), labels, speakers


def rows(count=320, seed=1, cue=0.3):
    points, labels, speakers = voices(count, seed, cue=cue)
    return point_rows(points, labels, speaker=[f"toy-{number}" for number in speakers])


class NarrowClassifier(PointClassifier):
    """Points -> an embedding too narrow for all that they hold -> class."""

    def __init__(self, config):
        super().__init__(config)
        self.projector, self.classifier = nn.Linear(12, 4), nn.Linear(4, config.num_labels)

    def embed(self, points):
        return self.projector(points)


def train(folder, dataset, *, weight=1.0, kind=PointClassifier, seed=0, callbacks=(), resume=None, **options):
    set_seed(seed)
    model = kind(PointConfig(num_labels=CLASSES))
    trainer = SpeakerAdversarialTrainer(
        model, arguments(folder, AdversarialTrainingArguments, speaker_adversary=weight, **options),
        train_dataset=dataset, eval_dataset=None, processing_class=Wav2Vec2FeatureExtractor(), callbacks=callbacks,
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=resume)
    return model, trainer


@torch.no_grad()
def told_apart(model):
    """Shares of new points of which a linear probe knows the speaker, and the model the emotion, from the embedding."""
    (known, _, whose), (new, emotions, speakers) = voices(1500, seed=2), voices(1500, seed=3)
    known, new = (model.eval().embed(torch.tensor(points)) for points in (known, new))
    probe = LogisticRegression(max_iter=2000).fit(known.numpy(), whose)
    return probe.score(new.numpy(), speakers), (model.classifier(new).argmax(dim=1).numpy() == emotions).mean()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_speakers_fade_from_the_embedding_and_the_emotions_stay(seed, tmp_path):
    """Each speaker has an emotion of their own in three of ten clips, so that the voice is a cue that deceives."""
    options = dict(kind=NarrowClassifier, seed=seed, num_train_epochs=30, lr_scheduler_type="constant")
    plain, opposed = (told_apart(train(tmp_path, rows(480), weight=weight, **options)[0]) for weight in (0.0, 1.0))
    chance = 1 / SPEAKERS
    assert plain[0] - chance > 0.25
    assert opposed[0] - chance < (plain[0] - chance) / 2
    assert min(plain[1], opposed[1]) > 0.95


@pytest.mark.parametrize(("batch", "accumulation"), [(16, 1), (4, 4)])
def test_the_embeddings_get_the_gradient_of_the_speakers_reversed(batch, accumulation, tmp_path, monkeypatch):
    """One step of gradient descent, against autograd on the two losses apart."""
    monkeypatch.setattr(adversary, "ramp", lambda progress: 0.5)
    dataset, rate, weight = rows(16), 0.1, 0.8
    set_seed(0)
    before = PointClassifier(PointConfig(num_labels=CLASSES))
    torch.manual_seed(42)  # the default of the arguments
    judge = discriminator(32, len(set(dataset["speaker"])))
    embeddings = before.embed(torch.as_tensor(np.asarray(dataset["points"])))
    of_emotions = cross_entropy(before.classifier(embeddings), torch.as_tensor(dataset["label"]))
    numbers = torch.as_tensor(np.unique(dataset["speaker"], return_inverse=True)[1])
    of_speakers = cross_entropy(judge(embeddings), numbers)
    projector, head = list(before.projector.parameters()), list(before.classifier.parameters())
    wanted, unwanted = (torch.autograd.grad(loss, projector, retain_graph=True) for loss in (of_emotions, of_speakers))
    expected = [p - rate * (w - weight * 0.5 * u) for p, w, u in zip(projector, wanted, unwanted, strict=True)]
    expected += [p - rate * g for p, g in zip(head, torch.autograd.grad(of_emotions, head), strict=True)]

    after, _ = train(
        tmp_path, dataset, weight=weight, max_steps=1, optim="sgd", learning_rate=rate, max_grad_norm=0,
        lr_scheduler_type="constant", per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation,
    )  # fmt: skip
    assert max(gradient.abs().max().item() for gradient in unwanted) > 1e-3
    torch.testing.assert_close(weights(after), torch.cat([p.detach().flatten() for p in expected]))


def test_the_discriminator_learns_and_leaves_no_trace(tmp_path):
    """As good as unopposed, it knows the speakers; what remains is a classifier like any other."""
    dataset = rows()
    model, trainer = train(tmp_path, dataset, weight=1e-6, num_train_epochs=20, logging_strategy="epoch")
    paid = [entry["speaker_loss"] for entry in trainer.state.log_history if "speaker_loss" in entry]
    assert paid[0] == pytest.approx(np.log(SPEAKERS), abs=0.5)
    assert paid[-1] < 0.75 * np.log(SPEAKERS)
    assert not [name for name in model.state_dict() if "discriminator" in name]
    assert not model.classifier._forward_pre_hooks


def test_a_resumed_training_ends_with_the_weights_of_an_unbroken_one(tmp_path):
    dataset, options = rows(), dict(max_steps=14, save_strategy="steps", save_steps=6)
    whole, _ = train(tmp_path / "whole", dataset, **options)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", dataset, callbacks=[Interruption(8)], **options)
    resumed, _ = train(tmp_path / "broken", dataset, resume=str(tmp_path / "broken/checkpoint-6"), **options)
    assert torch.equal(weights(whole), weights(resumed))


def test_speakers_of_one_name_in_two_corpora_are_two():
    dataset = rows(8).remove_columns(["corpus", "speaker"])
    dataset = dataset.with_format(None).add_column("corpus", ["a", "b"] * 4).add_column("speaker", list("11112222"))
    numbered, speakers = with_speaker_ids(dataset)
    assert speakers == [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]
    assert numbered["speaker_id"][:] == [0, 2, 0, 2, 1, 3, 1, 3]


def test_what_cannot_be_trained_so_is_refused_at_the_door(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="--speaker_adversary must be 0 or more, not -1"):
        arguments(tmp_path, AdversarialTrainingArguments, speaker_adversary=-1)
    with pytest.raises(ValueError, match="--speaker_adversary or --augment mixup, not both"):
        arguments(tmp_path, AdversarialTrainingArguments, speaker_adversary=0.1, augment=["mixup=0.2"])
    alone = rows(8).remove_columns("speaker").with_format(None)
    with pytest.raises(ValueError, match="needs two training speakers; there is only toy-1"):
        train(tmp_path, alone.add_column("speaker", ["toy-1"] * 8))
    with pytest.raises(ValueError, match="toy/3 has no speaker: leave out --speaker_adversary"):
        train(tmp_path, alone.add_column("speaker", ["x", "y", "x", None, "x", "y", "x", "y"]))
    monkeypatch.setattr(PointClassifier, "__init__", without_a_linear_layer(PointClassifier.__init__))
    with pytest.raises(ModelError, match="no linear layer `classifier`"):
        train(tmp_path, rows())


def without_a_linear_layer(build):
    def build_other(self, config):
        build(self, config)
        self.classifier = nn.Sequential(self.classifier)

    return build_other


def test_several_processes_are_refused(tmp_path, monkeypatch):
    args = arguments(tmp_path, AdversarialTrainingArguments, speaker_adversary=0.1)
    monkeypatch.setattr(type(args), "world_size", 2)
    with pytest.raises(ValueError, match="--speaker_adversary works in one process only"):
        SpeakerAdversarialTrainer(
            PointClassifier(PointConfig(num_labels=CLASSES)), args, train_dataset=rows(), eval_dataset=None,
            processing_class=Wav2Vec2FeatureExtractor(),
        )  # fmt: skip
