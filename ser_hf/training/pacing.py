"""Difficulty pacing: the easier utterances of a training part first, then more and more of it.

Bengio et al. (2009), doi:10.1145/1553374.1553380; as a share that grows, and with a teacher's confidence as difficulty:
Hacohen and Weinshall (2019), arXiv:1904.03626.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

import numpy as np

from ..data.balance import Pace, balancing_groups, easiest_first

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

PACING = ("none", "teacher", "loss", "intensity")
# What is acted strongly is easy. Where nothing is said, as of neutral speech, it is neither strong nor weak.
DIFFICULTY = {"strong": 0, "high": 0, "medium": 1, "normal": 1, None: 1, "weak": 2, "low": 2}


@dataclass(kw_only=True)
class PacingArguments:
    """In which order the utterances of a stage are met."""

    pacing: str = field(
        default="none",
        metadata={
            "help": f"Which utterances of each class come first: {', '.join(PACING)}. teacher: those of whose label "
            "pacing_teacher is most certain; loss: those on which the model has the least loss when the stage begins, "
            "once it has learnt a stage; intensity: those acted strongly."
        },
    )
    pacing_teacher: Optional[str] = field(  # noqa: UP045 - HfArgumentParser needs it
        default=None,
        metadata={"help": "Run folder or Hub name of a classifier that has heard no test or validation speakers."},
    )
    pacing_start: float = field(
        default=0.3, metadata={"help": "Share of each class that the first epoch of a stage draws, in (0, 1]."}
    )
    pacing_epochs: float = field(
        default=5.0, metadata={"help": "After so many epochs of a stage everything is drawn; above 0."}
    )

    def __post_init__(self):
        for option, is_fine, wanted in (
            ("pacing", self.pacing in PACING, f"one of {', '.join(PACING)}"),
            ("pacing_teacher", (self.pacing_teacher is not None) == (self.pacing == "teacher"),
             "it with --pacing teacher, and with no other"),
            ("pacing_start", 0 < self.pacing_start <= 1, "a share in (0, 1]"),
            ("pacing_epochs", self.pacing_epochs > 0, "a number above 0"),
        ):  # fmt: skip
            if not is_fine:
                raise ValueError(f"{option}: {getattr(self, option)!r}, wanted {wanted}")

    def check(self, dataset: Dataset, model: PreTrainedModel, epochs: Sequence[float]) -> None:
        """Raises a `ValueError` for what nothing is known of, or never drawn, before the first stage is trained.

        Args:
            epochs: of each stage.
        """
        if self.pacing != "none" and (short := min(epochs)) < self.pacing_epochs + 1:
            raise ValueError(
                f"pacing_epochs: {self.pacing_epochs:g}, but a stage has {short:g} epochs, and what is difficult would "
                "never be drawn: take at most one less than the stage has"
            )
        if self.pacing == "intensity":
            _by_intensity(dataset)
        if self.pacing == "loss" and len(epochs) == 1 and not has_learnt(model):
            raise ValueError(
                "pacing: a model that has learnt nothing has no loss that tells difficult from easy; train it once "
                "without pacing and name that run with --pacing teacher --pacing_teacher"
            )

    def pace(self, current: Dataset, rehearsed: int, answers: np.ndarray | None, *, seed: int) -> Pace | None:
        """The pace of a stage; None if it has none.

        The groups are the classes of each corpus, so that neither balance changes.

        Args:
            current: the new utterances of the stage.
            rehearsed: how many earlier ones follow them in its training part; they are drawn from the first epoch on.
            answers: log-probabilities of the classes for `current`, of the teacher or of the model itself; None for
                intensity, and where the model has learnt nothing yet.
            seed: for the order of what is equally difficult.
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
    """Whether the emotion head has been trained; a loss before that is chance."""
    return getattr(model.config, "head_is_trained", False)


def _by_intensity(dataset: Dataset) -> np.ndarray:
    """How difficult the utterances are by how strongly they are acted, (utterances,)."""
    intensities, corpora = np.asarray(dataset["intensity"], dtype=object), np.asarray(dataset["corpus"])
    for corpus in np.unique(corpora):
        said = set(intensities[corpora == corpus])
        if said == {None}:
            raise ValueError(f"pacing: {corpus} does not say how intense its utterances are; take teacher or loss")
        if strange := sorted(said - set(DIFFICULTY)):
            raise ValueError(
                f"pacing: {corpus} calls an intensity {strange[0]!r}, wanted one of "
                f"{', '.join(name for name in DIFFICULTY if name)}"
            )
    return np.asarray([DIFFICULTY[intensity] for intensity in intensities])
