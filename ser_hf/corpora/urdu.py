"""URDU: 29 speakers of talk shows, four emotions, a hundred clips each; most speakers show one or two."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..sources.spec import CorpusError, CorpusSpec, Utterance, audio_files

EMOTIONS = {"A": "anger", "H": "happiness", "N": "neutral", "S": "sadness"}
NAME = re.compile(r"(?P<speaker>S(?P<sex>[FM])\d+)_F\d+_(?P<emotion>[AHNS])\d+")


def read(root: Path) -> Iterator[Utterance]:
    for path in audio_files(root, "*/*"):
        match = NAME.fullmatch(path.stem)
        if match is None or match["speaker"] not in SPEC.speakers:
            raise CorpusError(f"{path} is not named like an URDU file (speaker_file_emotion, as SM20_F8_N012)")
        yield Utterance(
            path,
            emotion=EMOTIONS[match["emotion"]],
            native_label=match["emotion"],
            speaker=match["speaker"],
            gender={"F": "female", "M": "male"}[match["sex"]],
            language="ur",
            label_source="perceived",
        )


SPEC = CorpusSpec(
    name="urdu",
    read=read,
    title="URDU-Dataset: emotions in Urdu talk shows",
    scheme="four",
    language="ur",
    license="see source",
    source="https://github.com/siddiquelatif/URDU-Dataset (Latif et al. 2018, arXiv:1812.10411)",
    utterances=400,
    speakers={
        "SF1": 12, "SF2": 2, "SF3": 2, "SF4": 4, "SF5": 4, "SF6": 14, "SF7": 6, "SF8": 2, "SF9": 4, "SF10": 2,
        "SF11": 4, "SM1": 22, "SM2": 28, "SM3": 12, "SM4": 48, "SM5": 80, "SM6": 14, "SM7": 28, "SM17": 2, "SM18": 2,
        "SM19": 2, "SM20": 10, "SM21": 4, "SM22": 2, "SM23": 6, "SM24": 38, "SM25": 40, "SM26": 2, "SM27": 4,
    },
    access="Clone https://github.com/siddiquelatif/URDU-Dataset and pass the folder that holds Angry, Happy, "
    "Neutral and Sad.",
    examples=(
        "Angry/SM1_F1_A01.wav", "Angry/SM4_F48_A0100.wav", "Happy/SF1_F3_H03.wav", "Happy/SM7_F5_H077.wav",
        "Neutral/SM20_F8_N012.wav", "Neutral/SF9_F1_N01.wav", "Sad/SM25_F29_S079.wav", "Sad/SF11_F3_S05.wav",
    ),
)  # fmt: skip
