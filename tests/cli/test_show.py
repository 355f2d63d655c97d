"""`ser-hf corpora show` and `ser-hf doctor` on own recordings, in the words of their owner."""

import json

import pytest
import soundfile
from conftest import write_tone


@pytest.fixture
def table(tmp_path):
    """A German table; one of its recordings is ten times as loud as the others."""
    lines = ["Datei;Gefühl;Person"]
    for number in range(6):
        write_tone(tmp_path / f"{number}.wav", hertz=200 + number, seconds=0.5)
        lines.append(f"{number}.wav;{('munter', 'genervt')[number % 2]};p{number // 2}")
    samples, rate = soundfile.read(tmp_path / "0.wav")
    soundfile.write(tmp_path / "0.wav", 5 * samples, rate)
    (tmp_path / "liste.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "liste.csv"


WORDS = ["--columns", "path=Datei,emotion=Gefühl,speaker=Person", "--labels", "munter=happiness,genervt=anger"]


def test_the_overview_has_counts_durations_and_levels_and_a_picture(run_verb, table, tmp_path):
    code, told, _ = run_verb("corpora", "show", f"anrufe={table}", *WORDS, "--out", tmp_path / "out", "--json")
    assert code == 0
    facts = json.loads(told)
    assert {one["class"]: one["n"] for one in facts["classes"]} == {"anger": 3, "happiness": 3}
    assert (facts["corpus"], len(facts["speakers"]), facts["seconds"]["median"]) == (["anrufe"], 3, 0.5)
    assert facts["level"]["maximum"] - facts["level"]["median"] == pytest.approx(14, abs=0.1)  # 20 log10(5)
    assert (tmp_path / "out" / "overview.png").read_bytes()[:4] == b"\x89PNG"
    assert "| anger | 3 |" in (tmp_path / "out" / "overview.md").read_text()
    assert json.loads((tmp_path / "out" / "overview.json").read_text()) == facts


def test_the_doctor_understands_what_the_training_understands(run_verb, table):
    assert run_verb("doctor", f"anrufe={table}", *WORDS)[0] == 0
    code, told, _ = run_verb("doctor", f"anrufe={table}", *WORDS[:2])
    assert code == 1
    assert "unknown emotion 'munter'" in told
    assert run_verb("doctor", f"anrufe={table}", *WORDS[:2], "--scheme", "own")[0] == 0


def test_a_pair_of_another_form_is_told(run_verb, table):
    assert (
        "columns: 'Datei' is not of the form path=Datei" in run_verb("corpora", "show", table, "--columns", "Datei")[2]
    )
    code, _, told = run_verb("doctor", table, "--columns", "Datei")
    assert (code, "is not of the form" in told) == (2, True)


def test_a_name_with_two_values_is_refused(run_verb, table):
    code, _, told = run_verb("corpora", "show", table, "--columns", "path=Datei,path=Person")
    assert (code, "path is given as 'Datei' and as 'Person'; keep one" in told) == (1, True)


def test_a_recording_that_cannot_be_decoded_is_told_and_has_no_level(run_verb, table):
    loud = table.parent / "0.flac"
    soundfile.write(loud, *soundfile.read(table.parent / "0.wav"))
    content = loud.read_bytes()
    loud.write_bytes(content[:100] + bytes(len(content) - 100))
    table.write_text(table.read_text(encoding="utf-8").replace("0.wav", "0.flac"), encoding="utf-8")
    code, told, _ = run_verb("corpora", "show", f"anrufe={table}", *WORDS, "--json")
    facts = json.loads(told)
    assert code == 0
    assert facts["level"]["minimum"] > -50
    assert facts["notes"] == ["1 recordings cannot be decoded and have no level: `ser-hf doctor` names them."]
