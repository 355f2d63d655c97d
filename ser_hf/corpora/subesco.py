"""SUBESCO: twenty Bangla actors, ten sentences in five takes, seven emotions. 44.1 and 48 kHz are mixed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import Utterance

EMOTIONS = {
    "ANGRY": "anger", "DISGUST": "disgust", "FEAR": "fear", "HAPPY": "happiness", "NEUTRAL": "neutral",
    "SAD": "sadness", "SURPRISE": "surprise",
}  # fmt: skip
NAME = re.compile(
    r"(?P<speaker>(?P<sex>[FM])_(?:0[1-9]|10))_[A-Z]+_S_(?P<statement>[1-9]|10)"
    r"_(?P<emotion>ANGRY|DISGUST|FEAR|HAPPY|NEUTRAL|SAD|SURPRISE)_[1-5]"
    r"\]?"  # the release has one file called F_02_MONIKA_S_2_SURPRISE_3].wav
)


def read(reading: Reading) -> Iterator[Utterance]:
    for path, match in reading.named(NAME, "*", like="a SUBESCO file (sex_number_name_S_sentence_emotion_take)"):
        yield Utterance.from_name(path, match, EMOTIONS)


SPEC = CorpusSpec(
    name="subesco",
    read=read,
    title="SUST Bangla Emotional Speech Corpus (SUBESCO)",
    scheme="seven",
    language="bn",
    own_speakers=True,
    license="CC-BY-4.0",
    source="https://zenodo.org/records/4526477 (Sultana et al. 2021, doi:10.1371/journal.pone.0250173)",
    utterances=7000,
    speakers={f"{sex}_{number:02d}": 350 for sex in "FM" for number in range(1, 11)},
    emotions_per_speaker=dict.fromkeys(("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), 50),
    folds={
        "emobox": (
            ("F_03", "M_03", "M_08", "M_09"), ("F_01", "F_04", "F_10", "M_07"), ("F_06", "F_08", "M_05", "M_06"),
            ("F_05", "F_07", "F_09", "M_04"), ("F_02", "M_01", "M_02", "M_10"),
        ),
    },
    notes={
        "emobox": "the folds of EmoBox (arXiv:2406.07162): speaker-independent, but only one of them is balanced by sex"
    },
    access="Download the archive from https://zenodo.org/records/4526477; pass the folder that holds the "
    "recordings.",
    misnamed={"F_02_MONIKA_S_2_SURPRISE_3]": "F_02_MONIKA_S_2_SURPRISE_3"},
    examples=(
        "F_01_OISHI_S_10_ANGRY_1.wav", "F_02_MONIKA_S_2_SURPRISE_3].wav", "F_02_MONIKA_S_1_ANGRY_5.wav",
        "M_03_ILIAS_S_5_SAD_4.wav", "M_09_SHUMANTA_S_2_FEAR_2.wav", "F_10_FAHMEE_S_7_HAPPY_5.wav",
        "M_07_SIBLY_S_8_NEUTRAL_3.wav", "F_05_MOUNI_S_3_DISGUST_1.wav",
    ),
)  # fmt: skip
