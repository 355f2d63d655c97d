"""`ser-hf predict --out`: a table of whatever holds recordings; options that do not go together are refused."""

import json

import pandas
import pytest
from conftest import write_tone
from tiny import save_untrained

COUNT = 5


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model"), "tiny-hubert", ["anger", "fear", "neutral"], sharpness=100)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Five recordings: one is no sound, one has lost its end."""
    folder = tmp_path_factory.mktemp("sounds")
    for number in range(COUNT):
        write_tone(folder / f"{number}.wav", hertz=150.0 + 50 * number)
    (folder / "3.wav").write_text("no sound")
    (folder / "4.wav").write_bytes((folder / "0.wav").read_bytes()[:6_000])
    return folder


def rows_of(table):
    return [json.loads(line) for line in table.read_text().splitlines()]


def test_a_table_of_folders_and_of_datasets_in_parquet(saved, sounds, tmp_path, run_verb):
    table, dataset = tmp_path / "table.jsonl", tmp_path / "dataset.parquet"
    rows = [{"audio": {"bytes": (sounds / f"{number}.wav").read_bytes(), "path": None}} for number in (0, 1, 3)]
    pandas.DataFrame(rows).to_parquet(dataset)
    code, told, _ = run_verb("predict", saved, sounds, dataset, "--out", table)
    assert (code, told) == (0, f"{table}: 8 recordings, of which 2 could not be scored and 1 have a warning\n")
    found = rows_of(table)
    assert found[COUNT]["file"] == f"{dataset}, row 1"
    assert found[COUNT]["p_fear"] == pytest.approx(found[0]["p_fear"], abs=1e-6)
    assert "row 3 is not a sound file" in found[-1]["error"]
    assert "4.wav has only" in found[4]["warning"]
    assert [row["warning"] for row in found].count(None) == 7


def test_a_table_of_files_is_adapted_to_its_speakers(saved, sounds, tmp_path, run_verb):
    people = pandas.DataFrame({"file": [f"{number}.wav" for number in range(COUNT)], "who": ["a", "b", "a", "a", None]})
    people.to_csv(sounds / "people.csv", index=False)
    plain, adapted = tmp_path / "plain.jsonl", tmp_path / "adapted.jsonl"
    for table, words in ((plain, []), (adapted, ["--adaptation", "online", "--speaker_column", "who"])):
        code, told, _ = run_verb("predict", saved, sounds / "people.csv", "--out", table, "--json", *words)
        assert code == 0
        assert json.loads(told) == {"table": str(table), "recordings": COUNT, "errors": 1, "warnings": 1}
    before, after = rows_of(plain), rows_of(adapted)
    assert [row["speaker"] for row in after] == ["a", "b", "a", "a", None]
    changed = [
        row["p_fear"] != pytest.approx(other["p_fear"], abs=1e-5) for row, other in zip(before, after, strict=True)
    ]
    assert changed == [False, False, True, False, False]  # only the third has an earlier one of the same speaker


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "t.csv", "--top_k", "2"], "--top_k: a table has the probability of every class; leave it out"),
        (["--out", "t.csv", "--speaker", "anna"], "--speaker: a table says itself who speaks; use --adaptation online"),
        (["--out", "t.csv", "--adaptation", "online"], "--adaptation online needs --speaker_column"),
        (["--out", "t.csv", "--speaker_column", "who"], "--adaptation online needs --speaker_column"),
        (["--out", "t.csv", "--engine", "spark"], "unknown engine 'spark': use local or ray"),
        (["--engine", "ray"], "--adaptation and --engine are for tables: add --out answers.csv"),
        (["--adaptation", "online", "--speaker_column", "who"], "are for tables: add --out answers.csv"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_one_sentence(sounds, run_verb, words, says):
    code, told, complaint = run_verb("predict", "no model", sounds, *words)
    assert (code, told) == (2, "")
    assert complaint.startswith("ser-hf: ")
    assert complaint.count("\n") == 1
    assert says in complaint


def test_an_engine_that_is_not_installed_is_one_sentence(sounds, tmp_path, run_verb, monkeypatch):
    monkeypatch.setattr("ser_hf.inference.bulk.on_ray.find_spec", lambda name: None)
    code, _, complaint = run_verb("predict", "no model", sounds, "--out", tmp_path / "t.csv", "--engine", "ray")
    assert (code, complaint) == (2, 'ser-hf: --engine ray needs the extra: pip install "ser_hf[ray]"\n')


def test_one_adaptation_alone_is_known_here(saved, sounds, tmp_path, run_verb):
    (tmp_path / "people.csv").write_text(f"file,who\n{sounds / '0.wav'},a\n")
    words = ["--out", tmp_path / "t.csv", "--adaptation", "transductive", "--speaker_column", "who"]
    code, _, complaint = run_verb("predict", saved, tmp_path / "people.csv", *words)
    assert code == 1
    assert complaint.splitlines()[-1] == "ser-hf: adaptation must be none or online here, not 'transductive'"


def test_a_lost_end_is_said_without_a_table_too(saved, sounds, run_verb):
    code, told, complaint = run_verb("predict", saved, sounds / "4.wav", sounds / "0.wav", "--json")
    assert code == 0
    first, second = json.loads(told)
    assert first["warning"] == complaint.removeprefix("warning: ").strip()
    assert second["warning"] is None


def test_a_backend_and_a_number_format_are_options_of_both_forms(saved, sounds, tmp_path, run_verb):
    plain = json.loads(run_verb("predict", saved, sounds / "0.wav", "--json")[1])
    compiled = json.loads(run_verb("predict", saved, sounds / "0.wav", "--json", "--backend", "onnxruntime")[1])
    assert compiled[0]["scores"] == pytest.approx(plain[0]["scores"], abs=1e-4)
    words = ["--out", tmp_path / "t.jsonl", "--dtype", "bfloat16", "--device", "cpu"]
    assert run_verb("predict", saved, sounds / "0.wav", *words)[0] == 0
    (row,) = rows_of(tmp_path / "t.jsonl")
    scores = {name: row[f"p_{name}"] for name in plain[0]["scores"]}
    assert scores == pytest.approx(plain[0]["scores"], abs=0.05)
    assert scores != pytest.approx(plain[0]["scores"], abs=1e-6)
    code, _, complaint = run_verb("predict", saved, sounds / "0.wav", "--dtype", "int4")
    assert (code, complaint) == (1, "ser-hf: dtype must be float32, bfloat16 or auto, not 'int4'\n")
