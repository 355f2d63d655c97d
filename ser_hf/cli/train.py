"""`ser-hf train`: the recipes train_classifier, train_svm and train_lda, for users of the installed package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path

from ..emotions import unknown_name
from ..options import OptionError, name_of, read_options
from ..training.adversary import AdversarialTrainingArguments
from ..training.arguments import ModelArguments
from ..training.data_arguments import DataArguments
from ..training.fitted.arguments import FittedArguments
from ..training.fitted.svm import SVMArguments
from ..training.parser import parse
from ..training.run_folds import Run
from ..training.train import FITTED, shipped_configs, train_fitted, train_network


def train_words(words: Sequence[str]) -> Run:
    """Train with the words of a command line.

    Args:
        words: an optional configuration (a YAML file, or the name of one in the package), then options. The model
            `lda:<encoder>` is a linear discriminant. A support vector machine is fitted if no model is named, or if an
            option exists only for these machines.

    Raises:
        ValueError: for an unknown configuration.
    """
    words = list(words)
    if words and not words[0].startswith("-"):
        words[0] = str(configuration(words[0]))
    if fitted := _fitted_by(words):
        return train_fitted(*parse(DataArguments, fitted, argv=words))
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


def _fitted_by(words: Sequence[str]) -> type[FittedArguments] | None:
    """Return the options of the fitted family that the words describe; None for a network.

    Without any option of a model, it is a support vector machine on functionals.
    """
    options = _options_of(words)
    name = options.pop("model_name_or_path", None)
    if (kind := str(name).partition(":")[0]) in FITTED:
        return FITTED[kind]
    of_networks = {field.name for cls in (ModelArguments, AdversarialTrainingArguments) for field in fields(cls)}
    of_machines = {field.name for field in fields(SVMArguments)}
    if options.keys() & (of_machines - of_networks - {"encoder_outputs"}):
        return SVMArguments
    if name is None and not options.keys() & ((of_networks - of_machines) | {"help", "h"}):
        return SVMArguments
    return None


def _options_of(words: Sequence[str]) -> dict[str, object]:
    """Return the options of a configuration and a command line by name, as far as they are needed to choose a model."""
    options: dict[str, object] = {}
    if words and words[0].endswith((".yaml", ".yml")) and Path(words[0]).is_file():
        options = dict(read_options(Path(words[0])))
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if word.startswith("--"):
            options[name_of(word)] = word.partition("=")[2] if "=" in word else following
    return options
