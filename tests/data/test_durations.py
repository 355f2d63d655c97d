"""Recordings that last far longer or shorter than those of the training: told with numbers, once each."""

import json
import warnings

import numpy as np
import pytest
from conftest import write_tone
from tiny import save_untrained

import ser_hf
from ser_hf import Classifier
from ser_hf.data.durations import TrainingSeconds
from ser_hf.files import CONFIG
from ser_hf.models.family import ModelError

OFTEN = TrainingSeconds(shortest=1.0, percentile_1=1.5, percentile_99=4.4, longest=9.0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model"), "tiny-hubert", ["anger", "fear"])


@pytest.fixture
def classifier(saved):
    found = Classifier.from_pretrained(str(saved))
    OFTEN.write_to(found.model)
    return found


def told_of(ask):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        ask()
    return [str(one.message) for one in told]


def test_each_recording_that_is_far_longer_or_shorter_is_told_once_with_numbers(classifier, tmp_path):
    files = [str(write_tone(tmp_path / f"{seconds}.wav", seconds=seconds)) for seconds in (0.7, 0.8, 3, 8.7, 9, 20)]
    short, nine, twenty = told_of(lambda: classifier(files))
    assert short.endswith(
        "0.7.wav lasts 0.7 s; this model was trained on 1.0 to 9.0 s, mostly 1.5 to 4.4 s: trust its scores less"
    )
    assert nine.endswith(
        "9.wav lasts 9.0 s; this model was trained on 1.0 to 9.0 s, mostly 1.5 to 4.4 s: score parts of it (--window "
        "4, window_seconds=4)"
    )
    assert "20.wav lasts 20.0 s" in twenty
    assert len(told_of(lambda: [classifier(files), classifier(files)])) == 6


def test_windows_within_the_range_need_no_warning_and_others_do(classifier, tmp_path):
    file = str(write_tone(tmp_path / "long.wav", seconds=20))
    assert told_of(lambda: classifier(file, window_seconds=4)) == []
    (longer,) = told_of(lambda: classifier(file, window_seconds=10))
    assert "lasts 20.0 s and is scored in parts of 10.0 s;" in longer
    assert longer.endswith("score shorter parts of it (--window 4, window_seconds=4)")
    (shorter,) = told_of(lambda: classifier(file, window_seconds=0.5))
    assert shorter.endswith("score longer parts of it")


def test_an_evaluation_and_a_model_without_durations_say_nothing(classifier, saved, tmp_path):
    file = str(write_tone(tmp_path / "long.wav", seconds=20))
    assert told_of(lambda: classifier.probabilities([file])) == []
    assert told_of(lambda: Classifier.from_pretrained(str(saved))(file)) == []


def test_damaged_durations_are_one_line(classifier):
    for changes in ({"longest": 1.0}, {"shortest": -1}, {"longest": "long"}, {"longest": None}, {"mean": 2.0}):
        OFTEN.write_to(classifier.model)
        classifier.model.config.training_seconds |= changes
        with pytest.raises(ModelError, match=r"training_seconds in the config.json of .* cannot be true"):
            TrainingSeconds.of(classifier.model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("svm", {}),
        ("svm", {"refit": True}),
        ("cnn", {"max_steps": 1, "model_settings": {"channels": [8, 16, 32]}, "report_to": "none"}),
    ],
)
def test_a_trained_model_keeps_the_durations_of_its_training_part(model, options, synthetic, tmp_path):
    run = ser_hf.train(synthetic, model, protocol="synthetic/si4", folds=[0], output_dir=str(tmp_path), **options)
    parts = ser_hf.split(synthetic, "synthetic/si4", fold=0)
    used = ["train", "validation"] if options.get("refit") else ["train"]
    seconds = np.concatenate([parts[part]["duration"] for part in used])
    kept = json.loads((run.folder / CONFIG).read_text())["training_seconds"]
    assert kept["shortest"] == pytest.approx(seconds.min(), abs=1e-6)
    assert kept["longest"] == pytest.approx(seconds.max(), abs=1e-6)
    assert (seconds < kept["percentile_1"]).mean() == pytest.approx(0.01, abs=0.01)
    assert (seconds > kept["percentile_99"]).mean() == pytest.approx(0.01, abs=0.01)
    assert kept["percentile_1"] < kept["percentile_99"]
