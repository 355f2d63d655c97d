"""CREMA-D: 91 American actors, twelve sentences, six emotions, with intended and perceived labels.

Raters judged the voice alone, the face alone, and both together; each kind is a label source of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..sources.label_files import table_rows
from ..sources.reading import Reading
from ..sources.spec import CorpusSpec, Download
from ..sources.utterance import CorpusError, Utterance

EMOTIONS = {
    "ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness",
}  # fmt: skip
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": None}
NAME = re.compile(
    r"(?P<speaker>10[0-9]{2})_(?P<statement>IEO|TIE|IOM|IWW|TAI|MTI|IWL|ITH|DFA|ITS|TSI|WSI)"
    r"_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<level>LO|MD|HI|XX)"
)
MISNAMED = {"1040_ITH_SAD_X": "1040_ITH_SAD_XX"}  # in clones from before October 2022; the tables always had its name
DEMOGRAPHICS = "VideoDemographics.csv"
REPOSITORY = "CheyneyComputerScience/CREMA-D"
COMMIT = "1658cd342dff90010aa843eaeebd53610a08b1dc"
FEWER = {"1002": 81, "1008": 76, "1009": 76, "1019": 76, "1076": 81}  # every other actor has 82

VOTES = {"A": "anger", "D": "disgust", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness"}
# The column of summaryTable.csv with the winner, and the first digit of a row's number in tabulatedVotes.csv.
MODALITIES = {"voice": ("VoiceVote", "1"), "face": ("FaceVote", "2"), "multimodal": ("MultiModalVote", "3")}


def read(reading: Reading) -> Iterator[Utterance]:
    recordings, source = reading.recordings("AudioWAV/*"), reading.label_source
    people = _read_demographics(reading)
    perceived = {} if source == "intended" else _read_winners(reading.root, source)
    votes = {} if source == "intended" else _read_votes(reading.root, source)
    for path in recordings:
        name = MISNAMED.get(path.stem, path.stem)
        match = NAME.fullmatch(name)
        if match is None or match["speaker"] not in (people or SPEC.speakers):
            reading.refuse(path, f"{path} does not have the name of a CREMA-D file (actor_sentence_emotion_level)")
            continue
        facts = {"label_source": "intended"}
        if source != "intended":
            if name not in perceived:
                reading.unlabelled(path, f"{path} has no row in summaryTable.csv, so it has no rating: remove it")
                continue
            winner = perceived[name]  # a tie, such as A:D, is no single emotion
            facts = {"emotion": VOTES.get(winner, "other"), "native_label": winner, "votes": votes.get(name)}
            facts["label_source"] = f"perceived ({source})"
        sex, age = people.get(match["speaker"], (None, None))
        yield Utterance.from_name(path, match, EMOTIONS, gender=sex, age=age, intensity=LEVELS[match["level"]], **facts)


def _table(root: Path, name: str) -> Path:
    """Return the path of a table of ratings: in `processedResults/`, as in the release, or directly under the root."""
    below = root / "processedResults" / name
    return below if below.is_file() else root / name


def _read_winners(root: Path, modality: str) -> dict[str, str]:
    table = _table(root, "summaryTable.csv")
    if not table.is_file():
        raise CorpusError(
            f"{table} is missing (the perceived labels): copy it from processedResults/ of the release, or use the "
            "intended labels"
        )
    column, _ = MODALITIES[modality]
    return {row["FileName"]: row[column] for row in table_rows(table, {"FileName": str, column: str})}


def _read_votes(root: Path, modality: str) -> dict[str, dict[str, float]]:
    """Return raters per emotion of each clip; empty without the table, which many copies of the corpus lack."""
    table = _table(root, "tabulatedVotes.csv")
    if not table.is_file():
        return {}
    _, digit = MODALITIES[modality]
    return {
        row["fileName"]: {emotion: row[letter] for letter, emotion in VOTES.items() if row[letter]}
        for row in table_rows(table, {"": str, "fileName": str, **dict.fromkeys(VOTES, float)})
        if row[""].startswith(digit)
    }


def _read_demographics(reading: Reading) -> dict[str, tuple[str, int]]:
    """Return sex and age of each actor; empty without the table, which copies on data-sharing sites lack."""
    if (absent := _no_demographics(reading.root)) is not None:
        reading.tell(absent)
        return {}
    rows = table_rows(reading.root / DEMOGRAPHICS, {"ActorID": str, "Sex": str.lower, "Age": int})
    return {row["ActorID"]: (row["Sex"], row["Age"]) for row in rows}


def _no_demographics(root: Path) -> str | None:
    """Return a sentence about the missing table of actors; None if it is there."""
    table = root / DEMOGRAPHICS
    return None if table.is_file() else f"{table} is missing, so gender and age are unknown: copy it from the release"


def _facts(root: Path) -> dict[str, dict[str, str]]:
    """Return the speaker of each rated clip; empty without the table, which the intended labels do not need."""
    if (absent := _no_demographics(root)) is not None:
        raise CorpusError(absent)
    if not _table(root, "summaryTable.csv").is_file():
        return {}
    return {name: {"speaker": name.split("_")[0]} for name in _read_winners(root, "voice")}


def _consecutive(*bounds: tuple[int, int]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(str(actor) for actor in range(first, last + 1)) for first, last in bounds)


SPEC = CorpusSpec(
    name="crema_d",
    read=read,
    title="Crowd-sourced Emotional Multimodal Actors Dataset (CREMA-D)",
    scheme="crema6",
    language="en",
    own_speakers=True,
    license="ODbL-1.0",
    source="https://github.com/CheyneyComputerScience/CREMA-D (Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244)",
    utterances=7442,
    speakers={str(actor): FEWER.get(str(actor), 82) for actor in range(1001, 1092)},
    excluded={"crema_d/AudioWAV/1076_MTI_SAD_XX": "silent recording"},
    label_sources=("intended", *MODALITIES),
    folds={"si5": _consecutive((1001, 1018), (1019, 1036), (1037, 1054), (1055, 1072), (1073, 1091))},
    notes={"si5": "five folds of consecutive actors, those of EMO-SUPERB (arXiv:2402.13018)"},
    tables=_facts,
    misnamed=MISNAMED,
    beside=("AudioMP3/*",),
    downloads=(
        Download(
            f"https://github.com/{REPOSITORY}/archive/{COMMIT}.zip",
            file=f"CREMA-D-{COMMIT}.zip",
            top=f"CREMA-D-{COMMIT}",
            pointers="AudioWAV/*.wav",  # 605,899,936 bytes; the pointers to MP3 and video stay pointers
            media=f"https://media.githubusercontent.com/media/{REPOSITORY}/{COMMIT}/",
        ),
    ),
    examples=(
        "AudioWAV/1001_IEO_NEU_XX.wav", "AudioWAV/1001_IEO_HAP_LO.wav", "AudioWAV/1002_DFA_ANG_XX.wav",
        "AudioWAV/1002_WSI_DIS_XX.wav", "AudioWAV/1091_IEO_SAD_HI.wav", "AudioWAV/1091_TIE_FEA_XX.wav",
    ),
    example_texts={
        "VideoDemographics.csv": '"ActorID","Age","Sex","Race","Ethnicity"\n'
        '1001,51,"Male","Caucasian","Not Hispanic"\n1002,21,"Female","Caucasian","Not Hispanic"\n'
        '1091,29,"Female","Asian","Not Hispanic"\n',
        "processedResults/summaryTable.csv": '"","FileName","VoiceVote","FaceVote","MultiModalVote"\n'
        '"1","1001_IEO_NEU_XX","N","N","N"\n"2","1001_IEO_HAP_LO","N","H","H"\n'
        '"3","1002_DFA_ANG_XX","A:D","A","A"\n"4","1002_WSI_DIS_XX","D","D","D:S"\n'
        '"5","1091_IEO_SAD_HI","S","S","S"\n"6","1091_TIE_FEA_XX","F:N","F","F"\n',
        "processedResults/tabulatedVotes.csv": '"","A","D","F","H","N","S","fileName","numResponses"\n'
        '"100001",0,0,0,1,10,0,"1001_IEO_NEU_XX",11\n"100002",0,0,0,3,6,0,"1001_IEO_HAP_LO",9\n'
        '"100144",4,4,0,0,2,0,"1002_DFA_ANG_XX",10\n"200002",0,0,0,9,1,0,"1001_IEO_HAP_LO",10\n'
        '"300002",0,0,0,7,2,0,"1001_IEO_HAP_LO",9\n',
    },
)  # fmt: skip
