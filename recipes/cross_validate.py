"""Run any recipe on all folds of its protocol with several seeds, and pool the results into one report.

    python recipes/cross_validate.py --output_dir runs/synthetic_cv                   # synthetic speech, offline
    python recipes/cross_validate.py recipes/configs/ravdess_whisper.yaml --seeds 0 1 2 --output_dir runs/whisper
    python recipes/cross_validate.py recipes/train_svm.py recipes/configs/ravdess_svm.yaml --folds 0 1

The first word may name a recipe (default: train_classifier.py), the next its configuration. Options that are not listed
here are passed to the recipe; see its own --help. Each seed has a run folder, `seed<number>`; the folder above holds
tables and report of all seeds. Run the same command again after an interruption. A command with one more seed keeps the
others.
"""

import importlib.util
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

from ser_hf.extras import require_extra

if __name__ == "__main__":
    require_extra("training")

import yaml
from accelerate import PartialState

from ser_hf.evaluation.comparisons.forgetting import ForgettingTable
from ser_hf.files import FORGETTING, REPORT, REPORT_MARKDOWN, TEST
from ser_hf.options import OptionError, name_of
from ser_hf.report.cost import write_cost
from ser_hf.report.report import EvaluationReport
from ser_hf.report.runs import RunTables
from ser_hf.training.parser import parse_some, run_recipe

PART_OF_A_RUN = re.compile(r"fold\d+|checkpoint-\d+")


@dataclass(kw_only=True)
class CrossValidationArguments:
    """The runs of a recipe: seeds and folds, and the folder for all."""

    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2], metadata={"help": "Seeds; the recipe runs once with each."}
    )
    folds: list[int] = field(
        default_factory=list, metadata={"help": "Folds to run; default: those of the configuration, else all folds."}
    )
    output_dir: str = field(default="runs/cross_validation", metadata={"help": "Folder for all seeds."})

    def __post_init__(self):
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise OptionError(f"--seeds needs different numbers from 0, not {self.seeds}")


def main(argv: Sequence[str] | None = None) -> None:
    arguments, words = parse_some(CrossValidationArguments, sys.argv[1:] if argv is None else argv, about=__doc__)
    recipe = Path(words.pop(0)) if words and words[0].endswith(".py") else Path(__file__).parent / "train_classifier.py"
    given = {name_of(word) for word in words if word.startswith("--")}
    if "seed" in given:
        raise OptionError("--seed cannot be used here: use --seeds")
    if "push_to_hub" in given or configuration_in(words).get("push_to_hub"):
        raise OptionError("--push_to_hub cannot be used here: publish a seed's run with `ser-hf push`")
    run_once, out = main_of(recipe), Path(arguments.output_dir)

    runs = []
    for seed in arguments.seeds:
        folder = out / f"seed{seed}"
        runs.append(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Reports of single seeds are not printed, only written into their folders, with the output of the recipe.
        with (folder / "printed.txt").open("a", encoding="utf-8") as printed, redirect_stdout(printed):
            run_once([*words, *fold_words(arguments.folds, words), "--seed", str(seed), "--output_dir", str(folder)])
        if PartialState().is_main_process:
            for place in places_to_tell(tables_of_all([folder])):
                headline = EvaluationReport.read(folder / place / REPORT).headline
                print(f"{folder / place}: {headline}", flush=True)

    if PartialState().is_main_process:
        places = tables_of_all(runs)
        for place in places:
            pooled = RunTables.pool([RunTables.read(run / place) for run in runs])
            report = pooled.report()
            report.write(out / place)
            pooled.write(out / place)
            if place != Path():
                print(f"{out / place}: {report.headline}")
            write_cost(out / place, [run / place for run in runs])
        if all((run / FORGETTING).is_file() for run in runs):
            ForgettingTable.pool([ForgettingTable.read(run) for run in runs]).write(out)
        if Path() in places:
            print((out / REPORT_MARKDOWN).read_text(encoding="utf-8"))


def main_of(recipe: Path) -> Callable[[Sequence[str]], None]:
    """Return the function `main` of a recipe, which takes its command line as words."""
    if not recipe.is_file():
        raise FileNotFoundError(f"there is no recipe {recipe}")
    specification = importlib.util.spec_from_file_location(recipe.stem, recipe)
    module = importlib.util.module_from_spec(specification)
    sys.modules[recipe.stem] = module  # dataclasses look up their module
    specification.loader.exec_module(module)
    return module.main


def fold_words(folds: Sequence[int], words: Sequence[str]) -> list[str]:
    """Return the words that choose the folds; none if the configuration chooses them."""
    if folds:
        return ["--folds", *map(str, folds)]
    return [] if "folds" in configuration_in(words) else ["--folds", "-1"]


def configuration_in(words: Sequence[str]) -> dict:
    """Return the options of the configuration that the words begin with; empty without one."""
    has_config = bool(words) and words[0].endswith((".yaml", ".yml")) and Path(words[0]).is_file()
    return (yaml.safe_load(Path(words[0]).read_text(encoding="utf-8")) if has_config else None) or {}


def places_to_tell(places: Sequence[Path]) -> list[Path]:
    """Return the run itself, or its top folders if it has several, such as the methods of adapt.py."""
    return [Path()] if Path() in places else [place for place in places if len(place.parts) == 1]


def tables_of_all(runs: Sequence[Path]) -> list[Path]:
    """Return the folders, relative to a run, in which all runs have tables: itself, and others such as `source`."""
    in_first = (file.parent.relative_to(runs[0]) for file in sorted(runs[0].rglob(TEST)))
    own = [place for place in in_first if not any(map(PART_OF_A_RUN.fullmatch, place.parts))]
    return [place for place in own if all((run / place / TEST).is_file() for run in runs)]


if __name__ == "__main__":
    run_recipe(main)
