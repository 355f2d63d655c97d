"""Cross-validation pools what single runs give, and a search for options never looks at a test utterance."""

import json
import runpy

import datasets
import numpy as np
import pandas
import pytest
import yaml
from conftest import ROOT

from ser_hf.evaluation.metrics import unweighted_average_recall
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.models.pretrained import build_classifier
from ser_hf.report.report import EvaluationReport
from ser_hf.report.runs import RunTables
from ser_hf.splits.split import split
from ser_hf.training.data_arguments import DataArguments

pytestmark = pytest.mark.slow

QUICK = ["--report_to", "none", "--disable_tqdm", "true", "--use_cpu", "true"]
TINY = ["--model_name_or_path", "tiny-whisper", "--trainable", "head", "--max_steps", "3", *QUICK]


@pytest.fixture
def launch(monkeypatch):
    def run(recipe, *words):
        monkeypatch.setattr("sys.argv", [recipe, *map(str, words)])
        return runpy.run_path(str(ROOT / "recipes" / recipe), run_name="__main__")

    return run


@pytest.fixture(scope="module", autouse=True)
def a_quarter_of_the_corpus():
    """Two utterances of each emotion by each speaker: enough for what does not depend on how many there are."""
    load = DataArguments.load

    def load_some(self):
        dataset = load(self)
        return dataset.select(range(0, len(dataset), 4))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DataArguments, "load", load_some)
        yield


@pytest.mark.slow
def test_a_seed_gives_the_same_bits_alone_and_after_another_in_one_process(launch, tmp_path):
    """Dropout, augmentation, draws by class and averaged weights: nothing of a run is left for the next."""
    options = ["--trainable", "full", "--augment", "noise=0..20", "--balance", "class", "--ema_decay", "0.5"]
    words = [*TINY, *options, "--folds", "0"]
    launch("cross_validate.py", *words, "--seeds", "0", "1", "--output_dir", tmp_path / "both")
    launch("train_classifier.py", *words, "--seed", "1", "--output_dir", tmp_path / "alone")
    both, alone = RunTables.read(tmp_path / "both/seed1"), RunTables.read(tmp_path / "alone")
    for ours, theirs in ((both.test, alone.test), (both.validation, alone.validation)):
        pandas.testing.assert_frame_equal(ours.rows, theirs.rows, check_exact=True)
    other = RunTables.read(tmp_path / "both/seed0").test.probabilities
    assert np.abs(other - both.test.probabilities).max() > 0.01, "else a seed would change nothing"


@pytest.mark.slow
def test_a_further_seed_keeps_the_others_and_another_option_is_refused(launch, tmp_path, capsys):
    words = [*TINY, "--folds", "0", "2", "--output_dir", tmp_path]
    launch("cross_validate.py", *words, "--seeds", "7")
    kept = (tmp_path / "seed7/fold2/model.safetensors").stat().st_mtime_ns
    capsys.readouterr()
    launch("cross_validate.py", *words, "--seeds", "7", "8")
    assert (tmp_path / "seed7/fold2/model.safetensors").stat().st_mtime_ns == kept

    told = capsys.readouterr().out
    assert told.count("| true \\ predicted |") == 1, "one report, the pooled one"
    assert told.count("UAR by seed: 7: ") == 1
    assert "each utterance is counted once for each of 2 seeds" in told
    report = EvaluationReport.read(tmp_path / "report.json")
    assert [row["seed"] for row in report.per_seed] == [7, 8]
    assert [row["fold"] for row in report.per_fold] == [0, 2]
    alone = [EvaluationReport.read(tmp_path / f"seed{seed}/report.json").uar for seed in (7, 8)]
    assert [row["uar"] for row in report.per_seed] == alone
    pooled = RunTables.read(tmp_path)
    assert len(pooled.test.rows) == 2 * 2 * 60
    assert set(pooled.validation.rows["seed"]) == {7, 8}
    assert json.loads((tmp_path / "cost.json").read_text())["numbers"] > 0

    with pytest.raises(SystemExit) as ended:
        launch("cross_validate.py", *words, "--seeds", "7", "8", "--learning_rate", "0.5")
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert len(told.err.splitlines()[-1:]) == 1
    assert "seed7 holds a run with other options (learning_rate" in told.err
    assert "UAR" not in told.out


def test_all_folds_of_another_recipe_are_run_where_none_are_named(launch, tmp_path):
    launch("cross_validate.py", ROOT / "recipes/train_svm.py", "--seeds", "0", "--output_dir", tmp_path)
    report = EvaluationReport.read(tmp_path / "report.json")
    assert [row["fold"] for row in report.per_fold] == [0, 1, 2, 3]
    assert (report.n, report.speakers) == (240, 24)


