"""Reading and checks of options that need neither torch nor transformers.

The names of options are read from the sources of their dataclasses, so that a misspelt one is refused at once: the
dataclasses themselves import torch and transformers, which takes seconds.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from .emotions import unknown_name
from .extras import MissingPackageError, require_extra
from .files import one_line

_PACKAGE = Path(__file__).parent
_TRAINING_ARGUMENTS = "TrainingArguments"  # of transformers, whose `__init__` does not define what it exports

# Options of transformers that would end a training late or do nothing here: the only value, and the reason.
_ONLY_VALUES = {
    "remove_unused_columns": (False, "the extractor needs columns that the model does not name"),
    "label_names": (None, "the labels are those of the scheme"),
    "save_only_model": (False, "an interrupted run could not continue from such checkpoints"),
    "resume_from_checkpoint": (None, "run the same command again, and it continues from its last whole checkpoint"),
    "prediction_loss_only": (False, "the best epoch is chosen by validation scores"),
    "batch_eval_metrics": (False, "scores such as UAR need the whole validation part"),
    "eval_do_concat_batches": (True, "scores such as UAR need the whole validation part"),
    "include_for_metrics": ([], "the scores need predictions and labels alone"),
    "bf16_full_eval": (False, "it changes nothing during a training; use --bf16"),
    "fp16_full_eval": (False, "it changes nothing during a training; use --bf16"),
    "auto_find_batch_size": (
        False,
        "the result would depend on the memory of the machine; halve --per_device_train_batch_size and double "
        "--gradient_accumulation_steps",
    ),
    "neftune_noise_alpha": (None, "it needs word embeddings, which speech does not have; use --augment"),
    "use_liger_kernel": (False, "its kernels are for language models"),
    "hub_strategy": ("every_save", "a run is published once, when it is finished"),
    "hub_always_push": (False, "a run is published once, when it is finished"),
    "hub_revision": (None, "a run is published on the main branch"),
}


class OptionError(ValueError):
    """The error for an option that is unknown, out of its range, or in conflict with another."""

    exit_code = 2  # wrong usage, where other errors end a command with 1


def read_options(file: Path) -> dict[str, Any]:
    """Return the options in a YAML file, by name; an empty file has none.

    Raises:
        OptionError: if it cannot be read, or has another form.
    """
    try:
        options = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (ValueError, yaml.YAMLError) as error:
        raise OptionError(f"{file} is not YAML ({one_line(error)}): correct it, or write it again") from error
    if not isinstance(options, dict):
        raise OptionError(f"{file} needs lines of the form `option: value`, not a {type(options).__name__}")
    return options


def unknown_option(name: str, known: Iterable[str]) -> str:
    """Return one sentence for a misspelt option. `--help` lists the known ones, which are about two hundred.

    >>> unknown_option("learning_rte", ["learning_rate", "max_steps"])
    "unknown option 'learning_rte'; did you mean 'learning_rate'? (--help lists all)"
    """
    return f"{unknown_name('option', name, known).partition(' (known:')[0]} (--help lists all)"


def refuse_unused(options: Any) -> None:
    """Raise an `OptionError` for an option of transformers that has only one value here."""
    for name, (value, reason) in _ONLY_VALUES.items():
        if getattr(options, name) != value:
            raise OptionError(f"leave --{name} out: {reason}")


def name_of(word: str) -> str:
    """Return the name in a word of a command line.

    >>> name_of("--learning-rate=3e-5")
    'learning_rate'
    """
    return word.removeprefix("--").split("=")[0].replace("-", "_")


def refuse_misspelt(words: Sequence[str], file: str | Path) -> None:
    """Raise an `OptionError` for the first option that no dataclass has; the parser checks everything else later.

    Args:
        words: words of a command line.
        file: the module that parses them; it imports the dataclasses.
    """
    known = option_names(file)
    for word in words:
        name = name_of(word)
        if word.startswith("--") and name and name.removeprefix("no_") not in known | {"help"}:
            raise OptionError(unknown_option(name, known))


def refuse_misspelt_of_recipe(file: str) -> None:
    """End the process with exit code 2 and one line if an option is misspelt or the extra `train` is not installed.

    Args:
        file: the recipe.
    """
    try:
        refuse_misspelt(sys.argv[1:], file)
        require_extra("training")
    except (OptionError, MissingPackageError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def option_names(file: str | Path) -> set[str]:
    """Return the fields of all dataclasses `...Arguments` that a module defines or imports."""
    file = Path(file)
    own = [(file, node.name) for node in _tree(file).body if isinstance(node, ast.ClassDef)]
    return {
        name
        for source, title in (*own, *_imported(file))
        if title.endswith("Arguments")
        for name in _fields(source, title)
    }


def _imported(file: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and the name of every imported class `...Arguments`."""
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name == _TRAINING_ARGUMENTS:
                    (folder,) = find_spec("transformers").submodule_search_locations  # without importing it
                    yield Path(folder, "training_args.py"), alias.name
                elif alias.name.endswith("Arguments"):
                    above = file.parents[node.level - 1] if node.level else _PACKAGE.parent
                    yield above.joinpath(*(node.module or "").split(".")).with_suffix(".py"), alias.name


def _fields(file: Path, title: str) -> Iterator[str]:
    """Yield the names that the constructor of a dataclass takes, those of its bases included."""
    classes = {node.name: node for node in _tree(file).body if isinstance(node, ast.ClassDef)}
    for node in classes[title].body:
        if isinstance(node, ast.AnnAssign) and not _is_no_option(node):
            yield node.target.id
    elsewhere = {name: source for source, name in _imported(file)}
    for base in classes[title].bases:
        if base.id in classes or base.id in elsewhere:
            yield from _fields(file if base.id in classes else elsewhere[base.id], base.id)


def _is_no_option(node: ast.AnnAssign) -> bool:
    """True for a `ClassVar`, and for a field with `init=False`."""
    if "ClassVar" in ast.unparse(node.annotation):
        return True
    given = node.value.keywords if isinstance(node.value, ast.Call) else ()
    return any(one.arg == "init" and ast.unparse(one.value) == "False" for one in given)


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
