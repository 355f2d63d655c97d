"""The scores of a block of recordings: each for itself, or with the help of earlier ones of the same speaker.

A block is scored in two steps. `score` runs the model, and needs nothing of other blocks: it may run on any machine.
`rows` makes rows of the table, one block after the other, on the machine that writes the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...audio import AudioError
from ...data.durations import TrainingSeconds
from ..abstention import Decision
from ..answers import Answer, as_row, best_first, no_answer
from ..engine import Row
from ..heads import SpeakerLogits
from ..reading import Reading
from ..speakers import Speaker, mean_outputs

if TYPE_CHECKING:
    from ..classifier import Classifier
    from .recordings import Named

Block = Sequence["Named"]
TOLD = "told"  # of a row of the journal: what the model gave for a recording of a known speaker


class Scoring(Protocol):
    """A way to score blocks of recordings; it is made from a classifier and its options."""

    columns: tuple[str, ...]
    """Columns of the table that only this way has."""

    def score(self, block: Block) -> list[Any]:
        """Return what the model gives for each recording, or what is wrong with it."""

    def rows(self, block: Block, scored: list[Any]) -> list[dict[str, Any]]:
        """Return the rows of the journal."""

    def recall(self, row: dict[str, Any]) -> None:
        """Take up a row of the journal of an interrupted run."""


class Alone:
    """Each recording is scored for itself.

    Raises:
        ModelError, ValueError: for a model that cannot abstain, or not so.
    """

    columns = ()

    def __init__(
        self,
        classifier: Classifier,
        *,
        top_k: int | None = None,
        abstain: float | None = None,
        sets: bool = False,
        **how: Any,
    ):
        deciding = {"top_k": top_k, "abstain": abstain, "sets": sets}
        Decision.of(classifier.model, **deciding)  # refuses and warns at once
        self._classifier, self._options = classifier, deciding | how

    def score(self, block: Block) -> list[Answer]:
        sounds, names = [one.recording for one in block], [one.name for one in block]
        return self._classifier(sounds, names=names, on_error="report", **self._options)

    def rows(self, block: Block, scored: list[Answer]) -> list[dict[str, Any]]:
        return [as_row(one.name, answer) for one, answer in zip(block, scored, strict=True)]

    def recall(self, row: dict[str, Any]) -> None:
        pass


class Online:
    """Each recording is scored with the help of the earlier ones of the same speaker; without a speaker, for itself.

    Of each speaker the latest `MOST_KNOWN` recordings are held, two numbers for each class.

    Raises:
        ModelError: for a model that cannot be adapted, or cannot abstain.
    """

    columns = ("speaker",)

    def __init__(
        self,
        classifier: Classifier,
        *,
        top_k: int | None = None,
        abstain: float | None = None,
        sets: bool = False,
        **how: Any,
    ):
        self._engine = SpeakerLogits.like(classifier)
        self._decide = Decision.of(classifier.model, abstain=abstain, sets=sets, top_k=top_k)
        self._how = Reading(on_error="report", expected=TrainingSeconds.of(classifier.model), **how)
        self._stranger = Speaker(classifier)
        self._speakers: dict[str, Speaker] = {}

    def score(self, block: Block) -> list[Row | AudioError]:
        return list(self._engine.rows([one.recording for one in block], self._how, [one.name for one in block]))

    def rows(self, block: Block, scored: list[Row | AudioError]) -> list[dict[str, Any]]:
        return [self._row(one, found) for one, found in zip(block, scored, strict=True)]

    def recall(self, row: dict[str, Any]) -> None:
        if row[TOLD] is not None:
            self._speaker(row["speaker"]).learn(np.asarray(row[TOLD]))

    def _row(self, one: Named, found: Row | AudioError) -> dict[str, Any]:
        if isinstance(found, AudioError):
            answer, told = no_answer(found), None
        else:
            speaker, told = self._speaker(one.speaker), None
            answer = self._decide(best_first(speaker.labels, speaker.adapted(found)))
            answer[0]["warning"] = found.warning
            if one.speaker is not None:
                told = mean_outputs(found)
                speaker.learn(told)
        return as_row(one.name, answer) | {"speaker": one.speaker, TOLD: None if told is None else told.tolist()}

    def _speaker(self, name: str | None) -> Speaker:
        if name is None:
            return self._stranger
        if name not in self._speakers:
            self._speakers[name] = copy(self._stranger)  # who shares the model, and has heard nothing
        return self._speakers[name]
