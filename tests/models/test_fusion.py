"""The fusion family: both views of a frame are what their sources say, of one moment, and what is cached is enough."""

import numpy as np
import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from ser_hf import split
from ser_hf.audio import AudioError
from ser_hf.data.precompute import precompute
from ser_hf.data.statistics import fit_statistics
from ser_hf.features.feature_extraction_fusion import FusionFeatureExtractor
from ser_hf.features.feature_extraction_log_mel import LogMelFeatureExtractor
from ser_hf.inference.classifier import Classifier
from ser_hf.inference.predict import predict_probabilities
from ser_hf.models.pretrained import build_classifier, is_padding_invariant
from ser_hf.models.trainable import is_frozen
from ser_hf.training.arguments import SERTrainingArguments
from ser_hf.training.trainer import SERTrainer

LABELS = ["anger", "happiness", "neutral", "sadness"]
RATE = 16_000
BINS = 128


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def build(**settings):
    torch.manual_seed(0)
    model, extractor = build_classifier("fusion", LABELS, settings=settings)
    return model.eval(), extractor


@pytest.fixture(scope="module")
def parts(synthetic):
    return split(synthetic, "synthetic/si4", 0)


@pytest.fixture
def group_norm_hubert(tmp_path):
    """An encoder as hubert-base is published: group norm, frames of 20 ms, waveforms of unit variance."""
    config = HubertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, conv_dim=(16, 16, 16),
        conv_stride=(10, 8, 4), conv_kernel=(20, 8, 4), num_feat_extract_layers=3, feat_extract_norm="group",
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    torch.manual_seed(1)
    HubertModel(config).save_pretrained(tmp_path / "hubert")
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(tmp_path / "hubert")
    return str(tmp_path / "hubert")


@pytest.mark.parametrize("body", ["tiny-hubert", "tiny-wav2vec2", "tiny-wavlm", "tiny-whisper"])
@pytest.mark.parametrize("layer", [1, 2])
def test_the_heard_layer_is_that_of_the_whole_encoder(body, layer):
    """Before a norm that closes the stack, which knows the last layer alone."""
    torch.manual_seed(0)
    model, extractor = build_classifier("fusion", LABELS, settings={"ssl": body, "ssl_layer": layer})
    torch.manual_seed(0)  # a fusion draws its encoder first
    stock, stock_extractor = build_classifier(body, LABELS)
    encoder = stock.encoder if body == "tiny-whisper" else stock.base_model
    seen = []
    layers = (encoder if body == "tiny-whisper" else encoder.encoder).layers
    layers[layer - 1].register_forward_hook(lambda _, inputs, outputs: seen.append(outputs))
    with torch.inference_mode():
        heard = model.eval().embed(**extractor(noise(1.0), sampling_rate=RATE, return_tensors="pt"))[0][:, BINS:]
        stock.eval()(**stock_extractor([noise(1.0)], sampling_rate=RATE, return_tensors="pt"))
    wanted = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    assert len((model.encoder if body == "tiny-whisper" else model.encoder.encoder).layers) == layer
    torch.testing.assert_close(heard, wanted[0], atol=1e-5, rtol=0)


def test_a_mix_of_all_layers_starts_as_their_standardised_average():
    model, extractor = build(ssl="tiny-hubert", ssl_layer=None, inputs="ssl")
    frames = model.embed(**extractor(noise(1.0), sampling_rate=RATE, return_tensors="pt"))[0].detach()
    model.fit_statistics([frames])
    standardised = (frames - frames.mean(0)) / frames.std(0, correction=0)
    mean = standardised.unflatten(1, (3, 64)).mean(1)
    torch.testing.assert_close(model.joined(frames[None])[0], mean, atol=1e-4, rtol=0)


@pytest.mark.parametrize("body", ["tiny-hubert", "tiny-whisper"])
def test_both_halves_of_a_frame_stand_for_the_same_moment(body):
    """A click changes the same frame of either most, give or take one."""
    model, extractor = build(ssl=body)
    without, clicked = noise(2.0), noise(2.0)
    clicked[round(1.3 * RATE) :][:16] += 0.5
    before, after = (
        model.embed(**extractor(waveform, sampling_rate=RATE, return_tensors="pt"))[0].detach()
        for waveform in (without, clicked)
    )
    hop = extractor.front_end.hop_length
    log_mel = LogMelFeatureExtractor(hop_length=hop, do_normalize=False).log_mel(without)[0]
    torch.testing.assert_close(before[:, :BINS], log_mel[: len(before)], atol=1e-5, rtol=0)
    for half in (after - before).split([BINS, 64], dim=1):
        assert abs(int(half.norm(dim=1).argmax()) - 1.3 * RATE / hop) <= 1


