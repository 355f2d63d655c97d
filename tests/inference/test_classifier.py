"""A classifier says which recording it cannot score, scores the others, and never returns NaN."""

import json
import shutil
import warnings

import numpy as np
import pandas
import pytest
import soundfile
import torch
from answers import by_label
from conftest import write_tone
from tiny import save_untrained

from ser_hf import Classifier, load_corpus
from ser_hf.audio import AudioError
from ser_hf.inference.evaluate import evaluate
from ser_hf.models.pretrained import ModelError, build_classifier, refuse_damaged_weights
from ser_hf.models.records import RECORDS
from ser_hf.splits.split import get_protocol

RATE = 16_000


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model"), "tiny-whisper", ["anger", "fear", "neutral"])


@pytest.fixture(scope="module")
def classifier(saved):
    return Classifier.from_pretrained(str(saved))


@pytest.fixture
def mixed(tmp_path):
    """Good recordings between bad ones of several kinds."""
    good = [write_tone(tmp_path / f"good{number}.wav", hertz=200 + 50 * number) for number in range(3)]
    samples = np.zeros(8_000)
    samples[100] = 1e37
    soundfile.write(tmp_path / "huge.wav", samples, RATE, subtype="FLOAT")
    (tmp_path / "page.wav").write_text("<html></html>")
    (tmp_path / "empty.wav").touch()
    bad = [tmp_path / name for name in ("huge.wav", "page.wav", "empty.wav")]
    return [one for pair in zip(good, bad, strict=True) for one in pair], good


def test_bad_recordings_are_told_and_the_others_have_the_scores_they_have_alone(classifier, mixed):
    files, good = mixed
    answers = classifier(list(map(str, files)), on_error="report")
    for file, answer in zip(files, answers, strict=True):
        if file in good:
            assert by_label(answer) == pytest.approx(by_label(classifier(str(file))), abs=1e-6)
        else:
            (entry,) = answer
            assert (entry["label"], entry["score"]) == (None, None)
            assert file.name in entry["error"]


def test_the_first_bad_recording_is_raised_if_nobody_asks_for_the_others(classifier, mixed):
    with pytest.raises(AudioError, match=r"huge.wav has a sample of 1e\+37"):
        classifier(list(map(str, mixed[0])))


