"""CaFE: twelve actors of Canadian French, six sentences, seven emotions in two intensities (neutral in one).

Read the 48 kHz edition: the 192 kHz one comes as .aiff.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import Utterance

EMOTIONS = {
    "C": "anger", "D": "disgust", "J": "happiness", "N": "neutral", "P": "fear", "S": "surprise", "T": "sadness",
}  # fmt: skip
FOLDERS = {
    "colere": "C", "degout": "D", "joie": "J", "neutre": "N", "peur": "P", "surprise": "S", "tristesse": "T",
    "faible": "1", "fort": "2",
}  # fmt: skip
INTENSITIES = {"1": "weak", "2": "strong"}
NAME = re.compile(r"(?P<speaker>0[1-9]|1[0-2])-(?P<emotion>[CDJNPST])-(?P<intensity>[12])-(?P<statement>[1-6])")


def read(reading: Reading) -> Iterator[Utterance]:
    # Colère and Dégoût are written with composed or with combining accents, as the file system likes: only the first
    # letters of the folders are matched. Neutre has no folders of intensities.
    for path, match in reading.named(NAME, "[CDJNPST]*/**/*", like="a CaFE file (actor-emotion-intensity-sentence)"):
        folders = path.relative_to(reading.root).parts[:-1]
        if strange := [
            folder for folder in folders if _code(folder) not in (None, *match.group("emotion", "intensity"))
        ]:
            reading.refuse(path, f"{path} is in the folder {strange[0]}, but its name says {match[0]}")
            continue
        yield Utterance.from_name(
            path,
            match,
            EMOTIONS,
            gender="female" if int(match["speaker"]) % 2 == 0 else "male",
            intensity=None if match["emotion"] == "N" else INTENSITIES[match["intensity"]],
        )


def _code(folder: str) -> str | None:
    """Return the code in file names that a folder stands for, whatever the form of its accents."""
    letters = unicodedata.normalize("NFD", folder.casefold())
    return FOLDERS.get("".join(letter for letter in letters if not unicodedata.combining(letter)))


SPEC = CorpusSpec(
    name="cafe",
    read=read,
    title="Canadian French Emotional speech dataset (CaFE)",
    scheme="seven",
    language="fr",
    own_speakers=True,
    license="see source (listed as CC-BY-NC-SA-4.0)",
    source="https://zenodo.org/records/1478765 (Gournay et al. 2018, doi:10.1145/3204949.3208121)",
    utterances=936,
    speakers={f"{actor:02d}": 78 for actor in range(1, 13)},
    emotions_per_speaker={
        "neutral": 6, "anger": 12, "disgust": 12, "fear": 12, "happiness": 12, "sadness": 12, "surprise": 12,
    },
    folds={"emobox": (("01", "07", "08", "10"), ("02", "04", "09", "12"), ("03", "05", "06", "11"))},
    notes={"emobox": "the folds of EmoBox (arXiv:2406.07162): fold 1 has three women, fold 2 three men"},
    access="Download the 48 kHz archive from https://zenodo.org/records/1478765; pass the folder that holds "
    "Colère, Peur and the others.",
    examples=(
        "Colère/Faible/01-C-1-1.wav", "Colère/Fort/02-C-2-6.wav", "Dégoût/Fort/03-D-2-2.wav",
        "Joie/Faible/12-J-1-3.wav", "Neutre/05-N-1-4.wav", "Peur/Fort/12-P-2-5.wav", "Surprise/Fort/06-S-2-1.wav",
        "Tristesse/Faible/11-T-1-2.wav",
    ),
)  # fmt: skip
