import json

import pytest
from conftest import build_miniature, write_tone

from ser_hf import list_corpora
from ser_hf.corpora import get_corpus
from ser_hf.models.pretrained import build_classifier


@pytest.fixture
def ser_hf(run_verb):
    return run_verb


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model, extractor = build_classifier("tiny-hubert", ["anger", "sadness"])
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


def test_corpora_are_listed_with_what_is_found_of_them(ser_hf, tmp_path):
    build_miniature(get_corpus("emodb"), tmp_path / "emodb")
    build_miniature(get_corpus("crema_d"), tmp_path / "crema-d")
    (tmp_path / "ravdess").mkdir()
    code, printed, _ = ser_hf("corpora", "--root", tmp_path, "--json")
    rows = {row["name"]: row for row in json.loads(printed)}
    assert code == 0
    assert list(rows) == list_corpora()
    assert rows["emodb"]["found"].startswith("found 7 of 535 utterances of emodb (no speaker 09, 12, 14, 15;")
    assert rows["crema_d"]["found"].startswith("found 6 of 7442")
    assert rows["ravdess"]["found"].startswith("damaged: no Actor_*/*.wav")
    assert rows["nemo"]["found"] == "no"
    assert rows["ravdess"]["license"] == "CC-BY-NC-SA-4.0"
    assert "emodb " in ser_hf("corpora")[1]


def test_predict_prints_a_line_or_json_per_recording(ser_hf, model, tmp_path):
    files = [write_tone(tmp_path / "a.wav", seconds=1), write_tone(tmp_path / "b.wav", sampling_rate=44_100)]
    code, printed, complaint = ser_hf("predict", model, *files, "--json")
    assert code == 0, complaint
    rows = json.loads(printed)
    assert [row["file"] for row in rows] == [str(file) for file in files]
    for row in rows:
        assert sum(row["scores"].values()) == pytest.approx(1)
        assert row["score"] == max(row["scores"].values()) == row["scores"][row["emotion"]]
    assert len(ser_hf("predict", model, *files)[1].splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("predict", "nowhere", "{sound}"), 1, "there is no model 'nowhere'"),
        (("predict", "{model}", "{folder}/lost.wav"), 1, "there is no file"),
        (("predict", "{model}", "{folder}/text.wav"), 1, "is not a sound file"),
        (("predict", "{model}"), 2, "Missing argument"),
        (("forecast",), 2, "No such command"),
    ],
)
def test_errors_are_one_line_with_the_right_exit_code(ser_hf, model, tmp_path, words, code, message):
    sound = write_tone(tmp_path / "a.wav")
    (tmp_path / "text.wav").write_text("no sound")
    ended, _, complaint = ser_hf(*(word.format(model=model, sound=sound, folder=tmp_path) for word in words))
    assert ended == code
    assert message in complaint
    if code == 1:
        assert complaint.startswith("ser-hf: ")
        assert complaint.count("\n") == 1
