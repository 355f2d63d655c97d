"""Distillation end to end: a support vector machine teaches a network, on synthetic speech."""

import json
import runpy
import shutil

import pytest
from conftest import ROOT

from ser_hf.cli.evaluate import evaluate_model
from ser_hf.report.report import EvaluationReport
from ser_hf.report.runs import RunTables

pytestmark = pytest.mark.slow

QUICK = ["--report_to", "none", "--disable_tqdm", "true", "--use_cpu", "true"]


def launch(monkeypatch, recipe, *words):
    monkeypatch.setattr("sys.argv", [recipe, *map(str, words)])
    runpy.run_path(str(ROOT / "recipes" / recipe), run_name="__main__")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "svm"
    with pytest.MonkeyPatch.context() as patch:
        launch(patch, "train_svm.py", "--folds", "0", "1", "--output_dir", folder)
    return folder


def test_a_network_learns_from_a_support_vector_machine_fold_by_fold_and_goes_on(
    teacher, tmp_path, monkeypatch, capsys
):
    """Labels do not count here: what the students know they have from their teachers."""
    run = tmp_path / "run"
    words = ["--teacher", teacher, "--distillation_weight", "1", "--folds", "0", "1", "--output_dir", run, *QUICK]
    words += ["--num_train_epochs", "12", "--learning_rate", "3e-3"]
    launch(monkeypatch, "distill.py", *words)
    tables = RunTables.read(run)
    report = EvaluationReport.read(run / "report.json")
    assert (report.n, report.relation, report.model) == (480, "held_out", "tiny-whisper, taught by svm")
    assert report.uar > 0.8
    assert tables.validation is not None
    for fold in (0, 1):
        first, last = json.loads((run / f"fold{fold}/ledger.json").read_text())["trainings"]
        taught = json.loads((teacher / f"fold{fold}/ledger.json").read_text())["trainings"]
        assert [first] == taught
        assert last["fold"] == fold
        heard = {name for training in (first, last) for part in training["speakers"].values() for name in part}
        assert not heard & set(tables.test.rows.query("fold == @fold")["speaker"])

    (run / "fold1/predictions.parquet").unlink()  # as after a kill
    kept = (run / "fold0/model.safetensors").stat().st_mtime_ns
    launch(monkeypatch, "distill.py", *words)
    assert (run / "fold0/model.safetensors").stat().st_mtime_ns == kept
    assert EvaluationReport.read(run / "report.json") == report


def test_a_teacher_of_another_fold_is_refused_before_anything_is_trained(teacher, tmp_path, monkeypatch, capsys):
    words = ["--teacher", teacher / "fold0", "--folds", "0", "1", "--output_dir", tmp_path / "run", *QUICK]
    with pytest.raises(SystemExit) as ended:
        launch(monkeypatch, "distill.py", *words)
    assert ended.value.code == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "would leak data that the student is evaluated on: speaker synthetic-" in said
    assert "of synthetic/si4, fold 0" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scheme", "seven"], "has no label for disgust"),
        (["--teacher_labels", "happy=happiness"], "the teacher has no label 'happy'"),
        (["--augment", "mixup=0.2"], "leave mixup out of --augment"),
    ],
)
def test_a_teacher_that_cannot_answer_is_refused_before_the_run_has_a_folder(
    teacher, tmp_path, monkeypatch, capsys, words, message
):
    """Else the same command with the mistake mended would meet a run with other options."""
    with pytest.raises(SystemExit) as ended:
        launch(monkeypatch, "distill.py", "--teacher", teacher, *words, "--output_dir", tmp_path / "run", *QUICK)
    assert ended.value.code == (2 if "--augment" in words else 1)
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_machine_that_was_refitted_on_the_validation_speakers_is_refused(tmp_path, monkeypatch, capsys):
    launch(monkeypatch, "train_svm.py", "--refit", "true", "--output_dir", tmp_path / "svm")
    with pytest.raises(SystemExit):
        launch(monkeypatch, "distill.py", "--teacher", tmp_path / "svm", "--output_dir", tmp_path / "run", *QUICK)
    assert "of this validation part was in the train part of synthetic/si4, fold 0" in capsys.readouterr().err


def test_the_student_of_a_teacher_without_a_ledger_is_called_unknown_then_and_later(teacher, tmp_path, monkeypatch):
    shutil.copytree(teacher / "fold0", tmp_path / "theirs")
    (tmp_path / "theirs/ledger.json").unlink()
    run = tmp_path / "run"
    launch(monkeypatch, "distill.py", "--teacher", tmp_path / "theirs", "--output_dir", run, "--max_steps", "2", *QUICK)
    report = EvaluationReport.read(run / "report.json")
    assert report.relation == "unknown"
    later = evaluate_model(str(run), "synthetic").test.metadata
    assert later.relation == "unknown"
    assert json.loads((run / "ledger.json").read_text())["unknown"] == ["theirs"]
    on = tmp_path / "on"
    launch(
        monkeypatch, "train_classifier.py", "--model_name_or_path", run, "--output_dir", on, "--max_steps", "2", *QUICK
    )
    report = EvaluationReport.read(on / "report.json")
    assert report.relation == "unknown", "what goes on from there, too"
