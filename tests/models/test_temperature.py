"""A temperature in the weights: exact in every family, once however often it is folded, and in every pipeline."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY_MODELS, build_svm
from torch import nn
from transformers import AutoModelForAudioClassification

from ser_hf.evaluation.chapters.calibration import expected_calibration_error, tempered
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.inference.evaluate import calibrate, evaluate
from ser_hf.models.pretrained import ModelError, build_classifier
from ser_hf.models.temperature import SETTING, emotion_layer, fold_temperature, folded_temperature, forget_temperature
from ser_hf.splits.split import get_protocol
from ser_hf.training.fitted.svm import fit_svm

pytestmark = pytest.mark.slow

LABELS = ["anger", "happiness", "neutral", "sadness"]
RATE = 16_000


def clips():
    random = np.random.default_rng(0)
    return [random.normal(0, 0.1, round(seconds * RATE)).astype(np.float32) for seconds in (0.3, 1.0, 0.717)]


@pytest.fixture(params=[*TINY_MODELS, "svm"], scope="module")
def tiny(request):
    """A model of each family whose scores differ as after some training."""
    torch.manual_seed(0)
    if request.param == "svm":
        model, extractor = build_svm(None, LABELS)
        middle = model.embed(**extractor(clips(), sampling_rate=RATE, return_tensors="pt")).mean(dim=0).numpy()
        labels, random = np.resize(np.arange(4), 120), np.random.default_rng(0)
        vectors = middle * (1 + 0.1 * random.normal(size=(120, len(middle))) + 0.1 * labels[:, None])
        fit_svm(model, vectors.astype(np.float32), labels, np.resize(np.repeat(np.arange(6), 4), 120))
        return model, extractor
    model, extractor = build_classifier(labels=LABELS, **TINY_MODELS[request.param])
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear) and layer.out_features == len(LABELS):
                layer.weight.mul_(20)
                layer.bias.normal_()
    return model.eval(), extractor


@pytest.fixture
def as_trained(tiny):
    """The model, handed back as it was."""
    before = {name: tensor.clone() for name, tensor in tiny[0].state_dict().items()}
    yield tiny
    tiny[0].load_state_dict(before)
    forget_temperature(tiny[0])


def test_the_emotion_layer_is_given_what_the_logits_are_a_linear_function_of(tiny):
    """And what a family calls its embeddings; domain adaptation aligns it."""
    model, extractor = tiny
    if model.config.model_type == "ser_svm":
        with pytest.raises(ModelError, match="no linear layer `classifier` with 4 outputs"):
            emotion_layer(model)
        return
    layer, seen = emotion_layer(model), []
    hook = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        outputs = model(**extractor(clips(), sampling_rate=RATE, padding=True, return_tensors="pt"))
        hook.remove()
        (embeddings,) = seen
        assert embeddings.shape == (3, layer.in_features)
        torch.testing.assert_close(layer(embeddings), outputs.logits)
    if "embeddings" in outputs:
        torch.testing.assert_close(embeddings, outputs.embeddings)


def outputs(model, extractor):
    inputs = extractor(clips(), sampling_rate=RATE, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return model(**inputs)


def test_folding_divides_the_logits_and_nothing_else(as_trained):
    model, _ = as_trained
    before = outputs(*as_trained)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert folded_temperature(model) is None
    fold_temperature(model, 1.7)
    after = outputs(*as_trained)
    assert before.logits.std() > 0.05, "a model without an opinion would pass"
    torch.testing.assert_close(after.logits, before.logits / 1.7, atol=1e-5, rtol=1e-5)
    assert (after.logits.argmax(dim=-1) == before.logits.argmax(dim=-1)).all()
    if "dimensions" in before:
        torch.testing.assert_close(after.dimensions, before.dimensions, atol=0, rtol=0)
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, weights[name])]
    assert len(changed) == 2, "weight and bias of one layer"
    assert folded_temperature(model) == 1.7


def test_a_temperature_is_that_of_the_trained_model_however_often_it_is_folded(as_trained):
    model, _ = as_trained
    trained = outputs(*as_trained).logits
    fold_temperature(model, 1.7)
    once = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fold_temperature(model, 1.7)
    assert all(torch.equal(tensor, once[name]) for name, tensor in model.state_dict().items())
    for temperature in (0.6, 2.5, 1.0):  # another one takes its place, and 1 is what was trained
        fold_temperature(model, temperature)
        torch.testing.assert_close(outputs(*as_trained).logits, trained / temperature, atol=1e-4, rtol=1e-5)
    assert folded_temperature(model) == 1.0


@pytest.fixture(scope="module")
def in_stock_pipelines(prepared, tmp_path_factory):
    """What stock pipelines answer for every family, one process without ser_hf for all of them."""
    root = tmp_path_factory.mktemp("folded")
    wanted = {}
    for name, settings in TINY_MODELS.items():
        torch.manual_seed(0)
        model, extractor = build_classifier(labels=LABELS, **settings)
        model.eval()
        model.save_pretrained(root / f"{name}, as trained")
        extractor.save_pretrained(root / f"{name}, as trained")
        fold_temperature(model, 0.01)  # untrained scores are nearly even: what is folded must show
        model.save_pretrained(root / name)
        extractor.save_pretrained(root / name)
        inputs = extractor(clips()[1:2], sampling_rate=RATE, padding=True, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**inputs).logits[0]
        wanted[name] = logits.softmax(dim=-1).tolist(), (0.01 * logits).softmax(dim=-1).tolist()
    np.save(root / "waveform.npy", clips()[1])
    script = f"""
