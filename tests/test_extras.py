"""`pip install ser_hf` is enough to use a model of every family; what needs more packages says how to get them."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from answers import by_label
from conftest import build_miniature, write_tone

from ser_hf import Classifier
from ser_hf.cli.main import app
from ser_hf.corpora import get_corpus
from ser_hf.extras import MODULES, MissingPackageError, naming_extra
from ser_hf.inference.offsets import OffsetRule
from ser_hf.models.pretrained import build_classifier
from ser_hf.models.records import RECORDS

ROOT = Path(__file__).parents[1]
LABELS = ["anger", "happiness", "neutral", "sadness"]
# Without reproduce.py, which starts others.
RECIPES = [file for file in sorted((ROOT / "recipes").glob("*.py")) if file.stem != "reproduce"]
FAMILIES = [family.name for family in RECORDS if family.builder]
SENTENCE = r'needs more packages \(\w+ is missing\): pip install "ser_hf\[train\]"'

# Each verb with words that are right, so that only a missing package can stop it.
LEAN_VERBS = {
    "corpora": ["corpora"],
    "doctor": ["doctor", "emodb", "emodb", "--json"],
    "enrol": ["enrol", "lda", "sound.wav", "--out", "profile"],
    "export": ["export", "spectrogram", "exported"],
    "predict": ["predict", "hubert", "sound.wav", "--json"],
}
OTHER_VERBS = {
    "audit": ["audit", "split.csv"],
    "compare": ["compare", "run", "run"],
    "cross-corpus": ["cross-corpus", "run"],
    "evaluate": ["evaluate", "hubert", "--corpus", "synthetic"],
    "leaderboard": ["leaderboard", "runs"],
    "precompute": ["precompute", "options.yaml", "cache"],
    "push": ["push", "run"],
    "report": ["report", "run"],
    "train": ["train", "--corpora", "synthetic"],
}
FURTHER = {
    "help": ["--help"],
    "csv": ["predict", "hubert", "sound.wav", "--out", "answers.csv"],
    "parquet": ["predict", "hubert", "sound.wav", "--out", "answers.parquet"],
    "excel": ["doctor", "table.xlsx"],
}
NAMES = ["Run", "build_dataset", "evaluate", "load_corpus", "train"]

# Runs everything in one process, because its imports take seconds.
SCRIPT = """
import contextlib, io, json, sys, warnings
modules, families, verbs, names = json.loads(sys.argv[1])
for name in modules:
    sys.modules[name] = None  # as if it were not installed
warnings.simplefilter("ignore")
import ser_hf
from ser_hf.cli.main import main

answers, ended, refused = {}, {}, {}
for family in families:
    answers[family] = ser_hf.Classifier.from_pretrained(family, device="cpu")("sound.wav")
for verb, words in verbs.items():
    sys.argv = ["ser-hf", *words]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as error:
            ended[verb] = [error.code or 0, out.getvalue(), err.getvalue()]
for name in names:
    try:
        getattr(ser_hf, name)
    except ImportError as error:
        refused[name] = str(error)
print(json.dumps([answers, ended, refused]))
"""


def save_as_trained(family, folder):
    """Save a small model of a family; one that is fitted in one step has no scores before."""
    torch.manual_seed(0)
    model, extractor = build_classifier(labels=LABELS, **family.tiny)
    if family.is_fitted:
        random = np.random.default_rng(0)
        clips = [random.normal(0, scale, 6_000).astype(np.float32) for scale in random.uniform(0.01, 0.3, 24)]
        vectors = np.asarray(model.embed(**extractor(clips, sampling_rate=16_000, return_tensors="pt")))
        fit = getattr(import_module(f"ser_hf.training.fitted.{family.name}"), f"fit_{family.name}")
        fit(model, vectors, np.resize(range(4), 24), np.repeat(range(6), 4))
        OffsetRule(np.eye(4), prior_utterances=1.0, trust_utterances=1.0, even_share=0.5).write_to(model)
    model.config.head_is_trained = True
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)


@pytest.fixture(scope="module")
def lean(tmp_path_factory):
    """A folder of models, and what a process without the extra answers with them."""
    folder = tmp_path_factory.mktemp("lean")
    for family in RECORDS:
        if family.builder:
            save_as_trained(family, folder / family.name)
    write_tone(folder / "sound.wav")
    build_miniature(get_corpus("emodb"), folder / "emodb")
    (folder / "table.xlsx").write_bytes(b"never opened")
    given = [MODULES, FAMILIES, {**LEAN_VERBS, **OTHER_VERBS, **FURTHER}, NAMES]
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(given)], cwd=folder, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return folder, *json.loads(ended.stdout.splitlines()[-1])


def test_the_modules_are_those_of_the_extra():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["train"]
    packages = [re.match(r"[\w-]+", requirement).group().replace("scikit-learn", "sklearn") for requirement in extra]
    assert packages == list(MODULES)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_answers_without_the_extra_as_with_it(lean, family):
    folder, answers, _, _ = lean
    expected = by_label(Classifier.from_pretrained(folder / family, device="cpu")(folder / "sound.wav"))
    assert by_label(answers[family]) == pytest.approx(expected, abs=1e-6)
    assert len(set(expected.values())) > 1


def test_every_verb_is_tried_here():
    there = {one.name or one.callback.__name__ for one in app.registered_commands} | {"corpora"}
    assert there == {*LEAN_VERBS, *OTHER_VERBS}


@pytest.mark.slow
def test_the_lean_verbs_work(lean):
    folder, answers, ended, _ = lean
    for verb in (*LEAN_VERBS, "help", "csv"):
        code, _, told = ended[verb]
        assert code == int(verb == "doctor"), verb  # most of the miniature is missing
        assert "ser-hf:" not in told, verb
    (row,) = json.loads(ended["predict"][1])
    assert row["scores"] == pytest.approx(by_label(answers["hubert"]), abs=1e-6)
    assert json.loads(ended["doctor"][1])["recordings"] == len(get_corpus("emodb").examples)
    assert "sound.wav" in (folder / "answers.csv").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("verb", [*OTHER_VERBS, "parquet", "excel"])
def test_a_verb_that_needs_the_extra_says_so_in_one_line(lean, verb):
    code, printed, complaint = lean[2][verb]
    assert re.fullmatch(rf"ser-hf: .*{SENTENCE}\n", complaint)
    assert (code, printed) == (2, "")
    named = {"parquet": "answers.parquet", "excel": "table.xlsx", "train": "training"}
    assert named.get(verb, verb) in complaint


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_that_needs_the_extra_says_so(lean, name):
    assert re.fullmatch(rf"(ser_hf\.{name}|training) {SENTENCE}", lean[3][name])


def test_only_packages_of_the_extra_are_named():
    with pytest.raises(MissingPackageError, match="a table needs more packages"), naming_extra("a table"):
        raise ModuleNotFoundError("No module named 'pandas.core'", name="pandas.core")
    for error in (ModuleNotFoundError("nothing", name="ser_hf.nothing"), ModuleNotFoundError("nothing"), ImportError()):
        with pytest.raises(ImportError) as raised, naming_extra("a table"):
            raise error
        assert raised.value is error


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_without_the_extra_ends_with_the_sentence(recipe, tmp_path):
    script = f"""
import runpy, sys
for name in {MODULES}:
    sys.modules[name] = None
sys.argv = [{str(recipe)!r}]
runpy.run_path({str(recipe)!r}, run_name="__main__")
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode
    assert re.search(SENTENCE, ended.stderr.splitlines()[-1]), ended.stderr