def test_truncated_sound_is_scored_with_a_warning_that_an_option_takes_away(classifier, tmp_path):
    whole = write_tone(tmp_path / "whole.wav", seconds=1)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[:20_000])
    with pytest.warns(UserWarning, match="cut.wav has only 19,956 of the 32,000 bytes .*; what is there is scored"):
        scores = by_label(classifier(str(cut)))
    soundfile.write(tmp_path / "short.wav", soundfile.read(whole)[0][: 19_956 // 2], RATE)
    assert scores == pytest.approx(by_label(classifier(str(tmp_path / "short.wav"))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert by_label(classifier(str(cut), allow_truncated=True)) == scores


def test_a_recording_that_is_too_long_is_refused_or_scored_in_windows(classifier, tmp_path):
    rng = np.random.default_rng(0)
    parts = [rng.uniform(-scale, scale, 50 * RATE) for scale in (0.01, 0.1, 0.5)]
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts), RATE, subtype="FLOAT")
    path = str(tmp_path / "long.wav")
    with pytest.raises(AudioError, match=r"long.wav lasts 2.5 min, but this model takes at most 2 min .*--window 20"):
        classifier(path)
    together = by_label(classifier(path, window_seconds=50))
    apart = [by_label(classifier({"array": part.astype(np.float32), "sampling_rate": RATE})) for part in parts]
    for label, probability in together.items():
        assert probability == pytest.approx(np.mean([one[label] for one in apart]), abs=1e-6)


@pytest.mark.parametrize("family", RECORDS, ids=lambda family: family.name)
def test_every_family_says_how_long_a_recording_may_be(family):
    assert family.has_fixed_window or 0 < family.longest_seconds <= 1_800


def test_weights_that_are_not_finite_are_refused_by_name_when_they_are_loaded(saved, tmp_path):
    model, extractor = build_classifier(str(saved), ["anger", "fear", "neutral"])
    with torch.no_grad():
        model.classifier.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"folder has NaN or infinite weights \(classifier.weight\)"):
        refuse_damaged_weights("folder", model)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    for load in (Classifier.from_pretrained, lambda name: build_classifier(name, ["anger", "fear", "neutral"])):
        with pytest.raises(ModelError, match=r"NaN or infinite weights \(classifier.weight\)"):
            load(str(tmp_path))


def test_scores_that_are_not_finite_never_leave(saved, tmp_path):
    classifier = Classifier.from_pretrained(str(saved))
    with torch.no_grad():
        classifier.model.classifier.bias[0] = float("inf")
    path = str(write_tone(tmp_path / "a.wav"))
    for ask in (classifier, lambda one: classifier.probabilities([one])):
        with pytest.raises(ModelError, match="gives NaN or infinite values"):
            ask(path)


def test_predict_tells_bad_files_on_stderr_and_ends_with_1(saved, mixed, capsys, monkeypatch):
    from ser_hf.cli.main import main

    files, good = mixed
    files = [*files, files[0].with_name("missing.wav")]
    monkeypatch.setattr("sys.argv", ["ser-hf", "predict", str(saved), *map(str, files), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert [row["file"] for row in json.loads(printed.out)] == [str(file) for file in good]
    told = [line for line in printed.err.splitlines() if line.startswith("ser-hf: ")]
    assert len(told) == 4
    assert all(sum(file.name in line for line in told) == 1 for file in files if file not in good)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda text: text.replace('"encoder_layers": 2', '"encoder_layers": 10000000'),
            "has encoder_layers = 10,000,000",
        ),
        (
            lambda text: text.replace('"d_model": ', '"d_model": 999999999, "was": '),
            "d_model = 999,999,999, and no",
        ),
        (lambda text: text[: len(text) // 2], "config.json is not JSON"),
        (lambda text: "[" * 100_000, "config.json is not JSON"),
        (lambda text: text.replace('"d_model": ', '"d_model": "x",\n"was": '), "cannot be loaded"),
        (lambda text: "[1, 2]", "config.json needs names and values, not a list"),
    ],
    ids=["layers", "width", "cut", "nested", "text", "list"],
)
def test_a_damaged_configuration_is_refused_at_once_in_one_line(saved, tmp_path, damage, says):
    shutil.copytree(saved, tmp_path / "model")
    config = tmp_path / "model/config.json"
    changed = damage(config.read_text())
    assert changed != config.read_text()
    config.write_text(changed)
    with pytest.raises(ModelError, match=says) as told:
        Classifier.from_pretrained(str(tmp_path / "model"))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("cut", [0, 8, 2_000])
def test_damaged_weights_are_one_line(saved, tmp_path, cut):
    shutil.copytree(saved, tmp_path / "model")
    weights = tmp_path / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:cut])
    with pytest.raises(ModelError, match=r"model.safetensors is (empty|damaged or incomplete)") as told:
        Classifier.from_pretrained(str(tmp_path / "model"))
    assert "\n" not in str(told.value)


def test_windows_of_a_truncated_recording_are_scored_too(classifier, tmp_path):
    whole = write_tone(tmp_path / "whole.flac", seconds=3)
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"cut.flac has lost its end"):
        scores = classifier(str(cut), window_seconds=1)
    assert sum(by_label(scores).values()) == pytest.approx(1)
    for nonsense in (0, -1, float("nan")):
        with pytest.raises(ValueError, match=r"at least 0.1"):
            classifier(str(whole), window_seconds=nonsense)


def test_the_warning_comes_each_time(classifier, tmp_path):
    cut = tmp_path / "cut.wav"
    cut.write_bytes(write_tone(tmp_path / "whole.wav", seconds=1).read_bytes()[:20_000])
    for _ in range(3):
        with pytest.warns(UserWarning, match=r"cut.wav has only"):
            classifier(str(cut))


