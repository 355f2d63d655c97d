"""Nothing of the test part reaches a trained model: with another test part, every recipe makes the same model.

Six leaks that are planted into the code are found by this comparison, or refused.
"""

import json
import runpy
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import ROOT
from datasets import concatenate_datasets

from ser_hf.data.columns import as_numpy
from ser_hf.splits.ledger import LedgerError
from ser_hf.training import data_arguments, run_folds, trainer
from ser_hf.training.run_folds import Fold

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small")]

QUICK = ["--allow_partial", "true"]
NETWORK = ["--report_to", "none", "--disable_tqdm", "true", "--use_cpu", "true", *QUICK]
CNN = ["--model_name_or_path", "cnn-lstm", "--num_train_epochs", "3", "--learning_rate", "1e-3", "--weight_classes",
       "true", "--early_stopping_patience", "1", *NETWORK]  # fmt: skip
RECIPES = {
    "train_classifier.py": CNN,
    "train_svm.py": QUICK,
    "train_lda.py": QUICK,
    "hubert_curriculum.py": ["--num_train_epochs", "2", *NETWORK],
    "distill.py": ["--num_train_epochs", "3", *NETWORK],
    "adapt.py": ["--num_train_epochs", "2", *NETWORK],
}


@contextmanager
def patched(*changes):
    with pytest.MonkeyPatch.context() as patch:
        for where, name, what in changes:
            patch.setattr(where, name, what)
        yield


def another_test_part(rows):
    """Return half of the rows, all with the first label."""
    half = rows.with_format(None).select(range(0, len(rows), 2))
    feature = half.features["label"]
    return as_numpy(half.remove_columns("label").add_column("label", [0] * len(half), feature=feature))


def dividing(change):
    """Change what `split_each` returns for every fold, as a recipe sees it."""
    divide = data_arguments.split_each

    def split_each(*args, **options):
        parts, protocol = divide(*args, **options)
        change(parts)
        return parts, protocol

    return data_arguments, "split_each", split_each


def replacing_the_test_part(parts):
    parts["test"] = another_test_part(parts["test"])


def made(folder):
    """Return everything of a run that a prediction depends on, and the scores that chose its epoch."""
    files = {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.name in ("model.safetensors", "preprocessor_config.json") and "checkpoint" not in str(file)
    }
    config = json.loads((folder / "config.json").read_text())
    history = folder / "history.json"
    scores = [
        {name: value for name, value in row.items() if name in ("loss", "eval_loss", "eval_uar", "epoch")}
        for row in (json.loads(history.read_text()) if history.exists() else [])
    ]
    assert files
    return files, config, scores


def run(recipe, folder, *words):
    runpy.run_path(str(ROOT / "recipes" / recipe))["main"]([*words, "--output_dir", str(folder)])
    return made(folder)


@pytest.mark.parametrize("recipe", RECIPES)
def test_another_test_part_makes_the_same_model(recipe, tmp_path, teacher):
    words = [*RECIPES[recipe], *(["--teacher", str(teacher)] if recipe == "distill.py" else [])]
    original = run(recipe, tmp_path / "original", *words)
    with patched(dividing(replacing_the_test_part)):
        assert run(recipe, tmp_path / "other", *words) == original


@pytest.fixture(scope="module")
def teacher(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "svm"
    run("train_svm.py", folder, *QUICK)
    return folder


# --- planted leaks ---


def statistics():
    build = Fold.build

    def leaking(fold):
        model, extractor = build(fold)
        both = concatenate_datasets([fold.parts["train"], fold.parts["test"]])
        run_folds.fit_statistics(model, extractor, both)
        return model, extractor

    return [(Fold, "build", leaking)]


def on_the_test_part(**more):
    fit = Fold.fit

    def leaking(fold, *args, **options):
        for name, value in more.items():
            setattr(fold.training, name, value)
        parts, fold.parts = fold.parts, {**fold.parts, "validation": fold.parts["test"]}
        trained = fit(fold, *args, **options)
        fold.parts = parts
        return trained

    return [(Fold, "fit", leaking)]


def temperature():
    def leaking(fold, trained):
        test = run_folds.evaluate(trained.model, trained.extractor, fold.parts["test"], **fold.facts)
        run_folds.calibrate(trained.model, test)
        return run_folds.judge_test_part(fold, trained)

    judge = run_folds.run_folds.__kwdefaults__

    return [(run_folds.run_folds, "__kwdefaults__", {**judge, "judge": leaking})]


def weights_of_classes():
    fit, weigh = Fold.fit, trainer.SERTrainer._weight_loss

    def remembering(fold, *args, **options):
        remembering.labels = np.asarray(fold.parts["test"]["label"])
        return fit(fold, *args, **options)

    def leaking(self, train, labels, classes, args):
        weigh(self, train, labels, classes, args)
        counts = np.bincount(np.concatenate([labels, remembering.labels]), minlength=classes)
        self.class_weights = self.class_weights * self.class_weights.new_tensor(1 / counts)

    return [(Fold, "fit", remembering), (trainer.SERTrainer, "_weight_loss", leaking)]


LEAKS = {
    "statistics of the test part": statistics,
    "early stopping on the test part": lambda: on_the_test_part(load_best_model_at_end=False),
    "the epoch chosen on the test part": lambda: on_the_test_part(early_stopping_patience=0),
    "a temperature of the test part": temperature,
    "class weights with the test part": weights_of_classes,
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=list(LEAKS))
def test_a_planted_leak_is_found(leak, tmp_path):
    with patched(*leak()):
        original = run("train_classifier.py", tmp_path / "original", *CNN)
        with patched(dividing(replacing_the_test_part)):
            other = run("train_classifier.py", tmp_path / "other", *CNN)
    assert other != original


@pytest.mark.parametrize("recipe", ["train_classifier.py", "train_svm.py", "train_lda.py", "hubert_curriculum.py"])
def test_a_speaker_in_two_parts_is_refused_in_every_recipe(recipe, tmp_path):
    def sharing(parts):
        parts["train"] = concatenate_datasets([parts["train"], parts["test"].select([0])])

    with patched(dividing(sharing)), pytest.raises(LedgerError, match="was in the train part"):
        run(recipe, tmp_path / "run", *RECIPES[recipe])
