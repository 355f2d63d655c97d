"""The hybrid family: padding teaches nothing, filters begin as mel filters, and every input is made from one cache."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import HYBRIDS, TINY_MODELS
from transformers.audio_utils import mel_filter_bank

from ser_hf.data.cache_files import load_cache, save_cache
from ser_hf.data.cache_keys import CacheError
from ser_hf.data.collate import UtteranceCollator
from ser_hf.data.precompute import precompute
from ser_hf.data.statistics import fit_statistics
from ser_hf.inference.evaluate import evaluate
from ser_hf.inference.predict import predict_probabilities
from ser_hf.models.hybrid.learnable_front_end import LOWEST_HZ, LearnableFrontEnd
from ser_hf.models.hybrid.masked_layers import MaskedBatchNorm
from ser_hf.models.pretrained import ModelError, build_classifier
from ser_hf.models.trainable import set_trainable
from ser_hf.splits.split import get_protocol

LABELS = ["anger", "happiness", "neutral", "sadness"]
RATE = 16_000


def build(name, labels=LABELS, front_end=None, **settings):
    torch.manual_seed(0)
    tiny = TINY_MODELS[name]
    of_extractor = {**(tiny["front_end"] or {}), **(front_end or {})} or None
    return build_classifier(
        tiny["name_or_path"], labels, settings={**tiny["settings"], **settings}, front_end=of_extractor
    )


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


# --- padding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HYBRIDS)
def test_padding_changes_neither_gradients_nor_running_statistics(name):
    learned = []
    for padding in (0, 7000):
        still = {"sequence_dropout": 0.0} if "parallel" in name else {}
        model, extractor = build(name, conv_dropout=0.0, classifier_dropout=0.0, **still)
        batch = extractor([noise(0.9), noise(0.5, 1)], sampling_rate=RATE, padding=True, return_tensors="pt")
        shape = (0, 0, 0, padding // 320) if batch[model.main_input_name].dim() == 3 else (0, padding)
        # Float64: in float32 the order of summation alone moves a gradient by a thousandth.
        batch[model.main_input_name] = torch.nn.functional.pad(batch[model.main_input_name].double(), shape)
        batch["attention_mask"] = torch.nn.functional.pad(batch["attention_mask"], (0, shape[-1]))
        model.double().train()(**batch, labels=torch.tensor([0, 1])).loss.backward()
        learned.append({name: parameter.grad for name, parameter in model.named_parameters()})
        learned[-1] |= {name: buffer.clone() for name, buffer in model.named_buffers() if "running" in name}
    assert any("running_mean" in name and value.abs().max() > 1e-3 for name, value in learned[0].items())
    for name, value in learned[0].items():
        torch.testing.assert_close(
            value, learned[1][name], atol=1e-9, rtol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_what_stands_in_the_padding_is_not_looked_at():
    model, extractor = build("hybrid_parallel")
    batch = extractor([noise(0.9), noise(0.3, 1)], sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        scores = model.eval()(**batch).logits
        batch["input_features"][batch["attention_mask"] == 0] = 1e3
        torch.testing.assert_close(model(**batch).logits, scores, atol=0, rtol=0)


def test_batch_norm_has_the_statistics_of_the_real_frames():
    torch.manual_seed(0)
    norm, hidden, lengths = MaskedBatchNorm(3, momentum=1.0), torch.randn(2, 3, 5, 4), (5, 2)
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    normed = norm(hidden, mask)
    real = torch.cat([image[:, :length].flatten(1) for image, length in zip(hidden, lengths, strict=True)], dim=1)
    torch.testing.assert_close(norm.running_mean, real.mean(dim=1))
    torch.testing.assert_close(norm.running_var, real.var(dim=1))
    expected = (hidden - real.mean(dim=1)[:, None, None]) / real.std(dim=1, correction=0)[:, None, None]
    torch.testing.assert_close(normed, expected * mask[:, None, :, None], atol=1e-4, rtol=1e-4)
    assert not norm.eval()(hidden, mask)[1, :, 2:].any()


# --- filters that learn -----------------------------------------------------------------------------------------------


def test_the_filters_begin_as_mel_filters():
    front_end = LearnableFrontEnd(40, RATE)
    mel = mel_filter_bank(4097, 40, LOWEST_HZ, RATE / 2, RATE, norm=None, mel_scale="slaney")
    hertz = np.linspace(0, RATE / 2, 4097)
    np.testing.assert_allclose(front_end.centres_hz(), hertz[mel.argmax(axis=0)], atol=2)
    responses = np.abs(np.fft.fft(torch.complex(*front_end.filters().detach()[:, 0].chunk(2)), 8192))[:, :4097]
    np.testing.assert_allclose(hertz[responses.argmax(axis=1)], front_end.centres_hz(), atol=25)
    # As wide at half height, where the filter is short enough for its 25 ms.
    widths = [(hertz[row > row.max() / 2].max() - hertz[row > row.max() / 2].min()) for row in responses]
    expected = [(hertz[row > 0.5].max() - hertz[row > 0.5].min()) for row in mel.T]
    np.testing.assert_allclose(widths[20:], expected[20:], rtol=0.1)


@pytest.mark.parametrize("hertz", [300.0, 1000.0, 3500.0])
def test_a_tone_is_loudest_in_the_filter_that_is_centred_on_it(hertz):
    front_end = LearnableFrontEnd(40, RATE)
    tone = torch.sin(2 * np.pi * hertz * torch.arange(RATE) / RATE)[None]
    with torch.inference_mode():
        image, mask = front_end.eval()(tone, torch.ones(1, RATE, dtype=torch.bool))
    assert image.shape == (1, 1, 63, 40)
    assert mask.shape == (1, 63)
    nearest = (front_end.centres_hz() - hertz).abs().argmin()
    assert image[0, 0, 10:50].mean(dim=0).argmax() == nearest


def test_what_a_checkpoint_lacks_of_the_filters_is_mel_like_again(tmp_path):
    model, extractor = build("cnn-leaf")
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in weights.items() if not name.startswith("front_end.")},
        tmp_path / "model.safetensors", metadata={"format": "pt"},
    )  # fmt: skip
    again = type(model).from_pretrained(tmp_path)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, atol=0, rtol=0)


# --- what the network looks at ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("front_end", "channels", "bins"),
    [({}, 1, 80), ({"deltas": 2}, 3, 80), ({"coefficients": 13}, 1, 13), ({"coefficients": 20, "deltas": 1}, 2, 20)],
)
@pytest.mark.parametrize("name", ["parallel-blstm", "cnn-attention-lstm"])
def test_the_network_is_built_for_the_image_that_its_extractor_makes(name, front_end, channels, bins):
    model, extractor = build(name, front_end=front_end)
    assert (model.config.in_channels, model.config.feature_size) == (channels, bins)
    inputs = extractor(noise(0.4), sampling_rate=RATE, return_tensors="pt")
    image, _ = model.image_of(inputs["input_features"], None, inputs["attention_mask"])
    assert image.shape[1:] == (channels, inputs["input_features"].shape[1], bins)
    assert torch.equal(image[:, 0], inputs["input_features"][..., :bins])
    with torch.inference_mode():
        assert model.eval()(**inputs).logits.isfinite().all()
    with pytest.raises(ValueError, match=f"must have {channels} channels of {bins} bins"):
        model(torch.zeros(1, 9, 7))


def test_the_published_setting_of_the_parallel_network_is_kept_with_the_model(synthetic, tmp_path):
    """A crop, and a z-score of each of its cells with the statistics of the training part."""
    e1 = {"crop_seconds": 3.0, "feature_size": 128, "n_fft": 1024, "win_length": 1024, "hop_length": 256}
    labels = synthetic.features["label"].names
    model, extractor = build("hybrid_parallel", labels, front_end={**e1, "normalize": "cell"})
    train = precompute(synthetic.select(range(0, 900, 30)), model, extractor, frozen=False)
    fit_statistics(model, extractor, train)
    assert extractor.mean.shape == (188, 128)
    features = UtteranceCollator(extractor)(list(train))["input_features"]
    np.testing.assert_allclose(features[:, :20].mean(dim=0), 0, atol=1e-3)
    assert not np.allclose(extractor.mean[2], extractor.mean[20], atol=0.1)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    _, again = build_classifier(str(tmp_path), labels)
    np.testing.assert_array_equal(again.mean, extractor.mean)


# --- statistics of each speaker ---------------------------------------------------------------------------------------


@pytest.fixture
def per_speaker(synthetic):
    speakers = np.asarray(synthetic["speaker"])
    rows = np.concatenate([np.flatnonzero(speakers == speaker)[::6] for speaker in np.unique(speakers)[:3]])
    rows = synthetic.select(rows)
    model, extractor = build(
        "hybrid_stacked", rows.features["label"].names, front_end={"normalize": "speaker", "deltas": 1}
    )
    with torch.no_grad():  # an untrained head would hide a difference
        model.classifier.weight.mul_(20)
        model.classifier.bias.zero_()
    return rows, model.eval(), extractor


def test_a_speaker_scores_the_same_through_the_cache_of_all_and_through_their_own_recordings(per_speaker):
    rows, model, extractor = per_speaker
    together = predict_probabilities(model, extractor, precompute(rows, model, extractor, frozen=False))
    speakers = np.asarray(rows["speaker"])
    for speaker in np.unique(speakers):
        own = np.flatnonzero(speakers == speaker)
        np.testing.assert_allclose(predict_probabilities(model, extractor, rows.select(own)), together[own], atol=1e-5)
    lone = np.concatenate([predict_probabilities(model, extractor, rows.select([row])) for row in range(5)])
    assert np.abs(lone - together[:5]).max() > 0.01, "a lone clip has only its own statistics"


def test_what_a_report_says_of_a_model_that_knows_the_speakers_clips(per_speaker):
    rows, model, extractor = per_speaker
    protocol = get_protocol("synthetic/si4")
    facts = {"fold": 0, "seed": 0, "model_name": "cnn-lstm"}
    assert evaluate(model, extractor, rows, protocol, **facts).metadata.adaptation == "transductive"
    extractor.normalize = "utterance"
    assert evaluate(model, extractor, rows, protocol, **facts).metadata.adaptation == "none"


def test_training_on_recordings_that_nobody_has_looked_through_is_refused(per_speaker):
    rows, _, extractor = per_speaker
    with pytest.raises(ValueError, match="needs all recordings of each speaker"):
        UtteranceCollator(extractor)(list(rows.select(range(2))))


def test_a_recording_whose_speaker_nobody_knows_is_named(per_speaker):
    rows, model, extractor = per_speaker
    nameless = rows.select(range(3))
    nameless = nameless.map(
        lambda row, number: row | {"speaker": row["speaker"] if number < 2 else None}, with_indices=True
    )
    with pytest.raises(ValueError, match=f"{nameless[2]['utterance_id']} has no speaker"):
        precompute(nameless, model, extractor, frozen=False)


def test_one_saved_cache_serves_every_input_that_is_made_of_log_mels(per_speaker, tmp_path):
    rows, model, extractor = per_speaker
    labels = rows.features["label"].names
    save_cache(precompute(rows, model, extractor, frozen=False), tmp_path)
    for front_end in ({}, {"coefficients": 13, "deltas": 2}, {"normalize": "speaker"}, {"normalize": "utterance"}):
        model, extractor = build("cnn", labels, front_end=front_end)
        cached = precompute(load_cache(tmp_path, ["synthetic"], "five", {}), model, extractor, frozen=False)
        fresh = precompute(rows, model, extractor, frozen=False)
        for part in (cached, fresh):
            fit_statistics(model.eval(), extractor, part)
        expected = predict_probabilities(model, extractor, fresh)
        np.testing.assert_allclose(predict_probabilities(model, extractor, cached), expected, atol=1e-6)
    model, extractor = build("cnn", labels, front_end={"feature_size": 32})
    cached = load_cache(tmp_path, ["synthetic"], "five", {})
    with pytest.raises(CacheError, match="another encoder, front end"):
        precompute(cached, model, extractor, frozen=False)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cnn-lstm", {"settings": {"recurrence": "gru"}}, "recurrence must be lstm.* not 'gru'"),
        ("parallel-blstm", {"settings": {"sequence": "rnn"}}, "sequence must be transformer or blstm, not 'rnn'"),
        ("parallel-transformer", {"settings": {"kernels": [3, 4]}}, r"kernels must be odd sizes, .* not \[3, 4\]"),
        ("parallel-transformer", {"settings": {"d_model": 30}}, "d_model = 30 must be even and divisible"),
        ("cnn", {"settings": {"channels": [8]}}, r"not \[8\] and \[2, 2, 2\]"),
        ("cnn", {"settings": {"front_end": "sinc"}}, "front_end must be log_mel or leaf, not 'sinc'"),
        ("cnn", {"settings": {"feature_size": 40}}, "set front_end feature_size"),
        ("cnn", {"settings": {"front_end": "leaf"}, "front_end": {"deltas": 1}}, "leave the settings of log-mel"),
        ("cnn", {"settings": {"front_end": "leaf", "in_channels": 3}}, "has 1 channel, not 3"),
        ("cnn", {"settings": {"front_end": "leaf", "sampling_rate": 8000}}, "sampling_rate follows from the extractor"),
        ("cnn", {"settings": {"kernels": [3]}}, "no setting 'kernels'"),
        ("cnn", {"front_end": {"mel_bins": 3}}, "no setting 'mel_bins'"),
    ],
)
def test_what_does_not_fit_together_is_refused(name, options, message):
    with pytest.raises((ModelError, ValueError), match=message):
        build_classifier(name, LABELS, **options)


def test_the_wrong_input_is_named():
    model, _ = build("cnn-leaf")
    with pytest.raises(ValueError, match="front end leaf needs input_values"):
        model(input_features=torch.zeros(1, 9, 32))


def test_both_kinds_travel_with_all_their_files(tmp_path):
    for name in ("parallel-blstm", "cnn-leaf"):
        model, _ = build(name)
        model.save_pretrained(tmp_path / name)
        files = {path.name for path in (tmp_path / name).glob("*.py")}
        assert files >= {"modeling_hybrid.py", "masked_layers.py", "learnable_front_end.py", "configuration_hybrid.py"}
        assert json.loads((tmp_path / name / "config.json").read_text())["model_type"] == model.config.model_type


def test_layers_that_do_not_learn_keep_their_running_statistics():
    model, extractor = build("hybrid_stacked")
    set_trainable(model, "last1")
    model.train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers() if "running" in name}
    model(**extractor([noise(0.5), noise(0.7, 1)], sampling_rate=RATE, return_tensors="pt"))
    assert before
    for name, value in before.items():
        assert torch.equal(value, model.get_buffer(name)), name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_learnable_front_end_runs_in_half_precision(dtype):
    model, extractor = build("cnn-leaf")
    batch = extractor([noise(0.5)], sampling_rate=RATE, return_tensors="pt")
    full = model.eval()(**batch).logits.softmax(-1)
    batch["input_values"] = batch["input_values"].to(dtype)
    low = model.to(dtype)(**batch).logits.float().softmax(-1)
    torch.testing.assert_close(low, full, atol=0.1, rtol=0)
