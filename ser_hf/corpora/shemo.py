"""ShEMO: 87 Persian speakers in radio plays, six emotions by majority of twelve raters.

The paper counts 3000 utterances; EmoBox found 2838 usable, with 29 of fear, a class that the scheme `esd5` leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import Utterance

EMOTIONS = {"A": "anger", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness", "W": "surprise"}
SPEAKERS = [f"F{n:02d}" for n in range(1, 32)] + [f"M{n:02d}" for n in range(1, 57)]
NAME = re.compile(rf"(?P<speaker>(?={'|'.join(SPEAKERS)})(?P<sex>[FM])\d\d)(?P<emotion>[AFHNSW])\d\d")


def read(reading: Reading) -> Iterator[Utterance]:
    like = "a ShEMO file (sex, speaker, emotion, number: F01A01)"
    for path, match in reading.named(NAME, "*male/*", like=like):
        yield Utterance.from_name(path, match, EMOTIONS, label_source="perceived")


SPEC = CorpusSpec(
    name="shemo",
    read=read,
    title="Sharif Emotional Speech Database (ShEMO)",
    scheme="nemo6",
    language="fa",
    license="research only",
    source="https://github.com/mansourehk/ShEMO (Mohamad Nezami et al. 2019, doi:10.1007/s10579-018-9427-x)",
    utterances=3000,
    speakers=dict.fromkeys(SPEAKERS),
    access="The archive in https://github.com/mansourehk/ShEMO is broken; take the links of "
    "https://github.com/pariajm/sharif-emotional-speech-dataset (research only) and pass the folder "
    "that holds female and male.",
    examples=(
        "female/F01A18.wav", "female/F05S01.wav", "female/F21W10.wav", "female/F31F01.wav", "male/M12N08.wav",
        "male/M36S02.wav", "male/M56H01.wav",
    ),
)  # fmt: skip
