"""EMOVO: six Italian actors, fourteen sentences, seven emotions. Some recordings are stereo."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import Utterance

EMOTIONS = {
    "dis": "disgust", "gio": "happiness", "neu": "neutral", "pau": "fear", "rab": "anger", "sor": "surprise",
    "tri": "sadness",
}  # fmt: skip
NAME = re.compile(
    r"(?P<emotion>dis|gio|neu|pau|rab|sor|tri)-(?P<speaker>(?P<sex>[fm])[123])-(?P<statement>b[1-3]|d[12]|l[1-4]|n[1-5])"
)


def read(reading: Reading) -> Iterator[Utterance]:
    for path, match in reading.named(NAME, "[fm][123]/*", like="an EMOVO file (emotion-speaker-sentence)"):
        yield Utterance.from_name(path, match, EMOTIONS)


SPEC = CorpusSpec(
    name="emovo",
    read=read,
    title="EMOVO: an Italian Emotional Speech Database",
    scheme="seven",
    language="it",
    own_speakers=True,
    license="see source",
    source="http://voice.fub.it/activities/corpora/emovo (Costantini et al. 2014, LREC)",
    utterances=588,
    speakers=dict.fromkeys(("f1", "f2", "f3", "m1", "m2", "m3"), 98),
    emotions_per_speaker=dict.fromkeys(("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"), 14),
    access="Download it from http://voice.fub.it/activities/corpora/emovo; pass the folder that holds f1 to "
    "m3.",
    examples=(
        "f1/gio-f1-b1.wav", "f1/dis-f1-n5.wav", "f2/rab-f2-l4.wav", "f3/sor-f3-d2.wav", "m1/neu-m1-b3.wav",
        "m2/pau-m2-n1.wav", "m3/tri-m3-l1.wav",
    ),
)  # fmt: skip
