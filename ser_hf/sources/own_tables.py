"""Your own recordings: a table of them (CSV, Excel, Parquet, JSON Lines), or one sub-folder per emotion."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path, PureWindowsPath

from ..emotions import EMOTIONS, SYNONYMS, unknown_name
from .folders import SOUND_SUFFIXES, files_below, folders_in
from .reading import Reading, Translation
from .sheets import SUFFIXES, Row, Sheet, open_sheet
from .utterance import CorpusError, Utterance, WrongFolderError

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


def read(reading: Reading) -> Iterator[Utterance]:
    """Read the table directly under the root, or one sub-folder per emotion if there is no table.

    Columns are found under their usual `NAMES`; path and emotion are needed, other columns are ignored. A path may be
    absolute, relative to the table, of another system, or a bare name with or without suffix of a recording anywhere
    below the table.
    """
    root = reading.root
    tables = _tables(reading)
    if len(tables) > 1:
        raise CorpusError(f"{root} has {len(tables)} tables ({', '.join(t.name for t in tables)}): keep one")
    return _read_table(reading, tables[0]) if tables else _read_folders(reading)


def _tables(reading: Reading) -> list[Path]:
    """Return the tables directly under the root. A text file is one only if it has the columns: most are notes."""
    there = [path for path in files_below(reading.root, "*") if path.suffix.lower() in SUFFIXES]
    return [path for path in there if path.suffix.lower() != ".txt"] or [
        path for path in there if _has_columns(path, reading.translation)
    ]


def _has_columns(table: Path, own: Translation) -> bool:
    try:
        _chosen_columns(open_sheet(table, encoding=own.encoding), own.columns)
    except CorpusError:
        return False
    return True


def _read_table(reading: Reading, table: Path) -> Iterator[Utterance]:
    _recordings.cache_clear()  # recordings may have come since the last table was read
    own = reading.translation
    sheet = open_sheet(table, encoding=own.encoding, fits=lambda rows: _names_files(rows, table, own.columns))
    chosen = _chosen_columns(sheet, own.columns)
    emotions = _emotions(own.labels)
    print(
        f"{table}: {sheet.dialect}; {', '.join(f'{name} = {column!r}' for name, column in chosen.items())}",
        file=sys.stderr,
    )
    written: dict[str, set[str]] = {}
    for utterance in reading.each(
        sheet.rows,
        lambda row: _utterance_of(row, chosen, sheet, emotions),
        lambda row: f"{table.name}, {sheet.unit} {row[0]}",
    ):
        if utterance.speaker is not None:
            written.setdefault(re.sub(r"[\W_]+", "", utterance.speaker.casefold()), set()).add(utterance.speaker)
        yield utterance
    for names in written.values():
        if len(names) > 1:
            print(
                f"{table}: the speakers {' and '.join(map(repr, sorted(names)))} differ only in case, spaces or "
                "punctuation, and count as different people: write one name if they are one",
                file=sys.stderr,
            )


def _chosen_columns(sheet: Sheet, given: Mapping[str, str]) -> dict[str, str]:
    """Return our name -> the table's name of each column that is read.

    Args:
        given: what the owner says; keys are ours, or other names of ours.

    Raises:
        CorpusError: if path or emotion is missing, or if two columns could be meant.
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
    for name, aliases in NAMES.items():
        if name in said:
            chosen[name] = said[name]
            continue
        found = [own for own in sheet.columns if _plain(own) in aliases]
        exact = [own for own in found if own == name]
        if len(found) > 1 and not exact:
            raise CorpusError(f"{sheet.path} has several columns for {name} ({', '.join(found)}): rename one to {name}")
        if found:
            chosen[name] = (exact or found)[0]
    if absent := {"path", "emotion"} - set(chosen):
        raise CorpusError(
            f"{sheet.path} has no column {' and no column '.join(sorted(absent))}, nor one of their other names "
            f"({', '.join(alias for name in sorted(absent) for alias in NAMES[name][1:6])}, ...): say which it is with "
            f"--columns {sorted(absent)[0]}=NAME; it has {list(sheet.columns)}"
        )
    return chosen


