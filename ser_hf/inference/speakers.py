"""A known voice: what a model gave for earlier recordings of one person, without their sound and without labels.

A saved profile is biometric data: it may tell whether two recordings are of one person. Keep it no longer than you need
it, ask the person, and delete it with `Speaker.delete`, or with its folder. It holds two numbers for each class and
recording, and no sound can be made from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.special import softmax

from ..files import read_json, whole_files
from .abstention import Decision
from .answers import Answer, best_first
from .engine import Engine, Row
from .heads import SpeakerLogits
from .offsets import MOST_KNOWN
from .reading import Reading

SCORES, FACTS = "speaker.safetensors", "speaker.json"


class ProfileError(ValueError):
    """The error for a profile that cannot be used; the message says what to do."""


class Speaker:
    """One person, to whom a model adapts.

        anna = Speaker(Classifier.from_pretrained("runs/lda"))
        anna.enrol(["monday.wav", "tuesday.wav"])        # no labels
        anna("wednesday.wav")                            # [{'label': 'neutral', 'score': 0.71}, ...]
        anna(["thursday.wav"], learn=True)               # scored first, then enrolled
        anna.save("profiles/anna")

    Args:
        classifier: the classifier that adapts; its own scores do not change.

    Attributes:
        recordings: number of enrolled recordings.
        logits, centred: of both heads for the latest `MOST_KNOWN` recordings, (recordings, classes).

    Raises:
        ModelError: for a model that cannot be adapted.
    """

    def __init__(self, classifier: Engine):
        self._engine = SpeakerLogits.like(classifier)
        self.labels = classifier.labels
        self.logits = self.centred = np.empty((0, len(self.labels)))

    @property
    def recordings(self) -> int:
        return len(self.logits)

    def enrol(self, inputs: Any, *, window_seconds: float | None = None) -> None:
        """Add recordings of this person.

        Args:
            inputs, window_seconds: as for a `Classifier`.

        Raises:
            AudioError: for a recording that cannot be read, or is too short or too long; then none is added.
        """
        self._add(self._engine.scores(inputs, window_seconds=window_seconds))

    def __call__(
        self,
        inputs: Any,
        *,
        learn: bool = False,
        top_k: int | None = None,
        abstain: float | None = None,
        sets: bool = False,
        names: Sequence[str] | None = None,
        **how: Any,
    ) -> Answer | list[Answer] | Iterator[Answer]:
        """Return label and score, most probable first, for each recording of this person.

        Args:
            inputs, top_k, abstain, sets, names: as for a `Classifier`.
            learn: True to enrol each recording after it is scored, in the given order.
            how: options of `Reading`, such as `on_error`.

        Raises:
            AudioError, ModelError, ValueError: as a `Classifier`.
        """
        decide = Decision.of(self._engine.model, abstain=abstain, sets=sets, top_k=top_k)

        def answer(row: Row) -> Answer:
            scores = self.adapted(row)
            if learn:
                self.learn(mean_outputs(row))
            return decide(best_first(self.labels, scores))

        return self._engine.respond(inputs, Reading(**how), answer, names)

    def adapted(self, row: Row) -> np.ndarray:
        """Return the scores of a recording of this person, (classes,), from the row of `SpeakerLogits` for it."""
        logits, centred = np.split(row.logits, 2, axis=1)
        offset = self._engine.rule.offset(self.logits, self.centred)
        adapted = self._engine.rule.adapted(logits, centred, offset, self.recordings)
        return np.average(softmax(adapted, axis=1), axis=0, weights=row.sizes)

    def learn(self, outputs: np.ndarray) -> None:
        """Enrol a recording of this person, from the `mean_outputs` for it, (2 * classes,)."""
        self._add(outputs[None])

    def save(self, folder: str | Path) -> None:
        """Write the profile into a folder of its own.

        Raises:
            DiskFullError: if the disk has no space for it.
        """
        facts = {
            "what": "profile of a speaker for ser_hf: biometric data; delete this folder when it is no longer needed",
            "model": self._engine.digest,
            "labels": list(self.labels),
            "recordings": self.recordings,
        }
        with whole_files(folder) as unfinished:
            save_file({"logits": self.logits, "centred": self.centred}, unfinished / SCORES)
            (unfinished / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def is_saved(folder: str | Path) -> bool:
        """True if a folder holds a profile, or a part of one, which `load` then refuses."""
        return Path(folder, SCORES).is_file() or Path(folder, FACTS).is_file()

    @classmethod
    def load(cls, folder: str | Path, classifier: Engine) -> Speaker:
        """Read a profile that was saved for the same model.

        Raises:
            ProfileError: if there is none, if it is damaged, or if it is of another model.
            ModelError: for a model that cannot be adapted.
        """
        folder, speaker = Path(folder), cls(classifier)
        if not (folder / SCORES).is_file() or not (folder / FACTS).is_file():
            raise ProfileError(f"{folder} holds no profile of a speaker: make one with `ser-hf enrol`")
        facts = read_json(folder / FACTS, remedy="enrol the speaker again")
        if not isinstance(facts, dict) or facts.get("model") != speaker._engine.digest:
            raise ProfileError(f"{folder} was made with another model: enrol the speaker again with this one")
        try:
            tensors = load_file(folder / SCORES)
        except (SafetensorError, OSError) as error:
            raise ProfileError(f"{folder / SCORES} is damaged ({error}): enrol the speaker again") from error
        shape = (facts.get("recordings"), len(speaker.labels))
        if any(name not in tensors or tensors[name].shape != shape for name in ("logits", "centred")):
            raise ProfileError(f"{folder / SCORES} does not fit to {FACTS}: enrol the speaker again")
        speaker.logits, speaker.centred = tensors["logits"], tensors["centred"]
        return speaker

    @staticmethod
    def delete(folder: str | Path) -> None:
        """Delete a saved profile, and its folder if nothing else is in it.

        Raises:
            ProfileError: if there is none.
        """
        folder = Path(folder)
        if not any((folder / name).is_file() for name in (SCORES, FACTS)):
            raise ProfileError(f"{folder} holds no profile of a speaker: nothing was deleted")
        for name in (SCORES, FACTS):
            (folder / name).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()

    def _add(self, rows: np.ndarray) -> None:
        logits, centred = np.split(rows, 2, axis=1)
        self.logits = np.concatenate([self.logits, logits])[-MOST_KNOWN:]
        self.centred = np.concatenate([self.centred, centred])[-MOST_KNOWN:]


def mean_outputs(row: Row) -> np.ndarray:
    """Return the logits of both heads for a recording, (2 * classes,): their mean over its windows."""
    return row.mean_of(lambda logits: logits)
