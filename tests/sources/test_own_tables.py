"""Tables as people bring them: understood as they were meant, or refused with the line that an editor shows."""

import json
from pathlib import Path

import pandas
import pytest
from conftest import write_tone

from ser_hf import load_corpus
from ser_hf.sources.utterance import CorpusError, Utterance
from ser_hf.training.data_arguments import DataArguments

# What all accepted tables mean: recording, emotion, speaker.
MEANT = [("clips/eins.wav", "anger", "01"), ("clips/zwei.wav", "happiness", "01"), ("clips/drei ü.wav", "sadness", "2")]
LINES = [("clips/eins.wav", "angry", "01"), ("clips/zwei.wav", "happy", "01"), ("clips/drei ü.wav", "sad", "2")]


@pytest.fixture
def folder(tmp_path):
    for number, (name, *_) in enumerate(MEANT):
        write_tone(tmp_path / name, hertz=200 + 50 * number)
    return tmp_path


def text(rows=LINES, separator=",", header=("path", "emotion", "speaker"), end="\n", encoding="utf-8"):
    return (end.join(separator.join(row) for row in [header, *rows]) + end).encode(encoding)


def changed(path=lambda path: path, emotion=lambda word: word, speaker=lambda name: name, **options):
    return text([(path(one), emotion(word), speaker(name)) for one, word, name in LINES], **options)


def with_text(value):
    return text([(*row, value) for row in LINES], header=("path", "emotion", "speaker", "text"))


def excel(rows=LINES, header=("File", "Label", "Speaker ID")):
    from io import BytesIO

    file = BytesIO()
    pandas.DataFrame(rows, columns=header).to_excel(file, index=False)
    return file.getvalue()


def parquet(columns=("path", "emotion", "speaker")):
    from io import BytesIO

    file = BytesIO()
    pandas.DataFrame(LINES, columns=columns).to_parquet(file)
    return file.getvalue()


def json_lines(*names):
    return "\n".join(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in LINES).encode()


UNDERSTOOD = {
    "commas": ("t.csv", text()),
    "semicolons": ("t.csv", text(separator=";")),
    "tabs in a csv": ("t.csv", text(separator="\t")),
    "bars": ("t.txt", text(separator="|")),
    "tsv": ("t.tsv", text(separator="\t")),
    "commas in a tsv": ("t.tsv", text()),
    "spaces after commas": ("t.csv", text(separator=", ")),
    "spaces around": ("t.csv", text(separator=" ; ")),
    "lines of Windows": ("t.csv", text(end="\r\n")),
    "lines of an old Mac": ("t.csv", text(end="\r")),
    "no last line end": ("t.csv", text()[:-1]),
    "empty lines": ("t.csv", text(end="\n\n")),
    "empty lines of a spreadsheet": ("t.csv", text([*LINES, ("", "", "")])),
    "a separator too many": ("t.csv", text([(*row, "") for row in LINES], header=("path", "emotion", "speaker", ""))),
    "columns too many, all empty": ("t.csv", text([(*row, "", "") for row in LINES])),
    "quotes": ("t.csv", b'"path","emotion","speaker"\n' + text()[len("path,emotion,speaker\n") :]),
    "a separator in quotes": ("t.csv", with_text('"he said, loudly"')),
    "a line break in quotes": ("t.csv", with_text('"two\nlines"')),
    "UTF-8 with a mark": ("t.csv", text(encoding="utf-8-sig")),
    "UTF-16 with a mark": ("t.csv", text(encoding="utf-16", separator="\t")),
    "UTF-16 without": ("t.csv", text(encoding="utf-16-le")),
    "UTF-16 the other way": ("t.csv", text(encoding="utf-16-be")),
    "UTF-32": ("t.csv", text(encoding="utf-32")),
    "capitals": ("t.csv", text(header=("PATH", "Emotion", "SPEAKER"))),
    "other names": ("t.csv", text(header=("filename", "label", "actor"))),
    "other names, spaces": ("t.csv", text(header=(" File Name ", "Emotion-Label", "Speaker.ID"))),
    "other names, wav": ("t.csv", text(header=("wav", "class", "subject"))),
    "paths of Windows": ("t.csv", changed(path=lambda path: path.replace("/", "\\"))),
    "absolute paths of Windows": ("t.csv", changed(path=lambda path: "D:\\data\\" + path.replace("/", "\\"))),
    "absolute paths of another machine": ("t.csv", changed(path=lambda path: "/home/ann/" + path)),
    "below the working folder": ("t.csv", changed(path=lambda path: "./" + path)),
    "bare names": ("t.csv", changed(path=lambda path: path.partition("/")[2])),
    "names without suffix": ("t.csv", changed(path=lambda path: path.removesuffix(".wav"))),
    "bare names without suffix": ("t.csv", changed(path=lambda path: path.partition("/")[2].removesuffix(".wav"))),
    "names in capitals": ("t.csv", changed(path=str.upper)),
    "another suffix": ("t.csv", changed(path=lambda path: path.replace(".wav", ".mp3"))),
    "names composed otherwise": ("t.csv", changed(path=lambda path: path.replace("ü", "u\u0308"))),
    "spaces around values": ("t.csv", changed(speaker=lambda name: f" {name} ", emotion=lambda word: f"{word} ")),
    "emotions in capitals": ("t.csv", changed(emotion=str.upper)),
    "Excel": ("t.xlsx", excel()),
    "Parquet": ("t.parquet", parquet()),
    "Parquet, other names": ("t.parquet", parquet(("audio", "label", "speaker_id"))),
    "JSON Lines": ("t.jsonl", json_lines("path", "emotion", "speaker")),
    "JSON Lines, other names": ("t.jsonl", json_lines("file", "label", "spk")),
}  # fmt: skip


