"""`ser-hf train`: the recipes train_classifier.py and train_svm.py, for users of the installed package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from ..emotions import unknown_name
from ..options import OptionError, name_of, read_options
from ..training.adversary import AdversarialTrainingArguments
from ..training.arguments import ModelArguments
from ..training.data_arguments import DataArguments
from ..training.parser import parse
from ..training.run_folds import Run
from ..training.svm import SVMArguments
from ..training.train import MACHINE, shipped_configs, train_machine, train_network


def train_words(words: Sequence[str]) -> Run:
    """Train with the words of a command line.

    Args:
        words: an optional configuration (a YAML file, or the name of one in the package), then options. A support
            vector machine is fitted if no model is named, or if an option exists only for these machines.

    Raises:
        ValueError: for an unknown configuration.
    """
    words = list(words)
    if words and not words[0].startswith("-"):
        words[0] = str(configuration(words[0]))
    words = _of_a_machine_by_name(words)
    if _are_of_a_machine(words):
        return train_machine(*parse(DataArguments, SVMArguments, argv=words))
    return train_network(*parse(DataArguments, ModelArguments, AdversarialTrainingArguments, argv=words))


def configuration(name: str) -> Path:
    """Return the file of a configuration, given its path or its name.

    Raises:
        ValueError: if there is none.
    """
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        return Path(name)
    shipped = shipped_configs()
    if name not in shipped:
        raise OptionError(f"{unknown_name('configuration', name, shipped)}; or name a .yaml file")
    return shipped[name]


def _of_a_machine_by_name(words: list[str]) -> list[str]:
    """Return words with `--model_name_or_path svm` left out, and the encoder of `svm:<encoder>` in its own options."""
    for place, word in enumerate(words):
        if not word.startswith("--") or name_of(word) != "model_name_or_path":
            continue
        _, has_value, value = word.partition("=")
        before, after = words[:place], words[place + 1 :]
        if not has_value:
            value, after = "".join(after[:1]), after[1:]
        kind, _, encoder = value.partition(":")
        if kind == MACHINE and encoder:
            return [*before, "--inputs", "embeddings", "--model_name_or_path", encoder, *after]
        if kind == MACHINE:
            return [*before, "--inputs", "functionals", *after]
    return words


def _are_of_a_machine(words: Sequence[str]) -> bool:
    """True if the options are those of a support vector machine, which is also the default without any option."""
    options = {name_of(word) for word in words if word.startswith("--")}
    if words and words[0].endswith((".yaml", ".yml")) and Path(words[0]).is_file():
        options |= set(read_options(Path(words[0])))
    of_networks = {field.name for cls in (ModelArguments, AdversarialTrainingArguments) for field in fields(cls)}
    of_machines = {field.name for field in fields(SVMArguments)}
    if options & (of_machines - of_networks):
        return True
    return not options & ((of_networks - of_machines) | {"model_name_or_path", "help", "h"})
