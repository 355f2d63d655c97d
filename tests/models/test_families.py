"""What every family promises, checked on small random models."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from answers import by_label
from conftest import write_tone
from tiny import TINY_MODELS
from transformers import (
    HubertConfig,
    HubertForSequenceClassification,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
    WhisperForConditionalGeneration,
    pipeline,
)

from ser_hf.inference.classifier import Classifier
from ser_hf.models.pretrained import ModelError, build_classifier, is_padding_invariant
from ser_hf.models.trainable import encoder_layers, is_frozen, set_trainable

LABELS = ["anger", "happiness", "neutral", "sadness"]
RATE = 16_000


@pytest.fixture
def waveforms():
    random = np.random.default_rng(0)
    return [random.normal(0, 0.1, round(seconds * RATE)).astype(np.float32) for seconds in (0.3, 1.0, 0.717)]


@pytest.fixture(params=TINY_MODELS)
def tiny(request):
    torch.manual_seed(0)
    model, extractor = build_classifier(labels=LABELS, **TINY_MODELS[request.param])
    if model.config.model_type == "ser_spectrogram":
        with torch.no_grad():  # as after some training: timm starts its residual branches at zero
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval(), extractor


def scores(model, extractor, waveforms):
    inputs = extractor(waveforms, sampling_rate=RATE, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return model(**inputs).logits


def test_a_clip_scores_the_same_alone_and_padded_in_a_batch(tiny, waveforms):
    model, extractor = tiny
    if is_padding_invariant(model, extractor):
        together = scores(model, extractor, waveforms)
        alone = torch.cat([scores(model, extractor, [waveform]) for waveform in waveforms])
    else:  # then every recording is scored by itself
        answers = Classifier(model, extractor)(waveforms)
        together = torch.tensor([[by_label(one)[label] for label in LABELS] for one in answers])
        alone = torch.cat([scores(model, extractor, [waveform]).softmax(dim=1) for waveform in waveforms])
    assert together.std() > 1e-3, "a model that answers always the same would pass"
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_a_stock_pipeline_gives_the_same_scores_in_batches(tiny, waveforms, tmp_path):
    model, extractor = tiny
    if not is_padding_invariant(model, extractor):
        pytest.skip("its scores depend on padding, in a stock pipeline too")
    model.config.head_is_trained = True
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    pipe = pipeline("audio-classification", str(tmp_path), device="cpu", trust_remote_code=True)
    alone, together = (pipe([*waveforms], top_k=None, batch_size=size) for size in (1, 8))
    for one, other in zip(alone, together, strict=True):
        scores_of = [{entry["label"]: entry["score"] for entry in entries} for entries in (one, other)]
        assert scores_of[0] == pytest.approx(scores_of[1], abs=1e-5)


@pytest.mark.parametrize("seconds", [0.3, 5.0, 61.0])
def test_any_length_is_answered(tiny, seconds):
    waveform = np.random.default_rng(1).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)
    assert scores(*tiny, [waveform]).isfinite().all()


def test_head_only_and_last_layers_leave_the_rest_alone(tiny):
    model, _ = tiny
    front, *layers = encoder_layers(model)
    inside = {id(parameter) for layer in (front, *layers) for parameter in layer}
    last1 = [("last1", 1)] if layers else []  # a model without an encoder is all head
    for trainable, learning in (("head", 0), *last1, ("encoder", len(layers)), ("full", len(layers))):
        set_trainable(model, trainable)
        learns = [all(parameter.requires_grad for parameter in layer) for layer in layers]
        assert learns == [False] * (len(layers) - learning) + [True] * learning
        assert any(parameter.requires_grad for parameter in front) == (trainable == "full" and bool(front))
        assert is_frozen(model) == (trainable == "head" or not layers)
        outside = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
        assert all(id(model.get_parameter(name)) in inside for name in outside), "the head always learns"
    with pytest.raises(
        ModelError, match=f"'last1' to 'last{len(layers)}'" if layers else "must be 'head', 'encoder' or 'full'"
    ):
        set_trainable(model, f"last{len(layers) + 1}")


def test_every_trainable_parameter_receives_a_gradient(tiny, waveforms):
    model, extractor = tiny
    inputs = extractor(waveforms, sampling_rate=RATE, padding=True, return_tensors="pt")
    model(**inputs, labels=torch.tensor([0, 1, 2])).loss.backward()
    # Stock models: the embedding of masked frames serves pre-training, and a mix of layers bypasses the last norm.
    unused = ["masked_spec_embed", "encoder.layer_norm.weight", "encoder.layer_norm.bias"]
    unused += ["regressor.weight", "regressor.bias"]  # class labels teach nothing about dimensions
    idle = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert [name for name in idle if not name.endswith(tuple(unused))] == []


# --- stock checkpoints ------------------------------------------------------------------------------------------------

SMALL_WHISPER = dict(
    d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
    encoder_ffn_dim=64, decoder_ffn_dim=64, max_source_positions=100, vocab_size=100, pad_token_id=0,
)  # fmt: skip


@pytest.mark.parametrize("stock", [WhisperForAudioClassification, WhisperForConditionalGeneration])
def test_stock_whisper_weights_survive_construction(stock, tmp_path):
    model = stock(WhisperConfig(**SMALL_WHISPER))
    model.save_pretrained(tmp_path)
    WhisperFeatureExtractor().save_pretrained(tmp_path)
    ours, _ = build_classifier(str(tmp_path), LABELS)
    theirs = {name.removeprefix("model."): tensor for name, tensor in model.state_dict().items()}
    for name, tensor in ours.encoder.state_dict().items():
        torch.testing.assert_close(tensor, theirs[f"encoder.{name}"], atol=0, rtol=0)
    # from_pretrained builds on the meta device: whatever the checkpoint lacks must still be sound.
    assert not ours.mix.mean.any()
    assert (ours.mix.std == 1).all()
    assert not ours.mix.layer_weights.any()


def test_stock_hubert_weights_survive_construction(tmp_path):
    model, extractor = build_classifier("tiny-hubert", LABELS)
    body = deepcopy(model.hubert.state_dict())
    model.hubert.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    again, _ = build_classifier(str(tmp_path), ["anger", "neutral"])
    for name, tensor in again.hubert.state_dict().items():
        torch.testing.assert_close(tensor, body[name], atol=0, rtol=0)


def test_a_stock_whisper_classifier_scores_as_in_a_stock_pipeline(waveforms, tmp_path):
    torch.manual_seed(0)
    sizes = {**SMALL_WHISPER, "max_source_positions": 1500}  # the stock encoder hears 30 seconds and nothing else
    model = WhisperForAudioClassification(WhisperConfig(**sizes, id2label=dict(enumerate(LABELS)))).eval()
    with torch.no_grad():  # an untrained head hides the difference that a trained one shows
        model.classifier.weight.mul_(100)
    model.save_pretrained(tmp_path)
    WhisperFeatureExtractor().save_pretrained(tmp_path)
    classifier = Classifier.from_pretrained(str(tmp_path), device="cpu")
    assert is_padding_invariant(classifier.model, classifier.extractor)
    found = classifier([{"array": waveform, "sampling_rate": RATE} for waveform in waveforms])
    pipe = pipeline("audio-classification", model=str(tmp_path), device="cpu")
    for ours, waveform in zip(map(by_label, found), waveforms, strict=True):
        theirs = by_label(pipe(waveform, top_k=None))
        assert ours == pytest.approx(theirs, abs=1e-6)
        assert max(ours.values()) > 0.3, "a model that hears nothing would pass"


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["tiny-hubert", "tiny-whisper"])
def test_a_checkpoint_stored_in_half_precision_is_scored_and_trained_in_single(name, stored, waveforms, tmp_path):
    model, extractor = build_classifier(name, LABELS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(stored))
    rows = [{"array": waveform, "sampling_rate": RATE} for waveform in waveforms]
    expected = Classifier(model, extractor).probabilities(rows)
    model.to(stored).save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    np.testing.assert_allclose(Classifier.from_pretrained(str(tmp_path), device="cpu").probabilities(rows), expected)
    again, _ = build_classifier(str(tmp_path), LABELS)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}


def test_whisper_windows_of_a_long_clip_are_pooled_together(tmp_path):
    """A clip of two windows has the mean of both windows' statistics, weighted by their real frames."""
    torch.manual_seed(0)
    model, extractor = build_classifier("tiny-whisper", LABELS)
    model.encoder.config.max_source_positions = 100  # two seconds
    waveform = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    inputs = extractor(waveform, sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        whole = model.eval().embed(**inputs)
        halves = [model.embed(inputs["input_features"][:, part]) for part in (slice(0, 200), slice(200, 300))]
    mean = model.encoder.config.d_model
    expected = (2 * halves[0][..., :mean] + halves[1][..., :mean]) / 3
    torch.testing.assert_close(whole[..., :mean], expected, atol=1e-5, rtol=0)


def test_group_norm_is_known_to_be_disturbed_by_padding_and_scored_without_it(waveforms):
    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, conv_dim=(16, 16),
        conv_stride=(10, 8), conv_kernel=(20, 8), num_feat_extract_layers=2, feat_extract_norm="group",
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, classifier_proj_size=16,
        id2label=dict(enumerate(LABELS)),
    )  # fmt: skip
    model = HubertForSequenceClassification(config).eval()
    with torch.no_grad():  # an untrained head hides the difference that a trained one shows
        model.classifier.weight.mul_(100)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    assert not is_padding_invariant(model, extractor)
    padded = scores(model, extractor, waveforms).softmax(dim=-1)
    alone = torch.cat([scores(model, extractor, [waveform]) for waveform in waveforms]).softmax(dim=-1)
    assert (padded - alone).abs().max() > 1e-4
    rows = [{"array": waveform, "sampling_rate": RATE} for waveform in waveforms]
    np.testing.assert_allclose(Classifier(model, extractor).probabilities(rows), alone.double(), atol=1e-6)


