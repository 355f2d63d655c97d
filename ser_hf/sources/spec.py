"""The facts of a corpus: an `Utterance` per recording and a `CorpusSpec` per corpus."""

from __future__ import annotations

import csv
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..emotions import EMOTIONS, unknown_name

AUDIO_SUFFIXES = (".wav", ".flac")  # of a release
# What else libsndfile decodes, of your own recordings. It goes by their content: suffixes say what to look for.
SOUND_SUFFIXES = (*AUDIO_SUFFIXES, ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".w64")
CORPORA_VARIABLE = "SER_HF_CORPORA"
_LFS_HEADER = b"version https://git-lfs"
Item = TypeVar("Item")


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
        read: yields the utterances under a root, from names and label files alone: no sound is decoded.
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
        label_sources: where the release has several kinds of labels, their names; `read` then takes the chosen one as
            its second argument, and every user must choose, since their figures cannot be compared.
        folds: named speaker-independent protocols: test speakers of each fold, in order.
        divisions: protocols of the release itself: which `part` of the utterances trains, validates and tests.
        sharing: those `divisions` whose test speakers are heard in training, or cannot be told.
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
    read: Callable[..., Iterable[Utterance]]
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


@dataclass
class Reading:
    """What a corpus's reader made of a folder when no fault stopped it.

    Attributes:
        utterances: those that were read.
        files: recordings that the reader was given, read or refused.
        refusals: recording (or row of a table), or None for what is no single one's fault; and the reader's error.
        layouts: files that match each of the reader's patterns; more than one matches where a corpus stands twice.
    """

    utterances: list[Utterance] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    refusals: list[tuple[Path | str | None, CorpusError]] = field(default_factory=list)
    layouts: dict[str, list[Path]] = field(default_factory=dict)
    _at: Path | str | None = None  # what the reader holds while it may refuse

    def hand_out(self, items: Iterable[Item], name: Callable[[Item], Path | str]) -> Iterator[Item]:
        refused = {name for name, _ in self.refusals}
        for item in items:
            if name(item) not in refused:
                self._at = name(item)
                yield item
        self._at = None


_READING: ContextVar[Reading | None] = ContextVar("_READING", default=None)


def read_to_the_end(spec: CorpusSpec, root: Path, label_source: str | None = None) -> Reading:
    """Everything under a root that a corpus's reader takes, and everything that it refuses.

    A reader stops at the first fault. Here it begins anew without the recording that it held, until it comes through,
    or until it refuses something that is no single recording's fault.
    """
    reading = Reading()
    token = _READING.set(reading)
    try:
        while True:
            reading.utterances, reading._at = [], None
            try:
                reading.utterances.extend(read_utterances(spec, root, label_source))
            except CorpusError as error:
                reading.refusals.append((reading._at, error))
                if reading._at is not None:
                    continue
            return reading
    finally:
        _READING.reset(token)


def one_by_one(items: Iterable[Item], name: Callable[[Item], Path | str] = lambda path: path) -> Iterable[Item]:
    """What a reader goes through, so that `read_to_the_end` knows which one it refuses."""
    reading = _READING.get()
    return items if reading is None else reading.hand_out(items, name)


def find_root(spec: CorpusSpec, root: str | os.PathLike | None = None) -> Path:
    """Where a corpus lies: the given root, else its folder under `$SER_HF_CORPORA`.

    Procedural corpora are made in the cache when they are first asked for.

    Raises:
        CorpusError: if there is no such folder.
    """
    if root is None and spec.generate is not None:
        return _generated_root(spec)
    if root is None:
        parent = os.environ.get(CORPORA_VARIABLE)
        if parent is None:
            raise CorpusError(
                f"where is {spec.name}? Pass its folder as root, or set {CORPORA_VARIABLE} to the folder that "
                f"holds it. {how_to_get(spec)}"
            )
        root = folder_below(Path(parent), spec.name)
    root = Path(root).expanduser()
    if not root.is_dir():
        raise CorpusError(f"there is no folder {root}, where {spec.name} should be. {how_to_get(spec)}")
    return root


def how_to_get(spec: CorpusSpec) -> str:
    """A sentence or two for somebody who has not got a corpus."""
    if spec.downloads:
        return f"`ser-hf corpora download {spec.name}` fetches it from {spec.source}"
    return spec.access or f"It is published at {spec.source}"


def folder_below(parent: Path, name: str) -> Path:
    """The folder of a corpus below the one that holds all: `crema_d`, or `crema-d` as releases spell it."""
    dashed = parent / name.replace("_", "-")
    return dashed if dashed.is_dir() else parent / name


