"""Tables as they stand on the Hub: a column of sound with embedded bytes or paths, and words of their own."""

import io
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile
from conftest import write_tone
from datasets import Audio, ClassLabel, Features, Value

from ser_hf import load_corpus, protocols, split
from ser_hf.audio import audio_info, read_audio
from ser_hf.corpora import CorpusError
from ser_hf.data.columns import provenance
from ser_hf.data.hub_tables import load_table
from ser_hf.splits.split import count_folds

WORDS = ["anger", "happiness", "neutral", "sadness", "sarcasm"]
# The columns of CAMEO, and what ours are called there.
COLUMNS = {"utterance_id": "file_id", "speaker": "speaker_id", "corpus": "dataset", "statement": "transcription"}
LABELS = {"sarcasm": "other"}


def tone(number: int) -> bytes:
    file, time = io.BytesIO(), np.arange(1600 + number) / 16_000
    soundfile.write(file, 0.1 * np.sin(2 * np.pi * (150 + 3 * number) * time), 16_000, format="WAV")
    return file.getvalue()


def cameo(first: int, count: int, **changed) -> pyarrow.Table:
    rows = range(first, first + count)
    columns = {
        "file_id": [f"{row:04d}.flac" for row in rows],
        "audio": [{"bytes": tone(row), "path": f"{row:04d}.wav"} for row in rows],
        "emotion": [WORDS[row % 5] for row in rows],
        "transcription": [f"sentence {row // 5 % 2}" for row in rows],
        "speaker_id": [f"s{row // 10 % 6}" for row in rows],
        "gender": [("Female", "Male")[row // 10 % 2] for row in rows],
        "age": [("23", "", None)[row % 3] for row in rows],
        "dataset": [("CREMA-D", "CaFE")[row // 60] for row in rows],
        "language": [("English", "French")[row // 60] for row in rows],
        "license": ["CC" for row in rows],
    } | changed
    text = {name: Value("string") for name in columns}
    return pyarrow.table(columns, schema=Features({**text, "audio": Audio(sampling_rate=16_000)}).arrow_schema)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A folder of two shards, a corpus each."""
    folder = tmp_path_factory.mktemp("tables") / "CAMEO"
    folder.mkdir()
    for shard in range(2):
        pyarrow.parquet.write_table(cameo(60 * shard, 60), folder / f"test-{shard:05d}-of-00002.parquet")
    return folder


@pytest.fixture(scope="module")
def collection(shards):
    return load_corpus(shards, scheme="four", columns=COLUMNS, labels=LABELS)


def test_a_folder_of_shards_becomes_the_unified_columns(collection, synthetic):
    assert collection.column_names == synthetic.column_names
    assert collection.features["audio"] == Audio(decode=False)
    assert collection.features["label"].names == ["anger", "happiness", "neutral", "sadness"]
    row = collection[-1]
    assert {name: row[name] for name in ("utterance_id", "corpus", "speaker", "gender", "age", "native_label")} == {
        "utterance_id": "cafe/0118", "corpus": "cafe", "speaker": "cafe-s5", "gender": "male", "age": None,
        "native_label": "sadness",
    }  # fmt: skip
    assert (row["language"], row["statement"], row["label_source"], row["part"]) == (
        "French",
        "sentence 1",
        "given",
        None,
    )
    assert set(collection["age"]) == {23, None}


def test_the_sound_is_that_of_the_table_and_durations_come_from_its_headers(collection):
    for row in (0, 50, 95):
        number = int(collection[row]["utterance_id"].split("/")[1])
        assert np.array_equal(read_audio(collection[row]["audio"]), read_audio(tone(number)))
        assert collection[row]["duration"] == pytest.approx((1600 + number) / 16_000)


def test_what_the_scheme_drops_and_where_the_table_came_from_is_recorded(collection):
    facts = provenance(collection)
    assert facts["scheme"] == "four"
    assert facts["dropped"] == {"cafe": {"other": 12}, "crema_d": {"other": 12}}
    assert len(collection) == 120 - 24
    assert facts["table"]["source"] == "CAMEO"
    assert facts["table"]["columns"]["speaker"] == "speaker_id"
    assert facts["table"]["labels"]["sarcasm"] == "other"


def test_protocols_divide_the_corpora_of_a_table_together_and_each_alone(collection):
    assert set(split(collection, "loco", 0)["test"]["corpus"]) == {"cafe"}
    cafe = collection.select(np.flatnonzero(np.asarray(collection["corpus"]) == "cafe"))
    assert "cafe/loso" in protocols(cafe)
    for protocol, folds in (("cafe/loso", 6), ("cafe/kfold3", 3), ("cafe/random4", 4), ("cafe/statements2", 3)):
        assert count_folds(cafe, protocol) == folds
        parts = split(cafe, protocol, 1)
        assert all(len(rows) for rows in parts.values())
        shared = set(parts["train"]["speaker"]) & set(parts["test"]["speaker"])
        assert bool(shared) == ("random" in protocol)


def test_a_copy_of_a_hub_repository_is_read_by_its_card(shards, tmp_path):
    (tmp_path / "data").mkdir()
    card = {"configs": [{"config_name": "small", "data_files": []}]}
    for split_name, count in (("train", 20), ("test", 10)):
        pyarrow.parquet.write_table(
            cameo(0 if split_name == "train" else 20, count), tmp_path / f"data/{split_name}.parquet"
        )
        card["configs"][0]["data_files"].append({"split": split_name, "path": f"data/{split_name}.parquet"})
    (tmp_path / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
    dataset = load_table(tmp_path, "four", columns=COLUMNS, labels=LABELS, config="small")
    assert dataset["part"] == ["train"] * 16 + ["test"] * 8, "the split is the part"
    assert provenance(dataset)["table"]["config"] == "small"


def test_one_file_with_paths_and_class_labels_is_named_after_itself(tmp_path):
    for number in range(4):
        write_tone(tmp_path / f"wav/{number}.wav", hertz=200 + number, seconds=0.2 + number / 10)
    features = Features({"file": Value("string"), "mood": ClassLabel(names=["sad", "happy"]), "label": Value("string")})
    table = pyarrow.table(
        {"file": [f"wav/{number}.wav" for number in range(4)], "mood": [0, 1, 0, 1], "label": ["a", "b", "c", "d"]},
        schema=features.arrow_schema,
    )
    pyarrow.parquet.write_table(table, tmp_path / "My-Moods.parquet")
    source = tmp_path / "My-Moods.parquet"
    dataset = load_corpus(str(source), scheme="four", columns={"audio": "file", "emotion": "mood"})
    assert dataset["emotion"] == ["sadness", "happiness"] * 2
    assert dataset["utterance_id"] == [f"my_moods/{row:07d}" for row in range(4)]
    assert dataset["speaker"] == [None] * 4
    assert dataset["duration"] == pytest.approx([0.2, 0.3, 0.4, 0.5])
    assert audio_info(dataset[3]["audio"]).duration_seconds == pytest.approx(0.5)


@pytest.mark.parametrize("form", ["struct", "bytes"])
def test_sound_may_have_any_name_and_any_form_that_hugging_face_writes(form, tmp_path):
    sounds = [{"bytes": tone(number), "path": None} for number in range(3)]
    if form == "bytes":
        sounds = [sound["bytes"] for sound in sounds]
    table = pyarrow.table({"wav": sounds, "emotion": ["happy", "sad", "angry"]})
    pyarrow.parquet.write_table(table, tmp_path / "moods.parquet")
    dataset = load_corpus(tmp_path / "moods.parquet", scheme="four", columns={"audio": "wav"})
    assert [len(read_audio(row["audio"])) for row in dataset] == [1600, 1601, 1602]


def test_the_rows_stream_in_their_order(collection):
    streamed = [row["utterance_id"] for row in collection.to_iterable_dataset(num_shards=3)]
    assert streamed == list(collection["utterance_id"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": {}}, r"unknown labels: 'sarcasm' \(24\)\. Translate them"),
        ({"labels": {"sarcasm": "irony"}}, "sarcasm -> unknown emotion 'irony'"),
        ({"labels": {"sarcasme": "other"}}, "unknown word 'sarcasme'; did you mean 'sarcasm'"),
        ({"columns": {"speakers": "speaker_id"}}, "unknown unified column 'speakers'; did you mean 'speaker'"),
        ({"columns": {"speaker": "speakers"}}, "unknown column 'speakers'; did you mean 'speaker_id'"),
        ({"columns": {"audio": None}}, 'needs a column audio: pass columns={"audio": ...}'),
        ({"columns": {"age": "gender"}}, "column gender: 'Female' is not a number, as age needs"),
        ({"columns": {"utterance_id": "speaker_id"}}, "twice, such as cameo/s0: use another column"),
        ({"scheme": None}, "no default label scheme: name one"),
        ({"root": "here"}, "leave root out"),
        ({"corpus": "nowhere.parquet"}, "no file or folder nowhere.parquet"),
        ({"corpus": "emodb"}, "for own recordings, not for emodb"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(changed, message, shards):
    arguments = {"corpus": shards, "scheme": "four", "columns": {}, "labels": LABELS} | changed
    with pytest.raises(CorpusError, match=message):
        load_corpus(**arguments)


def test_unknown_words_are_counted_with_what_they_may_mean(tmp_path):
    words = ["angr", "frightful", "angr", "neutral", None]
    pyarrow.parquet.write_table(cameo(0, 5, emotion=words), tmp_path / "typos.parquet")
    with pytest.raises(CorpusError, match=r"'angr' \(2, perhaps anger\), 'frightful' \(1.*None \(1\)"):
        load_corpus(tmp_path / "typos.parquet", scheme="four")


def test_a_folder_without_tables_is_told_from_a_corpus(tmp_path):
    with pytest.raises(CorpusError, match=r"has no table \(\.csv, .*\) and no sub-folders: add one per emotion"):
        load_corpus(tmp_path, scheme="four")


def test_every_file_of_a_folder_is_a_part_of_its_name_and_shards_are_one(tmp_path):
    names = ("train-00000-of-00002", "train-00001-of-00002", "hold-out", "sub/test")
    (tmp_path / "sub").mkdir()
    for number, name in enumerate(names):
        pyarrow.parquet.write_table(cameo(10 * number, 10), tmp_path / f"{name}.parquet")
    dataset = load_corpus(tmp_path, scheme="four", columns=COLUMNS, labels=LABELS)
    part_of = {int(row["utterance_id"].split("/")[1]) // 10: row["part"] for row in dataset}
    assert part_of == {0: "train", 1: "train", 2: "hold-out", 3: "test"}


@pytest.mark.parametrize("has_card", [False, True])
def test_paths_are_relative_to_the_folder_whether_it_has_a_card_or_not(has_card, tmp_path):
    (tmp_path / "data").mkdir()
    for part in ("train", "test"):
        write_tone(tmp_path / f"wav/{part}.wav")
        table = pyarrow.table({"audio": [f"wav/{part}.wav"], "emotion": ["happy"]})
        pyarrow.parquet.write_table(table, tmp_path / f"data/{part}.parquet")
    if has_card:
        (tmp_path / "README.md").write_text("Two recordings.\n")
    dataset = load_table(tmp_path, "four")
    found = {row["part"]: row["audio"]["path"] for row in dataset}
    assert found == {part: str(tmp_path / f"wav/{part}.wav") for part in ("train", "test")}


@pytest.mark.parametrize("empty", [None, {"bytes": None, "path": None}])
def test_a_row_without_a_recording_is_named(empty, tmp_path):
    audio = [{"bytes": tone(row), "path": None} for row in range(10)]
    audio[3] = empty
    pyarrow.parquet.write_table(cameo(0, 10, audio=audio), tmp_path / "gaps.parquet")
    with pytest.raises(CorpusError, match=r"row 3 .* has no recording in the column audio"):
        load_table(tmp_path / "gaps.parquet", "four", columns=COLUMNS, labels=LABELS)


def test_an_empty_cell_means_what_the_labels_say(tmp_path):
    pyarrow.parquet.write_table(cameo(0, 4, emotion=["anger", None, "", "sadness"]), tmp_path / "gaps.parquet")
    dataset = load_table(tmp_path / "gaps.parquet", "four", labels={None: "other"})
    assert dataset["emotion"] == ["anger", "sadness"]
    assert provenance(dataset)["dropped"] == {"gaps": {"other": 2}}
    with pytest.raises(CorpusError, match=r"None \(2\)\. Translate them"):
        load_table(tmp_path / "gaps.parquet", "four")