@pytest.mark.parametrize("layout", UNDERSTOOD)
def test_what_was_meant_is_what_is_read(folder, layout, capsys):
    name, content = UNDERSTOOD[layout]
    (folder / name).write_bytes(content)
    dataset = load_corpus("folder", folder, scheme="four")
    read = [
        (row["audio"]["path"].removeprefix(f"{folder}/"), row["emotion"], row["speaker"].removeprefix("folder-"))
        for row in dataset
    ]
    assert read == MEANT
    (line,) = [line for line in capsys.readouterr().err.splitlines() if name in line]
    assert all(f"{column} = " in line for column in ("path", "emotion", "speaker")), "what was understood is said"


def test_an_encoding_is_guessed_only_if_one_makes_all_names_match(folder):
    (folder / "t.csv").write_bytes(text(encoding="cp1252"))
    assert len(load_corpus("folder", folder, scheme="four")) == 3
    notes = [(*row, "müde") for row in LINES if row[0].isascii()]
    (folder / "t.csv").write_bytes(text(notes, header=("path", "emotion", "speaker", "note"), encoding="cp1252"))
    with pytest.raises(
        CorpusError, match=r"not in UTF-8 \(line 2\), and may be cp1252, .*: pass its encoding \(--encoding cp1252"
    ):
        load_corpus("folder", folder, scheme="four")
    assert len(load_corpus("folder", folder, scheme="four", encoding="cp1252")) == 2
    with pytest.raises(CorpusError, match="'cp9999' is no encoding"):
        load_corpus("folder", folder, scheme="four", encoding="cp9999")


GERMAN = [("eins.wav", "Wut", "Anna"), ("zwei.wav", "Freude", "Anna"), ("drei ü.wav", "Trauer", "Bernd")]
LABELS = {"Wut": "anger", "freude": "happiness", "Trauer": "sadness"}


def test_its_owner_translates_columns_and_words(folder):
    (folder / "t.csv").write_bytes(
        text(GERMAN, separator=";", header=("Datei", "Gefühl", "Sprecher"), encoding="cp1252")
    )
    options = {
        "scheme": "four",
        "columns": {"file": "Datei", "emotion": "Gefühl", "speaker": "Sprecher"},
        "labels": LABELS,
    }
    dataset = load_corpus("folder", folder, **options)
    assert dataset["emotion"][:] == ["anger", "happiness", "sadness"]
    assert dataset["native_label"][:] == ["Wut", "Freude", "Trauer"]
    assert set(dataset["speaker"]) == {"folder-Anna", "folder-Bernd"}
    pairs = {name: [f"{key}={value}" for key, value in options[name].items()] for name in ("columns", "labels")}
    arguments = DataArguments(
        corpora=["folder"], roots=[f"folder={folder}"], scheme="four", protocols=["folder/random3"], **pairs
    )
    assert arguments.load()["emotion"][:] == dataset["emotion"][:]


