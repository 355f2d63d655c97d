"""`ser-hf evaluate`, `precompute` and `report`: any model, any machine, the same figures."""

import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import soxr
from conftest import ROOT
from voices import RATE, speech

from ser_hf.cli.evaluate import _validation as validation_of
from ser_hf.corpora import find_root, get_corpus
from ser_hf.emotions import get_scheme
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.models.pretrained import build_classifier
from ser_hf.report.report import EvaluationReport

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small")]

QUICK = ["--report_to", "none", "--disable_tqdm", "true", "--max_steps", "2", "--use_cpu", "true",
         "--allow_partial", "true"]  # fmt: skip
RECIPE = ROOT / "recipes/train_classifier.py"
CONFIG = ROOT / "recipes/configs/synthetic_classifier.yaml"


@pytest.fixture
def ser_hf(run_verb):
    def run(*words):
        return run_verb(*words, *(["--allow_partial"] if words[0] in ("evaluate", "precompute") else []))

    return run


@pytest.fixture
def train(monkeypatch):
    import runpy

    def run(*words):
        monkeypatch.setattr(sys, "argv", [str(RECIPE), *map(str, words), *QUICK])
        runpy.run_path(str(RECIPE), run_name="__main__")

    return run


@pytest.fixture(scope="module")
def trained(small, tmp_path_factory):
    """A run on fold 1, with its ledger."""
    import runpy

    folder = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys, "argv", [str(RECIPE), "--model_name_or_path", "tiny-whisper", "--folds", "1", "--output_dir",
                          str(folder), *QUICK]
        )  # fmt: skip
        runpy.run_path(str(RECIPE), run_name="__main__")
    return folder


def probabilities(file):
    rows = PredictionTable.read(file).rows.sort_values("utterance_id")
    return rows.filter(like="p_").to_numpy()


def test_evaluate_takes_protocol_fold_and_scheme_from_the_ledger(ser_hf, trained, tmp_path):
    code, told, _ = ser_hf("evaluate", trained, "--corpus", "synthetic", "--out", tmp_path, "--json")
    assert code == 0
    facts = json.loads(told)
    assert (facts["protocol"], facts["n"], facts["relation"]) == ("synthetic/si4", 60, "held_out")
    assert facts["per_fold"][0]["fold"] == 1
    np.testing.assert_allclose(
        probabilities(tmp_path / "predictions.parquet"), probabilities(trained / "predictions.parquet"), atol=1e-6
    )


def test_a_trained_run_passes_the_audit_also_where_its_recordings_lie(ser_hf, trained):
    assert ser_hf("audit", trained)[:2] == (
        0, "note: not-compared: the recordings were not compared.\nnothing found\n",
    )  # fmt: skip
    assert ser_hf("audit", trained, "--root", find_root(get_corpus("synthetic")))[:2] == (0, "nothing found\n")


def test_a_trained_run_stands_on_the_leaderboard_with_its_size_and_the_seconds_of_an_epoch(ser_hf, trained):
    from safetensors.torch import load_file

    code, told, _ = ser_hf("leaderboard", trained.parent, "--json")
    (row,) = json.loads(told)["tables"][0]["entries"]
    assert code == 0
    assert row["numbers"] == sum(tensor.numel() for tensor in load_file(trained / "model.safetensors").values())
    history = json.loads((trained / "history.json").read_text())
    assert row["epochs"] == max(entry["epoch"] for entry in history)
    timed = [entry["epoch_seconds"] for entry in history if "epoch_seconds" in entry]
    assert row["epoch_seconds"] == (float(np.median(timed)) if timed else None)


def test_conditions_are_scored_beside_the_clean_recordings_and_judged_without_the_model(ser_hf, trained, tmp_path):
    out = tmp_path / "judged"
    words = ["evaluate", trained, "--corpus", "synthetic", "--conditions", "noise:0,gsm", "--out", out, "--json"]
    code, told, _ = ser_hf(*words)
    facts = json.loads(told)
    assert code == 0
    assert [row["condition"] for row in facts["chapters"]["robustness"]["conditions"]] == ["gsm", "noise:0"]
    assert facts["chapters"]["selective"]["thresholds"], "the validation speakers of the run come along"
    assert sorted(file.name for file in (out / "conditions").iterdir()) == ["gsm.parquet", "noise_0.parquet"]
    clean, noisy = probabilities(out / "predictions.parquet"), probabilities(out / "conditions/noise_0.parquet")
    assert np.abs(clean - noisy).max() > 1e-4
    code, told, _ = ser_hf("report", out, "--json")
    again = json.loads(told)["chapters"]["robustness"]["conditions"]
    assert {row["condition"]: row for row in again} == {
        row["condition"]: row for row in facts["chapters"]["robustness"]["conditions"]
    }


