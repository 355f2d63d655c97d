"""A curriculum: corpora in stages. A share of earlier utterances is rehearsed against forgetting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..data.balance import balancing_groups, epoch_length, sampling_weights
from ..emotions import unknown_name
from .data_arguments import DataArguments
from .parser import OptionError, check_options

if TYPE_CHECKING:
    from datasets import Dataset

    from .arguments import SERTrainingArguments


@dataclass(frozen=True)
class Stage:
    """One step of a curriculum.

    Attributes:
        name: its name in the tables.
        corpora: corpora that are new in this stage.
        epochs: passes over the new corpora; None takes the recipe's `num_train_epochs`.
        learning_rate: None takes the recipe's.
        rehearsal_share: share of utterances from earlier stages, in [0, 1); None takes the recipe's.
    """

    name: str
    corpora: Sequence[str]
    epochs: float | None = None
    learning_rate: float | None = None
    rehearsal_share: float | None = None

    @classmethod
    def from_json(cls, text: str) -> Stage:
        """Return a stage from one entry of the YAML list `stages`.

        Raises:
            OptionError: for unknown keys, a missing name or corpora, or a share outside [0, 1).
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise OptionError(f"--stages needs JSON objects, not {text!r} ({error})") from error
        if not isinstance(content, dict) or not {"name", "corpora"} <= set(content):
            raise OptionError(f"--stages needs name and corpora in each stage, not {text}")
        known = [field.name for field in fields(cls)]
        if strange := [key for key in content if key not in known]:
            raise OptionError(f"--stages: {unknown_name('key', strange[0], known)}")
        numbers = {key: float(content[key]) for key in known[2:] if content.get(key) is not None}
        if not 0 <= numbers.get("rehearsal_share", 0) < 1:
            raise OptionError(
                f"--stages: rehearsal_share of {content['name']} must be in [0, 1), not {numbers['rehearsal_share']}"
            )
        return cls(content["name"], tuple(content["corpora"]), **numbers)

    def training_arguments(self, args: SERTrainingArguments, folder: Path) -> SERTrainingArguments:
        """Return the recipe's arguments with this stage's epochs, learning rate and folder."""
        own = copy(args)
        own.output_dir = str(folder)
        own.num_train_epochs = self.epochs if self.epochs is not None else args.num_train_epochs
        own.learning_rate = self.learning_rate if self.learning_rate is not None else args.learning_rate
        return own


@dataclass(kw_only=True)
class CurriculumArguments(DataArguments):
    """The stages of a curriculum, and how much of the earlier ones is rehearsed."""

    stages: list[str] = field(
        metadata={"help": "Stages in order: a YAML list, or JSON objects, with name, corpora, epochs, learning_rate."}
    )
    rehearsal_share: float = field(
        default=0.2,
        metadata={
            "help": "Share of each stage's utterances that come from earlier stages, in [0, 1). 0 is the plain "
            "curriculum with its forgetting."
        },
    )

    RANGES: ClassVar = {"rehearsal_share": "[0, 1)"}

    def __post_init__(self):
        super().__post_init__()
        check_options(self)
        self.stage_list = [Stage.from_json(stage) for stage in self.stages]
        names = [stage.name for stage in self.stage_list]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise OptionError(f"--stages names {twice[0]!r} twice: give each stage its own name")
        if sorted(self.corpora) != sorted(corpus for stage in self.stage_list for corpus in stage.corpora):
            raise OptionError(f"--stages must name each of the corpora {', '.join(self.corpora)} exactly once")
        self.learnt_in = {corpus: stage.name for stage in self.stage_list for corpus in stage.corpora}


def select_corpora(dataset: Dataset, corpora: Sequence[str]) -> Dataset:
    """Return the utterances of some of the corpora, in their order."""
    return dataset.select(np.flatnonzero(np.isin(dataset["corpus"], list(corpora))))


def rehearse(
    current: Dataset, earlier: Sequence[Dataset], share: float, balance: str, balance_by: str = "resampling"
) -> tuple[Dataset, np.ndarray, int]:
    """Return the training rows of a stage, the weight of each row, and the number of draws per epoch.

    Without balancing, every new utterance is drawn once per epoch, and earlier ones make up `share` of all.

    Args:
        current: the new utterances, which come first in the rows.
        earlier: the utterances of each earlier stage.
        balance, balance_by: as in `balancing_groups` and `epoch_length`.
    """
    from datasets import concatenate_datasets

    groups = balancing_groups(current["label"], current["corpus"], balance)
    weights, count = sampling_weights(groups), epoch_length(groups, balance_by)
    if not earlier or share == 0:
        return current, weights, count
    rehearsed = concatenate_datasets(list(earlier))
    again = sampling_weights(balancing_groups(rehearsed["label"], rehearsed["corpus"], balance))
    weights = np.concatenate([(1 - share) * weights, share * again])
    return concatenate_datasets([current, rehearsed]), weights, round(count / (1 - share))
