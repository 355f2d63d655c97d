"""What is special about `speech_encoder`: its poolings, its second head, and the encoders it stands on."""

import json
import subprocess
from copy import deepcopy

import numpy as np
import pytest
import torch
from datasets import Value
from tiny import TINY_ENCODERS
from transformers import (
    AutoFeatureExtractor,
    HubertConfig,
    HubertForSequenceClassification,
    HubertModel,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    set_seed,
)

from ser_hf import split
from ser_hf.audio import read_audio
from ser_hf.corpora import get_corpus
from ser_hf.data.precompute import precompute
from ser_hf.data.statistics import fit_statistics
from ser_hf.features.feature_extraction_whisper_encoder import WhisperEncoderFeatureExtractor
from ser_hf.inference.predict import predict_probabilities
from ser_hf.models.pretrained import ModelError, build_classifier, is_padding_invariant
from ser_hf.models.speech.configuration_speech_encoder import SpeechEncoderConfig
from ser_hf.models.speech.ssl_encoder import AttentiveStatisticsPooling, encode, weighted_statistics
from ser_hf.models.trainable import is_frozen
from ser_hf.training.arguments import SERTrainingArguments
from ser_hf.training.losses import ccc_loss
from ser_hf.training.trainer import SERTrainer

pytestmark = pytest.mark.slow

# Where emotions lie between calm and excited: only their order matters here.
AROUSAL = {"sadness": 0.1, "neutral": 0.3, "calm": 0.2, "disgust": 0.5, "happiness": 0.8, "fear": 0.7, "anger": 0.95}
LABELS = ["anger", "happiness", "neutral", "sadness"]
RATE = 16_000
POOLINGS = ("mean", "statistics", "attentive")


def build(name, pooling="attentive", trainable="full", **settings):
    set_seed(0)
    model, extractor = build_classifier(name, LABELS, trainable=trainable, settings={"pooling": pooling, **settings})
    return model.eval(), extractor


def inputs_of(extractor, lengths=(0.4, 1.0)):
    random = np.random.default_rng(0)
    waveforms = [random.normal(0, 0.1, round(seconds * RATE)).astype(np.float32) for seconds in lengths]
    return dict(extractor(waveforms, sampling_rate=RATE, padding=True, return_tensors="pt"))


# --- poolings ---------------------------------------------------------------------------------------------------------


def attentive_statistics(frames, pooling):
    """Okabe et al. (2018), equations 1 to 6, of one clip, in float64."""
    weight, bias, score = (tensor.detach().double().numpy() for tensor in pooling.parameters())
    energies = np.asarray([score[0] @ np.tanh(weight @ frame + bias) for frame in frames])
    shares = np.exp(energies) / np.exp(energies).sum()
    mean = sum(share * frame for share, frame in zip(shares, frames, strict=True))
    variance = sum(share * frame * frame for share, frame in zip(shares, frames, strict=True)) - mean * mean
    return np.concatenate([mean, np.sqrt(variance + 1e-7)])


def test_attentive_pooling_is_that_of_the_paper_and_padding_has_no_part_in_it():
    torch.manual_seed(0)
    pooling = AttentiveStatisticsPooling(6, 4)
    with torch.no_grad():
        for parameter in pooling.parameters():
            parameter.normal_()
    frames, lengths = torch.randn(3, 9, 6), (9, 1, 5)
    mask = (torch.arange(9) < torch.tensor(lengths)[:, None]).long()
    pooled = pooling(frames, mask).detach()
    for clip, length, found in zip(frames, lengths, pooled, strict=True):
        expected = attentive_statistics(clip[:length].double().numpy(), pooling)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    loud = torch.where(mask[..., None] == 0, 1e6, frames)
    torch.testing.assert_close(pooling(loud, mask).detach(), pooled, atol=0, rtol=0)
    equal = weighted_statistics(frames, mask / mask.sum(dim=1, keepdim=True))
    assert (pooled - equal)[0].abs().max() > 0.1, "some frames weigh more than others"


def test_a_unit_that_is_large_and_steady_is_pooled_without_loss_of_digits():
    """Some of Whisper's units are: mean of squares minus square of mean would be noise."""
    frames = torch.full((1, 50, 1), 300.0) + 0.01 * torch.randn(1, 50, 1)
    deviation = frames.double().std(correction=0)
    found = weighted_statistics(frames, torch.full((1, 50), 0.02))[0, 1]
    assert found == pytest.approx(deviation.item(), rel=0.02)


