"""A curriculum: corpora in stages, with a share of earlier ones rehearsed against forgetting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.arguments import DataArguments
from ..data.balance import balancing_groups, epoch_length, sampling_weights
from ..emotions import unknown_name

if TYPE_CHECKING:
    from datasets import Dataset

    from .arguments import SERTrainingArguments


@dataclass(frozen=True)
class Stage:
    """One step of a curriculum.

    Attributes:
        name: what the tables call it.
        corpora: corpora that are new in this stage.
        epochs: passes over the new corpora; None takes the recipe's `num_train_epochs`.
        learning_rate: None takes the recipe's.
        rehearsal_share: share of the drawn utterances that come from earlier stages, in [0, 1); None: the recipe's.
    """

    name: str
    corpora: Sequence[str]
    epochs: float | None = None
    learning_rate: float | None = None
    rehearsal_share: float | None = None

    @classmethod
    def from_json(cls, text: str) -> Stage:
        """A stage from one entry of the YAML list `stages`.

        Raises:
            ValueError: for unknown keys, a missing name or corpora, or a share outside [0, 1).
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"stages: {text!r} is not a JSON object ({error})") from error
        if not isinstance(content, dict) or not {"name", "corpora"} <= set(content):
            raise ValueError(f"stages: {text} needs at least a name and corpora")
        known = [field.name for field in fields(cls)]
        if strange := [key for key in content if key not in known]:
            raise ValueError(f"stages: {unknown_name('key', strange[0], known)}")
        numbers = {key: float(content[key]) for key in known[2:] if content.get(key) is not None}
        if not 0 <= numbers.get("rehearsal_share", 0) < 1:
            raise ValueError(
                f"stages: rehearsal_share of {content['name']} is {numbers['rehearsal_share']}, not in [0, 1)"
            )
        return cls(content["name"], tuple(content["corpora"]), **numbers)

    def training_arguments(self, args: SERTrainingArguments, folder: Path) -> SERTrainingArguments:
        """The recipe's arguments with this stage's epochs and learning rate, and the folder it is to be saved in."""
        own = copy(args)
        own.output_dir = str(folder)
        own.num_train_epochs = self.epochs if self.epochs is not None else args.num_train_epochs
        own.learning_rate = self.learning_rate if self.learning_rate is not None else args.learning_rate
        return own


@dataclass(kw_only=True)
class CurriculumArguments(DataArguments):
    """Which corpora are learnt when, and how much of the earlier ones is heard again."""

    stages: list[str] = field(
        metadata={"help": "Stages in order: a YAML list, or JSON objects, with name, corpora, epochs, learning_rate."}
    )
    rehearsal_share: float = field(
        default=0.2,
        metadata={
            "help": "Share of the utterances of each stage drawn from earlier stages, in [0, 1). 0 is the plain "
            "curriculum and its forgetting."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        self.stage_list = [Stage.from_json(stage) for stage in self.stages]
        names = [stage.name for stage in self.stage_list]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"stages: two are called {twice[0]!r}; give each a name of its own")
        if sorted(self.corpora) != sorted(corpus for stage in self.stage_list for corpus in stage.corpora):
            raise ValueError(f"stages: each of the corpora {', '.join(self.corpora)} must be new in exactly one stage")
        if not 0 <= self.rehearsal_share < 1:
            raise ValueError(f"rehearsal_share: {self.rehearsal_share}, wanted a share in [0, 1)")
        self.learnt_in = {corpus: stage.name for stage in self.stage_list for corpus in stage.corpora}


def select_corpora(dataset: Dataset, corpora: Sequence[str]) -> Dataset:
    """The utterances of some of the corpora, in their order."""
    return dataset.select(np.flatnonzero(np.isin(dataset["corpus"], list(corpora))))


def rehearse(
    current: Dataset, earlier: Sequence[Dataset], share: float, balance: str, balance_by: str = "resampling"
) -> tuple[Dataset, np.ndarray, int]:
    """The training rows of a stage, how often each is drawn, and how many are drawn per epoch.

    Without balancing every new utterance is drawn exactly once per epoch, and earlier ones make up `share` of all.

    Args:
        current: the new utterances, which come first in the rows.
        earlier: those of each stage before.
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
