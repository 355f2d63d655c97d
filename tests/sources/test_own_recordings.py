"""Own recordings under their own name, with their own classes, parts and votes; and what is left out of them."""

import numpy as np
import pytest
import soundfile
from conftest import write_tone

from ser_hf import load_corpus, provenance
from ser_hf.corpora import CorpusError
from ser_hf.data.precompute import hash_audio
from ser_hf.data.targets import with_targets

WORDS = ("Stressed", "relaxed ", "tired")


def table(folder, rows, name="labels.csv", header="file,label,speaker"):
    (folder / name).write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return folder / name


@pytest.fixture
def calls(tmp_path):
    """A table of twelve recordings of four people, with three classes that are no emotions."""
    for number in range(12):
        write_tone(tmp_path / f"{number:02d}.wav", hertz=200 + 20 * number)
    return table(tmp_path, [(f"{number:02d}.wav", WORDS[number % 3], f"p{number // 3}") for number in range(12)])


def test_own_words_are_classes_and_names_are_told_apart_by_neither_case_nor_spaces(calls):
    dataset = load_corpus(calls, scheme="own", name="callcenter")
    assert dataset.features["label"].names == ["relaxed", "stressed", "tired"]
    assert dataset["native_label"][:2] == ["Stressed", "relaxed"]
    assert (dataset["utterance_id"][0], dataset["speaker"][0]) == ("callcenter/00", "callcenter-p0")
    assert provenance(dataset)["scheme"] == "own"


def test_the_table_and_its_folder_and_both_spellings_are_the_same(calls):
    meant = load_corpus(calls, scheme="own", name="callcenter")[:]
    assert load_corpus(calls.parent, scheme="own", name="callcenter")[:] == meant
    assert load_corpus(f"callcenter={calls}", scheme="own")[:] == meant


def test_labels_join_own_classes(calls):
    dataset = load_corpus(calls, scheme="own", labels={"tired": "relaxed"})
    assert dataset.features["label"].names == ["relaxed", "stressed"]


