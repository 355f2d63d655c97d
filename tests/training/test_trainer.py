import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from answers import by_label
from torch.nn.functional import cross_entropy
from transformers import HubertConfig, Wav2Vec2FeatureExtractor, pipeline, set_seed

from ser_hf import split
from ser_hf.audio import AudioError, read_audio
from ser_hf.data.balance import class_weights
from ser_hf.data.cache_keys import CacheError
from ser_hf.data.precompute import precompute
from ser_hf.data.statistics import fit_statistics
from ser_hf.inference.classifier import Classifier
from ser_hf.inference.predict import predict_probabilities
from ser_hf.models.pretrained import build_classifier
from ser_hf.models.speech.configuration_speech_encoder import SpeechEncoderConfig
from ser_hf.models.speech.modeling_speech_encoder import SpeechEncoderForAudioClassification
from ser_hf.models.temperature import SETTING, fold_temperature, folded_temperature
from ser_hf.models.trainable import is_frozen, set_trainable
from ser_hf.training.arguments import SERTrainingArguments
from ser_hf.training.trainer import SERTrainer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts(synthetic):
    return split(synthetic, "synthetic/si4", 0)


def arguments(folder, **options):
    defaults = dict(
        output_dir=str(folder), use_cpu=True, report_to="none", disable_tqdm=True, eval_strategy="no",
        save_strategy="no", load_best_model_at_end=False, logging_strategy="no",
    )  # fmt: skip
    return SERTrainingArguments(**{**defaults, **options})


def train(model, extractor, rows, folder, evaluation=None, **options):
    trainer = SERTrainer(
        model, arguments(folder, **options), train_dataset=rows, eval_dataset=evaluation, processing_class=extractor
    )
    trainer.train()
    return trainer


def parameters(model):
    return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])


@pytest.mark.parametrize("name", ["tiny-hubert", "tiny-whisper"])
@pytest.mark.parametrize("weight_classes", [False, True])
def test_accumulated_batches_teach_what_one_large_batch_teaches(name, weight_classes, parts, tmp_path):
    """HuBERT's own loss would be multiplied by the number of accumulated batches."""
    rows = parts["train"].select(range(0, 320, 40))
    assert len(rows) == 8
    after = []
    for batch, accumulation in ((8, 1), (2, 4)):
        set_seed(0)
        model, extractor = build_classifier(name, parts["train"].features["label"].names)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        before = parameters(model)
        train(
            model, extractor, rows, tmp_path, max_steps=1, per_device_train_batch_size=batch, learning_rate=0.1,
            gradient_accumulation_steps=accumulation, optim="sgd", weight_classes=weight_classes, max_grad_norm=0,
            lr_scheduler_type="constant", label_smoothing_factor=0.1,
        )  # fmt: skip
        after.append(parameters(model) - before)
    assert after[0].norm() > 1e-3
    torch.testing.assert_close(after[0], after[1], atol=1e-3 * after[0].abs().max().item(), rtol=1e-2)


def test_the_loss_is_weighted_and_smoothed_cross_entropy(parts, tmp_path):
    rows = parts["train"].select(range(50))
    model, extractor = build_classifier("tiny-hubert", rows.features["label"].names)
    trainer = SERTrainer(
        model, arguments(tmp_path, weight_classes=True, label_smoothing_factor=0.2), train_dataset=rows,
        eval_dataset=None, processing_class=extractor,
    )  # fmt: skip
    logits, labels = torch.randn(6, 5), torch.tensor([0, 1, 1, 2, 3, 4])
    weights = torch.as_tensor(class_weights(rows["label"], 5), dtype=torch.float32)
    losses = cross_entropy(logits, labels, weight=weights, label_smoothing=0.2, reduction="none")
    outputs = type("Outputs", (), {"logits": logits})
    torch.testing.assert_close(trainer._loss(outputs, labels), losses.mean())
    torch.testing.assert_close(trainer._loss(outputs, labels, num_items_in_batch=12), losses.sum() / 12)


@pytest.mark.parametrize("weight_classes", [False, True])
def test_a_rare_corpus_weighs_as_much_as_a_common_one(weight_classes, parts, tmp_path):
    rows = parts["train"].select(range(50))
    corpora = ["rare" if number % 7 == 0 else "common" for number in range(50)]
    rows = rows.remove_columns("corpus").add_column("corpus", corpora)
    model, extractor = build_classifier("tiny-hubert", rows.features["label"].names)
    trainer = SERTrainer(
        model, arguments(tmp_path, weight_corpora=True, weight_classes=weight_classes), train_dataset=rows,
        eval_dataset=None, processing_class=extractor,
    )  # fmt: skip
    trainer.model.train()
    batch = [0, 7, 8, 20, 21, 49]
    labels, logits = torch.tensor([rows["label"][row] for row in batch]), torch.randn(6, 5)
    groups = [(corpora[row], rows["label"][row] if weight_classes else None) for row in range(50)]
    expected = torch.tensor([50 / len(set(groups)) / groups.count(groups[row]) for row in batch])
    losses = cross_entropy(logits, labels, reduction="none")
    outputs = type("Outputs", (), {"logits": logits})
    trainer._prepare_inputs({"utterance_id": [rows["utterance_id"][row] for row in batch], "labels": labels})
    torch.testing.assert_close(trainer._loss(outputs, labels), (losses * expected).mean())
    trainer._prepare_inputs({"utterance_id": ["of", "the", "validation", "speakers", "all", "six"], "labels": labels})
    torch.testing.assert_close(trainer._loss(outputs, labels), losses.mean())


