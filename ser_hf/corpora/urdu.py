"""URDU: 29 speakers of talk shows, four emotions, a hundred clips each.

26 of the 29 speakers have one emotion only, so a voice tells the emotion: divide by speaker, and expect folds in which
an emotion is rare or absent. The README of the release has 38 speakers; the file names have 29.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import Utterance

EMOTIONS = {"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"}
SPEAKERS = {
    "SF1": 12, "SF2": 2, "SF3": 2, "SF4": 4, "SF5": 4, "SF6": 14, "SF7": 6, "SF8": 2, "SF9": 4, "SF10": 2,
    "SF11": 4, "SM1": 22, "SM2": 28, "SM3": 12, "SM4": 48, "SM5": 80, "SM6": 14, "SM7": 28, "SM17": 2, "SM18": 2,
    "SM19": 2, "SM20": 10, "SM21": 4, "SM22": 2, "SM23": 6, "SM24": 38, "SM25": 40, "SM26": 2, "SM27": 4,
}  # fmt: skip
NAME = re.compile(rf"(?P<speaker>(?=(?:{'|'.join(SPEAKERS)})_)S(?P<sex>[FM])\d+)_F\d+_(?P<emotion>[AHNS])\d+")


def read(reading: Reading) -> Iterator[Utterance]:
    for path, match in reading.named(NAME, "*/*", like="an URDU file (speaker_file_emotion, as SM20_F8_N012)"):
        yield Utterance.from_name(path, match, EMOTIONS, label_source="perceived")


SPEC = CorpusSpec(
    name="urdu",
    read=read,
    title="URDU-Dataset: emotions in Urdu talk shows",
    scheme="four",
    language="ur",
    license="see source",
    source="https://github.com/siddiquelatif/URDU-Dataset (Latif et al. 2018, arXiv:1812.10411)",
    utterances=400,
    speakers=SPEAKERS,
    access="Clone https://github.com/siddiquelatif/URDU-Dataset and pass the folder that holds Angry, Happy, "
    "Neutral and Sad.",
    examples=(
        "Angry/SM1_F1_A01.wav", "Angry/SM4_F48_A0100.wav", "Happy/SF1_F3_H03.wav", "Happy/SM7_F5_H077.wav",
        "Neutral/SM20_F8_N012.wav", "Neutral/SF9_F1_N01.wav", "Sad/SM25_F29_S079.wav", "Sad/SF11_F3_S05.wav",
    ),
)  # fmt: skip
