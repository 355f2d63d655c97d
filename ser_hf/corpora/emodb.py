"""EMO-DB, the Berlin Database of Emotional Speech: ten German actors, ten sentences, seven emotions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..sources.reading import Reading
from ..sources.spec import CorpusSpec, Download
from ..sources.utterance import CorpusError, Utterance

EMOTIONS = {
    "W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness", "N": "neutral",
}  # fmt: skip
AGES = {"03": 31, "08": 34, "09": 21, "10": 32, "11": 26, "12": 30, "13": 32, "14": 35, "15": 25, "16": 31}
WOMEN = {"08", "09", "13", "14", "16"}
# Ten sentences: a01 a02 a04 a05 a07, b01 b02 b03 b09 b10.
NAME = re.compile(
    r"(?P<speaker>0[389]|1[0-6])(?P<statement>a0[12457]|b0[1239]|b10)(?P<emotion>[WLEAFTN])(?P<version>[a-z])"
)


def read(reading: Reading) -> Iterator[Utterance]:
    if (found := len(reading.recordings("wav/*"))) > SPEC.utterances:
        raise CorpusError(
            f"{reading.root} has {found} recordings, but version 1 of EMO-DB has {SPEC.utterances}. Version 2 adds "
            "recordings with less than 80 % agreement, and its results cannot be compared. Keep those of version 1"
        )
    for path, match in reading.named(NAME, "wav/*", like="an EMO-DB file (SSTTTEV: speaker, text, emotion, version)"):
        speaker = match["speaker"]
        gender = "female" if speaker in WOMEN else "male"
        yield Utterance.from_name(path, match, EMOTIONS, gender=gender, age=AGES[speaker])


SPEC = CorpusSpec(
    name="emodb",
    read=read,
    title="Berlin Database of Emotional Speech (EMO-DB)",
    scheme="emodb7",
    language="de",
    own_speakers=True,
    license="see source (free, with a request to cite)",
    source="http://emodb.bilderbar.info (Burkhardt et al. 2005, Interspeech)",
    version="1",
    utterances=535,
    speakers={"03": 49, "08": 58, "09": 43, "10": 38, "11": 55, "12": 35, "13": 61, "14": 69, "15": 56, "16": 71},
    emotions_per_speaker={
        "anger": (14, 12, 13, 10, 11, 12, 12, 16, 13, 14),
        "boredom": (5, 10, 4, 8, 8, 5, 10, 8, 9, 14),
        "disgust": (1, 0, 8, 1, 2, 2, 8, 8, 5, 11),
        "fear": (4, 6, 1, 8, 10, 6, 7, 12, 8, 7),
        "happiness": (7, 11, 4, 4, 8, 2, 10, 8, 6, 11),
        "neutral": (11, 10, 9, 4, 9, 4, 9, 7, 11, 5),
        "sadness": (7, 9, 4, 3, 7, 4, 5, 10, 4, 9),
    },
    folds={"pairs5": (("03", "08"), ("10", "09"), ("11", "13"), ("12", "14"), ("15", "16"))},
    notes={"pairs5": "five folds of a man and a woman each; the quick alternative to loso"},
    downloads=(
        Download("http://emodb.bilderbar.info/download/download.zip", file="download.zip", size=40_567_066),
    ),
    examples=(
        "wav/03a01Fa.wav", "wav/03a01Nc.wav", "wav/08b09Wc.wav", "wav/16b10Tb.wav", "wav/11a05Ld.wav",
        "wav/13b03Ed.wav", "wav/10a04Ad.wav",
    ),
)  # fmt: skip
