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

from ser_hf.export.folder import export
from ser_hf.export.integers import Recordings
from ser_hf.inference.classifier import Classifier
from ser_hf.models.family import ModelError
from ser_hf.models.pretrained import build_classifier

RATE = 16_000
LABELS = ["anger", "neutral", "sadness"]
# One of each front end and of each kind of body; the others of a kind differ only in their settings.
EXPORTED = ("hubert", "speech_encoder", "fusion", "spectrogram", "hybrid_parallel")
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
    command = [sys.executable, "-c", WITHOUT_TORCH, str(exported / "predict.py"), *map(str, files)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})
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


def test_integers_are_kept_only_if_they_recognise_as_much(tmp_path):
    model, extractor = _loaded(save_untrained(tmp_path / "model", "tiny-hubert", LABELS, sharpness=20))
    sounds = [noise(0.5 + seed / 20, seed) for seed in range(12)]
    answers = Classifier(model, extractor).scores(sounds).argmax(axis=1)
    measured = export(model, extractor, tmp_path / "int8", "openvino", integers=Recordings(sounds[:6], sounds, answers))
    assert measured["n"] == 12
    assert measured["uar_float32"] == 1
    assert measured["uar_int8"] >= 0.995
    assert json.loads((tmp_path / "int8" / "about.json").read_text())["int8"] == measured
    found = Classifier.from_pretrained(tmp_path / "model", backend=tmp_path / "int8")(sounds)
    assert np.mean([LABELS.index(one[0]["label"]) for one in found] == answers) >= 0.9


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


def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch, run_verb):
    model = save_untrained(tmp_path / "model", "tiny-hubert", LABELS)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    code, _, err = run_verb("export", str(model), str(tmp_path / "out"))
    assert code
    assert 'pip install "ser_hf[onnx]"' in err
