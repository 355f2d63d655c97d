"""A model that is compiled or exported scores as in PyTorch, and the exported folder needs neither PyTorch nor us."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from answers import by_label
from tiny import TINY_MODELS, save_untrained

from ser_hf.export.folder import FORMATS, export
from ser_hf.export.integers import Recordings
from ser_hf.inference.classifier import Classifier
from ser_hf.inference.heads import Outputs
from ser_hf.models.family import ModelError
from ser_hf.models.pretrained import build_classifier

RATE = 16_000
LABELS = ["anger", "neutral", "sadness"]
# One of each front end and of each kind of body; the others of a kind differ only in their settings.
EXPORTED = ("hubert", "speech_encoder", "fusion", "spectrogram")
WITHOUT_TORCH = """
import runpy, sys
for name in ("torch", "transformers", "ser_hf", "datasets", "scipy", "librosa"):
    sys.modules[name] = None
script = sys.argv[1]
sys.argv = sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def tone(seconds: float, hertz: float, seed: int) -> np.ndarray:
    sound = noise(seconds, seed)
    return sound + 0.3 * np.sin(2 * np.pi * hertz / RATE * np.arange(sound.size)).astype(np.float32)


@pytest.fixture(scope="module", params=EXPORTED)
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    model, extractor = build_classifier(labels=LABELS, **TINY_MODELS[request.param])
    with torch.no_grad():
        model.classifier.weight.mul_(20)  # scores that lie apart
    model.config.head_is_trained = True
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def exported(saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    export(*_loaded(saved), folder, "onnx")
    return folder


def _loaded(folder):
    classifier = Classifier.from_pretrained(folder, device="cpu")
    return classifier.model, classifier.extractor


def test_an_exported_folder_scores_in_a_classifier_as_the_model(saved, exported, tmp_path):
    sounds = [noise(seconds, seed) for seed, seconds in enumerate((0.3, 1.0, 2.345, 1.0))]
    sounds.append(np.concatenate([noise(0.5), np.zeros(RATE, np.float32)]))  # digital silence
    wanted = Classifier.from_pretrained(saved, device="cpu")(sounds)
    assert len({answer[0]["score"] for answer in wanted}) > 2, "a model that answers always the same would pass"
    found = Classifier.from_pretrained(saved, backend=exported)(sounds)
    for one, other in zip(found, wanted, strict=True):
        assert by_label(one) == pytest.approx(by_label(other), abs=1e-4)


def test_an_exported_folder_classifies_without_torch_and_without_this_package(saved, exported, tmp_path):
    files = [tmp_path / name for name in ("mono.wav", "short.flac", "stereo.wav")]
    soundfile.write(files[0], noise(1.1), RATE)
    soundfile.write(files[1], noise(0.3, 1), RATE)
    soundfile.write(files[2], np.stack([noise(1.3, 2), noise(1.3, 3)], axis=1), 44_100)
    missing = str(tmp_path / "missing.wav")
    command = [sys.executable, "-c", WITHOUT_TORCH, str(exported / "predict.py"), missing, *map(str, files)]
    printed = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})
    assert printed.returncode == 1
    assert printed.stderr.startswith(f"{missing} cannot be read"), "one line, and the others are classified"
    wanted = Classifier.from_pretrained(saved, device="cpu")(list(map(str, files)))
    for line, file, answer in zip(printed.stdout.splitlines(), files, wanted, strict=True):
        row = json.loads(line)
        assert (row["file"], row["emotion"]) == (str(file), answer[0]["label"])
        assert row["scores"] == pytest.approx(by_label(answer), abs=1e-4)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_backend_scores_as_torch_does(backend, tmp_path):
    save_untrained(tmp_path, "tiny-whisper", LABELS, sharpness=20)
    sounds = [noise(seconds, seed) for seed, seconds in enumerate((0.3, 1.0, 31.0))]  # the last one is too long for it
    compiled = Classifier.from_pretrained(tmp_path, backend=backend)
    assert [compiled.compiled.takes(sound) for sound in sounds] == [True, True, False]
    plain = Classifier.from_pretrained(tmp_path, device="cpu")
    for one, other in zip(compiled(sounds), plain(sounds), strict=True):
        assert by_label(one) == pytest.approx(by_label(other), abs=1e-4)


