"""A model's ledger: what it heard is written beside it, and it is never tested on that."""

import json
from types import SimpleNamespace

import pytest
import soundfile
from conftest import write_tone

from ser_hf import split
from ser_hf.audio import read_audio
from ser_hf.data.precompute import hash_audio
from ser_hf.splits.ledger import Ledger, LedgerError, Training
from ser_hf.splits.split import get_protocol


@pytest.fixture(scope="module")
def dataset(synthetic):
    return hash_audio(synthetic)


def heard(dataset, fold, protocol="synthetic/si4", before=None):
    return (before or Ledger()).continued(
        split(dataset, protocol, fold), get_protocol(protocol), fold=fold, seed=1, scheme="five"
    )


def test_it_holds_every_speaker_and_recording_of_training_and_validation_and_none_of_the_test(dataset, tmp_path):
    parts = split(dataset, "synthetic/si4", 2)
    heard(dataset, 2).write(tmp_path)
    again = Ledger.of_model(str(tmp_path))
    (training,) = again.trainings
    assert (training.protocols, training.fold, training.corpora) == (["synthetic/si4"], 2, ["synthetic"])
    for part in ("train", "validation"):
        assert set(training.speakers[part]) == set(parts[part]["speaker"])
        assert set(training.audio[part]) == set(parts[part]["audio_hash"])
    assert not set(training.audio["train"]) & set(parts["test"]["audio_hash"])
    assert again.protocol_of("synthetic") == ("synthetic/si4", 2)
    assert again.protocol_of("ravdess") is None
    again.refuse_seen(parts["test"])


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_part_that_was_heard_is_refused_by_the_name_of_a_speaker(dataset, part):
    rows = split(dataset, "synthetic/si4", 0)[part]
    with pytest.raises(LedgerError, match=rf"speaker synthetic-\S+ of this test part was in the {part} part.*fold 0"):
        heard(dataset, 0).refuse_seen(rows)


def test_training_on_from_a_model_that_heard_the_test_speakers_is_refused(dataset):
    first = heard(dataset, 0)
    assert len(heard(dataset, 0, before=first).trainings) == 2
    with pytest.raises(LedgerError, match="use a fold that the model was not trained on"):
        heard(dataset, 1, before=first)


def test_a_recording_is_known_again_under_another_name_and_in_another_container(dataset, tmp_path):
    from ser_hf import load_corpus

    ledger = heard(dataset, 0)
    known = split(dataset, "synthetic/si4", 0)["train"][0]
    (tmp_path / "mine/anger").mkdir(parents=True)
    soundfile.write(tmp_path / "mine/anger/holiday.flac", read_audio(known["audio"]), 16_000)
    write_tone(tmp_path / "mine/anger/new.wav")
    with pytest.raises(LedgerError, match="the recording folder/anger/holiday of this test part was in the train part"):
        ledger.refuse_seen(hash_audio(load_corpus("folder", tmp_path / "mine", "four")))


def test_a_protocol_that_shares_speakers_says_so_itself(dataset):
    ledger = heard(dataset, 0, "synthetic/random5")
    test = split(dataset, "synthetic/random5", 0)["test"]
    ledger.refuse_seen(test, speakers=False)
    with pytest.raises(LedgerError, match="speaker"):
        ledger.refuse_seen(test)


def test_no_ledger_is_none_and_a_broken_one_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert Ledger.of_model(str(tmp_path)) is None
    (tmp_path / "ledger.json").write_text(json.dumps({"trainings": [{"fold": 3}]}))
    with pytest.raises(LedgerError, match="cannot be read"):
        Ledger.of_model(str(tmp_path))


def test_fingerprints_are_computed_once_and_change_with_the_recording(tmp_path, monkeypatch):
    from ser_hf import load_corpus

    for name in ("one", "two"):
        write_tone(tmp_path / f"anger/{name}.wav", hertz=200 if name == "one" else 300)
    first = hash_audio(load_corpus("folder", tmp_path, "four"))["audio_hash"]
    assert len(set(first)) == 2
    calls = SimpleNamespace(count=0)

    def counted(source, **_):
        calls.count += 1
        return "0" * 32

    monkeypatch.setattr("ser_hf.data.precompute.sample_hash", counted)
    assert list(hash_audio(load_corpus("folder", tmp_path, "four"))["audio_hash"]) == list(first)
    assert calls.count == 0
    write_tone(tmp_path / "anger/one.wav", hertz=250)
    hash_audio(load_corpus("folder", tmp_path, "four"))
    assert calls.count == 2
    monkeypatch.setattr("ser_hf.data.cache_keys.reading_code", lambda: b"another decoder")
    hash_audio(load_corpus("folder", tmp_path, "four"))
    assert calls.count == 4, "what another code computed is no fingerprint of this one's"


def test_what_a_teacher_heard_its_student_heard(dataset, tmp_path):
    teacher = heard(dataset, 0)
    student = heard(dataset, 0, before=Ledger().taught_by(teacher, "teacher"))
    assert student.trainings[0] == teacher.trainings[0]
    assert len(student.trainings) == 2
    assert heard(dataset, 0, before=teacher.taught_by(teacher, "itself")).trainings == student.trainings
    with pytest.raises(LedgerError, match="use a fold that the model was not trained on"):
        heard(dataset, 1, before=Ledger().taught_by(teacher, "teacher"))


def test_a_teacher_of_which_nobody_knows_is_remembered_through_files_and_further_trainings(dataset, tmp_path):
    taught = Ledger().taught_by(None, "theirs/model")
    heard(dataset, 0, before=taught).write(tmp_path)
    again = Ledger.of_model(str(tmp_path))
    assert again.unknown == ("theirs/model",)
    assert Ledger().taught_by(again, "student").unknown == ("theirs/model",)
    heard(dataset, 0).write(tmp_path)
    assert Ledger.of_model(str(tmp_path)).unknown == ()


def test_two_corpora_of_unknown_people_are_not_known_to_be_apart():
    def trained_on(*corpora):
        known = Training(("x/kfold5",), 0, 1, "five", corpora, {"train": [], "validation": []}, {})
        return Ledger((known,)).relation(get_protocol("calls/kfold5", ["calls"]))

    assert trained_on("calls") == "held_out"
    assert trained_on("calls", "ravdess") == "held_out", "actors of a studio call nobody"
    assert trained_on("calls", "other_calls") == "unknown"
    assert trained_on("calls", "msp_podcast") == "unknown"
