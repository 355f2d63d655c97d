"""A table of own recordings (CSV, Excel, Parquet, JSON Lines): its columns, names and words are understood here."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path, PureWindowsPath

from ..emotions import EMOTIONS, OWN_SCHEME, SYNONYMS, unknown_name
from .folders import SOUND_SUFFIXES, files_below
from .reading import Translation
from .sheets import Row, Sheet, open_sheet
from .utterance import CorpusError, Utterance

# What a column may be called, in any case and with spaces, dots or hyphens for the underscore.
NAMES = {
    "path": (
        "path", "file", "filename", "file_name", "filepath", "file_path", "audio", "audio_file", "audio_path", "wav",
        "wav_file", "wav_path", "wavfile", "recording", "clip", "sound",
    ),
    "emotion": ("emotion", "label", "class", "emo", "emotion_label", "category"),
    "speaker": (
        "speaker", "speaker_id", "speakerid", "spk", "spk_id", "actor", "actor_id", "subject", "subject_id",
        "participant", "participant_id",
    ),
    "gender": ("gender", "sex"),
    "age": ("age",),
    "language": ("language", "lang", "locale"),
    "session": ("session", "session_id"),
    "statement": ("statement", "sentence", "text", "transcript", "transcription"),
    "intensity": ("intensity",),
    "part": ("part", "split", "subset"),
    "arousal": ("arousal", "activation"),
    "valence": ("valence",),
    "dominance": ("dominance",),
}  # fmt: skip
GENDERS = {
    "female": ("female", "f", "w", "woman", "women", "girl", "weiblich", "frau", "femme", "mujer", "donna", "kobieta"),
    "male": ("male", "m", "man", "men", "boy", "maennlich", "männlich", "mann", "homme", "hombre", "uomo"),
}
PARTS = {
    "train": ("train", "training"), "test": ("test", "testing", "eval", "evaluation"),
    "validation": ("validation", "valid", "val", "dev", "development"),
}  # fmt: skip
_LOOKED_AT = 200  # rows whose files decide on an encoding


class OwnTable:
    """A table whose columns were understood.

    Columns are found under their usual `NAMES`; path and emotion are needed, other columns are ignored. A path may be
    absolute, relative to the table, of another system, or a bare name with or without suffix of a recording anywhere
    below the table.

    Attributes:
        path: the file.
        unit: "line" or "row", as `where` counts.

    Raises:
        CorpusError: if the file cannot be read, or if a column is missing or could be two.
    """

    def __init__(self, path: Path, own: Translation):
        _recordings.cache_clear()  # recordings may have come since the last table was read
        self.path, self._own = path, own
        sheet = self._open()
        self.unit, self._dialect, self._columns = sheet.unit, sheet.dialect, _chosen_columns(sheet, own.columns)
        self._others = [column for column in sheet.columns if column and column not in self._columns.values()]
        self._emotions = words_to_emotions(own)

    def _open(self) -> Sheet:
        return open_sheet(
            self.path, encoding=self._own.encoding,
            fits=lambda rows: _names_files(rows, self.path, self._own.columns),
        )  # fmt: skip

    def __str__(self) -> str:
        """Return what was understood, in a line."""
        columns = ", ".join(f"{name} = {column!r}" for name, column in self._columns.items())
        others = f"; not read: {', '.join(map(repr, self._others))}" if self._others else ""
        return f"{self.path}: {self._dialect}; {columns}{others}"

    def rows(self) -> Iterator[Row]:
        """Yield all rows, from the first one on each time.

        Raises:
            CorpusError: for a row that does not fit the header.
        """
        yield from self._open().rows

    def where(self, row: Row) -> str:
        return f"{self.path.name}, {self.unit} {row[0]}"

    def label(self, row: Row) -> str | None:
        return row[1].get(self._columns["emotion"])

    def unknown_words(self) -> Counter[str]:
        """Return the labels that are no emotions, with the number of their rows; none if classes are the owner's."""
        if self._own.own_classes:
            return Counter()
        words = Counter(label for row in self.rows() if (label := self.label(row)) is not None)
        return Counter({word: count for word, count in words.items() if not is_emotion(word, self._emotions)})

    def recording(self, row: Row) -> Path | None:
        """Return the recording of a row, or None if there is none, or if several may be meant."""
        name = row[1].get(self._columns["path"])
        found = _found(self.path.parent, name) if name else []
        return Path(os.path.normpath(found[0])) if len(found) == 1 else None

    def utterance(self, row: Row) -> Utterance:
        """Return the utterance of a row.

        Raises:
            CorpusError: if a value is missing or not understood, or if there is no such recording.
        """
        where = f"{self.path}, {self.unit} {row[0]}"
        given = {name: row[1].get(own) for name, own in self._columns.items()}
        name, emotion = given.pop("path"), given.pop("emotion")
        if name is None or emotion is None:
            raise CorpusError(f"{where}: path or emotion is empty; fill it in or remove the row")
        folder = self.path.parent
        found = _found(folder, name)
        if not found:
            raise CorpusError(
                f"{where}: there is no file {name}, and no recording of this name below {folder}: correct the name, "
                "or put the table beside the recordings"
            )
        if len(found) > 1:
            raise CorpusError(f"{where}: {name} may be {' or '.join(map(str, found[:3]))}: write the path")
        return labelled(found[0], emotion, self._emotions, self._own, where=where, **_typed(given, where))


