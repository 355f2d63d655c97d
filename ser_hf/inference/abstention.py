"""Answers of a model that says when it does not know: "unknown" below a threshold, or a set of classes.

Thresholds and the quantile of the sets are chosen on held-out speakers, as in a report (`evaluate.choose_thresholds`),
and kept in the configuration of the model. Nothing is guaranteed for the speakers of an application; a report says what
the same thresholds gave on test speakers.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..evaluation.conformal import conformal_sets
from ..models.family import ModelError, mark
from ..models.temperature import has_one_answer
from .answers import Answer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SETTING = "abstention"  # in the configuration
UNKNOWN = "unknown"
VALIDATION, HELD_OUT = "validation", "held-out training"  # utterances


@dataclass(frozen=True)
class Abstention:
    """Thresholds of a model, and the quantile of its sets of classes.

    Attributes:
        thresholds: for each wanted share of wrong answers the least probability to answer from; None if no probability
            is high enough.
        set_quantile: of `conformal_sets`; infinite if there were too few utterances: a set then has all classes.
        set_level: the wanted share of utterances whose set has the true class.
        chosen_on: `VALIDATION` or `HELD_OUT`.
        speakers, utterances: number of those that they were chosen on; 0 if no speaker is known.
    """

    thresholds: Mapping[float, float | None]
    set_quantile: float
    set_level: float
    chosen_on: str
    speakers: int
    utterances: int

    def __post_init__(self):
        for risk, threshold in self.thresholds.items():
            if not 0 < risk < 1:
                raise ValueError(f"the share of wrong answers {risk} is not in (0, 1)")
            if threshold is not None and not 0 <= threshold <= 1:
                raise ValueError(f"the threshold {threshold} is not in [0, 1]")
        if not (0 <= self.set_quantile <= 1 or self.set_quantile == np.inf):
            raise ValueError(f"set_quantile must be from 0 to 1, or null, not {self.set_quantile}")
        if not 0 < self.set_level < 1:
            raise ValueError(f"set_level must be in (0, 1), not {self.set_level}")

    @classmethod
    def of(cls, model: PreTrainedModel) -> Abstention:
        """Return what a training wrote into the configuration of a model.

        Raises:
            ModelError: if there is nothing, or if it is damaged.
        """
        name = model.config.name_or_path or type(model).__name__
        if not has_one_answer(model):
            raise ModelError(
                f"{name} is multi-label: each emotion is scored by itself, and no score says how sure the model is. "
                "Train with --targets label or votes to let it abstain"
            )
        if (found := mark(model.config, SETTING)) is None:
            raise ModelError(
                f"{name} cannot abstain, because no thresholds are stored with it: train it again with validation "
                "speakers"
            )
        try:
            quantile = np.inf if found["set_quantile"] is None else float(found["set_quantile"])
            thresholds = {float(risk): threshold for risk, threshold in found["thresholds"].items()}
            return cls(**{**found, "thresholds": thresholds, "set_quantile": quantile})
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"{SETTING} in the config.json of {name} cannot be true ({error}): train again") from error

    def write_to(self, model: PreTrainedModel) -> None:
        """Write it into the configuration of a model, with which it is saved and published."""
        facts = {
            "thresholds": {str(risk): threshold for risk, threshold in self.thresholds.items()},
            "set_quantile": self.set_quantile if np.isfinite(self.set_quantile) else None,
            "set_level": self.set_level,
            "chosen_on": self.chosen_on,
            "speakers": self.speakers,
            "utterances": self.utterances,
        }
        setattr(model.config, SETTING, facts)

    @staticmethod
    def forget(model: PreTrainedModel) -> None:
        """Remove it from a configuration: it does not fit to weights that are trained further."""
        vars(model.config).pop(SETTING, None)

    def threshold(self, risk: float) -> float:
        """Return the least probability to answer from; infinite, with a warning, if no probability is high enough.

        Raises:
            ValueError: for a risk without a threshold.
        """
        if risk not in self.thresholds:
            known = ", ".join(map(str, self.thresholds))
            raise ValueError(f"abstain={risk}: this model has thresholds for {known} (share of wrong answers): use one")
        if (threshold := self.thresholds[risk]) is not None:
            return threshold
        warnings.warn(
            f"this model is never that sure: no probability had at most {100 * risk:g} % wrong answers on "
            f"{self.utterances} {self.chosen_on} utterances, so every answer is {UNKNOWN!r}",
            stacklevel=2,
        )
        return np.inf


@dataclass(frozen=True)
class Decision:
    """The part of an answer that is given.

    Attributes:
        threshold: the answer begins with `UNKNOWN` if its best score is lower.
        quantile: of `conformal_sets`, if only the classes of the set are given.
        top_k: number of classes, if not all are given.
    """

    threshold: float = -np.inf
    quantile: float | None = None
    top_k: int | None = None

    @classmethod
    def of(
        cls, model: PreTrainedModel, *, abstain: float | None = None, sets: bool = False, top_k: int | None = None
    ) -> Decision:
        """Return the decision for these options of a `Classifier`.

        Raises:
            ModelError: if nothing is stored with the model.
            ValueError: for a risk that is not stored, and for options that contradict each other.
        """
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k must be 1 or more, or None for all, not {top_k}")
        if abstain is None and not sets:
            return cls(top_k=top_k)
        if sets and top_k is not None:
            raise ValueError(f"top_k={top_k}, sets=True: a set has as many classes as it needs; leave top_k out")
        stored = Abstention.of(model)
        threshold = cls.threshold if abstain is None else stored.threshold(abstain)
        return cls(threshold, stored.set_quantile if sets else None, top_k)

    def __call__(self, answer: Answer) -> Answer:
        """Return the part of an answer that has all classes, best first.

        >>> answer = [{"label": "anger", "score": 0.6}, {"label": "fear", "score": 0.3}, {"label": "joy", "score": 0.1}]
        >>> [entry["label"] for entry in Decision(threshold=0.7)(answer)]
        ['unknown', 'anger', 'fear', 'joy']
        >>> [entry["label"] for entry in Decision(quantile=0.75)(answer)]
        ['anger', 'fear']
        """
        given = answer[: self.top_k]
        if self.quantile is not None:
            inside = conformal_sets([[entry["score"] for entry in answer]], self.quantile)[0]
            given = [entry for entry, is_in in zip(answer, inside, strict=True) if is_in]
        is_sure = answer[0]["score"] >= self.threshold
        return given if is_sure else [{"label": UNKNOWN, "score": None}, *given]
