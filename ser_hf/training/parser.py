"""Parsing of one YAML file and command-line options into the dataclasses of a recipe.

    python recipes/train_classifier.py recipes/configs/ravdess_whisper.yaml --learning_rate 3e-5

The stock parser reads YAML too, but converts no types, takes no overrides and ignores misspelt keys. Here the file
becomes command-line words in front of the real ones. Both are converted alike, and the later one wins.
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
from transformers.trainer import TRAINER_STATE_NAME

from ..files import OPTIONS, TEST, in_words, write_whole
from ..options import OptionError, name_of, unknown_option
from .callbacks import NonFiniteError


def parse(*argument_classes: type, default_config: Path | None = None, argv: Sequence[str] | None = None) -> tuple:
    """Return the filled dataclasses.

    Args:
        default_config: the YAML file that is read if the command line names none.
        argv: the command line; default: that of the process.

    Raises:
        OptionError: for any error in the file or in the command line.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(argument_classes)
    for action in parser._actions:
        if action.nargs == "+" and action.default == []:
            action.nargs = "*"  # such an option without a value resets that of the file
    known = {field.name for cls in argument_classes for field in dataclasses.fields(cls) if field.init}
    try:
        words = [word for path in _take_yaml(argv, default_config) for word in _read_yaml(path, known)]
        *filled, rest = _filled(parser, words + argv)
        if rest:
            is_option = rest[0].startswith("--")
            raise OptionError(unknown_option(name_of(rest[0]), known) if is_option else _stray(rest[0]))
    except (ValueError, OSError, yaml.YAMLError) as error:
        raise OptionError(str(error)) from error
    return tuple(filled)


def fill(argument_classes: Sequence[type], options: Mapping[str, Any]) -> tuple:
    """Return the dataclasses, filled from options by name: as if a YAML file had the options.

    Raises:
        OptionError: for an unknown option, naming the nearest one, and for values that a class refuses.
    """
    names = [{field.name for field in dataclasses.fields(cls) if field.init} for cls in argument_classes]
    if unknown := sorted(set(options) - set().union(*names)):
        raise OptionError(unknown_option(unknown[0], set().union(*names)))
    each = zip(argument_classes, names, strict=True)
    return tuple(cls(**{name: _plain(options[name]) for name in own & set(options)}) for cls, own in each)


def parse_some(argument_class: type, argv: Sequence[str], *, about: str | None = None) -> tuple[Any, list[str]]:
    """Return one filled dataclass, and the words that are not its options, for another parser.

    Args:
        about: the first text of `--help`.

    Raises:
        OptionError: as `parse`.
    """
    try:
        return _filled(_parser(argument_class, description=about, formatter_class=_AboutAndDefaults), argv)
    except ValueError as error:
        raise OptionError(str(error)) from error


