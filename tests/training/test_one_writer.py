"""A run folder has one writer, and a damaged checkpoint is passed over with a word."""

import json
import runpy

import pytest
import torch
from conftest import ROOT
from elsewhere import held_elsewhere
from safetensors.torch import save_file

from ser_hf.cli.main import main
from ser_hf.files import LOCK
from ser_hf.training.callbacks import last_checkpoint


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a recipe, or a verb of the command line; gives the exit code and the lines on stderr."""

    def run(*words):
        monkeypatch.setattr("sys.argv", list(map(str, words)))
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "recipes" / words[0]), run_name="__main__") if words[0] != "ser-hf" else main()
        return ended.value.code, capsys.readouterr().err.splitlines()

    return run


@pytest.mark.parametrize(
    "words",
    [["train_classifier.py", "--model_name_or_path", "tiny-whisper", "--use_cpu", "true"], ["train_svm.py"],
     ["hubert_curriculum.py", "--model_name_or_path", "tiny-hubert", "--use_cpu", "true"]],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_second_training_in_a_folder_is_refused_in_one_line_and_changes_nothing(command, words, tmp_path):
    with held_elsewhere(tmp_path / "run") as holder:
        code, told = command(*words, "--output_dir", tmp_path / "run")
        assert code == 1
        (line,) = [line for line in told if "another process" in line]
        assert f"(process {holder.pid} on " in line
        assert "wait until it ends, or choose another folder" in line
        assert {path.name for path in (tmp_path / "run").iterdir()} == {LOCK, f"{LOCK}-holder"}


def test_a_second_computation_of_a_cache_is_refused(command, tmp_path):
    config = ROOT / "recipes/configs/synthetic_classifier.yaml"
    with held_elsewhere(tmp_path / "cache", tmp_path / ".cache.lock"):
        code, told = command("ser-hf", "precompute", config, tmp_path / "cache", "--use_cpu", "true")
    assert code == 1
    assert "is writing into" in told[-1]
    assert not (tmp_path / "cache").exists()


def checkpoint(folder, step):
    one = folder / f"checkpoint-{step}"
    one.mkdir(parents=True)
    save_file({"weight": torch.rand(100)}, one / "model.safetensors")
    torch.save({"state": torch.rand(100)}, one / "optimizer.pt")
    (one / "config.json").write_text("{}")
    (one / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return one


def cut(file):
    file.write_bytes(file.read_bytes()[:-20])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [("model.safetensors", cut), ("optimizer.pt", cut), ("optimizer.pt", flip), ("trainer_state.json", cut),
     ("config.json", cut), ("trainer_state.json", lambda file: file.unlink()),
     ("trainer_state.json", lambda file: file.write_text("[]")),
     ("config.json", lambda file: file.write_text("[" * 10**5)),
     ("model.safetensors", lambda file: save_file({"weight": torch.full((9,), torch.nan)}, file)),
     ("optimizer.pt", lambda file: file.write_bytes(b"PK"))],
)  # fmt: skip
def test_the_checkpoint_before_a_damaged_one_is_taken_and_said(tmp_path, name, damage, caplog, monkeypatch):
    said = []
    monkeypatch.setattr("ser_hf.training.callbacks.logger.warning", said.append)
    older, newest = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    assert last_checkpoint(tmp_path) == str(newest)
    assert said == []
    damage(newest / name)
    assert last_checkpoint(tmp_path) == str(older)
    (line,) = said
    assert f"checkpoint-10 is damaged or incomplete ({name})" in line
    damage(older / name)
    assert last_checkpoint(tmp_path) is None


def test_a_checkpoint_without_weights_is_none(tmp_path):
    older, newest = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    (newest / "model.safetensors").unlink()
    assert last_checkpoint(tmp_path) == str(older)
