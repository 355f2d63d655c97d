"""Augmentation reaches the training part, nothing else, and the same way however a run is carried out."""

import numpy as np
import pytest
import torch
from test_trainer import arguments, parameters, parts  # noqa: F401 (a fixture)
from transformers import set_seed

from ser_hf.augmentation.effects import WAVEFORM_EFFECTS
from ser_hf.data.augment import EFFECTS
from ser_hf.data.precompute import precompute
from ser_hf.data.statistics import fit_statistics
from ser_hf.models.pretrained import build_classifier
from ser_hf.models.trainable import is_frozen
from ser_hf.training.trainer import SERTrainer

pytestmark = pytest.mark.slow

ON_WAVEFORMS = ["tempo=0.8..1.2", "noise=0..10", "telephone"]
ON_LOG_MELS = ["specaugment=2x8x20", "mixup=1", "cutmix=1"]


@pytest.fixture
def few(parts):  # noqa: F811
    return {
        "train": parts["train"].select(range(0, 480, 20)),
        "validation": parts["validation"].select(range(0, 240, 30)),
    }


def build(name, rows, **options):
    set_seed(0)
    return build_classifier(name, rows.features["label"].names, **options)


def trainer_of(name, few, folder, *, model=None, **options):
    model, extractor = model or build(name, few["train"])
    options = {"per_device_train_batch_size": 8, "train_sampling_strategy": "random", **options}
    return SERTrainer(
        model, arguments(folder, **options), train_dataset=few["train"], eval_dataset=few["validation"],
        processing_class=extractor,
    )  # fmt: skip


def epoch_of(loader, epoch=0):
    loader.set_epoch(epoch)
    return list(loader)


def heard(trainer, epoch=0):
    """utterance -> what the model is given of it in an epoch, (time, ...) without padding, and its target."""
    found = {}
    for batch in epoch_of(trainer.get_train_dataloader(), epoch):
        name = next(name for name in ("input_features", "input_values") if name in batch)
        lengths = batch["attention_mask"].sum(dim=1)
        for utterance, features, length, target in zip(
            batch["utterance_id"], batch[name], lengths, batch["labels"], strict=True
        ):
            found[utterance] = features[:length], target
    return found


def same(one, other):
    return all(a.shape == b.shape and torch.allclose(a, b, atol=1e-5) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ["tiny-hubert", "tiny-whisper", "cnn"])
def test_validation_is_heard_as_it_is_and_training_is_not(name, few, tmp_path):
    words = [*ON_WAVEFORMS, *(["specaugment=2x8x20"] if name != "tiny-hubert" else [])]
    plain = trainer_of(name, few, tmp_path)
    augmented = trainer_of(name, few, tmp_path, augment=words, augment_probability=1.0)
    for ours, theirs in zip(augmented.get_eval_dataloader(), plain.get_eval_dataloader(), strict=True):
        for key in theirs:
            assert ours[key] == theirs[key] if isinstance(theirs[key], list) else torch.equal(ours[key], theirs[key])
    before, after, later = heard(plain), heard(augmented), heard(augmented, epoch=1)
    assert list(before) == list(after), "the same utterances in the same order"
    for utterance in before:
        assert torch.equal(before[utterance][1], after[utterance][1]), "effects on sound leave the label"
        assert not same(before[utterance], after[utterance])
        assert not same(after[utterance], later[utterance])


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_effect_goes_through_training(effect, few, tmp_path):
    from conftest import write_tone

    write_tone(tmp_path / "recordings/hum.wav")
    value = {"specaugment": "1x5x5", "mixup": "0.5", "cutmix": "0.5"}.get(effect)
    if value is None:
        kind = WAVEFORM_EFFECTS[effect]
        value = "" if kind.unit is None else f"{kind.least}..{kind.most}"
        value = f"{tmp_path / 'recordings'}:{value}".rstrip(":") if kind.of_recordings else value
    trainer = trainer_of(
        "cnn", few, tmp_path, augment=[f"{effect}={value}".rstrip("=")], augment_probability=1.0, max_steps=2
    )
    before = parameters(trainer.model)
    assert np.isfinite(trainer.train().training_loss)
    assert not torch.equal(parameters(trainer.model), before)


@pytest.mark.parametrize("name", ["tiny-hubert", "cnn"])
def test_mixed_targets_are_shares_that_sum_to_one(name, few, tmp_path):
    trainer = trainer_of(name, few, tmp_path, augment=["mixup=1", "cutmix=1"])
    targets = torch.stack([target for _, target in heard(trainer).values()])
    labels = dict(zip(few["train"]["utterance_id"], few["train"]["label"], strict=True))
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(len(targets)))
    assert ((targets > 0) & (targets < 1)).any()
    for utterance, (_, target) in heard(trainer).items():
        assert target[labels[utterance]] > 0


def test_the_loss_of_a_mixture_is_the_mixture_of_losses(few, tmp_path):
    trainer = trainer_of("cnn", few, tmp_path, augment=["mixup=1"])
    logits = torch.randn(1, 5)
    outputs = type("Outputs", (), {"logits": logits})
    mixed = trainer._loss(outputs, torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]]))
    alone = [trainer._loss(outputs, torch.tensor([label])) for label in (1, 3)]
    torch.testing.assert_close(mixed, 0.3 * alone[0] + 0.7 * alone[1])


