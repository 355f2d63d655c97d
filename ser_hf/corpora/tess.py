"""TESS: two Canadian actresses say 200 words in a carrier phrase, in seven emotions. Recorded at 24,414 Hz."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import Utterance

EMOTIONS = {
    "angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness", "neutral": "neutral",
    "ps": "surprise", "sad": "sadness",
}  # fmt: skip
AGES = {"OAF": 64, "YAF": 26}
# The release itself has one file called OA_bite_neutral, and mixes the cases of its folders.
NAME = re.compile(
    r"(?P<actress>[OY])AF?_(?P<word>[a-z]+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad)", re.IGNORECASE
)


def read(reading: Reading) -> Iterator[Utterance]:
    for path, match in reading.named(NAME, "*/*", "*", like="a TESS file (OAF_word_emotion or YAF_word_emotion)"):
        actress, emotion = f"{match['actress'].upper()}AF", match["emotion"].lower()
        yield Utterance(
            path,
            emotion=EMOTIONS[emotion],
            native_label=emotion,
            speaker=actress,
            gender="female",
            age=AGES[actress],
            statement=match["word"].lower(),
        )


SPEC = CorpusSpec(
    name="tess",
    read=read,
    title="Toronto Emotional Speech Set (TESS)",
    scheme="seven",
    language="en",
    own_speakers=True,
    license="see source (listed as CC-BY-NC-ND-4.0)",
    source="https://doi.org/10.5683/SP2/E8H2MF (Pichora-Fuller & Dupuis 2020, doi:10.5683/SP2/E8H2MF)",
    utterances=2800,
    speakers={"OAF": 1400, "YAF": 1400},
    emotions_per_speaker=dict.fromkeys(
        ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), 200
    ),
    folds={"actress2": (("OAF",), ("YAF",))},
    notes={
        "actress2": "one actress is in the test part, the other in the training part, and there is no third one to "
        "validate on; a random division of TESS gives results near 100 % and is meaningless"
    },
    access="Download the recordings from the page of the University of Toronto, "
    "https://doi.org/10.5683/SP2/E8H2MF; pass the folder that holds the folders OAF_angry, YAF_angry "
    "and so on.",
    misnamed={"OA_bite_neutral": "OAF_bite_neutral"},
    examples=(
        "OAF_angry/OAF_back_angry.wav", "OAF_Fear/OAF_food_fear.wav", "OAF_Pleasant_surprise/OAF_bath_ps.wav",
        "OAF_neutral/OA_bite_neutral.wav", "YAF_pleasant_surprised/YAF_bath_ps.wav", "YAF_sad/YAF_beg_sad.wav",
        "YAF_happy/YAF_bath_happy.wav", "YAF_disgust/YAF_bath_disgust.wav",
    ),
)  # fmt: skip
