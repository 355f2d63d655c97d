"""One YAML file plus command-line overrides -> the dataclasses of a recipe.

    python recipes/train_classifier.py recipes/configs/ravdess_whisper.yaml --learning_rate 3e-5

The stock parser's YAML door converts no types, takes no overrides and lets misspelt keys pass. Here the file becomes
command-line words in front of the real ones, so that both go through the same types and the later one wins.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import traceback
from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers import HfArgumentParser

from ..emotions import unknown_name
from .guard import NonFiniteError
from .resume import RUN_FILE, left_over


def parse(*argument_classes: type, default_config: Path | None = None, argv: Sequence[str] | None = None) -> tuple:
    """The filled dataclasses. Usage errors are one line on stderr and exit code 2.

    Args:
        default_config: the YAML file that is read where the command line names none.
        argv: the command line; default: that of the process.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = HfArgumentParser(argument_classes, allow_abbrev=False)
    parser.error = _exit  # argparse would print its whole usage, some two hundred lines here
    for action in parser._actions:
        if action.nargs == "+" and action.default == []:
            action.nargs = "*"  # such an option without a word takes back what the file says
    known = {field.name for cls in argument_classes for field in dataclasses.fields(cls) if field.init}
    try:
        words = [word for path in _take_yaml(argv, default_config) for word in _read_yaml(path, known)]
        *filled, rest = parser.parse_args_into_dataclasses(
            words + argv, return_remaining_strings=True, look_for_args_file=False
        )
        if rest:
            name = rest[0].removeprefix("--").split("=")[0].replace("-", "_")
            raise ValueError(unknown_option(name, known) if rest[0].startswith("--") else _stray(rest[0]))
    except (ValueError, OSError, yaml.YAMLError) as error:
        _exit(str(error))
    return tuple(filled)


def parse_some(argument_class: type, argv: Sequence[str], *, about: str | None = None) -> tuple[Any, list[str]]:
    """One dataclass filled from those words that are its options, and the other words, for somebody else to parse.

    Usage errors are one line on stderr and exit code 2; `--help` begins with what is said `about` the recipe.
    """
    parser = HfArgumentParser(argument_class, allow_abbrev=False, description=about, formatter_class=_AboutAndDefaults)
    parser.error = _exit
    try:
        filled, rest = parser.parse_args_into_dataclasses(
            list(argv), return_remaining_strings=True, look_for_args_file=False
        )
    except ValueError as error:
        _exit(str(error))
    return filled, rest


def run_recipe(main: Callable[[], None]) -> None:
    """Runs a recipe: what our own doors refuse is one line on stderr and exit code 1, a Ctrl-C says how to go on.

    Errors from elsewhere keep their traceback: nobody can mend them with a sentence.
    """
    try:
        main()
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on where this one stopped")
        raise SystemExit(130) from None
    except (ValueError, OSError, NonFiniteError) as error:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        recipes, package = Path(main.__code__.co_filename).parent, Path(__file__).parents[1]
        if recipes != raised_in.parent and package not in raised_in.parents:
            raise
        _say(str(error))
        raise SystemExit(1) from None


def unknown_option(name: str, known: Iterable[str]) -> str:
    """One sentence for a misspelt option. All known ones, two hundred with those of transformers, are left to --help.

    >>> unknown_option("learning_rte", ["learning_rate", "max_steps"])
    "unknown option 'learning_rte'; did you mean 'learning_rate'? (--help tells all)"
    """
    return f"{unknown_name('option', name, known).partition(' (known:')[0]} (--help tells all)"


def save_arguments(folder: str | Path, *arguments: Any) -> bool:
    """Writes every option that differs from its default to `run.yaml`, which `parse` reads again; those of the Hub not.

    Returns:
        Whether the folder already held a run with these very options, so that what it finished may be kept.

    Raises:
        SystemExit: with code 2 and one line, if the folder holds a run with other options, or what is left of one
            without them.
    """
    changed = changed_options(*arguments)
    text, file = yaml.safe_dump(changed, sort_keys=True), Path(folder, RUN_FILE)
    if file.exists():
        if file.read_text(encoding="utf-8") == text:
            return True
        earlier = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        differing = sorted(name for name in {*earlier, *changed} if earlier.get(name) != changed.get(name))
        _exit(
            f"{folder} holds a run with other options ({', '.join(differing)}; see its run.yaml): choose another "
            "--output_dir or remove the folder"
        )
    if (left := left_over(folder)) is not None:  # nobody knows of what options: it must not be gone on with
        _exit(f"{left} is of a run without its {RUN_FILE}: choose another --output_dir or remove the folder")
    write_options(file, changed)
    return False


def changed_options(*arguments: Any) -> dict[str, Any]:
    """Every option of these dataclasses that differs from its default; those of the Hub not."""
    changed = {}
    for argument in arguments:
        for field in dataclasses.fields(argument):
            has_factory = field.default_factory is not dataclasses.MISSING
            default, value = field.default_factory() if has_factory else field.default, getattr(argument, field.name)
            if field.name == "push_to_hub" or field.name.startswith("hub_"):
                continue  # where a run is published is no part of it, and hub_token is a secret
            if field.name == "dataloader_pin_memory":
                continue  # follows from the machine
            if field.name == "lr_scheduler_kwargs":  # of the dictionaries the one that is not transformers' own doing
                value = json.dumps(value, sort_keys=True) if value else default
            if field.init and value != default and isinstance(value, (str, int, float, list)):
                changed[field.name] = value.value if isinstance(value, Enum) else value
    return changed


def write_options(file: str | Path, options: Mapping[str, Any]) -> None:
    """Options as the YAML file that `parse` reads."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}")
    unfinished.write_text(yaml.safe_dump(dict(options), sort_keys=True), encoding="utf-8")
    unfinished.replace(file)  # another process reads all of it or nothing


class _AboutAndDefaults(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Help with the defaults, under a description that keeps its lines."""


def _exit(message: str) -> NoReturn:
    _say(message)
    raise SystemExit(2)


def _stray(word: str) -> str:
    return f"stray {word!r}: it is no option, which begins with --, and no .yaml file, which comes first"


def _say(message: str) -> None:
    print(f"{Path(sys.argv[0]).name}: {' '.join(message.split())}", file=sys.stderr)


def _take_yaml(argv: list[str], default: Path | None) -> list[Path]:
    """Removes a leading configuration file from the words and returns it, else the default one."""
    if argv and argv[0].endswith((".yaml", ".yml")):
        return [Path(argv.pop(0))]
    return [] if default is None else [default]


def _read_yaml(path: Path, known: set[str]) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no configuration file {path}")
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: wanted `option: value` lines, found a {type(content).__name__}")
    words = []
    for key, value in content.items():
        if key not in known:
            raise ValueError(f"{path}: {unknown_option(key, known)}")
        if value is None or value == []:
            continue
        if isinstance(value, dict):
            value = [f"{name}={_word(item)}" for name, item in value.items()]
        if isinstance(value, list):
            words += [f"--{key}", *map(_word, value)]
        else:
            words.append(f"--{key}={_word(value)}")
    return words


def _word(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, (bool, int, float, list, dict)) else str(value)