def test_a_graph_that_computes_something_else_is_not_exported(monkeypatch, tmp_path):
    model, extractor = _loaded(save_untrained(tmp_path / "model", "cnn", LABELS))
    open_graph = FORMATS["onnx"]

    def disturbed(path, *dtype):
        run = open_graph(path, *dtype)
        return lambda waveforms: [{"logits": row["logits"] + 0.01} for row in run(waveforms)]

    monkeypatch.setitem(FORMATS, "onnx", disturbed)
    with pytest.raises(ModelError, match=r"other scores than the model: logits differ by 0\.01\. Nothing was exported"):
        export(model, extractor, tmp_path / "out", "onnx")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def network(tmp_path):
    """A small network whose answers differ: model, extractor, tones of several pitches, and its answers to them."""
    model, extractor = _loaded(save_untrained(tmp_path / "model", "cnn", LABELS, sharpness=200))
    tones = [tone(0.5 + number / 20, 150 * 2 ** (number / 2), number) for number in range(12)]
    logits = Outputs(model, extractor).scores(tones)
    with torch.no_grad():
        model.classifier.bias.sub_(torch.from_numpy(np.median(logits, axis=0)).float())
    model.save_pretrained(tmp_path / "model")
    answers = Classifier(model, extractor).scores(tones).argmax(axis=1)
    assert len(set(answers)) > 1
    return model, extractor, tones, answers


def test_integers_that_recognise_as_much_are_kept(network, tmp_path):
    model, extractor, tones, answers = network
    measured = export(model, extractor, tmp_path / "int8", "openvino", integers=Recordings(tones[:6], tones, answers))
    assert (measured["n"], measured["uar_float32"]) == (12, 1)
    assert measured["uar_int8"] >= 0.995
    assert json.loads((tmp_path / "int8" / "about.json").read_text())["int8"] == measured
    found = Classifier.from_pretrained(tmp_path / "model", backend=tmp_path / "int8").scores(tones)
    assert (found.argmax(axis=1) == answers).mean() == measured["same_answers"]
    exact = Classifier(model, extractor).scores(tones)
    assert np.abs(found - exact).max() > 0, "there are no integers in this graph"


def test_integers_that_lose_too_much_are_refused_with_both_figures(network, tmp_path, monkeypatch):
    import nncf
    import openvino

    model, extractor, tones, answers = network

    def spoiled(graph, *_, **__):
        """Return the graph with logits of which another one is the greatest."""
        rolled = openvino.opset13.roll(graph.output("logits").get_node().input_value(0), [1], [1])
        result = openvino.opset13.result(rolled)
        rolled.output(0).set_names({"logits"})
        return openvino.Model([result], graph.get_parameters())

    monkeypatch.setattr(nncf, "quantize_with_accuracy_control", spoiled)
    with pytest.raises(ModelError, match=r"the UAR falls from 1\.000 to 0\.000 on 12 validation recordings"):
        export(model, extractor, tmp_path / "int8", "openvino", integers=Recordings(tones[:6], tones, answers))
    assert not list((tmp_path / "int8").iterdir())


def test_the_graph_of_another_model_is_refused(tmp_path):
    one = save_untrained(tmp_path / "one", "tiny-hubert", LABELS)
    other = save_untrained(tmp_path / "other", "tiny-hubert", LABELS, sharpness=2)
    export(*_loaded(one), tmp_path / "exported", "onnx")
    with pytest.raises(ModelError, match="exported from another model"):
        Classifier.from_pretrained(other, backend=tmp_path / "exported")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "tflite"], "cannot be exported to 'tflite': use onnx or openvino"),
        (["--int8"], "integers need OpenVINO, not onnx: add --to openvino"),
        (["--to", "openvino", "--int8"], "--int8 needs --corpus"),
        (["--to", "openvino", "--int8", "--corpus", "synthetic"], "was not trained on synthetic"),
    ],
)
def test_options_that_cannot_be_are_refused_in_a_sentence(words, said, tmp_path, run_verb):
    model = save_untrained(tmp_path / "model", "tiny-hubert", LABELS)
    code, _, err = run_verb("export", str(model), str(tmp_path / "out"), *words)
    assert code
    assert said in err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_in_it_is_not_overwritten(tmp_path, run_verb):
    model = save_untrained(tmp_path / "model", "tiny-hubert", LABELS)
    before = {file.name: file.read_bytes() for file in Path(model).iterdir()}
    code, _, err = run_verb("export", str(model), str(model))
    assert code
    assert "is there already" in err
    assert {file.name: file.read_bytes() for file in Path(model).iterdir()} == before


@pytest.mark.parametrize("name", ["cnn-lstm", "svm"])
def test_a_model_that_cannot_be_a_graph_is_refused_in_a_sentence(name, tmp_path):
    if name == "svm":
        model, extractor = build_classifier(name, LABELS)
    else:
        model, extractor = _loaded(save_untrained(tmp_path / "model", name, LABELS))
    with pytest.raises(ModelError, match=r"cannot be exported: (the exporter of PyTorch|export a model on log-mel)"):
        export(model, extractor, tmp_path / "out", "onnx")


def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch, run_verb):
    model = save_untrained(tmp_path / "model", "tiny-hubert", LABELS)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    code, _, err = run_verb("export", str(model), str(tmp_path / "out"))
    assert code
    assert 'pip install "ser_hf[onnx]"' in err
