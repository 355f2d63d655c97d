"""`ser-hf audit`: sentences, JSON, and exit codes that tell a leak from a table that cannot be read."""

import json
import sys

import pandas
import pytest
from conftest import write_tone

from ser_hf.audio import sample_hash
from ser_hf.cli.main import main
from ser_hf.evaluation.tables import COLUMNS, PredictionTable, TableMetadata


@pytest.fixture
def audit(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["ser-hf", "audit", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run


UNNOTED = {"seed": 0, "scheme": "four", "corpora": []}


def table(folder, parts):
    """Tones of two per speaker, and a table of them, relative to its folder."""
    rows = []
    for speaker, part in parts.items():
        for number in range(2):
            name = f"{speaker}{number}.wav"
            write_tone(folder / name, hertz=200 + 37 * len(rows))
            rows.append({"path": name, "speaker": speaker, "split": part})
    pandas.DataFrame(rows).to_csv(folder / "split.csv", index=False)
    return folder / "split.csv"


def test_a_clean_table_is_0_a_leak_1_and_a_broken_table_2(audit, tmp_path):
    clean = table(tmp_path, {"a": "train", "b": "dev", "c": "test"})
    code, told, _ = audit(clean)
    assert (code, told.splitlines()[-1]) == (0, "nothing found")
    leaking = tmp_path / "leak.csv"
    leaking.write_text(clean.read_text().replace("b0.wav,b,dev", "b0.wav,c,train"))
    code, told, _ = audit(leaking)
    assert code == 1
    assert "1 of the 1 test speakers are in the train part too: c" in told
    broken = tmp_path / "broken.csv"
    broken.write_text("path,who\na,b\n")
    code, told, complaint = audit(broken)
    assert (code, told) == (2, "")
    assert "no column speaker and no column part; it has path, who" in complaint
    assert audit(tmp_path / "nowhere.csv")[0] == audit()[0] == audit(clean, "--claim", "honest")[0] == 2


def test_files_that_are_not_at_hand_are_told_and_a_copy_is_found_where_they_are(audit, tmp_path):
    split = table(tmp_path / "here", {"a": "train", "c": "test"})
    (tmp_path / "here/c0.wav").write_bytes((tmp_path / "here/a0.wav").read_bytes())
    code, told, _ = audit(split, "--json")
    assert (code, {one["kind"] for one in json.loads(told)}) == (1, {"same-audio", "no-validation"})
    elsewhere = tmp_path / "split.csv"
    elsewhere.write_text(split.read_text())
    code, told, _ = audit(elsewhere)
    assert code == 0
    assert "none of the 4 files is below" in told
    assert audit(elsewhere, "--root", split.parent)[0] == 1
    (tmp_path / "here/a1.wav").unlink()
    assert "missing-files" in audit(split)[1]


@pytest.mark.parametrize(
    "write",
    [
        lambda text: "\ufeff".encode() + text.encode(),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("path", '"path"').replace(",train", ',"train"').encode(),
    ],
    ids=["byte order mark", "semicolons", "tabs", "Windows lines", "quotes"],
)
def test_a_table_is_read_as_spreadsheets_write_it(audit, tmp_path, write):
    split = table(tmp_path, {"a": "train", "NA": "dev", "c": "test"})
    text = split.read_text().replace("c1.wav,c", "c1.wav,a")
    split.write_bytes(write(text))
    code, told, error = audit(split)
    assert (code, error) == (1, "")
    assert "1 of the 2 test speakers are in the train part too: a" in told
    assert "unknown-speaker" not in told, "NA is a name"
    assert "not-compared" not in told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "cannot be read as a table"),
        ("file,speaker,part\na,M\u00fcller,test\n".encode("latin-1"), "write it as CSV in UTF-8"),
        (b"file,speaker,part\n", "has no row"),
        (b"file,speaker,part\na,x,train\nb,y,test,more\n", "Expected 3 fields in line 3, saw 4"),
        (b"file,file,speaker,part\na,b,x,train\n", "has 2 columns named file"),
        (b"file,speaker,part\na,nan,train\nb,y,\n", "row 2 of t.csv: an empty cell is not a part"),
    ],
)
def test_a_table_that_cannot_be_judged_is_refused_in_one_line(audit, tmp_path, content, told):
    (tmp_path / "t.csv").write_bytes(content)
    code, _, error = audit(tmp_path / "t.csv")
    assert (code, error.count("\n")) == (2, 1)
    assert told in error


def test_windows_and_absolute_paths_are_found_and_a_damaged_file_is_told(audit, tmp_path):
    split = table(tmp_path / "sub", {"a": "train", "b": "dev", "c": "test"})
    text = split.read_text().replace("a0.wav", "sub\\a0.wav").replace("a1.wav", str(tmp_path / "sub/a1.wav"))
    text = text.replace("b0", "sub/b0").replace("b1", "sub/b1").replace("c0", "sub/c0").replace("c1", "sub/c1")
    (tmp_path / "split.csv").write_text(text)
    assert audit(tmp_path / "split.csv")[:2] == (0, "nothing found\n")
    (tmp_path / "sub/a0.wav").write_bytes(b"no sound")
    code, told, _ = audit(tmp_path / "split.csv")
    assert (code, "1 of 6 files cannot be decoded, such as sub/a0.wav" in told) == (1, True)