def test_validation_speakers_of_one_protocol_come_along_to_no_other(trained):
    table = PredictionTable.read(trained / "predictions.parquet")
    named = PredictionTable(table.rows, replace(table.metadata, model="as evaluate calls it"))
    assert validation_of(trained, named).metadata.model == "as evaluate calls it"
    for facts in ({"protocol": "emodb/all"}, {"scheme": "four"}, {"classes": table.metadata.classes[::-1]}):
        assert validation_of(trained, PredictionTable(table.rows, replace(table.metadata, **facts))) is None


def test_a_condition_that_cannot_be_is_refused_before_anything_is_scored(ser_hf, trained):
    code, _, told = ser_hf("evaluate", trained, "--corpus", "synthetic", "--conditions", "nois:0")
    assert (code, "did you mean 'noise'?" in told) == (1, True)


def test_the_page_plays_the_worst_confusions_where_the_recordings_lie(ser_hf, trained, tmp_path):
    root = find_root(get_corpus("synthetic"))
    code, _, _ = ser_hf("report", trained, "--out", tmp_path, "--roots", f"synthetic={root}")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert code == 0
    assert page.count("<audio") == len(EvaluationReport.read(tmp_path / "report.json").worst_confusions)
    code, _, told = ser_hf("report", trained, "--out", tmp_path, "--roots", "synthetic")
    assert (code, "not of the form corpus=folder" in told) == (2, True)


def test_every_fold_of_a_run_is_judged_on_its_own_test_speakers(ser_hf, train, tmp_path, capsys):
    run = tmp_path / "run"
    train("--model_name_or_path", "tiny-whisper", "--folds", "0", "2", "--output_dir", run)
    capsys.readouterr()
    words = ["evaluate", run, "--corpus", "synthetic", "--fold", "-1", "--conditions", "level:-10"]
    code, told, error = ser_hf(*words, "--out", tmp_path / "judged", "--json")
    assert code == 0, error
    facts = json.loads(told)
    assert ([row["fold"] for row in facts["per_fold"]], facts["n"], facts["model"]) == ([0, 2], 120, "run")
    assert facts["chapters"]["robustness"]["conditions"][0]["n"] == 120
    assert facts["chapters"]["selective"]["thresholds"], "each fold has its own validation speakers"
    np.testing.assert_allclose(
        probabilities(tmp_path / "judged/predictions.parquet"), probabilities(run / "predictions.parquet"), atol=1e-6
    )
    code, _, told = ser_hf("evaluate", run, "--corpus", "synthetic_spontaneous", "--fold", "-1")
    assert (code, "--fold -1 needs a corpus that" in told) == (1, True)
    code, _, told = ser_hf("evaluate", run / "fold0", "--corpus", "synthetic", "--fold", "-1")
    assert (code, "leave --fold -1 out" in told) == (1, True)


def test_evaluate_refuses_what_the_model_was_trained_on(ser_hf, trained):
    code, _, told = ser_hf("evaluate", trained, "--corpus", "synthetic", "--fold", "0", "--protocol", "synthetic/si4")
    assert code == 1
    assert "was in the train part of synthetic/si4, fold 1" in told
    assert "Traceback" not in told


def test_a_fold_alone_is_one_of_the_models_own_protocol_and_of_nothing_else(ser_hf, trained):
    code, told, _ = ser_hf("evaluate", trained, "--corpus", "synthetic", "--fold", "1", "--json")
    assert (code, json.loads(told)["n"]) == (0, 60)
    code, told, _ = ser_hf("evaluate", trained, "--corpus", "synthetic", "--protocol", "synthetic/si4", "--json")
    assert (code, json.loads(told)["per_fold"][0]["fold"]) == (0, 1)
    code, _, told = ser_hf("evaluate", trained, "--corpus", "synthetic_spontaneous", "--fold", "1")
    assert code == 1
    assert "--fold 1 needs --protocol" in told


def test_a_corpus_that_the_model_never_heard_is_tested_in_full(ser_hf, trained):
    code, told, _ = ser_hf("evaluate", trained, "--corpus", "synthetic_spontaneous", "--json")
    facts = json.loads(told)
    assert (code, facts["n"], facts["protocol"]) == (0, 240, "synthetic_spontaneous/all")
    assert facts["relation"] == "held_out"