@dataclass(frozen=True)
class Listed:
    """A row of a table of recordings.

    Attributes:
        where: the row, for messages.
        name: what the table calls the recording; None if the cell is empty.
        found: the recordings that may be meant: one, none or several.
        speaker: None if the table does not say it.
    """

    where: str
    name: str | None
    found: list[Path]
    speaker: str | None


def listed_recordings(table: Path, speaker_column: str | None = None) -> Iterator[Listed]:
    """Return the rows of a table that has a column of recordings, under one of its usual `NAMES`, and maybe no labels.

    Raises:
        CorpusError: if the table cannot be read, or if a column is missing or could be two. Iteration raises it for a
            row that does not fit the header.
    """
    _recordings.cache_clear()
    given = {} if speaker_column is None else {"speaker": speaker_column}
    sheet = open_sheet(table, fits=lambda rows: _names_files(rows, table, {}))
    columns = _chosen_columns(sheet, given, wanted=["path", *given], needed=[])
    if "path" not in columns:
        raise CorpusError(
            f"{table} has no column of recordings ({', '.join(NAMES['path'][:8])}, ...): rename the one that it is; "
            f"it has {list(sheet.columns)}"
        )

    def rows() -> Iterator[Listed]:
        for number, values in sheet.rows:
            name = values.get(columns["path"])
            found = _found(table.parent, name) if name else []
            speaker = values.get(columns["speaker"]) if given else None
            yield Listed(f"{table}, {sheet.unit} {number}", name, found, speaker)

    return rows()


def _chosen_columns(
    sheet: Sheet,
    given: Mapping[str, str],
    *,
    wanted: Collection[str] = tuple(NAMES),
    needed: Collection[str] = ("path", "emotion"),
) -> dict[str, str]:
    """Return our name -> the table's name of each column that is read.

    Args:
        given: what the owner says; keys are ours, or other names of ours.
        wanted: our names of the columns that are read if they are there.
        needed: our names of those that must be there.

    Raises:
        CorpusError: if a needed column is missing, or if two columns could be meant.
    """
    said = {}
    for word, own in given.items():
        name = next((name for name, aliases in NAMES.items() if _plain(word) in aliases), None)
        if name is None:
            raise CorpusError(f"columns: {unknown_name('column', word, NAMES)}")
        if own not in sheet.columns:
            raise CorpusError(f"columns of {sheet.path}: {unknown_name('column', own, sheet.columns)}")
        said[name] = own
    chosen = {}
    for name in wanted:
        aliases = NAMES[name]
        if name in said:
            chosen[name] = said[name]
            continue
        found = [own for own in sheet.columns if _plain(own) in aliases]
        exact = [own for own in found if own == name]
        if len(found) > 1 and not exact:
            raise CorpusError(f"{sheet.path} has several columns for {name} ({', '.join(found)}): rename one to {name}")
        if found:
            chosen[name] = (exact or found)[0]
    if absent := set(needed) - set(chosen):
        raise CorpusError(
            f"{sheet.path} has no column {' and no column '.join(sorted(absent))}, nor one of their other names "
            f"({', '.join(alias for name in sorted(absent) for alias in NAMES[name][1:6])}, ...): say which it is with "
            f"--columns {sorted(absent)[0]}=NAME; it has {list(sheet.columns)}"
        )
    return chosen


def words_to_emotions(own: Translation) -> dict[str, str]:
    """Return the emotion of every word that the owner translates, and of our synonyms; or only the owner's classes."""
    if own.own_classes:
        return {_word_of(word): _word_of(name) for word, name in own.labels.items()}
    for word, emotion in own.labels.items():
        if emotion not in EMOTIONS:
            raise CorpusError(f"labels: {word} -> {unknown_name('emotion', emotion, EMOTIONS)}")
    return {**SYNONYMS, **{_word_of(word): emotion for word, emotion in own.labels.items()}}


def _word_of(text: str) -> str:
    """Return a label without spaces beside it, in small letters, with its accents composed."""
    return unicodedata.normalize("NFC", " ".join(text.split())).lower()