@pytest.mark.parametrize(
    "source",
    [
        None, 7, np.zeros(9, complex), {"path": None, "bytes": None},
        {"array": np.zeros(900), "sampling_rate": "16000"}, {"array": [[1.0], [2.0, 3.0]], "sampling_rate": 16_000},
    ],
    ids=range(6),
)  # fmt: skip
def test_what_is_no_recording_at_all_is_one_finding(classifier, source, tmp_path):
    answers = classifier([str(write_tone(tmp_path / "good.wav")), source], on_error="report")
    assert ["error" in answer[0] for answer in answers] == [False, True]


def test_a_recording_without_a_path_has_its_number_and_a_strange_name_one_line(classifier, tmp_path):
    answers = classifier([b"no sound", str(tmp_path / "a\nb\x1b[31m.wav")], on_error="report")
    told = [answer[0]["error"] for answer in answers]
    assert told[0].startswith("recording 1 of 2 is not a sound file")
    assert "a\\nb\\x1b[31m.wav" in told[1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"sampling_rate": 10**9}, "has sampling_rate = 1,000,000,000"), ({"sampling_rate": None}, "sampling_rate = None"),
     ({"sampling_rate": "16000"}, "sampling_rate = '16000'"), ({"feature_size": 10**7}, "feature_size = 10,000,000"),
     ({"n_fft": 10**8}, "n_fft = 100,000,000")],
)  # fmt: skip
def test_settings_of_a_front_end_that_cannot_be_true_are_refused_before_it_is_built(saved, tmp_path, changes, says):
    shutil.copytree(saved, tmp_path / "model")
    settings = tmp_path / "model/preprocessor_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **changes}))
    with pytest.raises(ModelError, match=f"the front end of .* has {says}|{says}"):
        Classifier.from_pretrained(str(tmp_path / "model"))


def test_classes_keep_their_scores_in_whatever_order_a_configuration_lists_them(saved, tmp_path):
    rows = []
    for number, emotion in enumerate(("anger", "fear", "neutral")):
        write_tone(tmp_path / f"tones/{number}.wav", hertz=200 + 50 * number)
        rows.append({"path": f"{number}.wav", "emotion": emotion, "speaker": number})
    pandas.DataFrame(rows).to_csv(tmp_path / "tones/table.csv", index=False)
    few = load_corpus("folder", tmp_path / "tones", "own")
    shutil.copytree(saved, tmp_path / "model")
    config = tmp_path / "model/config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps({**content, "id2label": dict(reversed(content["id2label"].items()))}))
    classifier = Classifier.from_pretrained(str(tmp_path / "model"))
    assert classifier.labels == ["anger", "fear", "neutral"]
    protocol = get_protocol("folder/kfold5")
    table = evaluate(classifier.model, classifier.extractor, few, protocol, fold=0, seed=0, model_name="model")
    expected = classifier.probabilities(few["audio"][:])
    assert np.ptp(expected, axis=1).min() > 1e-3
    np.testing.assert_allclose(table.rows[[f"p_{name}" for name in classifier.labels]], expected, atol=1e-6)
    assert build_classifier(str(tmp_path / "model"), ["anger", "fear", "neutral"])[0].config.num_labels == 3
    with pytest.raises(ModelError, match=r"trained for \['anger', 'fear', 'neutral'\], not for \['neutral'"):
        build_classifier(str(tmp_path / "model"), ["neutral", "fear", "anger"])


@pytest.mark.parametrize("held", [bytes, bytearray, memoryview])
def test_a_recording_in_memory_is_one_recording(classifier, tmp_path, held):
    path = write_tone(tmp_path / "a.wav")
    assert classifier(held(path.read_bytes())) == classifier(str(path))


@pytest.mark.parametrize(
    "bad", [{"array": np.zeros(9, np.int64), "sampling_rate": RATE}, {"array": [[0.0], [0.0, 1.0]]}, {"path": None}, 5]
)
def test_what_is_no_recording_is_told_by_its_number(classifier, bad):
    with pytest.raises(AudioError, match=r"^recording 2 of 2 "):
        classifier([{"array": np.zeros(RATE, np.float32), "sampling_rate": RATE}, bad])
