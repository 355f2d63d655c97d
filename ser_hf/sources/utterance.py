"""One recording and what its corpus says about it, and the errors of reading a corpus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..emotions import EMOTIONS, unknown_name


class CorpusError(ValueError):
    """A folder of recordings is not what it should be; the message says what to do."""


class UnlabelledError(CorpusError):
    """A recording that no label file names."""


class EncodingError(CorpusError):
    """A label file that is not written in the encoding of its release."""


@dataclass(frozen=True)
class Utterance:
    """One recording and what its corpus says about it. Unknown facts are None, never an empty string.

    Attributes:
        path: the audio file.
        emotion: a fine emotion of `ser_hf.emotions.EMOTIONS`.
        native_label: the corpus's own word or code.
        speaker: the corpus's own name of the speaker; `build_dataset` prefixes it with the corpus.
        age: in years.
        language: BCP 47; None stands for that of the corpus.
        part: where the release's own division puts it: "train", "validation", "test", or the release's own word.
        label_source: how the label came about: "intended" (acted), "perceived" (rated), "synthetic", "given".
        votes: raters per fine emotion, where the corpus publishes them.
        arousal, valence, dominance: on the corpus's own scale.
    """

    path: Path
    emotion: str
    native_label: str
    speaker: str | None = None
    gender: str | None = None
    age: int | None = None
    language: str | None = None
    session: str | None = None
    statement: str | None = None
    intensity: str | None = None
    part: str | None = None
    label_source: str = "intended"
    votes: Mapping[str, float] | None = None
    arousal: float | None = None
    valence: float | None = None
    dominance: float | None = None

    def __post_init__(self):
        if self.emotion not in EMOTIONS:
            raise CorpusError(f"{self.path}: {unknown_name('emotion', self.emotion, EMOTIONS)}")

    @classmethod
    def from_name(cls, path: Path, match: re.Match, emotions: Mapping[str, str], **facts) -> Utterance:
        """Return the utterance of a file name, read by a pattern whose groups are named like our fields.

        Args:
            match: with a group `emotion`, the corpus's own code, and perhaps `speaker`, `session`, `statement` and
                `sex` (a word that begins with f or m).
            emotions: the corpus's code -> fine emotion.
            facts: further fields; they go before the groups.
        """
        groups = match.groupdict()
        named = {name: groups[name] for name in ("speaker", "session", "statement") if name in groups}
        if "sex" in groups:
            named["gender"] = {"f": "female", "m": "male"}[groups["sex"][0].lower()]
        named |= {"emotion": emotions[groups["emotion"]], "native_label": groups["emotion"]}
        return cls(path, **(named | facts))
