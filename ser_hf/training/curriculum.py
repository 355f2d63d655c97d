"""A curriculum: corpora in stages, rehearsal of earlier ones, and pacing from easy to difficult utterances.

Pacing: Bengio et al. (2009), doi:10.1145/1553374.1553380; as a share that grows, and with a teacher's confidence as
difficulty: Hacohen and Weinshall (2019), arXiv:1904.03626.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from datasets import concatenate_datasets

from ..data.balance import Pace, balancing_groups, easiest_first, epoch_length, sampling_weights
from ..emotions import unknown_name
from ..models.family import mark
from ..options import OptionError
from .data_arguments import DataArguments
from .parser import check_each_once, check_options, check_range

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

    from .arguments import SERTrainingArguments


PACING = ("none", "teacher", "loss", "intensity")
# Strongly acted is easy. Utterances without an intensity, such as neutral ones, are neither strong nor weak.
DIFFICULTY = {"strong": 0, "high": 0, "medium": 1, "normal": 1, None: 1, "weak": 2, "low": 2}


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

    RANGES: ClassVar = {"epochs": "(0, inf)", "learning_rate": "[0, inf)", "rehearsal_share": "[0, 1)"}

    @classmethod
    def from_json(cls, text: str) -> Stage:
        """Return a stage from one entry of the YAML list `stages`.

        Raises:
            OptionError: for unknown keys, a missing name or corpora, or a number outside its range.
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
        name, corpora = content["name"], content["corpora"]
        if not isinstance(corpora, list):
            raise OptionError(f"--stages: corpora of {name} must be a list, such as [{corpora}]")
        numbers = {}
        for key, interval in cls.RANGES.items():
            if (value := content.get(key)) is None:
                continue
            try:
                numbers[key] = float(value)  # YAML reads 1e-3, which has no point, as text
            except (TypeError, ValueError):
                raise OptionError(f"--stages: {key} of {name} must be a number, not {value!r}") from None
            check_range(f"--stages: {key} of {name}", numbers[key], interval)
        return cls(name, tuple(corpora), **numbers)

    def training_arguments(self, args: SERTrainingArguments, folder: Path) -> SERTrainingArguments:
        """Return the recipe's arguments with this stage's epochs, learning rate and folder."""
        own = copy(args)
        own.output_dir = str(folder)
        own.num_train_epochs = self.epochs if self.epochs is not None else args.num_train_epochs
        own.learning_rate = self.learning_rate if self.learning_rate is not None else args.learning_rate
        return own