def voted(rows, votes):
    with_votes = rows.remove_columns("votes").add_column("votes", [json.dumps(one) for one in votes])
    with_votes.info.description = rows.info.description
    return with_votes


@pytest.mark.parametrize(("batch", "accumulation"), [(8, 1), (2, 4)])
def test_unanimous_votes_teach_what_labels_teach(batch, accumulation, parts, tmp_path):
    """The Trainer counts every number of a batch's targets as an item: votes have one for each class."""
    rows = parts["train"].select(range(0, 320, 40))
    names = rows.features["label"].names
    after = []
    for targets, size, times in (("label", 8, 1), ("votes", batch, accumulation)):
        set_seed(0)
        model, extractor = build_classifier("tiny-hubert", names)
        before = parameters(model)
        train(
            model, extractor, voted(rows, [{names[label]: 5} for label in rows["label"]]), tmp_path, max_steps=1,
            targets=targets, per_device_train_batch_size=size, gradient_accumulation_steps=times, optim="sgd",
            learning_rate=0.1, max_grad_norm=0, lr_scheduler_type="constant",
        )  # fmt: skip
        after.append(parameters(model) - before)
    torch.testing.assert_close(after[0], after[1], atol=1e-3 * after[0].abs().max().item(), rtol=1e-2)


def test_a_model_of_several_emotions_gives_each_a_probability_of_its_own_as_a_pipeline_does(parts, tmp_path):
    rows = parts["train"].select(range(0, 320, 40))
    names = rows.features["label"].names
    model, extractor = build_classifier("tiny-hubert", names)
    votes = [{names[label]: 1, "neutral": 1} for label in rows["label"]]
    train(model, extractor, voted(rows, votes), tmp_path, targets="multi_label", max_steps=2, learning_rate=1e-3)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    waveform = read_audio(rows[0]["audio"])
    answer = pipeline("audio-classification", model=str(tmp_path))(waveform, top_k=None)
    theirs = by_label(answer)
    assert sum(theirs.values()) > 1.2, "a softmax would share 1 out among them"
    ours = by_label(Classifier.from_pretrained(str(tmp_path))({"array": waveform, "sampling_rate": 16_000}))
    assert theirs == pytest.approx(ours, abs=1e-5)


def test_a_model_of_several_emotions_learns_single_ones_again(parts, tmp_path):
    rows = parts["train"].select(range(8))
    model, extractor = build_classifier("tiny-whisper", rows.features["label"].names)
    model.config.problem_type = "multi_label_classification"
    train(model, extractor, rows, tmp_path, max_steps=1)
    assert model.config.problem_type == "single_label_classification"


def test_dimensions_are_not_learnt_one_utterance_at_a_time(parts, tmp_path):
    model, extractor = build_classifier(
        "tiny-whisper", parts["train"].features["label"].names, settings={"dimensions": True}
    )
    with pytest.raises(ValueError, match="--per_device_train_batch_size must be 2 or more"):
        train(model, extractor, parts["train"], tmp_path, per_device_train_batch_size=1)


def test_a_recording_too_short_for_the_model_is_named_before_training(parts, tmp_path):
    rows = parts["train"].select(range(8)).remove_columns("duration").add_column("duration", [1.0] * 7 + [0.01])
    model, extractor = build_classifier("tiny-hubert", rows.features["label"].names)
    with pytest.raises(AudioError, match=rf"{rows[7]['utterance_id']} lasts 10\.0 ms, too short"):
        train(model, extractor, rows, tmp_path)


def test_a_frozen_encoder_scores_the_same_through_the_cache_and_on_the_fly(parts, tmp_path):
    rows = parts["test"].select(range(0, 120, 10))
    model, extractor = build_classifier("tiny-whisper", rows.features["label"].names, trainable="head")
    with torch.no_grad():
        model.classifier.weight.mul_(50)  # an untrained head would hide a difference
    cached = precompute(rows, model, extractor, frozen=True)
    assert cached["utterance_id"] == rows["utterance_id"], "the rows keep their order"
    np.testing.assert_allclose(
        predict_probabilities(model, extractor, cached), predict_probabilities(model, extractor, rows), atol=1e-5
    )


def test_another_encoder_or_another_setting_never_meets_a_stale_cache(parts):
    rows = parts["test"].select(range(4))
    labels = rows.features["label"].names
    model, extractor = build_classifier("tiny-whisper", labels, trainable="head")
    first = np.stack(precompute(rows, model, extractor, frozen=True)["layer_statistics"])
    changed = deepcopy(model)
    with torch.no_grad():
        changed.encoder.conv1.weight.mul_(2)
    other = np.stack(precompute(rows, changed, extractor, frozen=True)["layer_statistics"])
    assert np.abs(first - other).max() > 1e-3
    again = np.stack(precompute(rows, model, extractor, frozen=True)["layer_statistics"])
    np.testing.assert_array_equal(first, again)