@pytest.mark.parametrize("name", ["tiny-hubert", "tiny-whisper"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_mix_starts_as_the_average_of_all_layers_standardised_by_the_training_part(name, pooling):
    model, extractor = build(name, pooling)
    inputs = inputs_of(extractor)
    statistics = model.embed(**inputs).detach() + 3
    random = np.random.default_rng(1)
    many = torch.as_tensor(random.normal(2, 5, (400, *model.cached_shape)), dtype=torch.float32).abs()
    model.fit_statistics(many)
    width = model.cached_shape[1] // 2
    if pooling == "attentive":
        means, deviations = many[..., :width].double(), many[..., width:].double()
        frames = model.mix(torch.stack([means[:, layer] for layer in range(means.shape[1])], dim=1)[:, :, None].float())
        # The mean of frames is that of the utterances' means, their variance that within plus that between utterances.
        spread = (deviations.square().mean(dim=0) + means.var(dim=0, correction=0)).sqrt()
        expected = ((means - means.mean(dim=0)) / spread).mean(dim=1)
        torch.testing.assert_close(frames[:, 0].double(), expected, atol=1e-4, rtol=1e-4)
    else:
        expected = ((statistics - many.mean(dim=0)) / many.std(dim=0)).mean(dim=1)
        torch.testing.assert_close(model.mix(statistics), expected, atol=1e-4, rtol=1e-4)


# --- heads ------------------------------------------------------------------------------------------------------------


def test_the_second_head_estimates_dimensions_and_stays_out_of_what_the_trainer_gathers():
    model, extractor = build("tiny-hubert", dimensions=True)
    inputs = inputs_of(extractor)
    output = model(**inputs)
    assert output.dimensions.shape == (2, 3)
    assert ((output.dimensions > 0) & (output.dimensions < 1)).all()
    assert output.embeddings.shape == (2, model.config.classifier_proj_size)
    torch.testing.assert_close(model.classifier(output.embeddings), output.logits)
    torch.testing.assert_close(model.regressor(output.embeddings).sigmoid(), output.dimensions)
    kept = [name for name in output if name not in model.config.keys_to_ignore_at_inference]
    assert kept == ["logits"]
    without, _ = build("tiny-hubert")
    assert without(**inputs).dimensions is None
    with pytest.raises(ValueError, match="pooling must be one of mean, statistics, attentive, not 'max'"):
        SpeechEncoderConfig(pooling="max")


def test_the_loss_takes_ids_shares_and_several_labels_at_once():
    model, extractor = build("tiny-hubert")
    inputs, ids = inputs_of(extractor), torch.tensor([2, 0])
    logits = model(**inputs).logits
    torch.testing.assert_close(model(**inputs, labels=ids).loss, -logits.log_softmax(-1)[[0, 1], ids].mean())
    shares = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    torch.testing.assert_close(
        model(**inputs, labels=shares).loss, -(shares * logits.log_softmax(-1)).sum(dim=-1).mean()
    )
    model.config.problem_type = "multi_label_classification"
    several = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 1]])
    chances = logits.sigmoid()
    expected = -(several * chances.log() + (1 - several) * (1 - chances).log()).mean()
    torch.testing.assert_close(model(**inputs, labels=several).loss, expected)


# --- frozen encoders --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parts(synthetic):
    return split(synthetic, "synthetic/si4", 0)


@pytest.mark.parametrize("name", ["tiny-wavlm", "tiny-whisper"])
@pytest.mark.parametrize("pooling", ["mean", "statistics"])
def test_a_frozen_encoder_scores_the_same_through_the_cache_and_on_the_fly(name, pooling, parts):
    rows = parts["test"].select(range(0, 120, 20))
    model, extractor = build_classifier(
        name, rows.features["label"].names, trainable="head", settings={"pooling": pooling}
    )
    with torch.no_grad():
        model.classifier.weight.mul_(50)  # an untrained head would hide a difference
    cached = precompute(rows, model, extractor, frozen=is_frozen(model))
    assert cached.features["layer_statistics"].shape == model.cached_shape
    fit_statistics(model, extractor, cached)
    np.testing.assert_allclose(
        predict_probabilities(model, extractor, cached), predict_probabilities(model, extractor, rows), atol=1e-4
    )


def test_attentive_pooling_caches_nothing_and_is_standardised_all_the_same(parts):
    rows = parts["train"].select(range(0, 480, 40))
    model, extractor = build_classifier(
        "tiny-whisper", rows.features["label"].names, trainable="head", settings={"pooling": "attentive"}
    )
    assert precompute(rows, model, extractor, frozen=True).column_names == rows.column_names
    fit_statistics(model, extractor, rows)
    frames = []
    for row in rows:
        inputs = extractor(read_audio(row["audio"], sampling_rate=RATE), sampling_rate=RATE, return_tensors="pt")
        with torch.inference_mode():
            states, _ = encode(model.eval().encoder, inputs["input_features"])
        frames.append(torch.stack(states, dim=1)[0].mean(dim=1))
    expected = torch.stack(frames).mean(dim=0)  # every utterance counts the same, however long
    torch.testing.assert_close(model.mix.mean, expected, atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="pass recordings, not layer_statistics"):
        model(layer_statistics=torch.zeros(1, *model.cached_shape))