def test_a_recording_too_short_for_the_model_is_named_not_crashed_on():
    from ser_hf.audio import AudioError

    model, extractor = build_classifier("tiny-hubert", LABELS)
    for lengths in ((100,), (RATE, 100)):  # alone, and hidden in the padding of a batch
        rows = [{"array": np.ones(samples, np.float32), "sampling_rate": RATE} for samples in lengths]
        with pytest.raises(AudioError, match=rf"recording {len(rows)} of {len(rows)} lasts 6\.2 ms, too short"):
            Classifier(model, extractor).probabilities(rows)


def test_a_recording_too_short_for_the_model_is_called_by_its_path_or_the_name_given(tmp_path):
    from ser_hf.audio import AudioError

    write_tone(tmp_path / "blip.wav", seconds=0.005)
    classifier = Classifier(*build_classifier("tiny-hubert", LABELS))
    for source in (str(tmp_path / "blip.wav"), {"bytes": None, "path": str(tmp_path / "blip.wav")}):
        with pytest.raises(AudioError, match=r"blip\.wav lasts 5\.0 ms, too short"):
            classifier([source])
        with pytest.raises(AudioError, match=r"^crema-d/blip lasts 5\.0 ms"):
            classifier.probabilities([source], names=["crema-d/blip"])


# --- what is refused --------------------------------------------------------------------------------------------------


