"""SAVEE: four British men, seven emotions, fifteen sentences each (thirty neutral)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import Utterance

EMOTIONS = {
    "a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "n": "neutral", "sa": "sadness", "su": "surprise",
}  # fmt: skip
NAME = re.compile(r"(?P<speaker>DC|JE|JK|KL)_(?P<emotion>sa|su|a|d|f|h|n)(?P<number>\d\d)")


def read(reading: Reading) -> Iterator[Utterance]:
    # The release has a folder per speaker (AudioData/DC/a01.wav), which may be passed as DC/a01.wav, too; copies on
    # data-sharing sites write DC_a01.wav.
    for path in reading.recordings("AudioData/*/*", "[DJK][CEKL]/*", "*"):
        name = path.stem if path.parent == reading.root else f"{path.parent.name}_{path.stem}"
        match = NAME.fullmatch(name)
        if match is None:
            reading.refuse(path, f"{path} does not have the name of a SAVEE file (AudioData/DC/a01 or DC_a01)")
            continue
        yield Utterance.from_name(path, match, EMOTIONS, gender="male")


SPEC = CorpusSpec(
    name="savee",
    read=read,
    title="Surrey Audio-Visual Expressed Emotion database (SAVEE)",
    scheme="seven",
    language="en",
    own_speakers=True,
    license="research only, registration",
    source="http://kahlan.eps.surrey.ac.uk/savee (Haq & Jackson 2009, AVSP)",
    utterances=480,
    speakers=dict.fromkeys(("DC", "JE", "JK", "KL"), 120),
    emotions_per_speaker={
        "neutral": 30, "anger": 15, "disgust": 15, "fear": 15, "happiness": 15, "sadness": 15, "surprise": 15,
    },
    folds={"emobox": (("JE",), ("KL",), ("DC",), ("JK",))},
    notes={
        "emobox": "the folds of EmoBox (arXiv:2406.07162): leave one speaker out, validation is the next in this order"
    },
    access="Register at http://kahlan.eps.surrey.ac.uk/savee (research only); pass the folder that holds "
    "AudioData.",
    examples=(
        "AudioData/DC/a01.wav", "AudioData/DC/sa01.wav", "AudioData/JE/su15.wav", "AudioData/JE/d03.wav",
        "AudioData/JK/n30.wav", "AudioData/JK/f07.wav", "AudioData/KL/h02.wav",
    ),
)  # fmt: skip