def test_a_frozen_encoder_drops_nothing_while_its_head_learns():
    model, extractor = build("tiny-wavlm", trainable="head", statistics_dropout=0, classifier_dropout=0)
    for module in model.encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    inputs = inputs_of(extractor)
    torch.testing.assert_close(model.train()(**inputs).logits, model.eval()(**inputs).logits)
    learning, _ = build("tiny-wavlm", trainable="last1")
    assert learning.train().encoder.training


# --- checkpoints ------------------------------------------------------------------------------------------------------


def small_whisper(folder):
    model = WhisperForConditionalGeneration(WhisperConfig(
        d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=64, decoder_ffn_dim=64, max_source_positions=100, vocab_size=100, pad_token_id=0,
    ))  # fmt: skip
    model.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return model.model.encoder


def small_stock(name, folder):
    classifier, extractor = build_classifier(name, LABELS)
    body = deepcopy(classifier.base_model)
    body.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return body


@pytest.mark.parametrize("name", TINY_ENCODERS)
def test_stock_weights_survive_construction_saving_and_loading(name, tmp_path):
    set_seed(0)
    stock = small_whisper(tmp_path / "stock") if name == "tiny-whisper" else small_stock(name, tmp_path / "stock")
    model, extractor = build(str(tmp_path / "stock"), dimensions=True)
    model.save_pretrained(tmp_path / "ours")
    extractor.save_pretrained(tmp_path / "ours")
    again, _ = build_classifier(str(tmp_path / "ours"), LABELS)
    for name, tensor in stock.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], tensor), name
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    # The untrained head of a stock body: sound, although nothing of it was loaded.
    assert not model.mix.mean.any()
    assert (model.mix.std == 1).all()


def test_every_encoder_brings_its_own_extractor(tmp_path):
    for name, kind in (("tiny-hubert", Wav2Vec2FeatureExtractor), ("tiny-whisper", WhisperEncoderFeatureExtractor)):
        model, extractor = build(name)
        model.save_pretrained(tmp_path / name)
        extractor.save_pretrained(tmp_path / name)
        loaded = AutoFeatureExtractor.from_pretrained(tmp_path / name)
        assert type(loaded) is kind
        assert loaded.to_dict() == extractor.to_dict()
        facts = json.loads((tmp_path / name / "preprocessor_config.json").read_text())
        assert ("auto_map" in facts) == (name == "tiny-whisper"), "a stock extractor travels without code"


def test_a_whisper_body_and_its_extractor_load_as_code_where_there_is_no_ser_hf(prepared, tmp_path):
    model, extractor = build("tiny-whisper", "statistics", dimensions=True)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    script = """
import sys
sys.modules["ser_hf"] = None
import numpy, torch, transformers
model = transformers.AutoModelForAudioClassification.from_pretrained(".", trust_remote_code=True)
extractor = transformers.AutoFeatureExtractor.from_pretrained(".", trust_remote_code=True)
torch.manual_seed(0)
waveform = torch.randn(16000).numpy()
output = model(**extractor(waveform, sampling_rate=16000, return_tensors="pt"))
print(type(extractor).__module__.split(".")[-1], *output.dimensions[0].tolist())
"""
    ended = subprocess.run([*prepared.python, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    module, *found = ended.stdout.split()
    assert module == "feature_extraction_whisper_encoder"
    torch.manual_seed(0)
    inputs = extractor(torch.randn(RATE).numpy(), sampling_rate=RATE, return_tensors="pt")
    expected = model(**inputs).dimensions[0].detach()
    np.testing.assert_allclose([float(word) for word in found], expected, atol=1e-5)


def group_norm_hubert(folder):
    """Like hubert-base: group norm, layers that are dropped, no mask."""
    config = HubertConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, conv_dim=(16, 16),
        conv_stride=(10, 8), conv_kernel=(20, 8), num_feat_extract_layers=2, feat_extract_norm="group",
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, classifier_proj_size=16, layerdrop=0.9,
    )  # fmt: skip
    HubertModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder)
    return str(folder)


