"""Frames are what the encoder gives for them, and lie where the sound is that they are computed from."""

import numpy as np
import pytest
import torch
from tiny import TINY_ENCODERS, TINY_MODELS
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForAudioClassification

from ser_hf.inference.classifier import Classifier
from ser_hf.models.family import ModelError
from ser_hf.models.pretrained import build_classifier

RATE = 16_000
LABELS = ["anger", "neutral", "sadness"]


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def classifier_of(**how):
    torch.manual_seed(0)
    return Classifier(*build_classifier(labels=LABELS, **how))


@pytest.mark.parametrize("name", TINY_ENCODERS)
def test_a_frame_does_not_depend_on_what_else_is_asked_for(name):
    classifier = classifier_of(name_or_path=name)
    sounds = [noise(0.5), noise(1.3, 1), noise(0.7, 2)]
    together = classifier.embeddings(sounds, frames=True)
    assert [len(found.vectors) for found in together] == [len(found.seconds) for found in together]
    for sound, found in zip(sounds, together, strict=True):
        alone = classifier.embeddings(sound, frames=True)
        np.testing.assert_array_equal(found.vectors, alone.vectors)
        step = np.diff(found.seconds).mean()
        assert 0 <= found.seconds[0] < 2 * step, "from the start"
        assert -step < sound.size / RATE - found.seconds[-1] < 2 * step, "to the end"
    lazy = classifier.embeddings((sound for sound in sounds), frames=True)
    np.testing.assert_array_equal(next(lazy).vectors, together[0].vectors)


@pytest.mark.parametrize("name", ["tiny-hubert", "tiny-wav2vec2", "tiny-wavlm"])
def test_frames_of_a_stock_encoder_are_its_last_hidden_state_in_the_middle_of_what_it_sees(name):
    classifier, sound = classifier_of(name_or_path=name), noise(0.6)
    encoder = getattr(classifier.model, name.removeprefix("tiny-"))
    found = classifier.embeddings(sound, frames=True)
    given = classifier.extractor(sound, sampling_rate=RATE, return_tensors="pt").input_values
    with torch.inference_mode():
        np.testing.assert_allclose(found.vectors, encoder(given).last_hidden_state[0], atol=1e-5)

    # Group norm looks at everything; without it a frame of the convolutions sees the samples that its gradient names.
    for layer in encoder.feature_extractor.conv_layers:
        layer.layer_norm = torch.nn.Identity()
    waveform = given.clone().requires_grad_()
    frame = 7
    encoder.feature_extractor(waveform)[0, :, frame].sum().backward()
    seen = waveform.grad[0].nonzero()
    assert found.seconds[frame] * RATE == pytest.approx((seen.min() + seen.max()).item() / 2)


def test_frames_of_whisper_are_centred_on_every_second_spectrum():
    classifier, sound = classifier_of(name_or_path="tiny-whisper"), noise(0.6)
    found, frame = classifier.embeddings(sound, frames=True), 7
    features = torch.randn(1, 60, classifier.extractor.feature_size, requires_grad=True)
    encoder = classifier.model.encoder
    encoder.conv2(encoder.conv1(features.mT))[0, :, frame].sum().backward()
    seen = features.grad[0].abs().sum(dim=1).nonzero()
    assert found.seconds[frame] * RATE == (seen.min() + seen.max()).item() / 2 * classifier.extractor.hop_length


def test_a_stock_whisper_has_frames_only_where_there_is_sound():
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, num_labels=len(LABELS),
        id2label=dict(enumerate(LABELS)), num_mel_bins=16,
    )  # fmt: skip
    model, extractor = WhisperForAudioClassification(config).eval(), WhisperFeatureExtractor(feature_size=16)
    found = Classifier(model, extractor).embeddings(noise(0.61), frames=True)
    features = extractor(noise(0.61), sampling_rate=RATE, return_tensors="pt").input_features
    with torch.inference_mode():
        wanted = model.encoder(features).last_hidden_state[0, :31]
    assert len(found.vectors) == 31, "of 20 ms: 0.61 s and no silence after it"
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["fusion-hubert", "fusion-ssl", "statistics-whisper"])
def test_every_family_with_a_speech_encoder_gives_its_frames(name):
    classifier = classifier_of(**TINY_MODELS[name])
    found = classifier.embeddings(noise(0.5), frames=True)
    assert found.vectors.shape[1] == classifier.model.encoder.config.hidden_size
    assert len(found.vectors) in (18, 25)


@pytest.mark.parametrize("name", ["cnn", "spectrogram", "fusion-log-mel"])
def test_a_model_without_speech_encoder_has_no_frames_and_says_so(name):
    with pytest.raises(ModelError, match=r"has no speech encoder, .*leave frames out"):
        classifier_of(**TINY_MODELS.get(name, {"name_or_path": name})).embeddings(noise(0.5), frames=True)
