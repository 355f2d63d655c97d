"""One recording and what its corpus says about it, and the errors of reading a corpus."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..emotions import EMOTIONS, unknown_name


class CorpusError(ValueError):
    """The error for a folder that does not hold the corpus as released; the message says what to do."""


class WrongFolderError(CorpusError):
    """The error for a folder that does not hold the corpus, or not directly.

    Attributes:
        says: what is missing there.
    """

    def __init__(self, says: str, way_out: str):
        super().__init__(f"{says}: {way_out}")
        self.says = says


class UnlabelledError(CorpusError):
    """The error for a recording that is in no label file."""


class EncodingError(CorpusError):
    """The error for a label file that is not in the encoding of its release."""


@dataclass(frozen=True)
class Utterance:
    """One recording and its facts from the corpus. Unknown facts are None, never an empty string.

    Attributes:
        path: the audio file.
        emotion: a fine emotion of `ser_hf.emotions.EMOTIONS`.
        native_label: the corpus's own word or code.
        speaker: the corpus's own name of the speaker; `build_dataset` prefixes it with the corpus.
        age: in years.
        language: BCP 47; None stands for that of the corpus.
        part: the part in the release's own division: "train", "validation", "test", or the release's own word.
        label_source: the origin of the label: "intended" (acted), "perceived" (rated), "synthetic", "given".
        votes: raters per fine emotion, if the corpus publishes them.
        arousal, valence, dominance: on the corpus's own scale.
        any_word: True if `emotion` is a class of its owner's, such as "stressed", which `EMOTIONS` need not have.
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
    any_word: bool = False

    def __post_init__(self):
        for name in ("speaker", "gender", "session", "statement", "part", "language"):
            # A space beside a name, or an accent in another form, would make a second person of it for a division.
            value = getattr(self, name)
            if value is not None and (plain := unicodedata.normalize("NFC", " ".join(value.split())) or None) != value:
                object.__setattr__(self, name, plain)
        if self.emotion not in EMOTIONS and not self.any_word:
            raise CorpusError(f"{self.path}: {unknown_name('emotion', self.emotion, EMOTIONS)}")

    @classmethod
    def from_name(cls, path: Path, match: re.Match, emotions: Mapping[str, str], **facts) -> Utterance:
        """Return the utterance of a file name, from a pattern whose groups are named like the fields.

        Args:
            match: with a group `emotion`, the corpus's own code, and optionally `speaker`, `session`, `statement` and
                `sex` (a word that begins with f or m; an optional group that is absent leaves the gender unknown).
            emotions: the corpus's code -> fine emotion.
            facts: further fields; they override the groups.

        Raises:
            CorpusError: for an unknown code or sex, or a pattern without the group `emotion`.
        """
        groups = match.groupdict()
        if "emotion" not in groups:
            raise CorpusError(f"{path}: the pattern {match.re.pattern!r} needs a group (?P<emotion>...)")
        if groups["emotion"] not in emotions:
            raise CorpusError(f"{path}: {unknown_name('emotion code', groups['emotion'], emotions)}")
        named = {name: groups[name] for name in ("speaker", "session", "statement") if name in groups}
        if (sex := groups.get("sex")) and "gender" not in facts:
            named["gender"] = {"f": "female", "m": "male"}.get(sex[0].lower())
            if named["gender"] is None:
                raise CorpusError(
                    f"{path}: the group sex is {sex!r}, which does not begin with f or m: give the group another name "
                    'and pass gender="female" or gender="male"'
                )
        named |= {"emotion": emotions[groups["emotion"]], "native_label": groups["emotion"]}
        return cls(path, **(named | facts))