def test_the_folds_of_emobox_are_tested_on_where_its_files_lie(ser_hf, miniature, tmp_path):
    root, corpus = miniature("emodb"), get_corpus("emodb")
    names = sorted(name.removesuffix(".wav") for name in corpus.examples)
    folder = tmp_path / "EmoBox/data/emodb/fold_1"
    folder.mkdir(parents=True)
    for first, part in enumerate(("test", "valid", "train")):
        lines = [json.dumps({"wav": f"downloads/emodb/{name}.wav"}) for name in names[first::3]]
        (folder / f"emodb_{part}_fold_1.jsonl").write_text("\n".join(lines))
    model, extractor = build_classifier("tiny-hubert", list(get_scheme(corpus.scheme).classes))
    model.save_pretrained(tmp_path / "model")
    extractor.save_pretrained(tmp_path / "model")
    words = ["evaluate", tmp_path / "model", "--corpus", "emodb", "--root", root, "--allow_partial", "--json"]
    code, told, error = ser_hf(*words, "--protocol", "emodb/emobox", "--emobox_root", tmp_path / "EmoBox")
    assert code == 0, error
    assert (json.loads(told)["protocol"], json.loads(told)["n"]) == ("emodb/emobox", len(names[::3]))
    code, _, told = ser_hf(*words, "--protocol", "emodb/emobox")
    assert (code, "pass a checkout of https://github.com/emo-box/EmoBox as --emobox_root" in told) == (1, True)


def test_other_peoples_models_are_judged_by_a_label_map_and_the_report_says_what_nobody_knows(ser_hf, tmp_path):
    """As superb/hubert-base-superb-er is: a stock class, its own names of four emotions, no ledger."""
    model, extractor = build_classifier("tiny-hubert", ["neu", "hap", "ang", "sad"])
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    words = ["evaluate", tmp_path, "--corpus", "synthetic", "--scheme", "four"]
    code, _, told = ser_hf(*words)
    assert code == 1
    assert "no label for anger, happiness, neutral, sadness" in told
    assert "--label_map" in told
    code, told, _ = ser_hf(*words, "--label_map", "neu=neutral,hap=happiness,ang=anger,sad=sadness")
    assert code == 0
    assert "training data UNKNOWN" in told
    assert "may have been trained on these speakers" in told
    assert "fear" in told, "what the scheme dropped is counted"
    code, _, told = ser_hf(*words, "--label_map", "neutral=neutral")
    assert "the model has no label 'neutral', only neu, hap, ang, sad" in told


def test_a_label_map_moves_the_probabilities_to_their_classes(tmp_path):
    import torch

    from ser_hf import load_corpus
    from ser_hf.inference.evaluate import evaluate
    from ser_hf.inference.predict import predict_probabilities
    from ser_hf.splits.protocol import Protocol

    torch.manual_seed(0)
    model, extractor = build_classifier("tiny-hubert", ["sur", "neu", "hap", "exc", "ang", "sad"])
    rows = load_corpus("synthetic", scheme="four", allow_partial=True).select(range(5))
    raw = predict_probabilities(model, extractor, rows)
    table = evaluate(
        model, extractor, rows, Protocol.parse("synthetic/all"), fold=0, seed=0, model_name="theirs",
        label_map={"neu": "neutral", "hap": "happiness", "exc": "happiness", "ang": "anger", "sad": "sadness"},
    )  # fmt: skip
    wanted = np.stack([raw[:, 4], raw[:, 2] + raw[:, 3], raw[:, 1], raw[:, 5]], axis=1)
    np.testing.assert_allclose(table.probabilities, wanted / wanted.sum(axis=1, keepdims=True))


