"""Difficulty pacing: training begins with the easy utterances, and more of the others are added epoch by epoch.

Bengio et al. (2009), doi:10.1145/1553374.1553380; as a share that grows, and with a teacher's confidence as difficulty:
Hacohen and Weinshall (2019), arXiv:1904.03626.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Optional

import numpy as np

from ..data.balance import Pace, balancing_groups, easiest_first
from .parser import OptionError, check_options

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

PACING = ("none", "teacher", "loss", "intensity")
# Strongly acted is easy. Utterances without an intensity, such as neutral ones, are neither strong nor weak.
DIFFICULTY = {"strong": 0, "high": 0, "medium": 1, "normal": 1, None: 1, "weak": 2, "low": 2}


@dataclass(kw_only=True)
class PacingArguments:
    """The order in which the utterances of a stage enter the training."""

    pacing: str = field(
        default="none",
        metadata={
            "help": "Utterances of each class that come first. teacher: those whose label has the highest probability "
            "for --pacing_teacher; loss: those with the least loss when the stage begins, from the second stage on; "
            "intensity: those acted strongly.",
            "choices": PACING,
        },
    )
    pacing_teacher: Optional[str] = field(  # noqa: UP045 - HfArgumentParser needs it
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
    return getattr(model.config, "head_is_trained", False)


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
