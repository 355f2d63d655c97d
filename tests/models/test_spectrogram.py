"""The spectrogram family: pretrained weights stay what they are, and padding never changes a score."""

import json

import numpy as np
import pytest
import timm
import torch
from torch.utils.data import default_collate

from ser_hf.features.feature_extraction_log_mel import LogMelFeatureExtractor
from ser_hf.inference.classifier import Classifier
from ser_hf.models.pretrained import ModelError, build_classifier, is_padding_invariant
from ser_hf.models.spectrogram.builder import VGGISH_FRONT_END, convert_vggish
from ser_hf.models.spectrogram.vggish import VGGish, cut_into_patches
from ser_hf.models.trainable import encoder_layers

LABELS = ["anger", "happiness", "neutral", "sadness"]
RATE = 16_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


@pytest.fixture
def timm_checkpoint(tmp_path):
    """A folder as `timm.models.push_to_hf_hub` writes it, with three-channel weights."""

    def save(name, **facts):
        torch.manual_seed(1)
        model = timm.create_model(name, num_classes=10)
        timm.models.save_for_hf(model, tmp_path / name, model_config={"num_classes": 10})
        config = tmp_path / name / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **facts}))
        return str(tmp_path / name), model

    return save


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_pretrained_weights_survive_construction_and_saving(name, in_channels, timm_checkpoint, tmp_path):
    """`post_init` would draw every convolution anew; a stem for one channel is the sum over the three colours."""
    folder, theirs = timm_checkpoint(name)
    model, extractor = build_classifier(folder, LABELS, in_channels=in_channels)
    wanted = timm.create_model(name, num_classes=0, in_chans=in_channels).state_dict()
    assert model.backbone.state_dict().keys() == wanted.keys()
    for key, tensor in model.backbone.state_dict().items():
        original = theirs.state_dict()[key]
        if tensor.shape != original.shape:
            original = original.sum(dim=1, keepdim=True)
        torch.testing.assert_close(tensor, original, atol=1e-6, rtol=0)
    model.save_pretrained(tmp_path / "ours")
    extractor.save_pretrained(tmp_path / "ours")
    again, _ = build_classifier(str(tmp_path / "ours"), LABELS)
    for key, tensor in again.state_dict().items():
        torch.testing.assert_close(tensor, model.state_dict()[key], atol=0, rtol=0)


def test_three_equal_channels_of_a_grey_image_give_what_the_summed_stem_gives(timm_checkpoint):
    folder, _ = timm_checkpoint("test_resnet")
    one, extractor = build_classifier(folder, LABELS)
    three, _ = build_classifier(folder, LABELS, in_channels=3)
    three.classifier.load_state_dict(one.classifier.state_dict())
    inputs = extractor(noise(1.0), sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        torch.testing.assert_close(one.eval()(**inputs).logits, three.eval()(**inputs).logits, atol=1e-4, rtol=1e-4)


def test_a_checkpoint_that_heard_sound_brings_its_own_front_end(timm_checkpoint):
    facts = {
        "sampling_rate": RATE, "n_fft": 512, "win_length": 400, "hop_length": 160, "spectrum": "magnitude",
        "n_mels": 64, "fmin": 125.0, "fmax": 7500.0, "mel_scale": "htk", "mel_norm": None, "log": "ln(mel + 0.001)",
    }  # fmt: skip
    folder, _ = timm_checkpoint("test_resnet", feature_extraction=facts)
    _, extractor = build_classifier(folder, LABELS)
    assert (extractor.power, extractor.log_floor, extractor.do_normalize) == (1.0, 0.001, False)
    silence = extractor(np.zeros(RATE), sampling_rate=RATE)["input_features"]
    np.testing.assert_allclose(silence, np.log(0.001), rtol=1e-6)
    _, cropped = build_classifier(folder, LABELS, front_end={"crop_seconds": 2.0})
    assert cropped(noise(5.0), sampling_rate=RATE)["input_features"].shape == (1, 201, 64)


@pytest.mark.parametrize("name", ["test_resnet", "vggish"])
def test_clips_of_their_own_length_are_scored_in_batches_of_exactly_one_length(name):
    torch.manual_seed(0)
    model, extractor = build_classifier(name, LABELS, front_end={"crop_seconds": None})
    model.eval()
    with torch.no_grad():  # an untrained head hides the difference that a trained one shows
        model.classifier.weight.mul_(100)
    assert not is_padding_invariant(model, extractor)
    clips = [noise(seconds, seed) for seed, seconds in enumerate((0.3, 1.0, 2.5, 1.0))]
    alone = []
    for clip in clips:
        inputs = extractor(clip, sampling_rate=RATE, return_tensors="pt")
        with torch.inference_mode():
            alone.append(model(**inputs).logits[0].double().softmax(dim=-1).numpy())
    rows = [{"array": clip, "sampling_rate": RATE} for clip in clips]
    np.testing.assert_allclose(Classifier(model, extractor).probabilities(rows), alone, atol=1e-5)
    padded = extractor(clips, sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        together = model(**padded).logits.double().softmax(dim=-1).numpy()
    assert np.abs(together - alone).max() > 1e-3, "padding does disturb it, so the exact lengths are needed"


def test_cached_log_mels_are_scored_like_recordings(synthetic):
    from ser_hf.data.precompute import precompute
    from ser_hf.data.statistics import fit_statistics
    from ser_hf.inference.predict import predict_probabilities

    rows = synthetic.select(range(0, 900, 75))
    for crop_seconds in (None, 1.0):
        model, extractor = build_classifier("test_resnet", rows.features["label"].names,
                                            front_end={"crop_seconds": crop_seconds})  # fmt: skip
        cached = precompute(rows, model, extractor, frozen=False)
        fit_statistics(model, extractor, cached)
        assert extractor.mean.shape == (64,)
        with torch.no_grad():
            model.classifier.weight.mul_(100)
        np.testing.assert_allclose(
            predict_probabilities(model, extractor, cached), predict_probabilities(model, extractor, rows), atol=1e-5
        )


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "efficientnet_b2", "mobilenetv3_small_050", "vgg11"])
def test_the_usual_backbones_answer_a_second_of_speech(name):
    model, extractor = build_classifier(name, LABELS)
    with torch.inference_mode():
        logits = model.eval()(**extractor(noise(1.0), sampling_rate=RATE, return_tensors="pt")).logits
    assert logits.shape == (1, 4)
    assert logits.isfinite().all()
    assert sum(len(layer) for layer in encoder_layers(model)) == len(list(model.backbone.parameters()))