def test_a_recording_without_its_end_is_compared_as_far_as_it_is_there(audit, tmp_path):
    split = table(tmp_path, {"a": "train", "c": "test"})
    write_tone(tmp_path / "a0.flac", seconds=4)
    content = (tmp_path / "a0.flac").read_bytes()
    (tmp_path / "a0.flac").write_bytes(content[: 2 * len(content) // 3])
    split.write_text(split.read_text().replace("a0.wav", "a0.flac"))
    assert audit(split)[0] == 0


def test_supports_are_judged_and_a_bare_list_is_refused(audit):
    words = ["--corpus", "ravdess", "--supports"]
    code, told, _ = audit(*words, "anger=32,neutral=16")
    assert (code, "4 of 24 speakers" in told) == (0, True)
    assert audit(*words, "anger=39,neutral=20")[0] == 1
    code, _, complaint = audit(*words, "39,20")
    assert (code, "no class name" in complaint) == (2, True)
    assert audit("--corpus", "iemocap", "--supports", "anger=3")[0] == 2


def test_a_run_that_heard_its_test_speakers_is_found(audit, tmp_path):
    rows = pandas.DataFrame(
        {name: [None, None] for name in COLUMNS}
        | {"utterance_id": ["c/1", "c/2"], "corpus": "c", "speaker": ["c-x", "c-y"], "fold": 0, "seed": 0}
        | {"label": "anger", "prediction": "anger", "p_anger": 1.0}
    )
    PredictionTable(rows, TableMetadata("c/loso", "four", ("anger",))).write(tmp_path / "predictions.parquet")
    training = {
        "seed": 0,
        "scheme": "four",
        "corpora": [],
        "protocols": ["c/loso"],
        "fold": 0,
        "speakers": {"train": ["c-z"]},
        "audio": {"train": []},
    }
    (tmp_path / "ledger.json").write_text(json.dumps({"trainings": [training]}))
    assert audit(tmp_path)[0] == 0
    (tmp_path / "ledger.json").write_text(json.dumps({"trainings": [training], "unknown": ["theirs/model"]}))
    code, told, _ = audit(tmp_path)
    assert (code, "the training data of the teacher theirs/model is unknown" in told) == (1, True)
    training["speakers"]["train"].append("c-y")
    (tmp_path / "ledger.json").write_text(json.dumps({"trainings": [training]}))
    code, told, _ = audit(tmp_path)
    assert (code, "1 of the 2 test speakers were in the train part of c/loso, fold 0: c-y" in told) == (1, True)
    training["speakers"]["train"].remove("c-y")
    (tmp_path / "ledger.json").write_text(json.dumps({"trainings": [training]}))
    (tmp_path / "run.yaml").write_text("refit: true\n")
    code, told, _ = audit(tmp_path)
    assert (code, "refit-not-told" in told) == (1, True)
    (tmp_path / "run.yaml").write_text("- refit\n")
    assert audit(tmp_path)[0] == 2
    (tmp_path / "run.yaml").unlink()
    (tmp_path / "ledger.json").write_text(json.dumps({"trainings": [{"fold": 0}]}))
    code, _, error = audit(tmp_path)
    assert (code, "ledger.json cannot be read ('protocols')" in error) == (2, True)
    (tmp_path / "ledger.json").unlink()
    assert "no-ledger" in audit(tmp_path)[1]


def test_a_mistyped_root_does_not_pass_as_recordings_that_were_compared(audit, tmp_path):
    clean = table(tmp_path, {"a": "train", "b": "dev", "c": "test"})
    code, _, told = audit(clean, "--root", tmp_path / "nope")
    assert (code, "there is no folder" in told) == (2, True)


def test_the_recordings_of_a_run_are_found_whatever_their_suffix_and_their_accents(audit, tmp_path):
    composed, taken_apart = "caf\u00e9", "cafe\u0301"
    identities = ["c/loud/a.1", f"c/{composed}/b", "c/d"]
    rows = pandas.DataFrame(
        {name: [None] * 3 for name in COLUMNS}
        | {"utterance_id": identities, "corpus": "c", "speaker": ["c-x", "c-y", "c-z"], "fold": 0, "seed": 0}
        | {"label": "anger", "prediction": "anger", "p_anger": 1.0}
    )
    run, root = tmp_path / "run", tmp_path / "c"
    run.mkdir()
    PredictionTable(rows, TableMetadata("c/loso", "four", ("anger",))).write(run / "predictions.parquet")
    heard = write_tone(root / "loud/a.1.WAV", hertz=300)
    write_tone(root / taken_apart / "b.flac", hertz=400)
    write_tone(root / "d.mp3", seconds=1, hertz=500)
    (root / "d.txt").write_text("what is said")
    training = {
        "seed": 0,
        "scheme": "four",
        "corpora": [],
        "protocols": ["d/loso"],
        "fold": 0,
        "speakers": {"train": []},
        "audio": {"train": []},
    }
    (run / "ledger.json").write_text(json.dumps({"trainings": [training]}))
    assert audit(run, "--root", root)[:2] == (0, "nothing found\n")
    training["audio"]["train"].append(sample_hash(heard))
    (run / "ledger.json").write_text(json.dumps({"trainings": [training]}))
    code, told, _ = audit(run, "--root", root)
    assert (code, "1 of the 3 test recordings were in the train part of d/loso, fold 0: c/loud/a.1" in told) == (
        1,
        True,
    )
    heard.unlink()
    code, _, told = audit(run, "--root", root)
    assert (code, "c/loud/a.1 is not below" in told) == (2, True)
