"""ESD: ten speakers of Mandarin and ten of English say 350 sentences each, in five emotions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import Utterance

EMOTIONS = {
    "Angry": "anger", "Happy": "happiness", "Neutral": "neutral", "Sad": "sadness", "Surprise": "surprise",
}  # fmt: skip
MEN = {"0004", "0005", "0006", "0008", "0010", "0011", "0012", "0013", "0014", "0020"}
SENTENCES = 350
# 000001 to 000350 are neutral, 000351 to 000700 angry and so on, as in the lists of EmoBox (arXiv:2406.07162).
ORDER = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
PARTS = ("train", "evaluation", "test")
NAME = re.compile(r"(?P<speaker>00(?:0[1-9]|1\d|20))_(?P<number>\d{6})")


def read(reading: Reading) -> Iterator[Utterance]:
    # The first release has folders train, evaluation and test in every emotion; later ones do not.
    for path in reading.recordings("00*/*/*/*", "00*/*/*"):
        match = NAME.fullmatch(path.stem)
        speaker, emotion, *part = path.relative_to(reading.root).parts[:-1]
        if match is None or emotion not in EMOTIONS or not set(part) <= set(PARTS):
            form = "speaker/emotion/speaker_number, or with train, evaluation or test between"
            reading.refuse(path, f"{path} does not have the place of an ESD file ({form})")
            continue
        said = (match["speaker"], ORDER[(int(match["number"]) - 1) // SENTENCES % len(ORDER)])
        if said != (speaker, emotion):
            reading.refuse(
                path, f"{path} is in the folder of {speaker}, {emotion}, but its name says {', '.join(said)}"
            )
            continue
        language = "zh" if int(match["speaker"]) <= 10 else "en"
        # The same sentences in the same order in every emotion, numbered on from one emotion to the next.
        sentence = (int(match["number"]) - 1) % SENTENCES + 1
        yield Utterance(
            path,
            emotion=EMOTIONS[emotion],
            native_label=emotion,
            speaker=match["speaker"],
            gender="male" if match["speaker"] in MEN else "female",
            language=language,
            statement=f"{language}{sentence:03d}",
            part=part[0] if part else None,
        )


SPEC = CorpusSpec(
    name="esd",
    read=read,
    title="Emotional Speech Database (ESD)",
    scheme="esd5",
    language=None,
    own_speakers=True,
    license="research only, signed licence",
    source="https://github.com/HLTSingapore/Emotional-Speech-Data (Zhou et al. 2022, doi:10.1016/j.specom.2021.11.006)",
    utterances=35_000,
    speakers={f"{speaker:04d}": 1750 for speaker in range(1, 21)},
    folds={
        "emobox": (
            ("0005", "0011", "0016", "0018"), ("0012", "0014", "0015", "0019"), ("0003", "0004", "0006", "0009"),
            ("0007", "0008", "0013", "0020"), ("0001", "0002", "0010", "0017"),
        ),
    },
    divisions={"official": PARTS},
    sharing=("official",),
    notes={
        "emobox": "the folds of EmoBox (arXiv:2406.07162): speaker-independent, but they mix Mandarin and English",
        "official": "the release's division by sentence: every speaker is in the training, validation and test part",
    },
    access="Sign the licence that https://github.com/HLTSingapore/Emotional-Speech-Data links to (research "
    "only); pass the folder that holds 0001 to 0020.",
    examples=(
        "0001/Angry/train/0001_000351.wav", "0001/Neutral/evaluation/0001_000001.wav",
        "0008/Happy/test/0008_000721.wav", "0011/Sad/train/0011_001400.wav", "0020/Surprise/test/0020_001421.wav",
    ),
)  # fmt: skip