def test_folders_are_own_classes_too(tmp_path):
    for word in ("stressed", "relaxed"):
        write_tone(tmp_path / word / "one.wav")
    assert load_corpus(tmp_path, scheme="own").features["label"].names == ["relaxed", "stressed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"no emotions: Stressed \(4\), relaxed \(4\), tired \(4\)\. Translate.*--labels.*--scheme own"),
        ({"scheme": "own", "name": "ravdess"}, "scheme own takes the words of your own recordings, but ravdess"),
        ({"scheme": "own", "name": "call center"}, "'call center' cannot be the name of a corpus"),
        ({"scheme": "own", "labels": dict.fromkeys(("stressed", "relaxed", "tired"), "x")}, "two classes, but all.* x"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_way_out(calls, options, message):
    with pytest.raises(CorpusError, match=message):
        load_corpus(calls, **options)


def test_what_a_scheme_drops_is_told(tmp_path, capsys):
    rows = [(f"{word}.wav", word, "a") for word in ("anger", "boredom", "fear")]
    for number, (name, *_) in enumerate(rows):
        write_tone(tmp_path / name, hertz=200 + number)
    load_corpus(table(tmp_path, rows), scheme="five")
    assert "folder: scheme five keeps 2 of 3 utterances; dropped: 1 boredom" in capsys.readouterr().err


# --- rows about one recording ---


def test_two_rows_of_one_recording_are_told_with_both_lines(calls):
    calls.write_text(calls.read_text() + "./03.wav,tired,p1\n")
    with pytest.raises(CorpusError, match=r"lines 5 and 14: both are about .*03\.wav \(Stressed, tired\).*--votes"):
        load_corpus(calls, scheme="own")


def test_votes_of_raters_become_the_word_of_most(tmp_path):
    votes = {"a": "anger anger fear", "b": "fear fear fear", "c": "anger fear", "d": "anger"}
    for number, name in enumerate(votes):
        write_tone(tmp_path / f"{name}.wav", hertz=200 + number)
    rows = [(f"{name}.wav", word, name) for name, words in votes.items() for word in words.split()]
    for scheme in ("five", "own"):
        dataset = load_corpus(table(tmp_path, rows), scheme=scheme, votes=True)
        assert dataset["emotion"] == ["anger", "fear", "anger"]
        assert provenance(dataset)["dropped"] == {"folder": {"no majority": 1}}, "even votes are no label"
        names = dataset.features["label"].names
        shares = np.asarray(with_targets(dataset, "votes")["target"])[:, [names.index("anger"), names.index("fear")]]
        assert shares == pytest.approx(np.array([[2 / 3, 1 / 3], [0, 1], [1, 0]]))


def test_raters_who_contradict_each_other_about_the_speaker_are_refused(tmp_path):
    write_tone(tmp_path / "a.wav")
    rows = [("a.wav", "anger", "x"), ("a.wav", "fear", "y")]
    with pytest.raises(CorpusError, match=r"lines 2 and 3: both are about .*a\.wav, but speaker is 'x'.*'y'"):
        load_corpus(table(tmp_path, rows), votes=True)


# --- parts ---

PARTS = {"train": "train", "dev": "validation", "test": "test"}


def write_parts(root, layout):
    rows = {
        part: [(f"{part}{number}.wav", word, part) for number, word in enumerate(("anger", "fear"))] for part in PARTS
    }
    for number, (part, name, word) in enumerate((one, row[0], row[1]) for one in PARTS for row in rows[one]):
        where = {"folders of folders": root / part / word, "folders of tables": root / part}.get(layout, root)
        write_tone(where / name, hertz=200 + number)
    if layout == "a column":
        table(root, [(*row, part) for part in PARTS for row in rows[part]], header="file,label,speaker,split")
    for part in PARTS:
        if layout == "tables":
            table(root, rows[part], f"labels-{part}.csv")
        if layout == "folders of tables":
            table(root / part, rows[part], "metadata.csv")


@pytest.mark.parametrize("layout", ["a column", "tables", "folders of tables", "folders of folders"])
def test_a_division_is_read_in_every_layout(tmp_path, layout):
    write_parts(tmp_path, layout)
    dataset = load_corpus(tmp_path)
    found = dict(zip((name.split("/")[-1] for name in dataset["utterance_id"]), dataset["part"], strict=True))
    assert found == {f"{part}{number}": meant for part, meant in PARTS.items() for number in range(2)}


def test_a_table_that_contradicts_its_own_name_is_refused(tmp_path):
    write_tone(tmp_path / "a.wav")
    table(tmp_path, [("a.wav", "anger", "x", "test")], "train.csv", "file,label,speaker,split")
    table(tmp_path, [], "test.csv", "file,label,speaker,split")
    with pytest.raises(CorpusError, match=r"a\.wav has the part test in .*train\.csv"):
        load_corpus(tmp_path)


# --- what cannot be used ---


@pytest.fixture
def damaged(calls):
    """The table with one row too many, an empty file, one that is no sound, and one that is silent."""
    folder = calls.parent
    calls.write_text(calls.read_text() + "nowhere.wav,tired,p1\n")
    (folder / "00.wav").write_bytes(b"")
    (folder / "01.wav").write_bytes(b"no sound" * 100)
    soundfile.write(folder / "02.wav", np.zeros(16000), 16000)
    return calls


def test_unusable_recordings_are_refused(damaged):
    with pytest.raises(CorpusError, match=r"line 14: there is no file nowhere\.wav"):
        load_corpus(damaged, scheme="own")


def test_silence_is_refused_before_training(calls):
    soundfile.write(calls.parent / "02.wav", np.zeros(16000), 16000)
    with pytest.raises(ValueError, match=r"02\.wav is silent: leave it out"):
        hash_audio(load_corpus(calls, scheme="own"))


def test_unusable_recordings_are_left_out_on_request_and_counted(damaged, capsys):
    dataset = hash_audio(load_corpus(damaged, scheme="own", name="callcenter", skip_unusable=True))
    assert dataset["utterance_id"] == [f"callcenter/{number:02d}" for number in range(3, 12)]
    assert provenance(dataset)["dropped"] == {"callcenter": {"unusable": 4}}
    told = capsys.readouterr().err
    for name in ("nowhere.wav", "00.wav", "01.wav", "callcenter/02"):
        assert name in told


def test_where_nothing_is_usable_the_first_reason_is_told(tmp_path):
    calls = table(tmp_path, [("nowhere.wav", "anger"), ("missing.wav", "fear")], header="file,label")
    with pytest.raises(CorpusError, match=r"all of folder is unusable; the first: .*line 2: there is no file nowhere"):
        load_corpus(calls, skip_unusable=True)


# --- people, and what contradicts itself ---


def test_names_are_compared_over_all_parts_of_a_division(tmp_path, capsys):
    for number in range(4):
        write_tone(tmp_path / f"{number}.wav", hertz=200 + number)
    table(tmp_path, [("0.wav", "anger", "Anna"), ("1.wav", "fear", "Ben")], "train.csv")
    table(tmp_path, [("2.wav", "anger", "anna"), ("3.wav", "fear", "Cleo")], "test.csv")
    load_corpus(tmp_path)
    assert "the speakers 'Anna' and 'anna' differ only in case" in capsys.readouterr().err


def test_an_accent_in_another_form_makes_no_second_person(tmp_path):
    for number in range(2):
        write_tone(tmp_path / f"{number}.wav", hertz=200 + number)
    rows = [("0.wav", "anger", "Jos\u00e9"), ("1.wav", "fear", "Jose\u0301")]
    (tmp_path / "labels.csv").write_text("file,label,speaker\n" + "\n".join(map(",".join, rows)), encoding="utf-8")
    assert len(set(load_corpus(tmp_path)["speaker"])) == 1


def test_folders_of_parts_beside_others_are_refused(tmp_path):
    for part in ("train", "test", "unlabelled"):
        write_tone(tmp_path / part / "calm" / "a.wav")
    with pytest.raises(CorpusError, match=r"folders of parts \(test, train\) and others \(unlabelled\)"):
        load_corpus(tmp_path, scheme="own")


def test_rows_that_contradict_each_other_are_both_left_out(calls):
    calls.write_text(calls.read_text() + "03.wav,tired,p1\n04.wav,relaxed,p1\n")
    dataset = load_corpus(calls, scheme="own", skip_unusable=True)
    names = [name.partition("/")[2] for name in dataset["utterance_id"]]
    assert "03" not in names, "Stressed and tired"
    assert names.count("04") == 1, "relaxed twice"


@pytest.mark.parametrize("cell", [".", "/", "C:\\"])
def test_a_path_that_is_no_name_is_told_by_its_line(calls, cell):
    calls.write_text(calls.read_text() + f"{cell},tired,p1\n")
    with pytest.raises(CorpusError, match="line 14: there is no file"):
        load_corpus(calls, scheme="own")


def test_an_endless_age_is_told_by_its_line(tmp_path):
    write_tone(tmp_path / "a.wav")
    with pytest.raises(CorpusError, match="line 2: age must be a number, not 'inf'"):
        load_corpus(table(tmp_path, [("a.wav", "anger", "inf")], header="file,label,age"))