def check_options(options: Any) -> None:
    """Check the options of a dataclass against the `choices` in their metadata and against its `RANGES`.

    `RANGES` names an interval for each number, such as {"ema_decay": "[0, 1)"}. It is no metadata of the fields, since
    the stock HfArgumentParser takes no other metadata than argparse's own.

    Raises:
        OptionError: naming the option, what it must be, and its value.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        choices = field.metadata.get("choices")
        for one in value if isinstance(value, list) else [value]:
            if choices is not None and one is not None and one not in choices:
                raise OptionError(f"--{field.name} must be one of {', '.join(map(str, choices))}, not {one!r}")
    for name, interval in options.RANGES.items():
        if (value := getattr(options, name)) is not None:
            check_range(f"--{name}", value, interval)


def check_range(name: str, value: float, interval: str) -> None:
    """Raise an `OptionError` if a number is not in an interval such as "[0, 1)"."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = low <= value if interval[0] == "[" else low < value
    below = value <= high if interval[-1] == "]" else value < high
    if not (above and below):
        open_ended = {"[0, inf)": "0 or more", "(0, inf)": "above 0", "[1, inf)": "1 or more"}
        raise OptionError(f"{name} must be {open_ended.get(interval, f'in {interval}')}, not {value}")


def check_pairs(option: str, words: Sequence[str], form: str) -> dict[str, str]:
    """Return `name=value` words as a dictionary.

    Raises:
        OptionError: for a word of another form, and for a name that is given twice.

    >>> check_pairs("roots", ["emodb=/data/emodb"], "corpus=folder")
    {'emodb': '/data/emodb'}
    """
    if malformed := [word for word in words if "=" not in word]:
        raise OptionError(f"--{option} needs the form {form}, not {malformed[0]!r}")
    pairs = [word.split("=", 1) for word in words]
    if pairs:
        check_each_once(option, [name for name, _ in pairs])
    return dict(pairs)


def check_each_once(option: str, values: Sequence[Any]) -> None:
    """Raise an `OptionError` for a list without a value, and for a value that is in it twice."""
    if not values:
        raise OptionError(f"--{option} needs a value")
    if twice := [value for value in values if values.count(value) > 1]:
        raise OptionError(f"--{option} names {twice[0]!r} twice: name it once")


def run_recipe(main: Callable[[], None]) -> None:
    """Run a recipe. An error that this package raises is one line on stderr, and so is a Ctrl-C.

    The exit code is 2 for wrong options, else 1, and 130 after a Ctrl-C. Errors from elsewhere keep their traceback,
    which helps to find their cause.
    """
    try:
        main()
    except KeyboardInterrupt:
        _say("interrupted; run the same command again to continue")
        raise SystemExit(130) from None
    except OptionError as error:
        _say(str(error))
        raise SystemExit(error.exit_code) from None
    except (ValueError, OSError, NonFiniteError) as error:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        recipes, package = Path(main.__code__.co_filename).parent, Path(__file__).parents[1]
        words = in_words(error)
        if recipes != raised_in.parent and package not in raised_in.parents and "disk is full" not in words:
            raise
        _say(words)
        raise SystemExit(1) from None


def save_arguments(folder: str | Path, *arguments: Any) -> bool:
    """Write the options that differ from their defaults to `run.yaml`, which `parse` reads; none of the Hub.

    Returns:
        True if the folder already holds a run with the same options. Its finished parts may then be kept.

    Raises:
        OptionError: if the folder holds a run with other options, or parts of a run without a `run.yaml`.
    """
    changed, file = changed_options(*arguments), Path(folder, OPTIONS)
    if file.exists():
        earlier = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        differing = sorted(name for name in {*earlier, *changed} if earlier.get(name) != changed.get(name))
        if not differing:
            return True
        raise OptionError(
            f"{folder} holds a run with other options ({', '.join(differing)}; see its {OPTIONS}): choose another "
            "--output_dir or remove the folder"
        )
    if (left := _left_over(folder)) is not None:  # its options are unknown, so it cannot be continued
        raise OptionError(
            f"{left} is part of a run without a {OPTIONS}: choose another --output_dir or remove the folder"
        )
    write_options(file, changed)
    return False


def changed_options(*arguments: Any) -> dict[str, Any]:
    """Return the options of these dataclasses that differ from their defaults, without those of the Hub."""
    changed = {}
    for argument in arguments:
        for field in dataclasses.fields(argument):
            has_factory = field.default_factory is not dataclasses.MISSING
            default, value = field.default_factory() if has_factory else field.default, getattr(argument, field.name)
            if field.name == "push_to_hub" or field.name.startswith("hub_"):
                continue  # the place of publication is not part of a run, and hub_token is a secret
            if field.name == "dataloader_pin_memory":
                continue  # follows from the machine
            if field.name == "lr_scheduler_kwargs":  # transformers makes all other dictionaries itself
                value = json.dumps(value, sort_keys=True) if value else default
            if field.init and value != default and isinstance(value, (str, int, float, list)):
                changed[field.name] = value.value if isinstance(value, Enum) else value
    return changed


def write_options(file: str | Path, options: Mapping[str, Any]) -> None:
    """Write options as a YAML file that `parse` reads."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, yaml.safe_dump(dict(options), sort_keys=True))


def _left_over(folder: str | Path) -> Path | None:
    """Return a checkpoint or a prediction table without the options of its run, or None.

    Sub-folders that have their own options do not count.
    """
    folder = Path(folder)
    for name in (TRAINER_STATE_NAME, TEST):
        for file in folder.rglob(name):
            above = file.relative_to(folder).parents
            if not any((folder / parent / OPTIONS).exists() for parent in above):
                return file
    return None


class _AboutAndDefaults(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Help with the defaults, under a description that keeps its lines."""


def _parser(argument_classes: type | Iterable[type], **options: Any) -> HfArgumentParser:
    def refuse(message: str) -> NoReturn:
        raise OptionError(message)

    parser = HfArgumentParser(argument_classes, allow_abbrev=False, **options)
    parser.error = refuse  # argparse would print its whole usage, which is two hundred lines here
    return parser


def _filled(parser: HfArgumentParser, words: Sequence[str]) -> tuple:
    return parser.parse_args_into_dataclasses(list(words), return_remaining_strings=True, look_for_args_file=False)


def _stray(word: str) -> str:
    return f"unexpected {word!r}: options begin with --, and a .yaml file comes first"


def _say(message: str) -> None:
    print(f"{Path(sys.argv[0]).name}: {' '.join(message.split())}", file=sys.stderr)


def _take_yaml(argv: list[str], default: Path | None) -> list[Path]:
    """Remove a leading configuration file from the words and return it, else the default one."""
    if argv and argv[0].endswith((".yaml", ".yml")):
        return [Path(argv.pop(0))]
    return [] if default is None else [default]


def _read_yaml(path: Path, known: set[str]) -> list[str]:
    """Return a configuration file as words of a command line."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no configuration file {path}")
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(content, dict):
        raise OptionError(f"{path} needs lines of the form `option: value`, not a {type(content).__name__}")
    words = []
    for key, value in content.items():
        if key not in known:
            raise OptionError(f"{path}: {unknown_option(key, known)}")
        if value is None or value == []:
            continue
        value = _plain(value)
        if isinstance(value, list):
            words += [f"--{key}", *map(_word, value)]
        else:
            words.append(f"--{key}={_word(value)}")
    return words


def _plain(value: Any) -> Any:
    """Return a value as options have it: {"name": 1} is ["name=1"], a tuple is a list, and a path is text."""
    if isinstance(value, Mapping):
        return [f"{name}={_word(item)}" for name, item in value.items()]
    if isinstance(value, (tuple, range)):
        return list(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _word(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, (bool, int, float, list, dict)) else str(value)
