"""A misspelt option is refused before torch is imported; the names are read from the sources of the dataclasses."""

import dataclasses
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ser_hf
from ser_hf.cli import precompute
from ser_hf.options import OptionError, option_names, refuse_misspelt, refuse_misspelt_of_recipe
from ser_hf.training import train

RECIPES = Path(ser_hf.__file__).parents[1] / "recipes"
EARLY = sorted(file for file in RECIPES.glob("*.py") if "refuse_misspelt_of_recipe" in file.read_text(encoding="utf-8"))
COMMANDS = [Path(command.__file__) for command in (train, precompute)]


def loaded(file):
    spec = importlib.util.spec_from_file_location(f"names_of_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_every_recipe_that_parses_its_options_itself_refuses_them_early():
    parsing = [file for file in RECIPES.glob("*.py") if re.search(r"^    .* = parse\(", file.read_text(), re.MULTILINE)]
    assert sorted(parsing) == EARLY
    assert len(EARLY) > 4


@pytest.mark.parametrize("file", [*EARLY, *COMMANDS], ids=lambda file: file.stem)
def test_the_names_in_the_sources_are_the_fields_of_the_dataclasses(file):
    classes = [value for name, value in vars(loaded_or_imported(file)).items() if name.endswith("Arguments")]
    assert len(classes) > 1
    assert option_names(file) == {field.name for cls in classes for field in dataclasses.fields(cls) if field.init}


def loaded_or_imported(file):
    return {Path(command.__file__): command for command in (train, precompute)}.get(file) or loaded(file)


@pytest.mark.parametrize(
    "command",
    [(RECIPES.parent / "ser_hf/cli/main.py", "train"), (RECIPES / "train_classifier.py",)],
    ids=["verb", "recipe"],
)
def test_torch_is_not_imported_when_an_option_is_refused(command):
    file, *verb = map(str, command)
    script = f"""
import runpy, sys
sys.argv = {[file, *verb, "--learning_rte", "1"]}
try:
    runpy.run_path({file!r}, run_name="__main__")
except SystemExit as ended:
    print(ended.code, [name for name in ("torch", "transformers", "datasets") if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.stderr.endswith(": unknown option 'learning_rte'; did you mean 'learning_rate'? (--help lists all)\n")
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == "2 []\n"


@pytest.mark.parametrize(
    "words",
    [
        ["--learning-rate=1e-3", "--folds", "-1"], ["--no_use_cpu"], ["-h"], ["--help"],
        ["run.yaml", "--augment", "noise=5..20"], ["--"], [],
    ],
)  # fmt: skip
def test_what_the_parser_accepts_is_not_refused_early(words):
    refuse_misspelt(words, COMMANDS[0])


def test_a_recipe_is_ended_with_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train_svm.py", "--kernal=rbf"])
    with pytest.raises(SystemExit) as ended:
        refuse_misspelt_of_recipe(str(RECIPES / "train_svm.py"))
    assert (ended.value.code, OptionError.exit_code) == (2, 2)
    assert (
        capsys.readouterr().err == "train_svm.py: unknown option 'kernal'; did you mean 'kernel'? (--help lists all)\n"
    )
