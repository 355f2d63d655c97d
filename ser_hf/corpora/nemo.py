"""nEMO: nine Polish actors, ninety sentences, six emotions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..sources.folders import files_below
from ..sources.label_files import table_rows
from ..sources.reading import Reading
from ..sources.spec import CorpusSpec, Download
from ..sources.utterance import Utterance, WrongFolderError

EMOTIONS = {
    "anger": "anger", "fear": "fear", "happiness": "happiness", "neutral": "neutral", "sadness": "sadness",
    "surprised": "surprise",
}  # fmt: skip
COMMIT = "66de9999a8f2f605eb5f64841790aa5cb0877782"  # of the official repository, whose recordings are plain files
# The release writes some cells with leading spaces.
COLUMNS = dict.fromkeys(("file_id", "emotion", "speaker_id", "gender"), str.strip) | {"age": int}
NAME = re.compile(rf"(?P<speaker>[A-Z]{{2}}\d)_(?P<emotion>{'|'.join(EMOTIONS)})_(?P<statement>\d+)")


def read(reading: Reading) -> Iterator[Utterance]:
    rows = _read_table(reading.root)
    for path, match in reading.named(NAME, "samples/*", like="a nEMO file (speaker_emotion_sentence)"):
        row = rows.get(path.stem)
        if row is None:
            way_out = "use data.tsv and samples/ of the same release"
            reading.unlabelled(path, f"{path} is in no table of {reading.root}: {way_out}")
            continue
        yield Utterance.from_name(path, match, EMOTIONS, gender=row["gender"], age=row["age"])


def _read_table(root: Path) -> dict[str, dict]:
    """Return the rows of `data.tsv` (or of the table of a published part, `data_*.tsv`), by file stem."""
    tables = files_below(root, "data.tsv") or files_below(root, "data_*.tsv")
    if len(tables) != 1:
        raise WrongFolderError(f"found {len(tables)} tables under {root}", "there must be one data.tsv beside samples/")
    return {Path(row["file_id"]).stem: row for row in table_rows(tables[0], COLUMNS, delimiter="\t")}


def _facts(root: Path) -> dict[str, dict[str, str]]:
    return {
        name: {"speaker": row["speaker_id"], "native_label": row["emotion"]} for name, row in _read_table(root).items()
    }


SPEC = CorpusSpec(
    name="nemo",
    read=read,
    title="nEMO: Dataset of Emotional Speech in Polish",
    scheme="nemo6",
    language="pl",
    own_speakers=True,
    license="CC-BY-NC-SA-4.0",
    source="https://github.com/amu-cai/nEMO (Christop 2024, LREC-COLING)",
    version="1",
    utterances=4481,
    # The rows of each speaker in data.tsv.
    speakers={
        "EB0": 539, "IC0": 540, "KD0": 540, "KS0": 540, "MK0": 450, "MP0": 256, "SM0": 538, "TP0": 539, "WR0": 539,
    },
    tables=_facts,
    downloads=(
        Download(
            f"https://github.com/amu-cai/nEMO/archive/{COMMIT}.zip", file=f"nEMO-{COMMIT}.zip", top=f"nEMO-{COMMIT}"
        ),
    ),
    examples=(
        "samples/EB0_neutral_13.wav", "samples/WR0_happiness_86.wav", "samples/IC0_surprised_2.wav",
        "samples/MP0_anger_40.wav", "samples/TP0_sadness_5.wav", "samples/KD0_fear_61.wav",
    ),
    example_texts={
        "data.tsv": "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage\n"
        "EB0_neutral_13.wav\tneutral\t\t\t        EB0\tfemale\t27\n"
        "WR0_happiness_86.wav\thappiness\t\t\t        WR0\tmale\t23\n"
        "IC0_surprised_2.wav\tsurprised\t\t\t        IC0\tfemale\t28\n"
        "MP0_anger_40.wav\tanger\t\t\t        MP0\tmale\t24\n"
        "TP0_sadness_5.wav\tsadness\t\t\t        TP0\tmale\t26\n"
        "KD0_fear_61.wav\tfear\t\t\t        KD0\tfemale\t28\n"
    },
)  # fmt: skip