# --- three machines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", [["tiny-whisper", "--trainable", "head"], ["test_resnet", "--learning_rate", "0.01"]], ids=lambda m: m[0]
)
def test_computed_here_trained_there_reported_elsewhere_gives_the_figures_of_the_direct_run(
    ser_hf, train, model, tmp_path, monkeypatch
):
    corpus = tmp_path / "recordings"
    shutil.copytree(find_root(get_corpus("synthetic")), corpus)
    options = ["--roots", f"synthetic={corpus}", "--model_name_or_path", *model]
    if model[0] == "tiny-whisper":  # a frozen encoder has to be the same one on both machines
        encoder, extractor = build_classifier("tiny-whisper", [f"LABEL_{number}" for number in range(5)])
        encoder.save_pretrained(tmp_path / "encoder")
        extractor.save_pretrained(tmp_path / "encoder")
        options[options.index("tiny-whisper")] = str(tmp_path / "encoder")
    train(CONFIG, *options, "--output_dir", tmp_path / "direct")

    code, told, error = ser_hf("precompute", CONFIG, tmp_path / "cache", *options)
    assert code == 0, error
    assert "240 utterances" in told
    shutil.rmtree(corpus)
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "another machine")
    moved = shutil.move(tmp_path / "cache", tmp_path / "moved")
    train(CONFIG, *options[2:], "--precomputed", moved, "--output_dir", tmp_path / "there")
    np.testing.assert_allclose(
        probabilities(tmp_path / "there/predictions.parquet"), probabilities(tmp_path / "direct/predictions.parquet"),
        atol=1e-6,
    )  # fmt: skip

    (tmp_path / "elsewhere").mkdir()
    for table in ("predictions.parquet", "validation.parquet"):
        shutil.copy(tmp_path / "there" / table, tmp_path / "elsewhere")
    code, told, _ = ser_hf("report", tmp_path / "elsewhere")
    assert code == 0
    direct, there, elsewhere = (
        EvaluationReport.read(tmp_path / run / "report.json") for run in ("direct", "there", "elsewhere")
    )
    assert elsewhere == there
    assert elsewhere.confusion == direct.confusion


def test_a_cache_of_something_else_is_an_error(ser_hf, train, tmp_path, capsys):
    options = ["--model_name_or_path", "test_resnet"]
    assert ser_hf("precompute", CONFIG, tmp_path / "cache", *options)[0] == 0
    for words, message in (
        (["--front_end", "feature_size=40"], "another encoder, front end"),
        (["--scheme", "four"], "not four"),
        (["--precomputed", tmp_path], "contains no cache"),
    ):
        with pytest.raises(SystemExit):
            train(CONFIG, *options, "--precomputed", tmp_path / "cache", "--output_dir", tmp_path / "run", *words)
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run").exists(), "what never ran leaves nothing that the right command would meet"
    code, _, told = ser_hf("precompute", CONFIG, tmp_path / "none", "--model_name_or_path", "tiny-hubert")
    assert code == 1
    assert "nothing to compute once" in told
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("years of work")
    code, _, told = ser_hf("precompute", CONFIG, tmp_path / "full", *options, "--roots", f"synthetic={tmp_path}/none")
    assert code == 1
    assert "contains other files" in told, "before any recording is looked for"


def test_a_report_of_nothing_says_what_is_wanted(ser_hf, tmp_path):
    code, _, told = ser_hf("report", tmp_path)
    assert code == 1
    assert "has no predictions.parquet" in told


# --- what is known of the test speakers ---


