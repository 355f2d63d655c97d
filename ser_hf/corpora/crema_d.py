"""CREMA-D: 91 American actors, twelve sentences, six emotions; labels are the *intended* ones of the file names."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from .base import CorpusError, CorpusSpec, Download, Utterance, audio_files

EMOTIONS = {
    "ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness",
}  # fmt: skip
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": None}
NAME = re.compile(
    r"(?P<actor>10[0-9]{2})_(?P<statement>IEO|TIE|IOM|IWW|TAI|MTI|IWL|ITH|DFA|ITS|TSI|WSI)"
    r"_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<level>LO|MD|HI|XX)"
)
REPOSITORY = "CheyneyComputerScience/CREMA-D"
COMMIT = "1658cd342dff90010aa843eaeebd53610a08b1dc"
FEWER = {"1002": 81, "1008": 76, "1009": 76, "1019": 76, "1076": 81}  # every other actor has 82


def read(root: Path) -> Iterator[Utterance]:
    people = _read_demographics(root)
    for path in audio_files(root, "AudioWAV/*"):
        match = NAME.fullmatch(path.stem)
        if match is None or match["actor"] not in people:
            raise CorpusError(f"{path} is not named like a CREMA-D file (actor_sentence_emotion_level)")
        sex, age = people[match["actor"]]
        yield Utterance(
            path,
            emotion=EMOTIONS[match["emotion"]],
            native_label=match["emotion"],
            speaker=match["actor"],
            gender=sex,
            age=age,
            language="en",
            statement=match["statement"],
            intensity=LEVELS[match["level"]],
        )


def _read_demographics(root: Path) -> dict[str, tuple[str, int]]:
    table = root / "VideoDemographics.csv"
    if not table.is_file():
        raise CorpusError(f"{table} is missing (sex and age of the actors): it lies beside AudioWAV/ in the release")
    with table.open(encoding="utf-8", newline="") as file:
        return {row["ActorID"]: (row["Sex"].lower(), int(row["Age"])) for row in csv.DictReader(file)}


def _consecutive(*bounds: tuple[int, int]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(str(actor) for actor in range(first, last + 1)) for first, last in bounds)


SPEC = CorpusSpec(
    name="crema_d",
    read=read,
    title="Crowd-sourced Emotional Multimodal Actors Dataset (CREMA-D), intended emotions",
    scheme="crema6",
    language="en",
    license="ODbL-1.0",
    source="https://github.com/CheyneyComputerScience/CREMA-D (Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244)",
    utterances=7442,
    speakers={str(actor): FEWER.get(str(actor), 82) for actor in range(1001, 1092)},
    excluded={"crema_d/AudioWAV/1076_MTI_SAD_XX": "silent recording"},
    folds={"si5": _consecutive((1001, 1018), (1019, 1036), (1037, 1054), (1055, 1072), (1073, 1091))},
    notes={"si5": "five folds of consecutive actors, those of EMO-SUPERB (arXiv:2402.13018)"},
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
        '1091,29,"Female","Asian","Not Hispanic"\n'
    },
)  # fmt: skip