import json, sys
sys.modules["ser_hf"] = None  # an import of it would fail
import numpy, transformers
answers = {{}}
for name in {[f"{name}{kind}" for name in wanted for kind in ("", ", as trained")]}:
    needs_code = "auto_map" in json.load(open(name + "/config.json"))
    classify = transformers.pipeline("audio-classification", model="./" + name, trust_remote_code=needs_code)
    assert needs_code == json.load(open(name + "/config.json"))["model_type"].startswith("ser_")
    answers[name] = {{row["label"]: row["score"] for row in classify(numpy.load("waveform.npy"), top_k=None)}}
print(json.dumps(answers))
"""
    ended = subprocess.run([*prepared.python, "-c", script], cwd=root, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return root, wanted, json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", TINY_MODELS)
def test_a_stock_pipeline_without_ser_hf_gives_the_scores_as_trained_and_calibrated(in_stock_pipelines, name):
    root, wanted, answers = in_stock_pipelines
    calibrated, trained = wanted[name]
    assert answers[name] == pytest.approx(dict(zip(LABELS, calibrated, strict=True)), abs=1e-4)
    assert answers[f"{name}, as trained"] == pytest.approx(dict(zip(LABELS, trained, strict=True)), abs=1e-5)
    config = json.loads(Path(root, name, "config.json").read_text())
    assert config[SETTING] == 0.01
    again = AutoModelForAudioClassification.from_pretrained(root / name)
    fold_temperature(again, 0.01)  # read back, it is known to be folded
    assert folded_temperature(again) == 0.01
    if name != "test_efficientnet":  # untrained residual branches of timm start at zero: hardly an opinion
        assert np.abs(np.asarray(calibrated) - trained).max() > 0.02
    elsewhere = again.state_dict()
    saved = AutoModelForAudioClassification.from_pretrained(root / name).state_dict()
    assert all(torch.equal(elsewhere[key], saved[key]) for key in saved)


def test_what_a_temperature_does_not_calibrate_is_refused():
    model, _ = build_classifier("tiny-hubert", LABELS)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="a positive number"):
            fold_temperature(model, wrong)
    model.config.problem_type = "multi_label_classification"
    with pytest.raises(ModelError, match="multi-label"):
        fold_temperature(model, 2.0)
    model.config.problem_type = "single_label_classification"
    model.classifier = nn.Sequential(model.classifier)
    with pytest.raises(ModelError, match="HubertForSequenceClassification has no linear layer `classifier` with 4"):
        fold_temperature(model, 2.0)


@pytest.mark.parametrize("settings", [{"pooling": "mean"}, {}])
def test_an_encoder_of_a_calibrated_classifier_is_no_calibrated_classifier(settings, tmp_path):
    """And a training that starts from one forgets: what comes out of it is relative to new weights."""
    model, extractor = build_classifier("tiny-hubert", LABELS)
    fold_temperature(model, 2.0)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    again, _ = build_classifier(str(tmp_path), LABELS, settings=settings)
    if settings:
        assert folded_temperature(again) is None
        assert SETTING not in again.config.encoder
    else:
        assert folded_temperature(again) == 2.0
        weight = again.classifier.weight.clone()
        forget_temperature(again)
        assert folded_temperature(again) is None
        assert torch.equal(again.classifier.weight, weight)


# --- on a dataset -----------------------------------------------------------------------------------------------------


def test_calibrating_folds_what_validation_speakers_ask_for_and_changes_no_prediction(synthetic):
    labels = synthetic.features["label"].names
    torch.manual_seed(0)
    model, extractor = build_classifier("tiny-whisper", labels)
    with torch.no_grad():
        emotion_layer(model).weight.mul_(200)  # a model that is very sure of what it cannot know
    rows, about = synthetic.select(range(0, 960, 12)), dict(fold=0, seed=1, model_name="tiny")
    protocol = get_protocol("synthetic/si4")
    before = evaluate(model, extractor, rows, protocol, **about, part="validation")
    assert "temperature" not in before.rows
    random, honest = np.random.default_rng(0), tempered(before.probabilities, 5.0)
    drawn = [random.choice(labels, p=shares) for shares in honest]  # by what a model five times less sure would say
    before = PredictionTable(before.rows.assign(label=drawn), before.metadata)
    promised = calibrate(model, before)
    after = evaluate(model, extractor, rows, protocol, **about, part="validation")
    after = PredictionTable(after.rows.assign(label=drawn), after.metadata)
    assert (after.rows["temperature"] == folded_temperature(model)).all()
    assert 3 < folded_temperature(model) < 8
    np.testing.assert_allclose(after.probabilities, promised.probabilities, atol=1e-5)
    assert after.metadata == promised.metadata == before.metadata
    assert (after.metadata.part, after.metadata.relation) == ("validation", "shared")
    assert after.rows["prediction"].tolist() == before.rows["prediction"].tolist()
    errors = [expected_calibration_error(one.probabilities, one.references) for one in (before, after)]
    assert errors[1] < 0.6 * errors[0]
    np.testing.assert_allclose(tempered(after.probabilities, 1 / folded_temperature(model)), before.probabilities,
                               atol=1e-4)  # fmt: skip

    calibrated = folded_temperature(model)
    calibrate(model, after)  # what is calibrated already asks for no more
    assert folded_temperature(model) == pytest.approx(calibrated, rel=1e-3)

    model.config.problem_type = "multi_label_classification"
    forget_temperature(model)
    several = evaluate(model, extractor, rows, protocol, **about)
    assert (several.metadata.multi_label, before.metadata.multi_label) == (True, False)
    assert calibrate(model, several) is several
    assert folded_temperature(model) is None


def test_two_labels_that_count_as_one_class_hide_their_temperature(synthetic):
    torch.manual_seed(0)
    classes = synthetic.features["label"].names
    model, extractor = build_classifier("tiny-whisper", [*classes, "rage"])
    fold_temperature(model, 2.0)
    rows, protocol = synthetic.select(range(3)), get_protocol("synthetic/si4")
    about = dict(fold=0, seed=1, model_name="tiny")
    maps = {name: name for name in classes}
    assert "temperature" in evaluate(model, extractor, rows, protocol, label_map=maps, **about).rows
    both = maps | {"rage": "anger"}
    assert "temperature" not in evaluate(model, extractor, rows, protocol, label_map=both, **about).rows
