"""Recordings of files and tables under their names; what a row cannot give is an error of this row."""

import pickle

import pandas
import pytest
from conftest import write_tone

from ser_hf.audio import AudioError
from ser_hf.inference.bulk import Named, Recordings
from ser_hf.sources.utterance import CorpusError


@pytest.fixture
def folder(tmp_path):
    for name in ("a.wav", "b.wav", "deep/c.wav", "one/d.wav", "two/d.wav"):
        write_tone(tmp_path / name)
    return tmp_path


def test_folders_patterns_files_and_urls_come_one_after_the_other_and_again(folder):
    places = [f"{folder}/one", f"{folder}/*.wav", f"{folder}/deep/c.wav", "https://example.org/e.wav"]
    files = [f"{folder}/one/d.wav", f"{folder}/a.wav", f"{folder}/b.wav", f"{folder}/deep/c.wav", places[-1]]
    found = Recordings(places)
    assert list(found) == [Named(file, file) for file in files]
    assert list(pickle.loads(pickle.dumps(found))) == list(found)  # on another machine
    with pytest.raises(AudioError, match="no file matches"):
        Recordings([f"{folder}/*.mp3"])


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl", "xlsx"])
def test_a_table_of_files_gives_them_with_their_speakers(folder, suffix):
    rows = pandas.DataFrame({"File": ["a.wav", "c.wav", "lost.wav", "d.wav", None], "emotion": 0})
    rows["Person"] = pandas.array([1, 2, None, 1, 2], "Int64")
    table = folder / f"table.{suffix}"
    write = {"csv": rows.to_csv, "parquet": rows.to_parquet, "xlsx": rows.to_excel}
    if suffix == "jsonl":
        rows.to_json(table, orient="records", lines=True)
    else:
        write[suffix](table, index=False)
    found = list(Recordings([str(table)], "Person"))
    assert [one.speaker for one in found] == ["1", "2", None, "1", "2"]
    assert [one.name for one in found[:4]] == ["a.wav", "c.wav", "lost.wav", "d.wav"]
    paths = [f"{folder}/a.wav", f"{folder}/deep/c.wav", f"{folder}/lost.wav"]
    assert [one.recording for one in found[:3]] == paths
    assert str(found[3].recording).endswith("d.wav: write the path")
    assert "names no recording" in str(found[4].recording)
    assert found[4].name.startswith(str(table))
    assert [one.speaker for one in Recordings([str(table)])] == [None] * 5


def test_a_dataset_in_parquet_gives_its_recordings_with_their_speakers(folder):
    content = (folder / "a.wav").read_bytes()
    sounds = [{"bytes": content, "path": "x.wav"}, {"bytes": content, "path": None}, {"bytes": None, "path": "b.wav"},
              None, {"bytes": None, "path": None}]  # fmt: skip
    for number in (0, 1):
        pandas.DataFrame({"audio": sounds, "who": ["anna", "", None, "ben", "ben"]}).to_parquet(
            folder / f"shard{number}.parquet"
        )
    first, second = (f"{folder}/shard{number}.parquet" for number in (0, 1))
    found = list(Recordings([f"{folder}/shard*.parquet"], "who"))
    assert [one.name for one in found] == [
        name
        for shard in (first, second)
        for name in ("x.wav", f"{shard}, row 2", "b.wav", f"{shard}, row 4", f"{shard}, row 5")
    ]
    assert [one.speaker for one in found[:5]] == ["anna", None, None, "ben", "ben"]
    assert found[0].recording["bytes"] == content
    assert found[2].recording == f"{folder}/b.wav"
    for one in found[3:5]:
        assert str(one.recording) == f"{one.name} has no recording: remove the row"


@pytest.mark.parametrize(
    ("name", "column", "says"),
    [
        ("a.wav", "who", "a.wav is no table with a column 'who': leave --speaker_column out"),
        ("table.csv", "speker", r"unknown column 'speker'.*speaker"),
        ("sounds.parquet", "speker", r"unknown column 'speker'.*speaker"),
        ("other.csv", None, r"other.csv has no column of recordings \(path, file, .*it has \['speaker'\]"),
        ("damaged.parquet", None, r"damaged.parquet cannot be read"),
        ("lost.parquet", None, r"^there is no table .*lost.parquet: check its path$"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_before_anything_is_scored(folder, name, column, says):
    (folder / "table.csv").write_text("path,speaker\na.wav,anna\n")
    (folder / "other.csv").write_text("speaker\nanna\n")
    (folder / "damaged.parquet").write_bytes(b"PAR1")
    pandas.DataFrame({"audio": [{"bytes": b"x", "path": None}], "speaker": ["anna"]}).to_parquet(
        folder / "sounds.parquet"
    )
    with pytest.raises(CorpusError, match=says):
        Recordings([str(folder / name)], column)