def test_an_untrained_head_is_refused_in_prediction(tmp_path):
    model, extractor = build_classifier("tiny-hubert", LABELS)
    model.hubert.save_pretrained(tmp_path / "encoder")
    extractor.save_pretrained(tmp_path / "encoder")
    with pytest.raises(ModelError, match="no trained emotion head"):
        Classifier.from_pretrained(str(tmp_path / "encoder"))
    model.config.head_is_trained = False
    model.save_pretrained(tmp_path / "early")
    extractor.save_pretrained(tmp_path / "early")
    with pytest.raises(ModelError, match="before it was trained"):
        Classifier.from_pretrained(str(tmp_path / "early"))


def test_other_labels_and_other_families_are_refused(tmp_path):
    model, extractor = build_classifier("tiny-hubert", LABELS)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="is trained for"):
        build_classifier(str(tmp_path), ["anger", "neutral"])
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="'bert' model, which is not supported; use one of hubert"):
        build_classifier(str(tmp_path), LABELS)
    with pytest.raises(ModelError, match="there is no model 'nowhere'"):
        build_classifier("nowhere", LABELS)


@pytest.mark.parametrize(
    ("name", "setting"),
    [("tiny-hubert", "final_dropout"), ("tiny-whisper", "classifier_dropout"), ("test_resnet", "classifier_dropout")],
)
def test_settings_reach_the_configuration_and_unknown_ones_are_refused(name, setting):
    model, _ = build_classifier(name, LABELS, settings={setting: 0.375})
    assert getattr(model.config, setting) == 0.375
    with pytest.raises(ModelError, match=f"has no setting '{setting}s': did you mean '{setting}'"):
        build_classifier(name, LABELS, settings={f"{setting}s": 0.375})


@pytest.mark.real
def test_real_whisper_weights_load_and_the_untrained_head_is_refused(shared):
    folder = str(shared / "models/whisper-base-encoder")
    model, _ = build_classifier(folder, LABELS, trainable="head")
    assert sum(p.numel() for p in model.encoder.parameters()) == pytest.approx(20.6e6, rel=0.01)
    with pytest.raises(ModelError, match="no trained emotion head"):
        Classifier.from_pretrained(folder)