def test_waveforms_are_normalised_as_the_checkpoint_was_trained(group_norm_hubert):
    _, extractor = build(ssl=group_norm_hubert)
    stock = Wav2Vec2FeatureExtractor.from_pretrained(group_norm_hubert)
    clips = [noise(1.0), 0.1 * noise(0.4)]
    heard = extractor(clips, sampling_rate=RATE)["input_values"]
    for clip, row in zip(clips, heard, strict=True):
        np.testing.assert_allclose(row[: len(clip)], stock(clip, sampling_rate=RATE)["input_values"][0], atol=1e-5)
        assert not row[len(clip) :].any()


def test_group_norm_is_known_to_be_disturbed_by_padding(group_norm_hubert):
    assert not is_padding_invariant(*build(ssl=group_norm_hubert))
    assert is_padding_invariant(*build(ssl="tiny-hubert"))


def test_a_convolution_sees_as_far_as_its_dilations_say():
    model, _ = build(inputs="log_mel")
    frames = torch.randn(1, 101, BINS)
    changed = frames.clone()
    changed[0, 50] += 1
    with torch.inference_mode():
        before, after = (_convolved(model, clip) for clip in (frames, changed))
    reach = (before - after).abs().sum(-1)[0].nonzero().flatten().tolist()
    assert (reach[0], reach[-1]) == (50 - 15, 50 + 15)


def _convolved(model, frames):
    hidden = model.projection(model.joined(frames))
    for block in model.blocks:
        hidden = block(hidden, torch.ones_like(frames[..., :1]))
    return hidden


@pytest.mark.parametrize(
    "settings",
    [{"ssl": "tiny-whisper"}, {"ssl": "tiny-hubert", "ssl_layer": None}, {"inputs": "log_mel"}],
    ids=["one layer", "all layers", "log-mel"],
)
def test_cached_frames_score_as_recordings_do(settings, parts):
    rows = parts["test"].select(range(0, 120, 10))
    torch.manual_seed(0)
    model, extractor = build_classifier("fusion", rows.features["label"].names, trainable="head", settings=settings)
    with torch.no_grad():
        model.classifier.weight.mul_(50)  # an untrained head would hide a difference
    cached = precompute(rows, model, extractor, frozen=is_frozen(model))
    assert "frames" in cached.column_names
    fit_statistics(model, extractor, cached)
    frames = np.concatenate([row["frames"] for row in cached]).astype(np.float64)
    np.testing.assert_allclose(model.joined.mean, frames.mean(0), atol=1e-4)
    np.testing.assert_allclose(model.joined.std, np.maximum(frames.std(0), 1e-3), rtol=1e-3)
    probabilities = predict_probabilities(model, extractor, cached)
    assert probabilities.std(axis=0).max() > 1e-3
    np.testing.assert_allclose(probabilities, predict_probabilities(model, extractor, rows), atol=1e-4)


def test_another_layer_never_meets_the_frames_of_this_one(parts):
    rows = parts["test"].select(range(3))
    found = []
    for layer in (1, 2):
        torch.manual_seed(0)
        settings = {"ssl": "tiny-whisper", "ssl_layer": layer}
        model, extractor = build_classifier("fusion", LABELS, trainable="head", settings=settings)
        found.append(precompute(rows, model, extractor, frozen=True)[0]["frames"])
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_a_trainer_gathers_scores_alone_and_the_classifier_looks_at_the_embeddings(parts, tmp_path):
    rows = parts["test"].select(range(4))
    model, extractor = build_classifier("fusion", rows.features["label"].names, settings={"inputs": "log_mel"})
    arguments = SERTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True)
    trainer = SERTrainer(model, arguments, train_dataset=rows, eval_dataset=rows, processing_class=extractor)
    assert trainer.predict(rows).predictions.shape == (4, 5)
    outputs = model.eval()(**extractor(noise(1.0), sampling_rate=RATE, return_tensors="pt"))
    assert outputs.embeddings.shape == (1, model.config.embedding_size)
    torch.testing.assert_close(model.classifier(outputs.embeddings), outputs.logits)


def test_statistics_and_weights_come_back_from_a_saved_folder(tmp_path):
    model, extractor = build(ssl="tiny-whisper")
    model.fit_statistics(model.embed(**extractor([noise(1.0), noise(0.5)], sampling_rate=RATE, return_tensors="pt")))
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    again, _ = build_classifier(str(tmp_path), LABELS)
    assert model.joined.mean.any()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, atol=0, rtol=0)


