"""RAVDESS, the speech part: 24 North American actors, two sentences, eight emotions in two intensities."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..sources.reading import Reading
from ..sources.spec import CorpusSpec, Download
from ..sources.utterance import Utterance

EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happiness", "04": "sadness",
    "05": "anger", "06": "fear", "07": "disgust", "08": "surprise",
}  # fmt: skip
INTENSITIES = {"01": "normal", "02": "strong"}
# Neutral speech has no strong intensity.
NAME = re.compile(
    r"03-01-(?!01-02)(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<statement>0[12])-(?P<repetition>0[12])"
    r"-(?P<speaker>0[1-9]|1\d|2[0-4])"
)


def read(reading: Reading) -> Iterator[Utterance]:
    like = (
        "a RAVDESS speech file (03-01-EE-II-SS-RR-AA): songs (03-02) and videos (01, 02) are other recordings of the "
        "same performances; move them out of the folder"
    )
    for path, match in reading.named(NAME, "Actor_*/*", like=like):
        gender = "female" if int(match["speaker"]) % 2 == 0 else "male"
        intensity = INTENSITIES[match["intensity"]]
        yield Utterance.from_name(path, match, EMOTIONS, gender=gender, intensity=intensity)


SPEC = CorpusSpec(
    name="ravdess",
    read=read,
    title="Ryerson Audio-Visual Database of Emotional Speech and Song, speech part",
    scheme="ravdess8",
    language="en",
    own_speakers=True,
    license="CC-BY-NC-SA-4.0",
    source="https://zenodo.org/records/1188976 (Livingstone & Russo 2018, doi:10.1371/journal.pone.0196391)",
    version="1.0.0",
    utterances=1440,
    speakers={f"{actor:02d}": 60 for actor in range(1, 25)},
    emotions_per_speaker={
        "neutral": 4, "calm": 8, "happiness": 8, "sadness": 8, "anger": 8, "fear": 8, "disgust": 8, "surprise": 8,
    },
    folds={
        "si6": tuple(tuple(f"{first + step:02d}" for step in range(4)) for first in range(1, 25, 4)),
        "emobox": (
            ("01", "11", "20", "21"), ("04", "10", "12", "14"), ("08", "09", "19", "23"),
            ("03", "05", "07", "24"), ("02", "15", "16", "18"), ("06", "13", "17", "22"),
        ),
    },
    notes={
        "si6": "six folds of four consecutive actors, two women and two men each",
        "emobox": "the folds of EmoBox (arXiv:2406.07162): speaker-independent, but not balanced by sex: "
        "fold 1 is all women, fold 0 has three men and a woman",
    },
    downloads=(
        Download(
            "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
            file="Audio_Speech_Actors_01-24.zip",
            size=208_468_073,
            checksum="md5:bc696df654c87fed845eb13823edef8a",
        ),
    ),
    examples=(
        "Actor_01/03-01-01-01-01-01-01.wav", "Actor_01/03-01-05-02-02-02-01.wav", "Actor_02/03-01-08-02-02-02-02.wav",
        "Actor_02/03-01-02-01-01-01-02.wav", "Actor_23/03-01-03-02-01-02-23.wav", "Actor_24/03-01-07-01-02-01-24.wav",
    ),
)  # fmt: skip