def test_statistics_come_from_the_training_part_alone(parts):
    model, extractor = build_classifier("tiny-whisper", parts["train"].features["label"].names, trainable="head")
    rows = precompute(parts["train"].select(range(20)), model, extractor, frozen=True)
    fit_statistics(model, extractor, rows)
    statistics = np.stack(rows["layer_statistics"])
    np.testing.assert_allclose(model.mix.mean, statistics.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(model.mix.std, statistics.std(axis=0, ddof=1), rtol=1e-3, atol=1e-5)


def test_balanced_sampling_reaches_the_trainer(parts, tmp_path):
    labels = np.asarray(parts["train"]["label"])
    rows = parts["train"].select([*np.flatnonzero(labels == 0)[:40], *np.flatnonzero(labels == 1)[:4]])
    model, extractor = build_classifier("tiny-hubert", rows.features["label"].names)
    trainer = SERTrainer(
        model, arguments(tmp_path, balance="class"), train_dataset=rows, eval_dataset=None, processing_class=extractor
    )
    drawn = np.asarray(rows["label"])[list(trainer._get_train_sampler())]
    assert np.bincount(drawn).tolist() == [22, 22]


def group_norm_hubert(labels):
    """As hubert-base: its first layer looks at the padding too."""
    set_seed(0)
    config = HubertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, conv_dim=(16, 16),
        conv_stride=(10, 8), conv_kernel=(20, 8), num_feat_extract_layers=2, feat_extract_norm="group",
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    facts = {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}
    model = SpeechEncoderForAudioClassification(SpeechEncoderConfig(encoder=config.to_dict(), **facts))
    set_trainable(model, "head")
    return model.eval(), Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)


def test_what_is_cached_of_a_clip_does_not_depend_on_its_neighbours(parts):
    """Padding would change what a group norm makes of a clip; other people's clips would decide how much."""
    rows = parts["test"].select(range(0, 120, 10))
    model, extractor = group_norm_hubert(rows.features["label"].names)
    together = precompute(rows, model, extractor, frozen=True)
    for number in (0, 5, 11):
        alone = precompute(rows.select([number]), model, extractor, frozen=True)
        np.testing.assert_allclose(together[number]["layer_statistics"], alone[0]["layer_statistics"], atol=1e-6)


@pytest.mark.parametrize("change", ["extractor", "encoder"])
def test_settings_that_change_what_is_heard_never_meet_a_stale_cache(change, parts):
    rows = parts["test"].select(range(4))
    labels = rows.features["label"].names
    if change == "extractor":
        model, extractor = group_norm_hubert(labels)
        other, their_extractor = model, Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False)
    else:  # the same weights under another number of heads
        model, extractor = build_classifier("tiny-whisper", labels, trainable="head")
        config = deepcopy(model.config)
        config.encoder["encoder_attention_heads"] = 8
        other, their_extractor = type(model)(config), extractor
        other.load_state_dict(model.state_dict())
    first = precompute(rows, model, extractor, frozen=True)
    second = precompute(rows, other, their_extractor, frozen=True)
    assert np.abs(np.stack(first["layer_statistics"]) - np.stack(second["layer_statistics"])).max() > 1e-5
    with pytest.raises(CacheError, match="made by another encoder"):
        predict_probabilities(other, their_extractor, first)


@pytest.mark.parametrize("name", ["tiny-whisper", "test_resnet", "cnn"])
def test_a_model_that_was_trained_and_saved_still_knows_its_cache(name, parts, tmp_path):
    """Trainer and saving write into configurations and extractors what says nothing of the cached values."""
    rows = parts["test"].select(range(8))
    model, extractor = build_classifier(name, rows.features["label"].names, trainable="head")
    cached = precompute(rows, model, extractor, frozen=is_frozen(model))
    fit_statistics(model, extractor, cached)
    train(model, extractor, cached, tmp_path, max_steps=2, save_strategy="steps", save_steps=1)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    assert np.isfinite(predict_probabilities(model, extractor, cached)).all()


def test_a_training_that_starts_from_a_calibrated_model_ends_in_one_that_is_not(parts, tmp_path):
    """The record would be that of other weights: folded again on top of it, a temperature would be wrong."""
    model, extractor = build_classifier("tiny-hubert", parts["train"].features["label"].names)
    fold_temperature(model, 2.0)
    trainer = train(model, extractor, parts["train"].select(range(16)), tmp_path, max_steps=1)
    assert folded_temperature(model) is None
    trained = model.classifier.weight.clone()
    trainer.save_model()
    assert SETTING not in json.loads((tmp_path / "config.json").read_text())
    fold_temperature(model, 2.0)
    torch.testing.assert_close(model.classifier.weight, trained / 2)
