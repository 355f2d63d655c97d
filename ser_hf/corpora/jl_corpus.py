"""JL-Corpus: four speakers of New Zealand English, fifteen sentences, five primary and five secondary emotions.

The scheme `jl5` keeps the primary ones: anger, excitement, happiness, neutral, sadness.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import Utterance

PRIMARY = {
    "angry": "anger", "excited": "excitement", "happy": "happiness", "neutral": "neutral", "sad": "sadness",
}  # fmt: skip
SECONDARY = {
    "anxious": "anxiety", "apologetic": "apology", "assertive": "assertiveness", "concerned": "concern",
    "encouraging": "encouragement",
}  # fmt: skip
EMOTIONS = PRIMARY | SECONDARY
NEW_EMOTIONS = ("anxiety", "apology", "assertiveness", "concern", "encouragement")
SCHEMES = {
    "jl5": ("anger", "excitement", "happiness", "neutral", "sadness"),
    "jl10": (
        "anger", "anxiety", "apology", "assertiveness", "concern", "encouragement", "excitement", "happiness",
        "neutral", "sadness",
    ),
}  # fmt: skip
NAME = re.compile(
    rf"(?P<speaker>(?P<sex>female|male)[12])_(?P<emotion>{'|'.join(EMOTIONS)})_(?P<statement>\d+)[ab]_[12]"
)


def read(reading: Reading) -> Iterator[Utterance]:
    like = "a JL-Corpus file (speaker_emotion_sentence_take)"
    # The root is the unpacked archive, or the folder of the raw corpus in it.
    for path, match in reading.named(NAME, "*/JL(wav+txt)/*", "JL(wav+txt)/*", like=like):
        yield Utterance.from_name(path, match, EMOTIONS)


SPEC = CorpusSpec(
    name="jl_corpus",
    read=read,
    title="JL-Corpus: an Open Source Emotional Speech Corpus of New Zealand English",
    scheme="jl10",
    language="en",
    own_speakers=True,
    license="see source (listed as ODC-By and as CC0)",
    source="https://www.kaggle.com/datasets/tli725/jl-corpus (James et al. 2018, doi:10.21437/Interspeech.2018-1349)",
    utterances=2400,
    speakers=dict.fromkeys(("female1", "female2", "male1", "male2"), 600),
    access="Download it from https://www.kaggle.com/datasets/tli725/jl-corpus (an account is needed); pass "
    "the folder that holds the folder of the raw corpus.",
    examples=(
        "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/female1_angry_10a_1.wav",
        "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/female2_anxious_1b_2.wav",
        "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/male1_apologetic_15a_1.wav",
        "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/male1_excited_3a_2.wav",
        "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/male2_concerned_6b_1.wav",
    ),
)
