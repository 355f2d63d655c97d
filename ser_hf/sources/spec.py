"""The facts of a corpus: an `Utterance` per recording and a `CorpusSpec` per corpus."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..emotions import EMOTIONS, unknown_name

if TYPE_CHECKING:
    from .reading import Reading


class CorpusError(ValueError):
    """The error for a folder that does not hold the corpus as released; the message says what to do."""


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
        """Return the utterance of a file name, from a pattern whose groups are named like the fields.

        Args:
            match: with a group `emotion`, the corpus's own code, and optionally `speaker`, `session`, `statement` and
                `sex` (a word that begins with f or m).
            emotions: the corpus's code -> fine emotion.
            facts: further fields; they override the groups.
        """
        groups = match.groupdict()
        named = {name: groups[name] for name in ("speaker", "session", "statement") if name in groups}
        if "sex" in groups:
            named["gender"] = {"f": "female", "m": "male"}[groups["sex"][0].lower()]
        named |= {"emotion": emotions[groups["emotion"]], "native_label": groups["emotion"]}
        return cls(path, **(named | facts))


@dataclass(frozen=True)
class Download:
    """One file of a release, as its publisher serves it.

    Attributes:
        url: its address.
        file: its name.
        size: in bytes; None if unknown.
        checksum: "md5:..." or "sha256:..."; None if the publisher gives none.
        archive: True to unpack it (zip or tar); False if it is itself a file of the corpus.
        folder: its place in the corpus's folder; each file of a release has its own folder.
        top: the folder inside the archive that holds the release, if there is one.
        pointers: pattern of the git-LFS pointers in an archived repository that are replaced by their files.
        media: address of those files; each is checked against size and SHA-256 in its pointer.
    """

    url: str
    file: str
    size: int | None = None
    checksum: str | None = None
    archive: bool = True
    folder: str = ""
    top: str = ""
    pointers: str = ""
    media: str = ""


@dataclass(frozen=True)
class CorpusSpec:
    """The facts of one corpus, as literals to compare with its paper, and its reader.

    Attributes:
        name: lower snake case, the name of its module.
        read: yields the utterances of a `Reading`, from names and label files alone: no sound is decoded.
        scheme: the default label scheme; it keeps every utterance if possible.
        language: BCP 47, or None if utterances differ.
        utterances: number in the complete release, including those `excluded`; None without a fixed release (your own
            recordings).
        speakers: every speaker of the release with the number of their utterances (None if it is not published).
        emotions_per_speaker: utterances of each fine emotion in the complete release: one number for all speakers, or
            one for each of `speakers`, in order; empty if unknown without the recordings.
        version: version of the release, if it has one; procedural corpora are cached under it.
        excluded: utterances of the release without speech, by `utterance_id`, with the reason; they are dropped and
            counted, and a corpus is complete without them.
        label_sources: names of the kinds of labels, if the release has several; `reading.label_source` is then the
            chosen one. Every user must choose, because results with different kinds cannot be compared.
        folds: named speaker-independent protocols: test speakers of each fold, in order.
        divisions: protocols of the release itself: the `part` for training, validation and test.
        sharing: those `divisions` whose test speakers are in training too, or may be.
        notes: one sentence per protocol in `folds` and `divisions` that a reader must know before quoting a result.
        examples: real relative file names; the tests build a miniature of the corpus from them.
        example_texts: label files of that miniature, relative name to content, if the reader needs them.
        dimension_range: lowest and highest value on the scale of arousal, valence and dominance.
        tables: function that returns the facts of each recording in the label files, for `ser-hf doctor`: file stem ->
            facts by their names in `Utterance`; empty facts if a table only names the recording.
        unrecorded: if releases differ in size: function that returns the recordings, by file stem, that are in the
            label files under a root but missing there.
        misnamed: recordings with a wrong name in the release itself, which the reader handles: file stem -> right name.
        beside: patterns of sound files of the release that are not utterances, such as whole dialogues.
        generate: for procedural corpora: function that generates the recordings under a new root.
        downloads: files for `ser-hf corpora download`; empty if the corpus must be requested from the publisher.
        access: in that case, one or two sentences on how to get and where to unpack it.
    """

    name: str
    read: Callable[[Reading], Iterable[Utterance]]
    title: str
    scheme: str
    language: str | None
    license: str
    source: str
    examples: tuple[str, ...]
    utterances: int | None = None
    speakers: Mapping[str, int | None] = field(default_factory=dict)
    emotions_per_speaker: Mapping[str, int | tuple[int, ...]] = field(default_factory=dict)
    version: str | None = None
    excluded: Mapping[str, str] = field(default_factory=dict)
    label_sources: tuple[str, ...] = ()
    folds: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    divisions: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    sharing: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    example_texts: Mapping[str, str] = field(default_factory=dict)
    dimension_range: tuple[float, float] = (0.0, 1.0)
    tables: Callable[[Path], Mapping[str, Mapping[str, str]]] | None = None
    unrecorded: Callable[[Path], Iterable[str]] | None = None
    misnamed: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    generate: Callable[[Path], None] | None = None
    downloads: tuple[Download, ...] = ()
    access: str | None = None