@dataclass(kw_only=True)
class CurriculumArguments(DataArguments):
    """Options of a curriculum: its stages, and the share of earlier stages that is rehearsed."""

    stages: list[str] = field(
        metadata={
            "help": "Stages in order, as a YAML list or JSON objects: name, corpora, and epochs, learning_rate and "
            "rehearsal_share if they differ from those of the run."
        }
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
        check_each_once("stages", [stage.name for stage in self.stage_list])
        if sorted(self.names) != sorted(corpus for stage in self.stage_list for corpus in stage.corpora):
            raise OptionError(f"--stages must name each of the corpora {', '.join(self.names)} exactly once")
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
    groups = balancing_groups(current["label"], current["corpus"], balance)
    weights, count = sampling_weights(groups), epoch_length(groups, balance_by)
    if not earlier or share == 0:
        return current, weights, count
    rehearsed = concatenate_datasets(list(earlier))
    again = sampling_weights(balancing_groups(rehearsed["label"], rehearsed["corpus"], balance))
    weights = np.concatenate([(1 - share) * weights, share * again])
    return concatenate_datasets([current, rehearsed]), weights, round(count / (1 - share))


# --- pacing -----------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class PacingArguments:
    """Options of pacing: the order in which the utterances of a stage enter the training."""

    pacing: str = field(
        default="none",
        metadata={
            "help": "Utterances of each class that come first. teacher: those whose label has the highest probability "
            "for --pacing_teacher; loss: those with the least loss when the stage begins, from the second stage on; "
            "intensity: those acted strongly.",
            "choices": PACING,
        },
    )
    pacing_teacher: str | None = field(
        default=None,
        metadata={"help": "Run folder or Hub name of a classifier; not trained on test or validation speakers."},
    )
    pacing_start: float = field(
        default=0.3, metadata={"help": "Share of each class in the first epoch of a stage, in (0, 1]."}
    )
    pacing_epochs: float = field(
        default=5.0, metadata={"help": "Epochs of a stage after which all utterances are used, above 0."}
    )

    RANGES: ClassVar = {"pacing_start": "(0, 1]", "pacing_epochs": "(0, inf)"}

    def __post_init__(self):
        check_options(self)
        if (self.pacing_teacher is not None) != (self.pacing == "teacher"):
            raise OptionError("--pacing teacher and --pacing_teacher need each other")

    def check(self, dataset: Dataset, model: PreTrainedModel, epochs: Sequence[float]) -> None:
        """Raise an `OptionError` if the pacing is impossible with these data, this model, or these epochs.

        Args:
            epochs: of each stage.
        """
        if self.pacing != "none" and (short := min(epochs)) < self.pacing_epochs + 1:
            raise OptionError(
                f"--pacing_epochs must be at most {short - 1:g}, not {self.pacing_epochs:g}: a stage has {short:g} "
                "epochs, and difficult utterances would never be used"
            )
        if self.pacing == "intensity":
            _by_intensity(dataset)
        if self.pacing == "loss" and len(epochs) == 1 and not has_learnt(model):
            raise OptionError(
                "--pacing loss needs a trained model or a second stage: train once without pacing, then use --pacing "
                "teacher and name that run with --pacing_teacher"
            )

    def pace(self, current: Dataset, rehearsed: int, answers: np.ndarray | None, *, seed: int) -> Pace | None:
        """Return the pace of a stage; None if it has none.

        Its groups are the classes of each corpus, so that the balance of both stays.

        Args:
            current: the new utterances of the stage.
            rehearsed: number of earlier utterances that follow them; they are used from the first epoch on.
            answers: log-probabilities of the classes for `current`, from the teacher or the model itself; None for
                intensity, and for a model that is not trained yet.
            seed: for the order of equally difficult utterances.
        """
        if self.pacing == "none" or (self.pacing == "loss" and answers is None):
            return None
        labels = np.asarray(current["label"])
        difficulty = _by_intensity(current) if answers is None else -answers[np.arange(len(labels)), labels]
        groups = balancing_groups(labels, current["corpus"], "class_and_corpus")
        places = easiest_first(difficulty, groups, seed=seed)
        return Pace(
            np.concatenate([places, np.zeros(rehearsed)]), np.concatenate([groups, np.full(rehearsed, -1)]),
            self.pacing_start, self.pacing_epochs,
        )  # fmt: skip


def has_learnt(model: PreTrainedModel) -> bool:
    """Return whether the emotion head has been trained."""
    return mark(model.config, "head_is_trained", False)


def _by_intensity(dataset: Dataset) -> np.ndarray:
    """Return the difficulty of utterances by their acted intensity, (utterances,)."""
    intensities, corpora = np.asarray(dataset["intensity"], dtype=object), np.asarray(dataset["corpus"])
    for corpus in np.unique(corpora):
        said = set(intensities[corpora == corpus])
        if said == {None}:
            raise OptionError(f"{corpus} has no intensities: use --pacing teacher or --pacing loss")
        if strange := sorted(said - set(DIFFICULTY)):
            raise OptionError(
                f"--pacing intensity knows {', '.join(name for name in DIFFICULTY if name)}, but {corpus} has "
                f"{strange[0]!r}"
            )
    return np.asarray([DIFFICULTY[intensity] for intensity in intensities])
