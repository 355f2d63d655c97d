"""The facts of a corpus, as its file in `corpora` states them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..emotions import unknown_name
from .nearby import pointing_elsewhere
from .reading import Reading, Translation
from .utterance import CorpusError, Utterance, WrongFolderError


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
        limited: those `folds` that use one `part` of the release alone, with its name; others are left out and counted.
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
        own_speakers: True if its speakers were recorded for this corpus alone, as actors in a studio. A model that was
            trained on other corpora of the package then cannot know them.
        is_own: True for own recordings, which have no release: its name, table and words are their owner's.
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
    limited: Mapping[str, str] = field(default_factory=dict)
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
    own_speakers: bool = False
    is_own: bool = False

    def why_excluded(self, identity: str) -> str | None:
        """Return the reason why a recording is left out; None for all others.

        Its place may have further folders in front, as in copies on data-sharing sites: `train/train_splits/...`.
        """
        place = identity[len(self.name) :]
        return next((why for known, why in self.excluded.items() if place.endswith(known[len(self.name) :])), None)


def reading_of(
    spec: CorpusSpec,
    root: Path,
    label_source: str | None = None,
    translation: Translation | None = None,
    *,
    to_the_end: bool = False,
    quiet: bool = False,
) -> Reading:
    """Return a pass over a root that `spec.read` can make.

    Args:
        label_source: the kind of labels, if the corpus has several.
        translation: what the owner of own recordings says of them.
        to_the_end, quiet: as in `Reading`.

    Raises:
        CorpusError: if the corpus has several label sources and none is named, or if it does not have the named one.
    """
    chosen = _chosen(spec, label_source)
    return Reading(
        root, chosen, Translation() if translation is None else translation, to_the_end=to_the_end, quiet=quiet
    )


def read_utterances(spec: CorpusSpec, root: Path, label_source: str | None = None) -> Iterable[Utterance]:
    """Return the utterances under a root, with the labels of one source.

    Raises:
        CorpusError: as `reading_of`, and for the first recording or row that cannot be read.
    """
    return utterances_of(spec, reading_of(spec, root, label_source))


def utterances_of(spec: CorpusSpec, reading: Reading) -> Iterator[Utterance]:
    """Yield the utterances of a pass.

    Raises:
        CorpusError: for the first recording or row that cannot be read, unless the pass goes `to_the_end`.
        WrongFolderError: if the root does not hold the corpus; it names a folder near it that does.
    """
    try:
        yield from spec.read(reading)
    except WrongFolderError as error:
        if reading.translation.own_classes:  # any folder of recordings would do
            raise
        raise pointing_elsewhere(error, spec.read, reading) from None


def _chosen(spec: CorpusSpec, label_source: str | None) -> str | None:
    if label_source in (spec.label_sources or (None,)):
        return label_source
    if not spec.label_sources:
        raise CorpusError(f"{spec.name} has only one kind of labels: leave the label source {label_source!r} out")
    if label_source is not None:
        raise CorpusError(f"{spec.name}: {unknown_name('label source', label_source, spec.label_sources)}")
    raise CorpusError(
        f"{spec.name} has several kinds of labels, whose results cannot be compared: choose a label source "
        f"({', '.join(spec.label_sources)})"
    )


def read_to_the_end(
    spec: CorpusSpec, root: Path, label_source: str | None = None, translation: Translation | None = None
) -> Reading:
    """Return all recordings under a root that a corpus's reader accepts, and all that it refuses, in one pass."""
    reading = reading_of(spec, root, label_source, translation, to_the_end=True)
    try:
        reading.utterances.extend(utterances_of(spec, reading))
    except CorpusError as error:  # not about a single recording
        reading.refusals.append((None, error))
    except OSError as error:
        message = f"{error.filename} cannot be read ({error.strerror}): fetch it again"
        reading.refusals.append((None, CorpusError(message)))
    return reading