def test_gradient_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model, extractor = build_classifier("resnet18", LABELS)
        if checkpointing:
            model.gradient_checkpointing_enable()
        batch = default_collate([{"input_features": row} for row in extractor.log_mel([noise(1.0), noise(1.0, 1)])])
        torch.manual_seed(0)
        model.train()(**batch, labels=torch.tensor([0, 1])).loss.backward()
        gradients.append(model.backbone.conv1.weight.grad)
    torch.testing.assert_close(*gradients)


# --- VGGish -----------------------------------------------------------------------------------------------------------


def test_vggish_averages_the_embeddings_of_its_patches():
    torch.manual_seed(0)
    network, image = VGGish().eval(), torch.randn(1, 1, 3 * 96 + 40, 64)
    with torch.inference_mode():
        whole = network(image)
        patches = [network(image[:, :, start : start + 96]) for start in (0, 96, 192)]
    torch.testing.assert_close(whole, torch.stack(patches).mean(dim=0))
    assert cut_into_patches(torch.arange(10.0).view(1, 10, 1)).flatten()[:12].tolist() == [*range(10), 0, 1]


def test_the_public_vggish_weights_are_converted_and_others_are_refused(tmp_path):
    torch.manual_seed(0)
    # What torchvggish publishes: sixteen layers, named by their place, and three linear ones.
    published = VGGish().state_dict()
    assert {key.split(".")[1] for key in published if key.startswith("features")} == {"0", "3", "6", "8", "11", "13"}
    assert {key.split(".")[1] for key in published if key.startswith("embeddings")} == {"0", "2", "4"}
    torch.save(published, tmp_path / "vggish.pth")
    convert_vggish(tmp_path / "vggish.pth", tmp_path / "vggish")
    model, extractor = build_classifier(str(tmp_path / "vggish"), LABELS)
    for key, tensor in model.backbone.state_dict().items():
        torch.testing.assert_close(tensor, published[key], atol=0, rtol=0)
    fresh = LogMelFeatureExtractor(**VGGISH_FRONT_END)
    features = extractor(noise(1.0), sampling_rate=RATE)["input_features"]
    np.testing.assert_array_equal(features, fresh(noise(1.0), sampling_rate=RATE)["input_features"])
    published.pop("features.0.bias")
    torch.save(published, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"does not hold VGGish: .*features\.0\.bias"):
        convert_vggish(tmp_path / "other.pth", tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"front_end": {"mel_bins": 3}}, "no setting 'mel_bins'"),
        ("vggish", {"in_channels": 3}, "VGGish takes 1 channel"),
        ("vggish", {"front_end": {"feature_size": 40}}, "64 mel bins"),
        ("tiny-hubert", {"front_end": {"feature_size": 40}}, "has its own front end"),
        ("test_vit", {}, "use a convolutional backbone"),
        ("resnet1", {}, "there is no model 'resnet1'"),
    ],
)
def test_what_does_not_fit_together_is_refused(name, options, message):
    with pytest.raises((ModelError, ValueError), match=message):
        build_classifier(name, LABELS, **options)


@pytest.mark.parametrize("key", ["checkpoint_path", "pretrained", "pretrained_cfg_overlay", "cache_dir"])
def test_a_strangers_configuration_makes_nobody_read_or_fetch_a_file(key):
    from ser_hf.models.spectrogram.configuration_spectrogram import SpectrogramConfig
    from ser_hf.models.spectrogram.modeling_spectrogram import SpectrogramForAudioClassification

    with pytest.raises(ValueError, match=f"must not contain '{key}'"):
        SpectrogramForAudioClassification(SpectrogramConfig(backbone="test_resnet", backbone_args={key: "x"}))


# --- real weights -----------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_imagenet_weights_are_kept(shared):
    folder = shared / "models/tf_efficientnet_lite0"
    model, _ = build_classifier(str(folder), LABELS, in_channels=3)
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).state_dict()
    for key, tensor in model.backbone.state_dict().items():
        torch.testing.assert_close(tensor, theirs[key], atol=0, rtol=0)


@pytest.mark.real
def test_the_audioset_backbone_still_hears_speech_through_our_front_end(shared):
    """Its own 521 classes on a real utterance: the front end is the one that it was trained with."""
    from ser_hf.audio import read_audio

    folder = shared / "models/yamnet-timm-mobilenetv1_100"
    _, extractor = build_classifier(str(folder), LABELS)
    network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    waveform = read_audio(shared / "corpora/ravdess/Actor_05/03-01-05-02-01-01-05.flac")
    features = extractor(waveform, sampling_rate=RATE, return_tensors="pt")["input_features"]
    names = json.loads((folder / "config.json").read_text())["label_names"]
    with torch.inference_mode():
        probabilities = network(features[:, None]).sigmoid()[0]
    assert names[int(probabilities.argmax())] == "Speech"
    assert probabilities.max() > 0.9