def test_group_norm_is_known_to_be_disturbed_by_padding_and_pooled_over_real_frames(tmp_path):
    model, extractor = build(group_norm_hubert(tmp_path))
    assert not is_padding_invariant(model, extractor)
    inputs = inputs_of(extractor)
    _, mask = encode(model.encoder, inputs["input_values"], inputs["attention_mask"])
    assert mask.sum(dim=1).tolist() == [79, 199]  # (samples - kernel) / stride + 1, twice


@pytest.mark.parametrize("settings", [{}, {"pooling": "mean"}])
def test_no_layer_is_dropped_where_all_are_mixed(settings, tmp_path):
    """hubert-base is published with a layerdrop of 0.1: the stock class fails on the first layer that it drops."""
    model, extractor = build_classifier(group_norm_hubert(tmp_path), LABELS, settings=settings)
    assert isinstance(model, HubertForSequenceClassification) == (not settings)
    inputs = inputs_of(extractor)
    for _ in range(5):
        assert model.train()(**inputs).logits.isfinite().all()


def test_settings_choose_the_family_and_unknown_ones_are_named(tmp_path):
    assert build_classifier("tiny-hubert", LABELS)[0].config.model_type == "hubert"
    assert build_classifier("tiny-whisper", LABELS)[0].config.pooling == "statistics"
    kept, _ = build_classifier("tiny-hubert", LABELS, settings={"final_dropout": 0.3})
    assert (kept.config.model_type, kept.config.final_dropout) == ("hubert", 0.3)
    for settings in ({"pooling": "mean"}, {"dimensions": True}):
        for name in TINY_ENCODERS:
            model, _ = build_classifier(name, LABELS, settings=settings)
            assert model.config.model_type == "ser_speech_encoder"
            assert list(model.config.id2label.values()) == LABELS
    with pytest.raises(ModelError, match="ser_speech_encoder has no setting 'poling'"):
        build_classifier("tiny-hubert", LABELS, settings={"dimensions": True, "poling": "mean"})
    with pytest.raises(ModelError, match="ser_spectrogram has no setting 'pooling'"):
        build_classifier("test_resnet", LABELS, settings={"pooling": "mean"})


def test_memory_is_traded_for_time_without_another_gradient():
    gradients = []
    for checkpointing in (False, True):
        model, extractor = build("tiny-whisper", statistics_dropout=0, classifier_dropout=0)
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.train()(**inputs_of(extractor), labels=torch.tensor([0, 1])).loss.backward()
        gradients.append(model.encoder.layers[0].fc1.weight.grad)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)


def test_emotions_and_dimensions_of_unseen_speakers_are_learnt_together(parts, tmp_path):
    """A frozen random encoder is enough; arousal, which the corpus lacks, is made from the emotion."""
    classes = parts["train"].features["label"].names
    low, high = get_corpus("synthetic").dimension_range
    arousal = low + (high - low) * np.asarray([AROUSAL[name] for name in classes])
    set_seed(0)
    model, extractor = build_classifier(
        "tiny-whisper", classes, trainable="head", settings={"pooling": "statistics", "dimensions": True}
    )
    rated = {}
    for name in ("train", "test"):
        rows = precompute(parts[name], model, extractor, frozen=True)
        felt = arousal[rows["label"]].tolist()
        rated[name] = rows.remove_columns("arousal").add_column("arousal", felt, feature=Value("float32"))
        rated[name].info.description = rows.info.description
    fit_statistics(model, extractor, rated["train"])
    options = SERTrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True, eval_strategy="no",
        save_strategy="no", load_best_model_at_end=False, logging_strategy="no", num_train_epochs=20,
        per_device_train_batch_size=32, learning_rate=3e-3,
    )  # fmt: skip
    trainer = SERTrainer(model, options, train_dataset=rated["train"], eval_dataset=None, processing_class=extractor)
    trainer.train()
    assert trainer.evaluate(rated["test"])["eval_uar"] > 0.7
    with torch.inference_mode():
        found = model.eval()(layer_statistics=torch.as_tensor(np.stack(rated["test"]["layer_statistics"]))).dimensions
    wanted = torch.as_tensor([[AROUSAL[classes[label]]] for label in rated["test"]["label"]])
    assert ccc_loss(found[:, 1:2], wanted) < 0.4  # a CCC of more than 0.6


@pytest.mark.real
def test_real_whisper_weights_survive_in_the_body(shared):
    folder = str(shared / "models/whisper-base-encoder")
    plain, _ = build_classifier(folder, LABELS)
    model, extractor = build(folder, trainable="last2")
    assert type(extractor) is WhisperEncoderFeatureExtractor
    for name, tensor in plain.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], tensor), name