def test_a_second_seed_reads_what_the_first_one_has_heard_through_a_frozen_encoder(launch, tmp_path):
    model, extractor = build_classifier("tiny-whisper", ["anger", "fear", "happiness", "neutral", "sadness"])
    for part in (model, extractor):
        part.save_pretrained(tmp_path / "encoder")

    def computed(encoder, seed):
        words = ["--model_name_or_path", encoder, "--folds", "0", "--seeds", seed, "--output_dir", tmp_path / "run"]
        launch("cross_validate.py", *TINY, *words)
        return {file.name for file in (datasets.config.HF_DATASETS_CACHE / "ser_hf").iterdir()}

    assert computed(tmp_path / "encoder", "0") == computed(tmp_path / "encoder", "1")
    first = (tmp_path / "run/seed0/predictions.parquet").read_bytes()
    assert first != (tmp_path / "run/seed1/predictions.parquet").read_bytes()


RECIPE = """
from argparse import ArgumentParser
from pathlib import Path

import pandas

from ser_hf.report.runs import RunTables
from ser_hf.evaluation.tables import PredictionTable


def main(argv):
    parser = ArgumentParser()
    parser.add_argument("--folds", nargs="+", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--output_dir", type=Path)
    words = parser.parse_args(argv)
    folds = [fold for fold in words.folds for _ in range(4)]
    rows = {"utterance_id": [f"{number}-{fold}" for number, fold in enumerate(folds)]}
    rows |= {"label": ["a", "b"] * (len(folds) // 2), "speaker": ["x", "y"] * (len(folds) // 2)}
    rows |= {"p_a": 0.9, "p_b": 0.1, "fold": folds, "seed": words.seed}
    tables = RunTables(PredictionTable.of_others(pandas.DataFrame(rows)))
    tables.report().write(words.output_dir)
    for place in [".", "source", "fold0", "checkpoint-3"] + ["only"] * words.seed:
        tables.write(words.output_dir / place)
"""


def test_what_all_seeds_of_any_recipe_have_is_pooled(launch, tmp_path):
    recipe, out = tmp_path / "mine.py", tmp_path / "out"
    recipe.write_text(RECIPE)
    launch("cross_validate.py", recipe, "--seeds", "0", "1", "--output_dir", out, "--folds", "0", "1")
    pooled = sorted(
        file.parent for file in out.rglob("predictions.parquet") if "seed" not in str(file.relative_to(out))
    )
    assert pooled == [out, out / "source"], "folds and checkpoints are part of a run, and not every seed has the other"
    for folder in pooled:
        rows = PredictionTable.read(folder / "predictions.parquet").rows
        assert sorted(rows.groupby(["seed", "fold"]).size().index) == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--seeds", "1", "1"], 2, "--seeds needs different numbers from 0, not [1, 1]"),
        (["--seed", "1"], 2, "--seed cannot be used here: use --seeds"),
        (["--push-to-hub"], 2, "--push_to_hub cannot be used here"),
        ([ROOT / "recipes/train_svm.py", "--precomputed", "x"], 2, "--precomputed serves networks only"),
        (["nowhere.py"], 1, "there is no recipe nowhere.py"),
        (["ravdess_whisper"], 2, "unexpected 'ravdess_whisper': options begin with --"),
        (["--learning_rte", "1"], 2, "did you mean 'learning_rate'?"),
    ],
)
def test_a_mistake_in_a_cross_validation_is_one_line(launch, capsys, tmp_path, words, code, message):
    with pytest.raises(SystemExit) as ended:
        launch("cross_validate.py", *words, "--output_dir", tmp_path)
    assert ended.value.code == code
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1


def test_a_cross_validation_publishes_no_seed_alone(launch, capsys, tmp_path):
    (tmp_path / "mine.yaml").write_text("push_to_hub: true\n")
    with pytest.raises(SystemExit):
        launch("cross_validate.py", tmp_path / "mine.yaml", "--output_dir", tmp_path / "out")
    assert "--push_to_hub cannot be used here: publish" in capsys.readouterr().err


def test_the_help_of_a_cross_validation_says_where_the_other_options_go(launch, capsys):
    with pytest.raises(SystemExit):
        launch("cross_validate.py", "--help")
    told = " ".join(capsys.readouterr().out.split())  # which argparse wraps to the terminal
    assert "The first word may name a recipe" in told
    assert "(default: runs/cross_validation)" in told


