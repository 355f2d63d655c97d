"""Tables of recordings, from the Hub or from Parquet files -> the unified columns of `build_dataset`.

load_table(
    "amu-cai/CAMEO",
    "five",
    columns={"utterance_id": "file_id", "corpus": "dataset", "speaker": "speaker_id", "statement": "transcription"},
    labels={"anxiety": "fear", "sarcasm": "other"},
)
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..audio import audio_info
from ..corpora import CorpusError
from ..emotions import EMOTIONS, SYNONYMS, get_scheme, unknown_name
from ..sources.folders import files_below
from ..sources.sheets import open_sheet
from .columns import TRUNCATED, note_provenance, unified_features

if TYPE_CHECKING:
    from datasets import Dataset

TEXTS = (
    "utterance_id", "corpus", "language", "speaker", "gender", "session", "statement", "intensity", "part", "emotion",
    "label_source", "votes",
)  # fmt: skip
NUMBERS = ("age", "arousal", "valence", "dominance", "duration")
COLUMNS = ("audio", *TEXTS, *NUMBERS)
SUFFIX = re.compile(r"\.(wav|flac|mp3|ogg|opus)$", re.IGNORECASE)


def is_table(name: str | os.PathLike) -> bool:
    """True if a name stands for a table (a Hub id, a Parquet file, a folder), not for a corpus.

    >>> is_table("amu-cai/CAMEO"), is_table("mine.parquet"), is_table("ravdess")
    (True, True, False)
    """
    return not isinstance(name, str) or "/" in name or os.sep in name or name.endswith(".parquet")


def load_table(
    source: str | os.PathLike,
    scheme: str,
    *,
    columns: Mapping[str, str | None] | None = None,
    labels: Mapping[str | None, str] | None = None,
    config: str | None = None,
    revision: str | None = None,
    allow_truncated: bool = False,
) -> Dataset:
    """Return a table of recordings as a `Dataset` with the unified columns.

    The sound stays where `datasets` keeps it: embedded recordings are neither decoded nor copied.

    Args:
        source: id of a data set on the Hub, a Parquet file, a folder of them, or a folder laid out as a Hub repository.
            Paths of recordings in a table are relative to this folder, or to that of the one file. Of a folder of files
            each is a split, called like the file; the shards of one (`test-00000-of-00002.parquet`) are one.
        scheme: label scheme; what it drops is counted in `provenance(dataset)`.
        columns: unified column -> column of the table. Those of equal name are found by themselves; None leaves one
            out. `corpus` tells the corpora of a collection apart; without it all is one, named after the source. Names
            of corpora become lower snake case (CREMA-D is `crema_d`), as protocols spell them.
        labels: the table's word -> fine emotion of `ser_hf.emotions.EMOTIONS` ("other" for what has none there); None
            stands for an empty cell. Fine emotions and their adjectives (`happy`) are known.
        config: of a data set that has several.
        revision: of a data set on the Hub: a commit, a tag or a branch.
        allow_truncated: use what is there of recordings whose end is missing.

    Returns:
        All splits of the table as one. Without a `part` column the name of the split is the part, without
        `utterance_id` the number of the row is it, and without `duration` the header of every recording is read.

    Raises:
        CorpusError: if a column or a label is unknown, if a row has no recording, or if an utterance id occurs twice.
    """
    from datasets import Audio, ClassLabel, Features, Value, concatenate_datasets

    labelling = get_scheme(scheme)
    splits, folder = _read(source, config, revision)
    table = concatenate_datasets(list(splits.values()))
    taken = _choose_columns(table.column_names, columns or {}, source)
    table = table.select_columns(list(dict.fromkeys(taken.values()))).cast_column(taken["audio"], Audio(decode=False))
    names = {own: feature.names for own, feature in table.features.items() if isinstance(feature, ClassLabel)}
    emotion_of = _map_labels(table, taken["emotion"], names, labels or {}, source)

    features = unified_features(labelling.classes)
    facts = table.map(
        _unify,
        fn_kwargs={
            "taken": taken, "names": names, "emotion_of": emotion_of, "folder": folder,
            "classes": {emotion: labelling.to_class(emotion) for emotion in EMOTIONS},
            "splits": {name: len(rows) for name, rows in splits.items()} if len(splits) > 1 else {},
            "corpus": _snake_case(Path(source).stem), "allow_truncated": allow_truncated,
        },
        batched=True, batch_size=100, with_indices=True, remove_columns=table.column_names,
        features=Features({**features, "audio": Value("string")}), desc="reading headers",
        load_from_cache_file=False,  # its key would not cover the code that reads headers and labels
    )  # fmt: skip
    chunks = table.data.column(taken["audio"]).chunks
    if all(chunk.field("bytes").null_count == len(chunk) for chunk in chunks):
        unified = facts.cast_column("audio", Audio(decode=False))
    else:
        sound = table.select_columns([taken["audio"]])
        if taken["audio"] != "audio":
            sound = sound.rename_column(taken["audio"], "audio")
        unified = concatenate_datasets([facts.remove_columns("audio"), sound], axis=1)
    _refuse_doubles(facts, source)
    kept = np.flatnonzero(facts.data.column("label").is_valid())
    if len(kept) == 0:
        raise CorpusError(
            f"scheme {scheme!r} ({', '.join(labelling.classes)}) keeps no utterance of {source}: use another"
        )
    dataset = unified.select(kept).select_columns(list(features))
    lost = facts.select(np.setdiff1d(np.arange(len(facts)), kept)).select_columns(["corpus", "emotion"])
    dropped = {corpus: {} for corpus in sorted(facts.unique("corpus"))}
    for (corpus, emotion), count in sorted(Counter(zip(lost["corpus"], lost["emotion"], strict=True)).items()):
        dropped[corpus][emotion] = count
    table_name = Path(source).name if folder is not None else str(source)
    origin = {"source": table_name, "config": config, "revision": revision, "columns": taken, "labels": emotion_of}
    noted = {"table": origin} | ({TRUNCATED: True} if allow_truncated else {})
    return note_provenance(dataset, scheme=scheme, label_sources={}, dropped=dropped, partial={}, **noted)


def _read(
    source: str | os.PathLike, config: str | None, revision: str | None
) -> tuple[dict[str, Dataset], Path | None]:
    """Return the splits of a table, and the folder of one that lies on this machine."""
    from datasets import load_dataset

    path = Path(source).expanduser()
    if (path / "README.md").is_file():  # a copy of a Hub repository: its configurations are in its card
        return dict(load_dataset(str(path), config)), path
    if path.exists():
        files = [path] if path.is_file() else files_below(path, "**/*.parquet")
        if not files:
            raise CorpusError(f"{path} contains no .parquet file; for a folder of recordings use the corpus `folder`")
        for file in files:
            open_sheet(file)  # refuses one that is damaged, or has far more columns than describe a recording
        named: dict[str, list[str]] = {}
        for file in files:
            named.setdefault(_split_name(file), []).append(str(file))
        # Under numbers, since `datasets` takes letters and underscores alone for names of splits.
        numbered = load_dataset("parquet", data_files={f"split_{one}": named[name] for one, name in enumerate(named)})
        splits = {name: numbered[f"split_{one}"] for one, name in enumerate(named)}
        return splits, path.parent if path.is_file() else path
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)) or path.suffix == ".parquet":
        raise CorpusError(f"there is no file or folder {source}, and it is not a Hub id such as amu-cai/CAMEO")
    return dict(load_dataset(str(source), config, revision=revision)), None


def _split_name(file: Path) -> str:
    """Return the split that a Parquet file belongs to.

    >>> [_split_name(Path(file)) for file in ("test.parquet", "test-00001-of-00002.parquet", "test/0000.parquet")]
    ['test', 'test', 'test']
    """
    name = re.sub(r"-\d+-of-\d+$", "", file.stem)
    return file.parent.name if name.isdigit() else name


def _choose_columns(
    present: Sequence[str], columns: Mapping[str, str | None], source: str | os.PathLike
) -> dict[str, str]:
    """Return unified column -> column of the table, for those that the table has."""
    for unified, own in columns.items():
        if unified not in COLUMNS:
            raise CorpusError(f"columns: {unknown_name('unified column', unified, COLUMNS)}")
        if own is not None and own not in present:
            raise CorpusError(f"columns of {source}: {unknown_name('column', own, present)}")
    taken = {name: name for name in COLUMNS if name in present} | dict(columns)
    taken = {unified: own for unified, own in taken.items() if own is not None}
    if absent := [name for name in ("audio", "emotion") if name not in taken]:
        raise CorpusError(
            f'{source} needs a column {absent[0]}: pass columns={{"{absent[0]}": ...}} (it has {", ".join(present)})'
        )
    return taken


def _map_labels(
    table: Dataset,
    column: str,
    names: Mapping[str, Sequence[str]],
    labels: Mapping[str | None, str],
    source: str | os.PathLike,
) -> dict[str | None, str]:
    """Return the fine emotion of every word that the table labels with; None is the word of an empty cell."""
    counts = Counter()
    for pair in table.data.column(column).value_counts().to_pylist():
        value = pair["values"]
        counts[_text(names[column][value] if column in names and value is not None else value)] += pair["counts"]
    for word, emotion in labels.items():
        if emotion not in EMOTIONS:
            raise CorpusError(f"labels: {word} -> {unknown_name('emotion', emotion, EMOTIONS)}")
        if word not in counts:
            raise CorpusError(f"labels of {source}: {unknown_name('word', word, [str(known) for known in counts])}")
    emotion_of, unknown = {}, []
    for word, count in counts.most_common():
        plain = str(word).lower()
        emotion = labels.get(word) or (None if word is None else SYNONYMS.get(plain, plain))
        if emotion in EMOTIONS:
            emotion_of[word] = emotion
        else:
            meant = [SYNONYMS.get(one, one) for one in get_close_matches(plain, [*EMOTIONS, *SYNONYMS], n=1)]
            unknown.append(f"{word!r} ({count}{f', perhaps {meant[0]}' if meant else ''})")
    if unknown:
        raise CorpusError(
            f"{source} has unknown labels: {', '.join(unknown)}. Translate them with labels="
            f'{{word: emotion}}; use "other" for no emotion (emotions: {", ".join(EMOTIONS)})'
        )
    return emotion_of


def _unify(
    rows: dict[str, list],
    indices: list[int],
    *,
    taken,
    names,
    emotion_of,
    folder,
    classes,
    splits,
    corpus,
    allow_truncated,
) -> dict[str, list]:
    """Return a batch of a table's rows, under the unified names; `label` is None where the scheme drops the row."""
    unified = {}
    for column in (*TEXTS, *NUMBERS):
        own = taken.get(column)
        values = rows[own] if own else [None] * len(indices)
        if own in names:
            values = [None if value is None else names[own][value] for value in values]
        unified[column] = [_text(value) for value in values]
        if column in NUMBERS:
            unified[column] = [_number(value, column, own) for value in unified[column]]
    sounds = rows[taken["audio"]]
    if empty := [
        row
        for row, sound in zip(indices, sounds, strict=True)
        if sound is None or (sound["bytes"] is None and sound["path"] is None)
    ]:
        raise CorpusError(f"row {empty[0]} (from 0) has no recording in the column {taken['audio']}: remove the row")
    paths = [None if sound["path"] is None else os.path.join(folder or "", sound["path"]) for sound in sounds]
    if "duration" not in taken:
        found = [
            sound if sound["bytes"] is not None else {"bytes": None, "path": path}
            for sound, path in zip(sounds, paths, strict=True)
        ]
        unified["duration"] = [audio_info(sound, allow_truncated=allow_truncated).duration_seconds for sound in found]
    if "part" not in taken and splits:
        ends = np.cumsum(list(splits.values()))
        unified["part"] = [list(splits)[number] for number in np.searchsorted(ends, indices, side="right")]
    if "utterance_id" not in taken:
        unified["utterance_id"] = [f"{row:07d}" for row in indices]
    corpora = [corpus if name is None else _snake_case(name) for name in unified["corpus"]]
    emotions = [emotion_of[word] for word in unified["emotion"]]
    unified |= {
        "corpus": corpora,
        "utterance_id": [
            f"{name}/{SUFFIX.sub('', str(one))}" for name, one in zip(corpora, unified["utterance_id"], strict=True)
        ],
        "speaker": [
            None if one is None else f"{name}-{one}" for name, one in zip(corpora, unified["speaker"], strict=True)
        ],
        "gender": [None if one is None else one.lower() for one in unified["gender"]],
        "native_label": unified["emotion"],
        "emotion": emotions,
        "label": [classes[emotion] for emotion in emotions],
        "label_source": [one or "given" for one in unified["label_source"]],
        "audio": paths,
    }
    return unified


def _refuse_doubles(facts: Dataset, source: str | os.PathLike) -> None:
    from pyarrow import compute

    identities = facts.data.column("utterance_id")
    counts = identities.value_counts()
    if len(counts) < len(identities):
        twice = counts.filter(compute.greater(counts.field("counts"), 1)).field("values")[0]
        raise CorpusError(
            f"{len(identities) - len(counts)} utterance ids of {source} occur twice, such as {twice}: use another "
            "column for utterance_id, or leave it out"
        )


def _snake_case(name: str) -> str:
    """Return a name as protocols spell it.

    >>> _snake_case("CREMA-D"), _snake_case("nEMO")
    ('crema_d', 'nemo')
    """
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def _text(value: object) -> str | None:
    """Return a value as text; an empty one is unknown, and so is NaN, which pandas writes for it."""
    return None if value is None or value != value or not str(value).strip() else str(value).strip()


def _number(text: str | None, column: str, own: str | None) -> float | None:
    try:
        number = None if text is None else float(text)
    except ValueError:
        raise CorpusError(
            f"column {own}: {text!r} is not a number, as {column} needs; leave it out with columns={{{column!r}: None}}"
        ) from None
    return int(number) if column == "age" and number is not None else number