def speak(path, seed, change=lambda samples, rate: (samples, rate)):
    soundfile.write(path, *change(speech(seed), RATE))


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A support vector machine that was trained on 24 recordings of six callers; the place of the recordings."""
    import ser_hf

    folder = tmp_path_factory.mktemp("calls")
    lines = ["file,emotion,speaker"]
    for number in range(24):
        speak(folder / f"{number}.wav", number)
        lines.append(f"{number}.wav,{('anger', 'fear')[number % 2]},s{number // 4}")
    (folder / "labels.csv").write_text("\n".join(lines))
    dataset = ser_hf.load_corpus(folder, scheme="own", name="calls")
    ser_hf.train(dataset, "svm", protocol="calls/kfold3", folds=[0], output_dir=str(folder / "run"))
    return folder / "run", folder


def later_calls(tmp_path, seeds, **options):
    lines = ["file,emotion,speaker"]
    for number, seed in enumerate(seeds):
        speak(tmp_path / f"clip{number}.wav", seed, **options)
        lines.append(f"clip{number}.wav,{('anger', 'fear')[number % 2]},somebody{number}")
    (tmp_path / "later.csv").write_text("\n".join(lines))
    return f"later={tmp_path / 'later.csv'}"


CHANGES = {
    "renamed": lambda samples, rate: (samples, rate),
    "softer": lambda samples, rate: (0.7 * samples, rate),
    "at another rate": lambda samples, rate: (soxr.resample(samples, rate, 11_025), 11_025),
    "trimmed": lambda samples, rate: (samples[len(samples) // 10 : -len(samples) // 10], rate),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("words", [[], ["--speakers-are-new"]], ids=["unsaid", "declared new"])
def test_copies_of_training_recordings_are_refused_whatever_they_are_called(run_verb, machine, tmp_path, change, words):
    model, _ = machine
    training = json.loads((model / "ledger.json").read_text())["trainings"][0]
    known = [int(one[1:]) * 4 for one in (name.removeprefix("calls-") for name in training["speakers"]["train"])]
    mine = later_calls(tmp_path, [*known, 100, 101], change=change)
    code, _, told = run_verb("evaluate", model, "--corpus", mine, *words)
    assert code == 1
    assert re.search(rf"{'the recording later/clip0' if change is CHANGES['renamed'] else 'clip0, are copies'}", told)


def test_own_recordings_are_of_unknown_speakers_unless_their_owner_says_that_they_are_new(run_verb, machine, tmp_path):
    mine = ["evaluate", machine[0], "--corpus", later_calls(tmp_path, range(100, 108))]
    unsaid = json.loads(run_verb(*mine, "--json")[1])
    assert (unsaid["relation"], unsaid["corpora"], unsaid["n"]) == ("unknown", ["later"], 8)
    code, told, _ = run_verb(*mine, "--speakers-are-new")
    assert code == 0
    assert "blind by declaration" in told
    assert "is the word of its user; it was not checked" in told
    assert "Trained on calls, evaluated on later." in told


def test_a_model_is_evaluated_on_the_test_speakers_of_its_own_recordings(run_verb, machine):
    model, folder = machine
    code, told, _ = run_verb("evaluate", model, "--corpus", f"calls={folder / 'labels.csv'}", "--json")
    assert code == 0
    facts = json.loads(told)
    assert (facts["protocol"], facts["relation"], facts["scheme"]) == ("calls/kfold3", "held_out", "own")


def test_known_speakers_cannot_be_declared_new(run_verb, machine):
    model, folder = machine
    words = ["--protocol", "calls/random3", "--speakers-are-new"]
    code, _, told = run_verb("evaluate", model, "--corpus", f"calls={folder / 'labels.csv'}", *words)
    assert code == 1
    assert "of this test part was in the" in told


def test_a_class_that_a_later_table_lacks_stays_a_class(run_verb, machine, tmp_path):
    mine = later_calls(tmp_path, range(100, 104))
    table = tmp_path / "later.csv"
    table.write_text(table.read_text().replace("fear", "anger"))
    code, told, _ = run_verb("evaluate", machine[0], "--corpus", mine, "--json")
    assert code == 0
    facts = json.loads(told)
    assert (facts["classes"], facts["removed_answers"]) == (["anger", "fear"], [])


def test_a_corpus_with_speakers_of_its_own_is_held_out(ser_hf, trained):
    code, told, _ = ser_hf("evaluate", trained, "--corpus", "synthetic_spontaneous", "--json")
    assert code == 0
    assert json.loads(told)["relation"] == "held_out"


def test_what_the_run_says_of_own_recordings_serves_its_page_too(run_verb, tmp_path):
    import ser_hf

    lines = ["Datei;Laune"]
    for number in range(24):
        speak(tmp_path / f"{number}.wav", number)
        lines.append(f"{number}.wav;{('gut', 'übel')[number % 2]}")
    (tmp_path / "liste.csv").write_text("\n".join(lines), encoding="cp1252")
    words = ["--columns", "path=Datei", "emotion=Laune", "--encoding", "cp1252", "--scheme", "own"]
    run = tmp_path / "run"
    code, told, _ = run_verb(
        "train", "--corpora", f"anrufe={tmp_path / 'liste.csv'}", *words, "--protocols", "anrufe/random3",
        "--folds", "-1", "--model_name_or_path", "svm", "--output_dir", run,
    )  # fmt: skip
    assert code == 0, "without speakers single utterances are held out"
    assert "NOT speaker-independent" in told
    assert f"For one model of everything run the same again with --protocols anrufe/all --cross_validated {run}" in told
    page = tmp_path / "page"
    assert run_verb("report", run, "--roots", f"anrufe={tmp_path / 'liste.csv'}", "--out", page)[0] == 0
    assert "audio/flac" in (page / "report.html").read_text()
    (tmp_path / "empty").mkdir()
    code, _, told = run_verb("report", run, "--roots", f"anrufe={tmp_path / 'empty'}", "--out", page)
    assert (code, "has no table" in told) == (1, True)
    assert ser_hf.push(run / "fold0", "user/anrufe", dry_run=True).files