SEARCH = [
    "--model_name_or_path", "tiny-whisper", "--trainable", "head", "--num_train_epochs", "2", "--space",
    "learning_rate=1e-4..1e-1:log", "per_device_train_batch_size=16|32", *QUICK,
]  # fmt: skip


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    run = tmp_path_factory.mktemp("search") / "run"
    main = runpy.run_path(str(ROOT / "recipes/search.py"))["main"]
    main([*SEARCH, "--trials", "3", "--output_dir", str(run)])
    return run


def test_the_best_options_run_as_they_are_and_reach_what_the_search_said(launch, searched):
    trials = pandas.read_csv(searched / "trials.csv")
    assert trials["learning_rate"].between(1e-4, 1e-1).all()
    assert set(trials["per_device_train_batch_size"]) <= {16, 32}
    assert trials["validation_uar"].nunique() > 1, "else there was nothing to choose"
    best = trials.loc[trials["validation_uar"].idxmax()]
    options = yaml.safe_load((searched / "best.yaml").read_text())
    assert options["folds"] == [0]
    assert options["learning_rate"] == best["learning_rate"]

    launch("train_classifier.py", searched / "best.yaml")
    validation = RunTables.read(searched / "best").validation
    uar = unweighted_average_recall(validation.references, validation.predictions)
    assert uar == pytest.approx(best["validation_uar"], abs=1e-12)
    told = (searched / "search.md").read_text()
    assert f"**validation UAR {uar:.3f}**" in told
    assert "optimistic" in told
    assert f"cross_validate.py {searched / 'best.yaml'}" in told
    assert not list(searched.glob("trial*/")), "no weights are left"


def test_a_search_that_stopped_goes_on_as_if_it_had_not(launch, searched, tmp_path, monkeypatch):
    from ser_hf.training.trainer import SERTrainer

    words = [*SEARCH, "--output_dir", tmp_path]
    launch("search.py", *words, "--trials", "1")
    with monkeypatch.context() as broken:
        broken.setattr(SERTrainer, "evaluate", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(SystemExit) as ended:
            launch("search.py", *words, "--trials", "3")
    assert ended.value.code == 130
    launch("search.py", *words, "--trials", "3")
    assert (tmp_path / "trials.csv").read_text() == (searched / "trials.csv").read_text()


def test_other_labels_of_the_test_speakers_change_nothing_in_a_search(launch, searched, tmp_path, monkeypatch):
    load, changed = DataArguments.load, []

    def with_wrong_test_labels(self):
        dataset = load(self)
        tested = set(split(dataset, "synthetic/si4", 0)["test"]["utterance_id"])
        classes = dataset.features["label"].num_classes
        labels = [
            (label + 1) % classes if name in tested else label
            for label, name in zip(dataset["label"], dataset["utterance_id"], strict=True)
        ]
        changed.extend(tested)
        description = dataset.info.description
        wrong = dataset.remove_columns("label").add_column("label", labels, feature=dataset.features["label"])
        wrong.info.description = description
        return wrong

    monkeypatch.setattr(DataArguments, "load", with_wrong_test_labels)
    launch("search.py", *SEARCH, "--trials", "3", "--output_dir", tmp_path)
    assert len(changed) == 60
    assert (tmp_path / "trials.csv").read_text() == (searched / "trials.csv").read_text()


def test_a_search_over_several_folds_says_whose_test_speakers_it_has_heard(launch, tmp_path, capsys):
    words = ["--trials", "1", "--folds", "0", "1", "--max_steps", "1", "--output_dir", tmp_path]
    launch("search.py", *SEARCH, *words)
    told = capsys.readouterr().out
    assert "6 of fold 0, 6 of fold 1" in told
    assert "folds 0, 1 (mean)" in told
    assert yaml.safe_load((tmp_path / "best.yaml").read_text())["folds"] == [0, 1]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("learning_rte=1e-5..1e-3", "--space: unknown option 'learning_rte'; did you mean 'learning_rate'?"),
        ("learning_rate=1e-3..1e-5", "--space 'learning_rate=1e-3..1e-5' needs the form name=low..high"),
        ("layer_decay=0.7..1.2", "--layer_decay must be in (0, 1], not 1.2"),
        ("balance=class|speakers", "--balance: invalid choice: 'speakers'"),
        ("seed=0..5", "cross_validate.py for several seeds"),
    ],
)
def test_a_mistake_in_a_search_space_is_one_line_before_anything_is_trained(launch, capsys, tmp_path, space, message):
    with pytest.raises(SystemExit) as ended:
        launch("search.py", "--space", space, "--output_dir", tmp_path / "run", *QUICK)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "run").exists()