def test_folders_are_translated_too(tmp_path):
    for number, name in enumerate(("Genervt", "MUNTER")):
        write_tone(tmp_path / name / "1.wav", hertz=200 + 50 * number)
    with pytest.raises(CorpusError, match=r"Genervt: unknown emotion 'Genervt'.*--labels Genervt=EMOTION"):
        load_corpus("folder", tmp_path, scheme="four")
    dataset = load_corpus("folder", tmp_path, scheme="four", labels={"genervt": "anger", "munter": "happiness"})
    assert dataset["emotion"][:] == ["anger", "happiness"]


def test_words_of_the_languages_of_our_corpora_need_no_translation(tmp_path):
    for number, name in enumerate(("Wut", "GIOIA", "smutek")):
        write_tone(tmp_path / name / "1.wav", hertz=200 + 50 * number)
    assert load_corpus("folder", tmp_path, scheme="four")["emotion"][:] == ["happiness", "anger", "sadness"]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"columns": {"emotoin": "Gefühl"}}, "columns: unknown column 'emotoin'; did you mean 'emotion'"),
     ({"columns": {"emotion": "Gefuehl"}}, "unknown column 'Gefuehl'; did you mean 'Gefühl'"),
     ({"columns": {"emotion": "Gefühl"}, "labels": {"Wut": "angre"}}, "labels: Wut -> unknown emotion 'angre'"),
     ({}, "no column emotion, nor .*--columns emotion=NAME")],
)  # fmt: skip
def test_a_wrong_translation_is_one_line(folder, options, says):
    (folder / "t.csv").write_bytes(text(GERMAN, header=("Datei", "Gefühl", "Sprecher")))
    options = {**options, "columns": {"path": "Datei", **options.get("columns", {})}}
    with pytest.raises(CorpusError, match=says):
        load_corpus("folder", folder, scheme="four", **options)


def test_a_corpus_with_a_table_of_its_own_is_not_translated():
    with pytest.raises(CorpusError, match=r"for own recordings, not for synthetic"):
        load_corpus("synthetic", labels={"a": "anger"})


REFUSED = {
    "a short row": (text([LINES[0], LINES[1][:2], LINES[2]]), "line 3 has 2 values, but the header has 3 columns"),
    "a shifted row": (text([LINES[0], ("x", *LINES[1])]), "line 3 has 4 values, but the header has 3 columns"),
    "after empty lines": (text([LINES[0]], end="\n\n\n") + b"clips/zwei.wav,happy\n", "line 7 has 2 values"),
    "after a line break in quotes": (
        b'path,emotion,text\nclips/eins.wav,angry,"a\nb\nc"\nclips/zwei.wav,happy\n', "line 5 has 2 values",
    ),
    "a value with a separator": (text([("clips/eins.wav", "angry", "Miller, Ann")]), "line 2 has 4 .*needs quotes"),
    "an open quote": (b'path,emotion\n"clips/eins.wav,angry\n', "cannot be read"),
    "no column of files": (text(header=("which", "emotion", "speaker")), "has no column path, nor .*it has"),
    "two columns of files": (text(header=("file", "label", "wav")), r"has several columns for path \(file, wav\)"),
    "one column twice": (text(header=("path", "emotion", "emotion")), "has two columns 'emotion'"),
    "a lost file": (text([("clips/vier.wav", "angry", "1")]), "line 2: there is no file clips/vier.wav"),
    "an empty emotion": (text([("clips/eins.wav", "", "1")]), "line 2: path or emotion is empty"),
    "an unknown emotion": (text([LINES[0], ("clips/zwei.wav", "scary", "1")]), "line 3: unknown emotion 'scary'"),
    "nothing": (b"", "it is empty"),
    "a header alone": (b"path,emotion\n", "no utterance"),
    "many columns": (text([], header=[f"c{number}" for number in range(20_000)]), "20,000 columns, more than 1,000"),
}  # fmt: skip


