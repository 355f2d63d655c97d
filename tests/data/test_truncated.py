"""Truncated recordings: refused before a training and an evaluation, used if that is allowed, and by one rule."""

import json

import numpy as np
import pytest
import soundfile
from conftest import write_tone

from ser_hf import load_corpus
from ser_hf.audio import TruncatedAudioError, audio_info
from ser_hf.data.cache_files import load_cache, save_cache
from ser_hf.data.cache_keys import CacheError
from ser_hf.data.columns import provenance
from ser_hf.data.dataset import build_dataset
from ser_hf.data.precompute import hash_audio, precompute
from ser_hf.models.pretrained import build_classifier
from ser_hf.training.data_arguments import DataArguments


@pytest.fixture
def recordings(tmp_path):
    """Eight recordings of two emotions; one FLAC file without its end."""
    for number in range(8):
        write_tone(tmp_path / f"{('anger', 'neutral')[number % 2]}/{number}.flac", seconds=1, hertz=150 + 20 * number)
    path = tmp_path / "anger/0.flac"
    path.write_bytes(path.read_bytes()[:-2_000])
    return tmp_path


def test_a_truncated_recording_is_refused_before_any_training_unless_it_is_allowed(recordings):
    with pytest.raises(TruncatedAudioError, match=r"anger/0.flac has lost its end.*allow_truncated"):
        load_corpus("folder", recordings)
    dataset = load_corpus("folder", recordings, allow_truncated=True)
    assert len(dataset) == 8
    assert provenance(dataset)["allow_truncated"] is True
    hashed = hash_audio(dataset)
    assert len(set(hashed["audio_hash"])) == 8
    options = {
        "corpora": ["folder"],
        "roots": [f"folder={recordings}"],
        "scheme": "seven",
        "protocols": ["folder/kfold5"],
    }
    with pytest.raises(TruncatedAudioError):
        DataArguments(**options).load()
    assert len(DataArguments(**options, allow_truncated=True).load()) == 8


def test_what_only_decoding_shows_is_refused_when_the_recordings_are_hashed(recordings):
    """A file that changes after its header was read, also if its hash was computed before under permission."""
    whole = write_tone(recordings / "anger/0.flac", seconds=1)
    content = whole.read_bytes()
    dataset = build_dataset(["folder"], {"folder": recordings})
    hash_audio(build_dataset(["folder"], {"folder": recordings}, allow_truncated=True))
    whole.write_bytes(content[:-2_000])
    with pytest.raises(TruncatedAudioError, match=r"0.flac"):
        hash_audio(dataset)


def test_a_cache_of_truncated_recordings_needs_the_permission_again(recordings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache") / "made"
    dataset = load_corpus("folder", recordings, scheme="seven", allow_truncated=True)
    model, extractor = build_classifier("tiny-whisper", dataset.features["label"].names, trainable="head")
    save_cache(precompute(dataset, model, extractor, frozen=True), folder)
    with pytest.raises(CacheError, match=r"may hold recordings whose end is missing.*--allow_truncated"):
        load_cache(folder, ["folder"], "seven", {})
    assert len(load_cache(folder, ["folder"], "seven", {}, allow_truncated=True)) == 8


def test_an_embedded_recording_of_a_table_is_refused_like_a_file(tmp_path):
    import datasets

    contents = [write_tone(tmp_path / f"{number}.wav", hertz=150 + 50 * number).read_bytes() for number in range(2)]
    rows = {
        "audio": [{"bytes": contents[0], "path": "a.wav"}, {"bytes": contents[1][:-500], "path": "b.wav"}],
        "emotion": ["anger", "neutral"],
    }
    table = tmp_path / "table.parquet"
    datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False)).to_parquet(table)
    with pytest.raises(TruncatedAudioError, match=r"b.wav has only [\d,]+ of the [\d,]+ bytes"):
        load_corpus(table, scheme="seven")
    assert len(load_corpus(table, scheme="seven", allow_truncated=True)) == 2


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".wav", {}), (".rf64", {"format": "RF64"}), (".w64", {}), (".au", {}), (".aiff", {}), (".flac", {}), (".caf", {}),
     (".voc", {"format": "VOC"}), (".mp3", {}), (".ogg", {"subtype": "VORBIS"}), (".sph", {"format": "NIST"})],
)  # fmt: skip
def test_the_doctor_calls_truncated_what_a_training_refuses(tmp_path, suffix, options, capsys, monkeypatch):
    from ser_hf.cli.main import main

    path = tmp_path / f"mine/anger/1{suffix}"
    path.parent.mkdir(parents=True)
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 48_000), 16_000, **options)
    assert audio_info(path).truncated is None
    path.write_bytes(path.read_bytes()[:-500])
    assert audio_info(path).truncated is not None
    monkeypatch.setattr("sys.argv", ["ser-hf", "doctor", "folder", str(tmp_path / "mine"), "--json"])
    with pytest.raises(SystemExit):
        main()
    found = json.loads(capsys.readouterr().out)["faults"]
    assert [(one["kind"], one["file"]) for one in found if one["severity"] == "error"] == [
        ("truncated", f"anger/1{suffix}")
    ]
    with pytest.raises(TruncatedAudioError):
        load_corpus("folder", tmp_path / "mine")
