import numpy as np
import pandas
import pytest
import soundfile
from conftest import write_tone

from ser_hf import load_corpus, split
from ser_hf.audio import read_audio
from ser_hf.corpora import CorpusError, get_corpus
from ser_hf.inspection.doctor import examine
from ser_hf.sources.folders import SOUND_SUFFIXES
from ser_hf.splits.protocol import SplitError


@pytest.fixture
def rows(tmp_path):
    emotions = ["anger", "happy", "Sad", "neutral", "fear"]
    names = [f"sounds/{number:02d}.wav" for number in range(30)]
    for number, name in enumerate(names):
        write_tone(tmp_path / name, hertz=100 + number)
    return pandas.DataFrame(
        {
            "path": names,
            "emotion": [emotions[number % 5] for number in range(30)],
            "speaker": [f"0{number // 5}" for number in range(30)],
            "gender": ["female", "male"] * 15,
            "age": [None, *range(20, 49)],
        }
    )


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_table_in_any_format_reads_the_same(rows, tmp_path, suffix):
    file = tmp_path / f"table.{suffix}"
    rows.to_parquet(file) if suffix == "parquet" else rows.to_csv(
        file, index=False, sep="\t" if suffix == "tsv" else ","
    )
    dataset = load_corpus("folder", tmp_path)
    assert dataset["speaker"][0] == "folder-00", "a speaker called 00 stays a name"
    assert dataset["emotion"][:5] == ["anger", "happiness", "sadness", "neutral", "fear"]
    assert dataset["native_label"][2] == "Sad"
    assert dataset["age"][:2] == [None, 20]


def test_one_folder_per_emotion_works_and_has_no_speakers(tmp_path):
    for number in range(9):
        write_tone(tmp_path / ("angry" if number % 3 else "sad") / f"{number}.wav", hertz=100 + number)
    dataset = load_corpus("folder", tmp_path)
    assert set(dataset["speaker"]) == {None}
    for protocol in ("folder/kfold3", "folder/loso"):
        with pytest.raises(SplitError, match="speaker"):
            split(dataset, protocol, 0)
    assert len(split(dataset, "folder/random3", 0)["test"]) == 3


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".wav", {}), (".WAV", {}), (".flac", {}), (".mp3", {}), (".aiff", {}), (".aif", {"format": "AIFF"}),
        (".au", {}), (".w64", {}), (".ogg", {"subtype": "VORBIS"}), (".oga", {"format": "OGG"}),
        (".opus", {"format": "OGG", "subtype": "OPUS"}),
    ],
)  # fmt: skip
def test_what_is_decoded_is_found_in_a_folder_and_healthy(tmp_path, suffix, kind):
    wave = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    for number, folder in enumerate(("sad", "angry")):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / f"{number}{suffix}", wave[number:], 16_000, **kind)
    dataset = load_corpus("folder", tmp_path)
    assert dataset["emotion"][:] == ["anger", "sadness"]
    assert dataset["duration"] == pytest.approx([1.0, 1.0], abs=0.01)
    assert read_audio(dataset[0]["audio"]).size == pytest.approx(16_000, abs=160)
    assert {fault.kind for fault in examine(get_corpus("folder"), tmp_path).faults} <= {"duplicate"}
    assert suffix.lower() in SOUND_SUFFIXES


def test_a_folder_of_what_is_not_decoded_says_what_is(tmp_path):
    (tmp_path / "sad").mkdir()
    (tmp_path / "sad/one.m4a").write_bytes(b"m4a")
    with pytest.raises(CorpusError, match=r"sad has no recordings \(\.wav, .*\.mp3.*convert"):
        load_corpus("folder", tmp_path)


def test_a_table_without_an_emotion_column_says_which_it_has(rows, tmp_path):
    rows.drop(columns="emotion").to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(CorpusError, match="no column emotion"):
        load_corpus("folder", tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("table.csv", "path,emotion\none.wav,smutność\n".encode("iso-8859-2")),
        ("table.csv", b""),
        ("table.xlsx", b"no workbook"),
        ("table.tsv", b'path\temotion\n"one.wav\tanger\n'),
        ("table.parquet", b"no parquet"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=rf"{name} (cannot be read .*: write |is not in UTF-8 .*: pass its encoding)"):
        load_corpus("folder", tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("emotion", "hapy", "line 4: unknown emotion 'hapy'; did you mean 'happy'"),
        ("path", "sounds/lost.wav", "line 4: there is no file"),
        ("path", None, "line 4: path or emotion is empty"),
        ("age", "old", "line 4: age must be a number, not 'old'"),
    ],
)
def test_a_bad_row_is_named(rows, tmp_path, column, value, message):
    rows[column] = rows[column].astype(object)
    rows.loc[2, column] = value
    rows.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(CorpusError, match=message):
        load_corpus("folder", tmp_path)