def test_a_frozen_encoder_answers_the_same_while_the_head_trains():
    model, extractor = build_classifier("fusion", LABELS, settings={"ssl": "tiny-hubert"}, trainable="head")
    for module in model.encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    batch = extractor(noise(1.0), sampling_rate=RATE, return_tensors="pt")
    model.train()
    torch.testing.assert_close(model.embed(**batch)[0], model.eval().embed(**batch)[0], atol=0, rtol=0)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_recording_too_short_for_the_encoder_is_named():
    rows = [{"array": np.ones(samples, np.float32), "sampling_rate": RATE} for samples in (RATE, 100)]
    with pytest.raises(AudioError, match=r"recording 2 of 2 lasts 6\.2 ms, too short"):
        Classifier(*build(ssl="tiny-hubert")).probabilities(rows)
    assert Classifier(*build(inputs="log_mel")).probabilities(rows).shape == (2, 4)


@pytest.mark.parametrize(
    ("settings", "front_end", "message"),
    [
        ({}, None, "inputs=both needs an encoder"),
        ({"inputs": "log_mel", "ssl": "tiny-hubert"}, None, "leave ssl out"),
        ({"inputs": "ssl", "ssl": "tiny-hubert"}, {"feature_size": 64}, "leave front_end out"),
        (
            {"inputs": "everything", "ssl": "tiny-hubert"},
            None,
            "inputs must be one of both, log_mel, ssl, not 'everything'",
        ),
        ({"ssl": "tiny-hubert", "ssl_layer": 3}, None, "ssl_layer must be 1 to 2 for this encoder, not 3"),
        ({"ssl": "tiny-whisper"}, {"hop_length": 160}, "must be 320 samples, a frame of this encoder, not 160"),
        ({"ssl": "tiny-whisper"}, {"crop_seconds": 3.0}, "crop_seconds cannot be used in this family"),
        ({"inputs": "log_mel", "kernel_size": 4}, None, "kernel_size must be an odd number, not 4"),
        ({"inputs": "log_mel", "dilation": [1]}, None, "has no setting 'dilation': did you mean 'dilations'"),
        ({"ssl": "nowhere"}, None, "there is no model 'nowhere'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, front_end, message):
    with pytest.raises(ValueError, match=message):
        build_classifier("fusion", LABELS, settings=settings, front_end=front_end)


@pytest.mark.parametrize(
    ("waveform", "rate", "message"),
    [
        (noise(0.1), 8000, "this model needs 16000 Hz, not 8000 Hz"),
        (np.zeros(0, np.float32), RATE, "of shape"),
        (np.zeros(10, np.int16), RATE, "waveform 0 of the batch must be floats .* not int16"),
        (np.full(800, np.nan), RATE, "waveform 0 of the batch has NaN"),
    ],
)
def test_what_is_no_waveform_is_refused(waveform, rate, message):
    _, extractor = build(ssl="tiny-hubert", inputs="ssl")
    with pytest.raises(ValueError, match=message):
        extractor(waveform, sampling_rate=rate)


def test_an_extractor_that_hears_nothing_or_contradicts_itself_is_refused():
    with pytest.raises(ValueError, match="needs front_end, ssl, or both"):
        FusionFeatureExtractor()
    with pytest.raises(ValueError, match="LogMelFeatureExtractor needs 8000 Hz, but the waveforms are at 16000 Hz"):
        FusionFeatureExtractor(front_end={"sampling_rate": 8000, "do_normalize": False})
    with pytest.raises(ValueError, match=r"feature_extractor_type must be one of .* not None"):
        FusionFeatureExtractor(ssl={"do_normalize": True})


@pytest.mark.parametrize("ssl", ["cnn", "test_resnet"])
def test_networks_without_a_speech_encoder_are_no_half_of_a_fusion(ssl):
    with pytest.raises(ValueError, match="use a HuBERT, wav2vec2, WavLM or Whisper checkpoint"):
        build_classifier("fusion", ["anger", "neutral"], settings={"ssl": ssl})


def test_deltas_of_the_log_mel_frames_are_heard_too():
    settings = {"inputs": "log_mel"}
    model, extractor = build_classifier(
        "fusion", ["anger", "neutral"], settings=settings, front_end={"feature_size": 20, "deltas": 1}
    )
    batch = extractor([np.zeros(8000, np.float32)], sampling_rate=16_000, return_tensors="pt")
    assert batch["input_features"].shape[-1] == 40
    assert model(**batch).logits.shape == (1, 2)
