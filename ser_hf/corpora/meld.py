"""MELD: dialogue of the series Friends, seven emotions. The clips are videos; extract the sound first.

Utterances of several people at once ("Ross and Rachel", "All") have no speaker, and protocols that divide speakers
leave them out. The spellings of one name are merged.

161 clips are shorter than 0.2 s or longer than 30 s, some 200 are noisy, and some do not match their line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from ..sources.folders import files_below, matching
from ..sources.label_files import table_rows
from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import CorpusError, EncodingError, Utterance, WrongFolderError

EMOTIONS = {
    "anger": "anger", "disgust": "disgust", "fear": "fear", "joy": "happiness", "neutral": "neutral",
    "sadness": "sadness", "surprise": "surprise",
}  # fmt: skip
FOLDERS = {"train_splits": "train", "dev_splits_complete": "dev", "output_repeated_splits_test": "test"}
CLIPS = ("*splits*/*", "[dt][er][avs]*/*splits*/*")  # copies on data-sharing sites have train/train_splits and so on
COLUMNS = dict.fromkeys(("Dialogue_ID", "Utterance_ID", "Speaker", "Emotion", "Season"), str) | {"Episode": int}
LEADS = ("Chandler", "Joey", "Monica", "Phoebe", "Rachel", "Ross")
# "Ross and Rachel", "Monica, Ross & Joey"; and groups, which the transcripts of the series call by these words.
SEVERAL = re.compile(
    r".*(?: and |,|&|/|\+).*|\W*(?:the )?(?:all|both|everybody|everyone|others|guys|girls|boys|men|women|gang|group"
    r"|crowd|audience|kids|children|students|quartet)\W*",
    re.IGNORECASE,
)
NAME = re.compile(r"dia(?P<dialogue>\d+)_utt(?P<number>\d+)")


def read(reading: Reading) -> Iterator[Utterance]:
    root = reading.root
    _refuse_videos_alone(root)
    rows = {part: _read_table(root, part) for part in FOLDERS.values()}
    speakers = _speakers({row["Speaker"] for of_part in rows.values() for row in of_part.values()})
    for path in reading.recordings(*CLIPS):
        part = FOLDERS.get(path.parent.name)
        row = None if part is None else rows[part].get(path.stem)
        if row is None:
            reading.unlabelled(
                path,
                f"{path} is in no table of {root} ({', '.join(FOLDERS)} have dia*_utt*; the final_videos_test* of the "
                "release are second copies): move it out",
            )
            continue
        yield Utterance(
            path,
            emotion=EMOTIONS[row["Emotion"]],
            native_label=row["Emotion"],
            speaker=speakers[row["Speaker"]],
            session=f"{row['Season']}x{row['Episode']:02d}",
            part=part,
            label_source="perceived",
        )


def _refuse_videos_alone(root: Path) -> None:
    clips = next((clips for clips in CLIPS if files_below(root, f"{clips}.mp4")), None)
    if clips is not None and not any(matching(root, CLIPS).values()):
        raise CorpusError(
            f"{root} has only videos. Extract their sound into files beside them with the same names: "
            f"for f in {root}/{clips.removesuffix('*')}dia*.mp4; do "
            'ffmpeg -nostdin -loglevel error -i "$f" -vn -ac 1 -ar 16000 "${f%.mp4}.wav"; done'
        )


def _read_table(root: Path, part: str) -> dict[str, dict]:
    """Return the rows of a part, by file stem; some copies have the table in the folder of the part."""
    name = f"{part}_sent_emo.csv"
    table = next((path for path in (root / name, root / part / name) if path.is_file()), root / name)
    if not table.is_file():
        raise WrongFolderError(f"{table} is missing (emotions and speakers)", "copy it from data/MELD of the release")
    try:
        rows = list(table_rows(table, COLUMNS))
    except EncodingError:  # the smart quotes of some copies are in the code page of Windows
        rows = list(table_rows(table, COLUMNS, encoding="cp1252", errors="replace"))
    rows = {f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}": row for row in rows}
    for name, row in rows.items():
        if row["Emotion"] not in EMOTIONS:
            raise CorpusError(f"{table}: unknown emotion {row['Emotion']!r} of {name}")
    return rows


def _speakers(names: set[str]) -> dict[str, str | None]:
    """Return the speaker of each name in the tables: None for several people, one name for all spellings of a person.

    Spellings differ in case, in punctuation ("Dr. Green", "Dr Green"), in "The" before a role, and by slips in the
    names of the leads. A role such as "Waiter" may be another person in another episode; kept as one, its utterances
    are never on both sides of a division.
    """
    spelling: dict[str, str] = {}
    for name in sorted(names):
        spelling.setdefault(_plain(name), name)
    for lead in LEADS:
        for slip in get_close_matches(_plain(lead), spelling, n=len(spelling), cutoff=0.9):
            spelling[slip] = lead
    return {name: None if SEVERAL.fullmatch(name) else spelling[_plain(name)] for name in names}


def _plain(name: str) -> str:
    return re.sub(r"^the |[\W_]", "", name.casefold())


SPEC = CorpusSpec(
    name="meld",
    read=read,
    title="Multimodal EmotionLines Dataset (MELD)",
    scheme="seven",
    language="en",
    license="GPL-3.0 for the code; terms of the clips are not stated",
    source="https://affective-meld.github.io (Poria et al. 2019, doi:10.18653/v1/P19-1050)",
    # The tables have 13,708 rows: dia110_utt7 of dev has no clip.
    utterances=13_707,
    excluded={
        "meld/train_splits/dia125_utt3": "corrupt clip",
        "meld/output_repeated_splits_test/dia38_utt4": "clip of several minutes, not of one utterance",
        "meld/output_repeated_splits_test/dia220_utt0": "clip of several minutes, not of one utterance",
    },
    divisions={"official": ("train", "dev", "test")},
    sharing=("official",),
    notes={"official": "the release's division by dialogue: the six leads of the series are in every part"},
    access="Download MELD.Raw.tar.gz as https://affective-meld.github.io says, unpack the archives in it, and "
    "extract the sound of the clips with FFmpeg; pass the folder that holds the three CSV files and "
    "the three folders of clips.",
    examples=(
        "train_splits/dia0_utt0.wav", "train_splits/dia0_utt1.wav", "dev_splits_complete/dia110_utt8.wav",
        "dev_splits_complete/dia99_utt1.wav", "output_repeated_splits_test/dia38_utt4.wav",
        "output_repeated_splits_test/dia0_utt0.wav",
    ),
    example_texts={
        "train_sent_emo.csv": "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode\n"
        "1,Here it is.,Chandler,neutral,neutral,0,0,8,21\n"
        '2,"You\u2019ve had it, all of it?",The Interviewer,surprise,neutral,0,1,8,21\n',
        "dev_sent_emo.csv": "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode\n"
        "1054,Yes.,Ross and Rachel,neutral,neutral,99,1,3,20\n"
        '1155,"Oh, that I know.",Rachel,joy,positive,110,8,6,11\n',
        "test_sent_emo.csv": "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode\n"
        "1,It\u2019s mine!,Mark,disgust,positive,0,0,4,19\n"
        "400,Oh.,Joey,sadness,negative,38,4,1,1\n",
    },
)  # fmt: skip
