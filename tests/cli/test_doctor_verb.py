import json
from functools import partial

import pytest
import soundfile
from conftest import build_miniature, write_tone

from ser_hf.corpora import get_corpus


@pytest.fixture
def doctor(run_verb):
    return partial(run_verb, "doctor")


@pytest.fixture
def mine(tmp_path):
    return build_miniature(get_corpus("folder"), tmp_path / "mine")


def test_a_healthy_folder_is_exit_code_0_and_says_whose_licence_it_has(doctor, mine):
    code, printed, errors = doctor("folder", mine)
    assert (code, errors) == (0, "")
    assert "5 recordings, 0.00 h (5 at 16000 Hz)\nlicence: yours\n" in printed
    assert printed.endswith("no fault found\n")


def test_a_fault_is_exit_code_1_with_its_value_and_what_to_do(doctor, mine):
    write_tone(mine / "anger/loud.wav", sampling_rate=48_000, hertz=500)
    code, printed, errors = doctor("folder", mine)
    assert (code, errors) == (1, "")
    assert "warning: odd-rate (1) - nothing to do: ser_hf resamples" in printed
    assert "  anger/loud.wav: 48000 Hz, the others have 16000 Hz\n" in printed
    assert printed.endswith("faults found: 0 errors, 1 warnings\n")


def test_many_equal_faults_are_one_block_and_json_has_them_all(doctor, mine):
    for number in range(8):
        (mine / f"anger/{number}.wav").write_bytes(b"")
    code, printed, _ = doctor("folder", mine)
    assert code == 1
    assert "error: zero-length (8) - fetch it again" in printed
    assert printed.count("is empty (0 bytes)") == 5
    assert "... 3 more; --json lists all" in printed
    code, printed, errors = doctor("folder", mine, "--json")
    told = json.loads(printed)
    assert (code, errors) == (1, "")
    assert told["counts"] == {"zero-length": 8}
    assert [fault["file"] for fault in told["faults"]] == [f"anger/{number}.wav" for number in range(8)]
    assert set(told["faults"][0]) == {"kind", "severity", "file", "sentence", "evidence", "remedy"}
    assert told["sampling_rates"] == {"16000": 5}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ravdes", "."), "did you mean 'ravdess'"),
        (("ravdess", "no/such/folder"), "there is no folder no/such/folder"),
        (("ravdess",), "pass its folder as root, or set SER_HF_CORPORA"),
    ],
)
def test_wrong_usage_is_exit_code_2(doctor, words, message):
    code, printed, errors = doctor(*words)
    assert (code, printed) == (2, "")
    assert message in errors


def test_the_table_says_all_that_is_wrong_with_the_odd_files_of_a_release(doctor, tmp_path):
    root = build_miniature(get_corpus("tess"), tmp_path / "tess")
    samples, rate = soundfile.read(root / "YAF_sad/YAF_beg_sad.wav")
    soundfile.write(root / "YAF_sad/YAF_beg_sad.wav", samples, rate, format="AIFF")
    code, printed, _ = doctor("tess", root)
    assert code == 1
    assert "  YAF_sad/YAF_beg_sad.wav: AIFF format, but the suffix is .wav\n" in printed
    assert "  OAF_neutral/OA_bite_neutral.wav: has this name in the release itself" in printed
    assert "  speaker OAF: found 4 of 1400 recordings\n" in printed


def test_advice_is_given_once_however_the_files_are_ordered(doctor, mine):
    for name in ("1.m4a", "2.wav", "3.m4a"):
        (mine / name).write_bytes(b"")
    table = "\n".join(("file,emotion", *(f"anger/{path.name},anger" for path in (mine / "anger").iterdir())))
    (mine / "labels.csv").write_text(table)
    _, printed, _ = doctor("folder", mine / "labels.csv")
    assert "surplus" in printed
    heads = [line.partition(" - ")[2] for line in printed.splitlines() if " - " in line]
    assert len(set(heads)) == len(heads)


def test_a_folder_that_cannot_be_examined_is_exit_code_2(doctor, mine, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(mine))

    monkeypatch.setattr("ser_hf.cli.doctor.examine", refuse)
    code, printed, errors = doctor("folder", mine)
    assert (code, printed, "Permission denied" in errors) == (2, "", True)
