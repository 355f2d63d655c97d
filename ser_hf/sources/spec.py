"""The facts of a corpus, as its file in `corpora` states them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..emotions import unknown_name
from .reading import Reading
from .utterance import CorpusError, Utterance


@dataclass(frozen=True)
class Download:
    """One file of a release, as its publisher serves it.

    Attributes:
        url: its address.
        file: its name.
        size: in bytes; None where it is not known beforehand.
        checksum: "md5:..." or "sha256:..."; None where the publisher gives none.
        archive: whether it is to be unpacked (zip or tar) or is itself a file of the corpus.
        folder: where in the corpus's folder it goes; no file of a release lies in the folder of another.
        top: the folder inside the archive that holds the release, where there is one.
        pointers: pattern of the git-LFS pointers in an archived repository that are replaced by what they stand for.
        media: address below which those files are served, each checked against size and SHA-256 in its pointer.
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
        scheme: the label scheme unless another is asked for; where it can, it keeps every utterance.
        language: BCP 47, or None where utterances differ.
        utterances: number in the complete release, those `excluded` among them; None where there is no fixed release
            (your own recordings).
        speakers: every speaker of the release with the number of their utterances (None where it is not published).
        emotions_per_speaker: utterances of each fine emotion in the complete release: one number for all speakers, or
            one for each of `speakers`, in order; empty where that is not known without the recordings.
        version: of the release, where it has one; procedural corpora are cached under it.
        excluded: utterances of the release that hold no speech, by `utterance_id`, with the reason; they are dropped
            and counted, and a corpus is complete without them.
        label_sources: where the release has several kinds of labels, their names; `reading.label_source` is then the
            chosen one, and every user must choose, since their figures cannot be compared.
        folds: named speaker-independent protocols: test speakers of each fold, in order.
        divisions: protocols of the release itself: which `part` of the utterances trains, validates and tests.
        sharing: those `divisions` whose test speakers are in training too, or may be.
        notes: one sentence per protocol in `folds` and `divisions` that a reader must know before quoting a figure.
        examples: real relative file names; the tests build a miniature of the corpus from them.
        example_texts: label files of that miniature, relative name to content, where the reader needs them.
        dimension_range: lowest and highest value on the scale of arousal, valence and dominance.
        tables: what the label files say of each recording, for `ser-hf doctor`: file stem -> facts by their names in
            `Utterance`; without facts where a table only names the recording.
        unrecorded: where releases differ in size: the recordings, by file stem, that the label files under a root name
            and it has not got.
        misnamed: recordings that the release itself misnames and the reader knows, file stem -> what it would be.
        beside: patterns of sound files of the release that are no recordings of the corpus, such as whole dialogues.
        generate: for procedural corpora: makes the recordings under a root that does not exist yet.
        downloads: what `ser-hf corpora download` fetches; empty where the publisher must be asked.
        access: then, one or two sentences: where to ask, and what to unpack where.
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


def read_utterances(spec: CorpusSpec, root: Path, label_source: str | None = None) -> Iterable[Utterance]:
    """Return the utterances under a root, with the labels of one source.

    Raises:
        CorpusError: if the corpus has several label sources and none of them is named, or lacks the one that is.
    """
    return spec.read(Reading(root, _chosen(spec, label_source)))


def _chosen(spec: CorpusSpec, label_source: str | None) -> str | None:
    if label_source in (spec.label_sources or (None,)):
        return label_source
    if not spec.label_sources:
        raise CorpusError(f"{spec.name} has one kind of labels: leave the label source {label_source!r} out")
    if label_source is not None:
        raise CorpusError(f"{spec.name}: {unknown_name('label source', label_source, spec.label_sources)}")
    raise CorpusError(
        f"{spec.name} has several kinds of labels, whose figures cannot be compared: choose a label source "
        f"({', '.join(spec.label_sources)})"
    )


def read_to_the_end(spec: CorpusSpec, root: Path, label_source: str | None = None) -> Reading:
    """Return everything under a root that a corpus's reader takes, and everything that it refuses, in one pass."""
    reading = Reading(root, _chosen(spec, label_source), to_the_end=True)
    try:
        reading.utterances.extend(spec.read(reading))
    except CorpusError as error:  # of no single recording
        reading.refusals.append((None, error))
    except OSError as error:
        message = f"{error.filename} cannot be read ({error.strerror}): fetch it again"
        reading.refusals.append((None, CorpusError(message)))
    return reading