def _names_files(rows: Iterable[dict[str, str | None]], table: Path, given: Mapping[str, str]) -> bool:
    """True if the first rows name files that are there, in any of their columns."""
    looked_at = list(islice(rows, _LOOKED_AT))
    said = [own for word, own in given.items() if _plain(word) in NAMES["path"]]
    header = looked_at[0] if looked_at else {}
    columns = [own for own in header if own in said or (not said and _plain(own) in NAMES["path"])]
    names = [row.get(own) for row in looked_at for own in columns]
    return bool(names) and all(name is not None and _found(table.parent, name) for name in names)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.casefold()).strip("_")


def _found(folder: Path, name: str) -> list[Path]:
    """Return the recordings that a name in a table may mean: one, none, or several."""
    written = Path(name) if "\\" not in name else Path(*PureWindowsPath(name).parts)
    if _is_there(folder / written):
        return [folder / written]
    parts = [
        part
        for part in PureWindowsPath(name).parts
        if part not in ("/", "\\") and not part.endswith((":\\", ":", ":/"))
    ]
    if not parts:
        return []
    # A path of another machine, or one below another folder: its end is compared with what is here.
    candidates = _recordings(folder).get(_key(Path(parts[-1]).stem if _has_sound_suffix(parts[-1]) else parts[-1]), ())
    ends = [_key(part) for part in parts[:-1]]
    best = max((_agreeing(path.relative_to(folder).parts[:-1], ends) for path in candidates), default=0)
    found = [path for path in candidates if _agreeing(path.relative_to(folder).parts[:-1], ends) == best]
    if _has_sound_suffix(parts[-1]):
        same = [path for path in found if path.suffix.casefold() == Path(parts[-1]).suffix.casefold()]
        found = same or found
    return found


def _agreeing(folders: tuple[str, ...], ends: list[str]) -> int:
    """Count the folders, from the last one on, in which two paths agree."""
    count = 0
    for own, wanted in zip(reversed(folders), reversed(ends), strict=False):
        if _key(own) != wanted:
            break
        count += 1
    return count


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


def _has_sound_suffix(name: str) -> bool:
    return Path(name).suffix.casefold() in SOUND_SUFFIXES


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@lru_cache(maxsize=4)
def _recordings(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the sound files below a folder by their names without suffix."""
    found: dict[str, tuple[Path, ...]] = {}
    for path in files_below(folder, "**/*"):
        if _has_sound_suffix(path.name):
            key = _key(path.stem)
            found[key] = (*found.get(key, ()), path)
    return found


def _typed(given: dict[str, str | None], where: str) -> dict:
    types = {"age": lambda value: int(float(value)), "arousal": float, "valence": float, "dominance": float}
    typed = {}
    for column, value in given.items():
        if value is None:
            continue
        try:
            typed[column] = value if column not in types else types[column](value.replace(",", "."))
            if column in types and not abs(typed[column]) < 1e6:  # also for NaN
                raise ValueError(value)
        except (ValueError, OverflowError) as error:
            raise CorpusError(f"{where}: {column} must be a number, not {value!r}") from error
    if "gender" in typed:
        typed["gender"] = usual_word(typed["gender"], GENDERS)
    if "part" in typed:
        typed["part"] = usual_word(typed["part"], PARTS)
    return typed


def usual_word(value: str, meanings: dict[str, tuple[str, ...]]) -> str:
    """Return the usual word for a value, or the value itself."""
    return next((word for word, others in meanings.items() if value.casefold() in others), value)


def labelled(
    path: Path, native_label: str, emotions: Mapping[str, str], own: Translation, *, where: str, **known
) -> Utterance:
    """Return an utterance with the emotion that a word stands for, or with the word itself as its class.

    Args:
        emotions: those of `words_to_emotions`.
        where: place of the word, for the message.
        known: further facts.

    Raises:
        CorpusError: for a word that is no emotion, unless classes are the owner's own.
    """
    if not own.own_classes and not is_emotion(native_label, emotions):
        raise CorpusError("; ".join(unknown_word(native_label, emotions, where=where)))
    word = _word_of(native_label)
    return Utterance(
        path, emotion=emotions.get(word, word), native_label=native_label, label_source="given",
        any_word=own.own_classes, **known,
    )  # fmt: skip


def is_emotion(native_label: str, emotions: Mapping[str, str]) -> bool:
    word = _word_of(native_label)
    return emotions.get(word, word) in EMOTIONS


def unknown_word(native_label: str, emotions: Mapping[str, str], *, where: str) -> tuple[str, str]:
    """Return what is wrong with a word that is no emotion, and the way out."""
    return (
        f"{where}: {unknown_name('emotion', native_label, EMOTIONS, also=list(emotions))}",
        f"translate it with --labels {native_label.strip()}=EMOTION, or train on your own classes with --scheme "
        f"{OWN_SCHEME}",
    )
