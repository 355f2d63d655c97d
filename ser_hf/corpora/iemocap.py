"""IEMOCAP: five sessions of two American actors each, scripted and improvised dialogue, categories and dimensions.

The column `part` says "improvised" or "scripted". The scheme `four` keeps the usual 5531 utterances, with excitement as
happiness: 2943 improvised, 2588 scripted (counted in the lists of EmoBox, arXiv:2406.07162). The scheme `iemocap6`
keeps excitement and frustration as classes of their own: 7380 utterances.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..sources.folders import files_below
from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import CorpusError, Utterance

EMOTIONS = {
    "ang": "anger", "dis": "disgust", "exc": "excitement", "fea": "fear", "fru": "frustration", "hap": "happiness",
    "neu": "neutral", "oth": "other", "sad": "sadness", "sur": "surprise",
    "xxx": "other",  # the raters agree on no category
}  # fmt: skip
# The letter after the session says who wears the markers, the letter before the number who speaks.
NAME = re.compile(r"Ses(?P<session>0[1-5])[FM]_(?P<style>impro|script)\w+_(?P<sex>[FM])\w+")
PARTS = {"impro": "improvised", "script": "scripted"}
# 1103 + 1041 + 1849 + 595 + 1708 + 1084 = 7380 utterances.
SCHEMES = {"iemocap6": ("anger", "excitement", "frustration", "happiness", "neutral", "sadness")}
LABEL = re.compile(
    r"^\[[\d. ]+-[\d. ]+\]\t(?P<utterance>Ses\w+)\t(?P<emotion>[a-z]{3})"
    r"\t\[(?P<valence>[\d.]+), (?P<arousal>[\d.]+), (?P<dominance>[\d.]+)\]",
    re.MULTILINE,
)


def read(reading: Reading) -> Iterator[Utterance]:
    labels = _read_labels(reading.root)
    for path in reading.recordings("Session*/sentences/wav/*/*"):
        match, label = NAME.fullmatch(path.stem), labels.get(path.stem)
        if match is None or label is None:
            place = f"{reading.root}/Session*/dialog/EmoEvaluation"
            reading.unlabelled(path, f"{path} has no label under {place}: unpack the whole release")
            continue
        yield Utterance(
            path,
            emotion=EMOTIONS[label["emotion"]],
            native_label=label["emotion"],
            speaker=_speaker(match),
            gender={"F": "female", "M": "male"}[match["sex"]],
            session=match["session"],
            part=PARTS[match["style"]],
            label_source="perceived",
            **{name: float(label[name]) for name in ("arousal", "valence", "dominance")},
        )


def _read_labels(root: Path) -> dict[str, re.Match]:
    labels = {}
    for file in files_below(root, "Session*/dialog/EmoEvaluation/*.txt"):
        for match in LABEL.finditer(file.read_text(encoding="utf-8", errors="replace")):
            if match["emotion"] not in EMOTIONS:
                raise CorpusError(f"{file}: unknown emotion {match['emotion']!r} of {match['utterance']}")
            labels[match["utterance"]] = match
    return labels


def _speaker(name: re.Match) -> str:
    return f"Ses{name['session']}{name['sex']}"


def _facts(root: Path) -> dict[str, dict[str, str]]:
    named = {name: (NAME.fullmatch(name), label) for name, label in _read_labels(root).items()}
    return {
        name: {"speaker": _speaker(match), "native_label": label["emotion"]}
        for name, (match, label) in named.items()
        if match is not None
    }


SESSIONS = tuple((f"Ses{session:02d}F", f"Ses{session:02d}M") for session in range(1, 6))

SPEC = CorpusSpec(
    name="iemocap",
    read=read,
    title="Interactive Emotional Dyadic Motion Capture database (IEMOCAP)",
    scheme="four",
    language="en",
    own_speakers=True,
    license="research only, signed agreement",
    source="https://sail.usc.edu/iemocap (Busso et al. 2008, doi:10.1007/s10579-008-9076-6)",
    utterances=10039,
    speakers={f"Ses{session:02d}{sex}": None for session in range(1, 6) for sex in "FM"},
    folds=dict.fromkeys(("sessions5", "emobox", "improvised5", "scripted5"), SESSIONS),
    limited={"improvised5": "improvised", "scripted5": "scripted"},
    notes={
        "sessions5": "leave one session out, that is two speakers; the test folds of SUPERB",
        "emobox": "the test folds of EmoBox (arXiv:2406.07162), which are those of sessions5",
        "improvised5": "the folds of sessions5 on improvised speech alone: 2943 utterances of the four usual classes",
        "scripted5": "the folds of sessions5 on scripted speech alone: 2588 utterances of the four usual classes; the "
        "same texts are in every session",
    },
    dimension_range=(1.0, 5.0),
    tables=_facts,
    beside=("Session*/dialog/wav/*",),
    access="Ask for the release with the form at https://sail.usc.edu/iemocap (research only, signed agreement); "
    "unpack it so that Session1 to Session5 lie directly in the folder you pass.",
    examples=(
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav",
        "Session5/sentences/wav/Ses05M_script01_1b/Ses05M_script01_1b_F003.wav",
        "Session5/sentences/wav/Ses05M_script01_1b/Ses05M_script01_1b_M010.wav",
    ),
    example_texts={
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
        "C-E2:\tNeutral;\t()\n\n"
        "[10.0100 - 11.3925]\tSes01F_impro01_M000\tfru\t[2.0000, 3.5000, 3.5000]\n",
        "Session5/dialog/EmoEvaluation/Ses05M_script01_1b.txt": "\n"
        "[21.8700 - 25.1900]\tSes05M_script01_1b_F003\texc\t[4.0000, 3.5000, 3.0000]\n"
        "[70.1000 - 71.9000]\tSes05M_script01_1b_M010\txxx\t[2.5000, 3.0000, 3.0000]\n",
    },
)
