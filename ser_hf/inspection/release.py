"""Comparison of a folder with the release of its corpus: folders, names, tables, numbers of recordings."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from ..corpora import CorpusError, CorpusSpec, Utterance
from ..emotions import EMOTIONS, SYNONYMS
from ..sources.completeness import unrecorded
from ..sources.folders import AUDIO_SUFFIXES, SOUND_SUFFIXES, folders_in, matching
from ..sources.reading import Reading
from ..sources.utterance import UnlabelledError
from .faults import fault, identity, name_below
from .finding import Finding

FOREIGN_SUFFIXES = (".m4a", ".aac", ".wma", ".amr", ".3gp", ".ac3", ".ape", ".wv")  # libsndfile does not decode these
HABIT = 0.8  # if the folders of this share of recordings name their speaker or emotion, the others are misplaced


def doubled(reading: Reading, root: Path) -> tuple[list[Finding], set[Path]]:
    """Return faults for a second tree and for copies in another layout or suffix, and the files that they cover."""
    if not reading.files:
        return [], set()
    faults, covered, chosen = [], set(), set(reading.files)
    names = {path.stem: path for path in reading.files}
    pattern = max(reading.layouts, key=lambda layout: len(reading.layouts[layout]))
    for layout, files in reading.layouts.items():
        for path in set(files) - chosen:
            twin = names.get(path.stem)
            if twin is not None:
                covered.add(path)
                other = name_below(twin, root)
                faults.append(fault("doubled", path, root, f"is a second copy of {other}"))
            elif layout != pattern:
                covered.add(path)
                says = f"is placed as {layout}, the others as {pattern}: the reader accepts only one layout"
                faults.append(fault("surplus", path, root, says, severity="error"))
    for child in folders_in(root):
        again = set(matching(child, [pattern])[pattern]) - chosen
        if again:
            covered |= again
            faults.append(fault("doubled", child, root, f"has a second copy of the tree, with {len(again)} recordings"))
    return faults, covered


def of_refusals(reading: Reading, root: Path, spec: CorpusSpec, any_sound: bool) -> Iterator[Finding]:
    """Yield what the reader refused: names of files, rows of tables, the release as a whole."""
    for item, error in reading.refusals:
        says = str(error).replace(f"{root}{os.sep}", "")
        if isinstance(item, Path):
            yield fault("metadata" if isinstance(error, UnlabelledError) else "misnamed", item, root, says)
        elif item is not None:
            yield fault("metadata", item, root, says.removeprefix(f"{item}: "))
        elif not reading.files and not reading.utterances:
            yield fault("missing" if reading.layouts or not any_sound else "metadata", None, root, says)
        elif spec.utterances is not None and len(reading.files) > spec.utterances:
            yield fault("surplus", None, root, says, severity="error")
        elif spec.tables is None or not reading.utterances:
            yield fault("metadata", None, root, says)  # else the rows are compared below


def of_folders(utterances: list[Utterance], root: Path, spec: CorpusSpec) -> Iterator[Finding]:
    """Yield recordings in a folder that is named after another speaker or emotion than the file name."""
    speakers = {speaker.lower(): speaker for speaker in spec.speakers}
    words = SYNONYMS | {emotion: emotion for emotion in EMOTIONS if emotion != "other"}
    for fact, names in (("speaker", speakers), ("emotion", words)):
        told = []
        for utterance in utterances:
            if not utterance.path.is_relative_to(root):
                continue
            folders = utterance.path.relative_to(root).parts[:-1]
            tokens = [token for folder in folders for token in re.split(r"[\W_]+", folder.lower())]
            found = {names[token] for token in tokens if token in names}
            if len(found) == 1:
                told.append((utterance, found.pop()))
        right = sum(getattr(utterance, fact) == wanted for utterance, wanted in told)
        if told and right >= HABIT * len(told):
            for utterance, wanted in told:
                if getattr(utterance, fact) != wanted:
                    says = f"is in a folder of {fact} {wanted}, but its name says {getattr(utterance, fact)}"
                    yield fault("misnamed", utterance.path, root, says)


def of_known_names(utterances: list[Utterance], root: Path, spec: CorpusSpec) -> Iterator[Finding]:
    """Yield recordings that the release itself misnames."""
    for utterance in utterances:
        if wanted := spec.misnamed.get(utterance.path.stem):
            says = f"has this name in the release itself; by the pattern of the others it would be {wanted}"
            remedy = "nothing to do: ser_hf handles it; programs that expect the pattern miss it"
            yield fault("misnamed", utterance.path, root, says, severity="warning", remedy=remedy)


def of_unread(unread: list[Path], root: Path, spec: CorpusSpec) -> Iterator[Finding]:
    """Yield sound files that the reader does not take, for their suffix or their place."""
    suffixes = SOUND_SUFFIXES if spec.is_own else AUDIO_SUFFIXES
    for path in unread:
        suffix = path.suffix.lower() if spec.is_own else path.suffix
        if suffix not in suffixes:
            listed = f"{', '.join(suffixes[:-1])} and {suffixes[-1]}"
            says = f"is not read: its suffix is {path.suffix}, not {listed}"
            remedy = "convert it with `ffmpeg -i FILE FILE.wav` if it is a recording, else move it out"
            yield fault("surplus", path, root, says, remedy=remedy if suffix.lower() in FOREIGN_SUFFIXES else None)
        else:
            own = "it is neither in your table nor in the folder of an emotion"
            why = own if spec.is_own else f"{spec.name} has no recordings in this folder"
            yield fault("surplus", path, root, f"is not read: {why}")


def of_counts(reading: Reading, root: Path, spec: CorpusSpec) -> list[Finding]:
    """Return missing and surplus recordings, by speaker if the numbers are known, and by table if there is one."""
    utterances = reading.utterances
    if not utterances and not reading.files:
        return []
    counts = Counter(utterance.speaker for utterance in utterances)
    faults, short = [], set()
    for speaker, size in spec.speakers.items():
        found = counts[speaker]
        if found == 0 or (size is not None and found < size):
            short.add(speaker)
            wanted = "" if size is None else f" of {size}"
            lacking = _lacking(utterances, speaker, spec)
            says = f"speaker {speaker}: found {found}{wanted} recordings{lacking}"
            faults.append(fault("missing", None, root, says))
        elif size is not None and found > size:
            faults.append(
                fault("surplus", None, root, f"speaker {speaker}: found {found} recordings, the release has {size}")
            )
    if spec.speakers:
        for stranger in sorted(counts.keys() - spec.speakers.keys() - {None}):
            faults.append(fault("surplus", None, root, f"speaker {stranger} is not in the release"))
    faults += _of_tables(utterances, root, spec, short)
    for stem in unrecorded(spec, root):
        faults.append(fault("missing", stem, root, "is in the table, but there is no such recording"))
    missing = any(one.kind == "missing" for one in faults)
    if spec.utterances is not None and not missing:
        kept = sum(spec.why_excluded(identity(utterance.path, root, spec)) is None for utterance in utterances)
        if kept < spec.utterances - len(spec.excluded):
            faults.append(fault("missing", None, root, f"found {len(utterances)} of {spec.utterances} recordings"))
    return faults


def _lacking(utterances: list[Utterance], speaker: str, spec: CorpusSpec) -> str:
    """Return a clause with the emotions of which a speaker lacks recordings, if all complete speakers have as many."""
    by_speaker = defaultdict(Counter)
    for utterance in utterances:
        by_speaker[utterance.speaker][utterance.emotion] += 1
    complete = [emotions for name, emotions in by_speaker.items() if spec.speakers.get(name) == emotions.total()]
    if speaker not in by_speaker or not complete or any(emotions != complete[0] for emotions in complete):
        return ""
    lost = complete[0] - by_speaker[speaker]
    return f" (lacks {', '.join(f'{count} of {emotion}' for emotion, count in sorted(lost.items()))})" if lost else ""


def _of_tables(utterances: list[Utterance], root: Path, spec: CorpusSpec, short: set[str]) -> Iterator[Finding]:
    try:
        rows = {} if spec.tables is None else spec.tables(root)
    except CorpusError as error:  # a table that the reader does not need: it reports other tables itself
        yield fault("metadata", None, root, str(error).replace(f"{root}{os.sep}", ""))
        return
    for utterance in utterances if rows else ():
        row = rows.get(_right_name(utterance, spec))
        if row is None:
            yield fault("metadata", utterance.path, root, "has no row in the tables of the release")
            continue
        for fact, value in row.items():
            if getattr(utterance, fact) != value:
                says = f"its name says {fact} {getattr(utterance, fact)}, but the table says {value}"
                yield fault("metadata", utterance.path, root, says)
    stems = {_right_name(utterance, spec) for utterance in utterances}
    for stem, row in rows.items():
        if stem not in stems and row.get("speaker") not in short:
            yield fault("missing", stem, root, "is in the table, but there is no such recording")


def _right_name(utterance: Utterance, spec: CorpusSpec) -> str:
    return spec.misnamed.get(utterance.path.stem, utterance.path.stem)


def of_people(utterances: list[Utterance], root: Path) -> Iterator[Finding]:
    """Yield speakers with more than one gender or age."""
    for fact in ("gender", "age"):
        told = defaultdict(Counter)
        for utterance in utterances:
            if utterance.speaker is not None and getattr(utterance, fact) is not None:
                told[utterance.speaker][getattr(utterance, fact)] += 1
        for speaker, values in sorted(told.items()):
            if len(values) > 1:
                words = ", ".join(f"{value} in {count}" for value, count in values.most_common())
                yield fault("metadata", None, root, f"speaker {speaker} has more than one {fact}: {words} recordings")