def test_workers_and_batches_do_not_change_what_is_heard(few, tmp_path):
    options = dict(augment=[*ON_WAVEFORMS, *ON_LOG_MELS], balance="class")
    once = trainer_of("cnn", few, tmp_path, **options)
    other = trainer_of("cnn", few, tmp_path, per_device_train_batch_size=3, dataloader_num_workers=2, **options)
    for epoch in (0, 1):
        ours, theirs = heard(once, epoch), heard(other, epoch)
        assert ours.keys() == theirs.keys()
        assert all(same(ours[utterance], theirs[utterance]) for utterance in ours)


def test_log_mels_that_were_computed_once_and_fresh_ones_are_altered_alike(few, tmp_path):
    model, extractor = build("cnn", few["train"])
    cached = {part: precompute(rows, model, extractor, frozen=False) for part, rows in few.items()}
    assert "log_mel" in cached["train"].column_names
    options = dict(augment=[*ON_WAVEFORMS, *ON_LOG_MELS])
    ours, theirs = (heard(trainer_of("cnn", rows, tmp_path, **options)) for rows in (few, cached))
    assert all(same(ours[utterance], theirs[utterance]) for utterance in ours)
    assert not all(same(ours[utterance], one) for utterance, one in heard(trainer_of("cnn", few, tmp_path)).items())


def test_masks_and_mixtures_do_without_recordings_and_effects_on_them_do_not(few, tmp_path):
    model, extractor = build("cnn", few["train"])
    cached = {
        part: precompute(rows, model, extractor, frozen=False).remove_columns("audio") for part, rows in few.items()
    }
    trainer = trainer_of("cnn", cached, tmp_path, augment=ON_LOG_MELS, max_steps=2)
    assert np.isfinite(trainer.train().training_loss)
    with pytest.raises(ValueError, match="noise cannot change precomputed log-mels: leave out --precomputed"):
        trainer_of("cnn", cached, tmp_path, augment=["noise=5..20"])


@pytest.mark.parametrize("words", [["noise=5..20"], ["specaugment=1x5x5"], ["mixup=0.2"]])
def test_embeddings_of_a_frozen_encoder_without_recordings_are_refused(words, few, tmp_path):
    model, extractor = build("tiny-whisper", few["train"], trainable="head")
    cached = {
        part: precompute(rows, model, extractor, frozen=is_frozen(model)).remove_columns("audio")
        for part, rows in few.items()
    }
    with pytest.raises(ValueError, match="would not reach precomputed embeddings"):
        trainer_of("tiny-whisper", cached, tmp_path, model=(model, extractor), augment=words)


def test_a_frozen_encoder_hears_the_augmented_training_part_and_the_cached_validation_part(few, tmp_path, monkeypatch):
    model, extractor = build("tiny-whisper", few["train"], trainable="head")
    cached = {part: precompute(rows, model, extractor, frozen=is_frozen(model)) for part, rows in few.items()}
    fit_statistics(model, extractor, cached["train"])
    said = []
    monkeypatch.setattr("ser_hf.training.trainer.logger.warning", said.append)
    trainer = trainer_of("tiny-whisper", cached, tmp_path, model=(model, extractor), augment=ON_WAVEFORMS, max_steps=2)
    assert "computed again in every epoch, which is slower" in said[0]
    assert "input_features" in epoch_of(trainer.get_train_dataloader())[0]
    assert "layer_statistics" in next(iter(trainer.get_eval_dataloader()))
    assert np.isfinite(trainer.train().training_loss)
    assert 0 <= trainer.evaluate()["eval_uar"] <= 1


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("tiny-hubert", ["specaugment=1x5x5"], "HuBERT, wav2vec2 and WavLM mask inside, see mask_time_prob"),
        ("cnn", ["specaugment=1x500x5"], "500 mel bins, but there are only 64"),
    ],
)
def test_masks_that_a_model_cannot_hear_are_refused(name, words, sentence, few, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        trainer_of(name, few, tmp_path, augment=words)


def test_a_model_that_hears_another_rate_is_refused_effects_on_recordings(few, tmp_path):
    model = build("cnn", few["train"], front_end={"sampling_rate": 8000})
    with pytest.raises(ValueError, match=r"\(noise\) need 16000 Hz, but this model reads 8000 Hz"):
        trainer_of("cnn", few, tmp_path, model=model, augment=["noise=5"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"augment": ["noize=5..20"]}, "did you mean 'noise'"),
        ({"augment": ["gsm"], "augment_probability": 0}, "--augment_probability must be in"),
        ({"augment_rare_classes": True}, "--augment_rare_classes needs --augment"),
    ],
)
def test_a_mistake_is_told_before_anything_is_read(options, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        arguments(tmp_path, **options)


def test_a_resumed_run_ends_in_the_weights_of_an_unbroken_one(few, tmp_path):
    """Stopped in the middle of the second epoch; 24 utterances make 3 steps."""
    options = dict(
        augment=[*ON_WAVEFORMS, *ON_LOG_MELS], augment_rare_classes=True, balance="class", max_steps=9,
        save_strategy="steps", save_steps=4, save_total_limit=9, learning_rate=1e-3,
    )  # fmt: skip
    whole = trainer_of("cnn", few, tmp_path, **options)
    start = parameters(whole.model)
    whole.train()
    broken = trainer_of("cnn", few, tmp_path, **options)
    broken.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    torch.testing.assert_close(parameters(broken.model), parameters(whole.model), atol=1e-6, rtol=0)
    assert (parameters(whole.model) - start).abs().max() > 1e-3
    other = trainer_of("cnn", few, tmp_path / "other", **{**options, "data_seed": 7, "seed": 42})
    other.train()
    assert (parameters(other.model) - parameters(whole.model)).abs().max() > 1e-4, "what was heard matters"