@pytest.mark.parametrize("layout", REFUSED)
def test_what_cannot_be_understood_is_refused_with_its_line(folder, layout):
    content, says = REFUSED[layout]
    (folder / "t.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=says) as told:
        load_corpus("folder", folder, scheme="four")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"path": "clips/eins.wav", "emotion": "angry"}\n{"path"\n', "line 2 is not JSON"),
        (b"[1]\n", "line 1 must be an object"), (b"", "it is empty"),
        (b'{"path": ' + b"[" * 100_000, "line 1 is not JSON"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_object_is_named(folder, content, says):
    (folder / "t.jsonl").write_bytes(content)
    with pytest.raises(CorpusError, match=says):
        load_corpus("folder", folder, scheme="four")


def test_two_recordings_of_one_name_need_a_path(folder):
    write_tone(folder / "other/eins.wav")
    (folder / "t.csv").write_bytes(changed(path=lambda path: path.partition("/")[2]))
    with pytest.raises(
        CorpusError, match=r"line 2: eins.wav may be .*clips/eins.wav or .*other/eins.wav: write the path"
    ):
        load_corpus("folder", folder, scheme="four")
    (folder / "t.csv").write_bytes(changed(path=lambda path: "C:\\x\\" + path.replace("/", "\\")))
    assert len(load_corpus("folder", folder, scheme="four")) == 3, "the folder tells which"


def test_leftovers_of_systems_are_no_recordings_and_no_tables(folder):
    (folder / "t.csv").write_bytes(changed(path=lambda path: path.partition("/")[2]))
    (folder / "clips/._eins.wav").write_bytes(b"\0\5\x16\7")
    (folder / "._t.csv").write_bytes(b"\0\5\x16\7")
    (folder / "~$t.xlsx").write_bytes(b"ann")
    assert len(load_corpus("folder", folder, scheme="four")) == 3


@pytest.mark.parametrize(
    ("word", "gender"), [("F", "female"), (" Male ", "male"), ("weiblich", "female"), ("divers", "divers")]
)
def test_words_of_gender_are_unified_and_unknown_ones_stay(folder, word, gender):
    (folder / "t.csv").write_bytes(text([(LINES[0][0], "angry", word)], header=("path", "emotion", "sex")))
    assert load_corpus("folder", folder, scheme="four")["gender"][:] == [gender]


def test_names_that_differ_only_in_case_or_punctuation_are_warned_about(folder, capsys):
    (folder / "t.csv").write_bytes(text([(*LINES[0][:2], "Ann-B"), (*LINES[1][:2], " ann b "), (*LINES[2][:2], "Eve")]))
    dataset = load_corpus("folder", folder, scheme="four")
    assert dataset["speaker"][:] == ["folder-Ann-B", "folder-ann b", "folder-Eve"]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "differ only" in line]
    assert "the speakers 'Ann-B' and 'ann b' differ only in case, spaces or punctuation" in line


def test_a_space_beside_a_name_makes_no_second_person():
    one = Utterance(Path("a.wav"), "anger", "A", speaker=" 01", gender="female ", session=" 1  b")
    assert (one.speaker, one.gender, one.session) == ("01", "female", "1 b")
    assert Utterance(Path("a.wav"), "anger", "A", speaker=" ").speaker is None


def test_notes_beside_recordings_are_no_table(folder, tmp_path_factory):
    (folder / "t.csv").write_bytes(text())
    (folder / "README.txt").write_text("Recorded in May, by Ann.\n")
    assert len(load_corpus("folder", folder, scheme="four")) == 3
    sorted_by_emotion = tmp_path_factory.mktemp("sorted")
    write_tone(sorted_by_emotion / "sad/1.wav")
    (sorted_by_emotion / "LICENSE.txt").write_text("Mine.\n")
    assert load_corpus("folder", sorted_by_emotion, scheme="four")["emotion"][:] == ["sadness"]


def test_a_recording_that_came_later_is_found(folder):
    (folder / "t.csv").write_bytes(text([("vier.wav", "angry", "1")]))
    with pytest.raises(CorpusError, match=r"there is no file vier.wav"):
        load_corpus("folder", folder, scheme="four")
    write_tone(folder / "clips/vier.wav")
    assert len(load_corpus("folder", folder, scheme="four")) == 1