def _emotions(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the emotion of every word that the owner translates, and of our synonyms."""
    for word, emotion in labels.items():
        if emotion not in EMOTIONS:
            raise CorpusError(f"labels: {word} -> {unknown_name('emotion', emotion, EMOTIONS)}")
    return {**SYNONYMS, **{word.strip().casefold(): emotion for word, emotion in labels.items()}}


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


def _utterance_of(row: Row, chosen: dict[str, str], sheet: Sheet, emotions: Mapping[str, str]) -> Utterance:
    number, values = row
    where = f"{sheet.path}, {sheet.unit} {number}"
    given = {name: values.get(own) for name, own in chosen.items()}
    name, emotion = given.pop("path"), given.pop("emotion")
    if name is None or emotion is None:
        raise CorpusError(f"{where}: path or emotion is empty; fill it in or remove the row")
    found = _found(sheet.path.parent, name)
    if not found:
        raise CorpusError(
            f"{where}: there is no file {name}, and no recording of this name below {sheet.path.parent}: correct the "
            "name, or put the table beside the recordings"
        )
    if len(found) > 1:
        raise CorpusError(f"{where}: {name} may be {' or '.join(map(str, found[:3]))}: write the path")
    return _utterance(found[0], emotion, emotions, where=where, **_typed(given, where))


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
            typed[column] = types.get(column, str)(value.replace(",", ".") if column in types else value)
        except ValueError as error:
            raise CorpusError(f"{where}: {column} must be a number, not {value!r}") from error
    if "gender" in typed:
        typed["gender"] = _word(typed["gender"], GENDERS)
    if "part" in typed:
        typed["part"] = _word(typed["part"], PARTS)
    return typed


def _word(value: str, meanings: dict[str, tuple[str, ...]]) -> str:
    """Return the usual word for a value, or the value itself."""
    return next((word for word, others in meanings.items() if value.casefold() in others), value)


def _read_folders(reading: Reading) -> Iterator[Utterance]:
    root, emotions = reading.root, _emotions(reading.translation.labels)
    folders = folders_in(root)
    if not folders:
        raise WrongFolderError(f"{root} has no table ({', '.join(SUFFIXES)}) and no sub-folders", "add one per emotion")
    if not any(_emotion(folder.name, emotions) in EMOTIONS for folder in folders):
        raise WrongFolderError(*_unknown(folders[0].name, emotions, where=f"folder {folders[0]}"))
    for folder in folders:
        files = [path for path in files_below(folder, "**/*") if path.suffix.lower() in SOUND_SUFFIXES]
        if not files:
            reading.refuse(
                folder,
                f"{folder} has no recordings ({', '.join(SOUND_SUFFIXES)}): add some, convert other formats to .wav, "
                "or remove the folder",
            )
        yield from reading.each(
            files,
            lambda path, word=folder.name, where=f"folder {folder}": _utterance(path, word, emotions, where=where),
            lambda path: path,
        )


def _utterance(path: Path, native_label: str, emotions: Mapping[str, str], *, where: str, **known) -> Utterance:
    emotion = _emotion(native_label, emotions)
    if emotion not in EMOTIONS:
        raise CorpusError("; ".join(_unknown(native_label, emotions, where=where)))
    return Utterance(path, emotion=emotion, native_label=native_label, label_source="given", **known)


def _emotion(native_label: str, emotions: Mapping[str, str]) -> str:
    """Return the emotion of a word; the word itself, in lower case, if it has no meaning."""
    word = native_label.strip().casefold()
    return emotions.get(word, word)


def _unknown(native_label: str, emotions: Mapping[str, str], *, where: str) -> tuple[str, str]:
    """Return what is wrong with a word that is no emotion, and the way out."""
    says = f"{where}: {unknown_name('emotion', native_label, (*EMOTIONS, *emotions))}"
    return says, f"translate it with --labels {native_label.strip()}=EMOTION"


def refuse_wide_table(table: Path) -> None:
    """Raise a `CorpusError` for a Parquet file that is damaged, or has far more columns than describe a recording."""
    open_sheet(table)
