"""Arousal, valence and dominance are answered as such: numbers under their names, never probabilities."""

import json

import numpy as np
import pytest
import torch
from answers import by_label
from conftest import write_tone
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification, Wav2Vec2Model

from ser_hf import Classifier
from ser_hf.audio import read_audio
from ser_hf.emotions import DIMENSIONS
from ser_hf.inference.bulk import predict_to_table
from ser_hf.inference.teacher import Teacher
from ser_hf.models.pretrained import ModelError, build_classifier
from ser_hf.models.speech_classification import Wav2Vec2ForSpeechClassification
from ser_hf.models.stock.builder import TINY, TINY_SIZES

RATE = 16_000
VALUES = ["arousal", "dominance", "valence"]
NAMED = {"id2label": dict(enumerate(VALUES)), "label2id": {name: number for number, name in enumerate(VALUES)}}
REFUSAL = "estimates values of arousal, dominance, valence, not probabilities of emotions: use a classifier"


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    return [str(write_tone(folder / f"{hertz}.wav", seconds=hertz / 400, hertz=hertz)) for hertz in (200, 300, 400)]


def with_dimensions(name="tiny-whisper"):
    torch.manual_seed(0)
    model, extractor = build_classifier(name, ["anger", "neutral"], settings={"dimensions": True})
    with torch.no_grad():  # an untrained head hides what a trained one shows
        model.regressor.weight.mul_(20)
    return Classifier(model, extractor)


def save_values(folder, model_class, **settings):
    """A model of other people that estimates values."""
    torch.manual_seed(0)
    model = model_class(TINY["tiny-wav2vec2"](**{**TINY_SIZES, **NAMED, **settings}))
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.mul_(20)
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return folder


@pytest.fixture(params=[{"problem_type": "regression"}, {}], ids=["said", "not said"])
def values(request, tmp_path):
    return save_values(tmp_path / "model", Wav2Vec2ForSequenceClassification, **request.param)


def logits_of(model, extractor, file):
    samples = read_audio(file, sampling_rate=RATE)
    with torch.inference_mode():
        return model(**extractor(samples, sampling_rate=RATE, return_tensors="pt"))


@pytest.mark.parametrize("name", ["tiny-whisper", "tiny-hubert"])
def test_the_second_head_is_answered_under_the_names_of_its_dimensions(name, tones):
    classifier = with_dimensions(name)
    found = classifier.dimensions(tones)
    for tone, answer in zip(tones, found, strict=True):
        expected = logits_of(classifier.model, classifier.extractor, tone).dimensions[0].tolist()
        assert list(answer) == list(DIMENSIONS)
        assert list(answer.values()) == pytest.approx(expected, abs=1e-5)
    assert np.std([list(answer.values()) for answer in found], axis=0).max() > 1e-4, "it hears nothing"


def test_one_recording_has_one_answer_and_a_generator_is_read_lazily(tones):
    classifier = with_dimensions()
    one, (same,) = classifier.dimensions(tones[0]), classifier.dimensions(iter(tones[:1]))
    assert one == pytest.approx(same)
    assert next(classifier.dimensions(iter([tones[0], *["nowhere.wav"] * 99]))) == pytest.approx(one)


def test_the_dimensions_of_a_long_recording_are_the_mean_over_its_windows(tones, tmp_path):
    classifier, long = with_dimensions(), write_tone(tmp_path / "long.wav", seconds=3)
    windows = classifier.dimensions([(RATE, part) for part in np.split(read_audio(str(long), sampling_rate=RATE), 3)])
    mean = {name: np.mean([one[name] for one in windows]) for name in DIMENSIONS}
    assert classifier.dimensions(str(long), window_seconds=1.0) == pytest.approx(mean, abs=1e-5)


def test_a_model_without_dimensions_says_so_in_one_sentence(tones):
    classifier = Classifier(*build_classifier("tiny-hubert", ["anger", "neutral"]))
    with pytest.raises(ModelError, match=r"estimates no valence, arousal and dominance: train with .*dimensions=true"):
        classifier.dimensions(tones)


def test_values_of_other_peoples_models_are_their_logits_in_the_order_of_their_labels(values, tones):
    classifier = Classifier.from_pretrained(values, device="cpu")
    found = classifier(tones)
    model = Wav2Vec2ForSequenceClassification.from_pretrained(values).eval()
    for tone, answer in zip(tones, found, strict=True):
        expected = logits_of(model, classifier.extractor, tone).logits[0].tolist()
        assert [entry["label"] for entry in answer] == VALUES
        assert [entry["score"] for entry in answer] == pytest.approx(expected, abs=1e-5)
    assert any(sorted(scores, reverse=True) != scores for scores in ([one["score"] for one in row] for row in found))
    assert classifier.dimensions(tones[0]) == pytest.approx(by_label(found[0]))


def test_a_published_head_that_transformers_lacks_gives_the_values_of_its_author(tones, tmp_path):
    """The mean over frames, a linear layer, tanh and a linear layer, as arXiv:2203.07378 and its model card have it."""
    folder = save_values(
        tmp_path / "model", Wav2Vec2ForSpeechClassification, problem_type="regression", pooling_mode="mean",
        do_stable_layer_norm=True, feat_extract_norm="layer",
    )  # fmt: skip
    classifier = Classifier.from_pretrained(folder, device="cpu")
    body, head = Wav2Vec2Model.from_pretrained(folder).eval(), classifier.model.state_dict()
    found = classifier.dimensions(tones)
    for tone, answer in zip(tones, found, strict=True):
        hidden = logits_of(body, classifier.extractor, tone).last_hidden_state[0].mean(dim=0)
        hidden = torch.tanh(head["classifier.dense.weight"] @ hidden + head["classifier.dense.bias"])
        expected = head["classifier.out_proj.weight"] @ hidden + head["classifier.out_proj.bias"]
        assert list(answer) == VALUES
        assert list(answer.values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert np.std([list(answer.values()) for answer in found], axis=0).max() > 1e-4, "it hears nothing"


def test_values_are_refused_where_probabilities_are_needed(values, tones, tmp_path, run_verb):
    classifier = Classifier.from_pretrained(values, device="cpu")
    with pytest.raises(ValueError, match="top_k: none of arousal, dominance, valence is better"):
        classifier(tones[0], top_k=1)
    with pytest.raises(ModelError, match=REFUSAL):
        classifier.probabilities(tones)
    with pytest.raises(ModelError, match=REFUSAL):
        predict_to_table(classifier, [(tone, tone) for tone in tones], tmp_path / "answers.csv")
    with pytest.raises(ModelError, match=REFUSAL):
        Teacher(str(values), None).refuse_unfit(["anger", "neutral"])
    code, _, told = run_verb("evaluate", values, "--corpus", "synthetic")
    assert code == 1
    assert f"ser-hf: {values} {REFUSAL}" in told


def test_the_command_line_prints_values_without_an_emotion(values, tones, run_verb, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    expected = Classifier.from_pretrained(values, device="cpu").dimensions(tones[0])
    code, printed, told = run_verb("predict", values, tones[0], bad, "--json")
    assert code == 1
    assert "bad.wav is not a sound file" in told
    assert json.loads(printed) == [
        {"file": tones[0], "values": pytest.approx(expected), "warning": None, "error": None}
    ]
    _, printed, _ = run_verb("predict", values, tones[0])
    assert printed == f"{tones[0]}  " + "  ".join(f"{name} {value:.3f}" for name, value in expected.items()) + "\n"