def _generated_root(spec: CorpusSpec) -> Path:
    """The cached recordings of a procedural corpus, made elsewhere first: a half-made one is never read."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ser_hf"
    root = cache / f"{spec.name}-{spec.version}"
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        # Not named after the process: what a killed one leaves must not lie in the way of the next with its number.
        with tempfile.TemporaryDirectory(prefix=f"{root.name}.", dir=cache) as folder:
            unfinished = Path(folder, root.name)  # inside, as others may not read the temporary folder itself
            unfinished.mkdir()
            spec.generate(unfinished)
            try:
                unfinished.rename(root)
            except OSError:  # another process was first; both made the same recordings
                if not root.is_dir():
                    raise
    return root


def audio_files(root: Path, *layouts: str) -> list[Path]:
    """The audio files that match a pattern without suffix (`Actor_*/*`), sorted; `.flac` is as good as `.wav`.

    Args:
        root: the folder of the corpus.
        layouts: the pattern, or one for each layout in which the corpus is passed on.

    Raises:
        CorpusError: for an empty or doubled tree and for git-LFS pointers.
    """
    reading = _READING.get()
    if reading is not None:
        return _FilesToRead(reading, _given_files(reading, root, layouts))
    found = _matching(root, layouts)
    there = [pattern for pattern in layouts if found[pattern]]
    if not there:
        raise CorpusError(_nothing(root, layouts))
    if len(there) > 1:
        raise CorpusError(f"{root} holds the corpus twice, as {' and as '.join(there)}: keep one of them")
    (pattern,) = there
    files = found[pattern]
    _refuse_doubled_tree(root, files, pattern)
    for path in files:
        try:
            pointer = path.stat().st_size < 1024 and _begins_as_pointer(path)
        except OSError as error:  # such as a link to what git-annex did not fetch
            raise CorpusError(
                f"{path} cannot be read ({error.strerror}): fetch it again (what git-annex keeps, with `git annex get`)"
            ) from error
        if pointer:
            raise CorpusError(f"{path} is a git-LFS pointer, not sound: run `git lfs pull` in {root}")
    return files


def _begins_as_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_LFS_HEADER)) == _LFS_HEADER


def _matching(root: Path, layouts: Iterable[str]) -> dict[str, list[Path]]:
    return {
        pattern: sorted(path for suffix in AUDIO_SUFFIXES for path in root.glob(pattern + suffix))
        for pattern in layouts
    }


def _nothing(root: Path, layouts: Iterable[str]) -> str:
    return f"no {' or '.join(layouts)}.wav or .flac under {root}: pass the folder that directly holds the release"


def table_rows(
    table: Path,
    columns: Mapping[str, Callable[[str], object]],
    *,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
    errors: str = "strict",
) -> Iterator[dict]:
    """The rows of a label file, as dictionaries.

    Args:
        table: a text file whose first line names its columns.
        columns: those that must be there, and what becomes of their cells; those of others stay text.
        delimiter, encoding, errors: how it is written.

    Raises:
        CorpusError: naming the table, and the line where one is to blame, if it cannot be read or is not such a table.
        EncodingError: if it is written in another encoding.
    """
    again = "take it unchanged from the release"
    lines = _table_lines(table, delimiter, encoding, errors, again)
    _, header = next(lines, (0, []))
    if absent := [column for column in columns if column not in header]:
        raise CorpusError(f"{table} has no column {absent[0]!r}, only {header}: {again}")
    for number, cells in lines:
        if len(cells) != len(header):
            raise CorpusError(
                f"{table}, line {number} has {len(cells)} cells, its first line {len(header)} (a file that was cut off "
                f"ends so): {again}"
            )
        row = dict(zip(header, cells, strict=True))
        for column, convert in columns.items():
            try:
                row[column] = convert(row[column])
            except ValueError as error:
                raise CorpusError(
                    f"{table}, line {number}: {column!r} is {row[column]!r} ({error}): {again}"
                ) from error
        yield row


def _table_lines(
    table: Path, delimiter: str, encoding: str, errors: str, again: str
) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers."""
    try:
        with table.open(encoding=encoding, errors=errors, newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            yield from ((reader.line_num, cells) for cells in reader if cells)
    except OSError as error:
        raise CorpusError(f"{table} cannot be read ({error.strerror}): {again}") from error
    except UnicodeDecodeError as error:  # whoever opens and saves a table changes more than its encoding
        raise EncodingError(f"{table} is not written in {encoding} ({error.reason}): {again}") from error
    except csv.Error as error:
        raise CorpusError(f"{table} is not a table ({error}): {again}") from error


class _FilesToRead(list):
    """Files of which a reading wants to know which one the reader holds."""

    def __init__(self, reading: Reading, files: list[Path]):
        super().__init__(files)
        self.reading = reading

    def __iter__(self) -> Iterator[Path]:
        return self.reading.hand_out(super().__iter__(), lambda path: path)


def _given_files(reading: Reading, root: Path, layouts: tuple[str, ...]) -> list[Path]:
    """The recordings of a corpus in whatever state: of its commonest layout, one of each name."""
    if not reading.layouts:
        reading.layouts = _matching(root, layouts)
        commonest = max(reading.layouts.values(), key=len)
        reading.files = list({path.with_suffix(""): path for path in reversed(commonest)}.values())[::-1]
    if not reading.files:
        raise CorpusError(_nothing(root, layouts))
    return reading.files


def _refuse_doubled_tree(root: Path, files: list[Path], pattern: str) -> None:
    copies = Counter(path.relative_to(root).with_suffix("") for path in files)
    twice = next((name for name, count in copies.items() if count > 1), None)
    if twice is not None:
        raise CorpusError(f"{root / twice} is there both as .wav and as .flac: keep one of them")
    nested = [child for child in root.iterdir() if child.is_dir() and any(child.glob(pattern + files[0].suffix))]
    if nested:
        raise CorpusError(
            f"{root} holds the corpus twice: the same tree stands again under {nested[0].name}/ (usual in copies on "
            "data-sharing sites). Remove that folder, or pass it alone as root."
        )


def read_utterances(spec: CorpusSpec, root: Path, label_source: str | None = None) -> Iterable[Utterance]:
    """The utterances under a root, with the labels of one source.

    Raises:
        CorpusError: if the corpus has several label sources and none of them is named, or has not the one that is.
    """
    if label_source is None and not spec.label_sources:
        return spec.read(root)
    if label_source not in spec.label_sources:
        if not spec.label_sources:
            raise CorpusError(f"{spec.name} has one kind of labels only: leave its label source {label_source!r} out")
        if label_source is not None:
            raise CorpusError(f"{spec.name}: {unknown_name('label source', label_source, spec.label_sources)}")
        raise CorpusError(
            f"{spec.name} has several kinds of labels, whose figures cannot be compared: choose a label source "
            f"({', '.join(spec.label_sources)})"
        )
    return spec.read(root, label_source)


def read_corpus(
    spec: CorpusSpec,
    root: str | os.PathLike | None = None,
    *,
    label_source: str | None = None,
    allow_partial: bool = False,
) -> list[Utterance]:
    """All utterances of a corpus under a root, checked against the size of its release.

    Raises:
        CorpusError: if the folder is not the corpus, is a part of it and `allow_partial` is False, or if its label
            source is not named (see `read_utterances`).
    """
    root = find_root(spec, root)
    utterances = list(read_utterances(spec, root, label_source))
    check_complete(spec, root, Counter(utterance.speaker for utterance in utterances), allow_partial=allow_partial)
    return utterances


def check_complete(spec: CorpusSpec, root: Path, counts: Counter, *, allow_partial: bool) -> str | None:
    """What a corpus under a root lacks, told by the number of its utterances per speaker; None if it is complete.

    Where releases differ in size, it is told by the label files of the one that lies there.

    Raises:
        CorpusError: if it has no utterance, or lacks some and `allow_partial` is False.
    """
    if not counts:
        raise CorpusError(f"no utterance of {spec.name} under {root}")
    places = [root / place for place in excluded_places(spec)]
    there = sum(any(place.with_name(place.name + suffix).is_file() for suffix in AUDIO_SUFFIXES) for place in places)
    shortfall = _missing(spec, counts, there) or _unrecorded(spec, root)
    if shortfall is not None and not allow_partial:
        raise CorpusError(f"{shortfall} under {root}. Complete it, or allow a part of it (--allow_partial).")
    return shortfall


def missing(spec: CorpusSpec, utterances: Iterable[Utterance]) -> str | None:
    """What a partial corpus lacks, in one clause; None if it is complete (or more), or has no fixed size.

    `check_complete` knows more: it looks at the label files, too.

    >>> from ser_hf.corpora import get_corpus
    >>> missing(get_corpus("emodb"), [Utterance(Path("03a01Fa.wav"), "happiness", "F", speaker="03")] * 500)
    'found 500 of 535 utterances of emodb (no speaker 08, 09, 10, 11, 12, 13, 14, 15, 16)'
    """
    utterances, places = list(utterances), tuple(f"/{place}" for place in excluded_places(spec))
    there = sum(utterance.path.with_suffix("").as_posix().endswith(places) for utterance in utterances)
    return _missing(spec, Counter(utterance.speaker for utterance in utterances), there)


def excluded_places(spec: CorpusSpec) -> list[str]:
    """Where the excluded recordings of a corpus lie below its folder, without suffix."""
    return [identity.partition("/")[2] for identity in spec.excluded]


def _missing(spec: CorpusSpec, counts: Counter, excluded: int) -> str | None:
    """The counts include the excluded recordings that are there, so many; they must not make up for one that lacks."""
    if spec.utterances is None or counts.total() - excluded >= spec.utterances - len(spec.excluded):
        return None
    absent = [speaker for speaker in spec.speakers if speaker not in counts]
    short = [
        f"{counts[speaker]} of {size} of speaker {speaker}"
        for speaker, size in spec.speakers.items()
        if size is not None and 0 < counts[speaker] < size
    ]
    details = ([f"no speaker {', '.join(absent)}"] if absent else []) + short
    found = f"found {counts.total()} of {spec.utterances} utterances of {spec.name}"
    return f"{found} ({'; '.join(details)})" if details else found


def unrecorded(spec: CorpusSpec, root: Path) -> list[str]:
    """File stems of what a release without fixed size names and a root lacks; empty where the size is known."""
    return [] if spec.utterances is not None or spec.unrecorded is None else sorted(spec.unrecorded(root))


def _unrecorded(spec: CorpusSpec, root: Path) -> str | None:
    lost = unrecorded(spec, root)
    return (
        f"{len(lost)} recordings that the label files of {spec.name} name are not there, first {lost[0]}"
        if lost
        else None
    )
