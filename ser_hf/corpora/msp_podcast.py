"""MSP-Podcast: spontaneous speech from podcasts, rated by five people or more. Releases grow and differ.

The label source of an utterance names its release, because results on two releases cannot be compared.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from ..emotions import unknown_name
from ..sources.folders import files_below, matching
from ..sources.label_files import table_rows
from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import CorpusError, Utterance, WrongFolderError

EMOTIONS = {
    "A": "anger", "C": "contempt", "D": "disgust", "F": "fear", "H": "happiness", "N": "neutral", "S": "sadness",
    "U": "surprise", "O": "other",
    "X": "other",  # the raters agree on no category
}  # fmt: skip
PRIMARY = {
    "Angry": "anger", "Contempt": "contempt", "Disgust": "disgust", "Fear": "fear", "Happy": "happiness",
    "Neutral": "neutral", "Sad": "sadness", "Surprise": "surprise",
}  # fmt: skip
RATINGS = {"arousal": "EmoAct", "valence": "EmoVal", "dominance": "EmoDom"}
RELEASES = {149_307: "1.11", 264_705: "2.0"}  # by the number of rows in labels_consensus.csv
PARTS = {"Validation": "Development"}  # its name in early releases
ABSENT = {"MSP-PODCAST_1909_1017"}  # in the table of release 2.0, but not among its recordings
RECORDINGS = "Audios/*"
HIDDEN = "MSP-PODCAST_test3_"  # recordings of Test3, whose labels the authors keep


def read(reading: Reading) -> Iterator[Utterance]:
    table, source = _find_labels(reading.root), reading.label_source
    rows = _read_labels(table)
    release = RELEASES.get(len(rows), f"of {len(rows)} rows")
    votes = _read_votes(table.with_name("labels_detailed.csv")) if source == "votes" else {}
    for path in reading.recordings(RECORDINGS):
        row = rows.get(path.stem, {})
        if not row and not path.stem.startswith(HIDDEN):
            way_out = "use Audios/ and Labels/ of the same release"
            reading.unlabelled(path, f"{path} has no row in {table}: {way_out}")
            continue
        native_label = _known(row, "EmoClass") or "hidden"
        if native_label not in (*EMOTIONS, "hidden"):
            reading.refuse(path, f"{table}: {unknown_name('emotion code', native_label, EMOTIONS)} of {path.name}")
            continue
        counts = votes.get(path.stem)
        if source == "votes" and native_label != "hidden":
            if counts is None:
                message = f"{path} has no row in labels_detailed.csv beside {table}: use files of the same release"
                reading.unlabelled(path, message)
                continue
            native_label, emotion = _winner(counts)
        else:
            emotion = EMOTIONS.get(native_label, "other")
        try:
            ratings = {name: _number(row, column, table) for name, column in RATINGS.items()}
        except CorpusError as error:
            reading.refuse(path, error)
            continue
        yield Utterance(
            path,
            emotion=emotion,
            native_label=native_label,
            speaker=_known(row, "SpkrID"),
            gender={"Female": "female", "Male": "male"}.get(row.get("Gender")),
            part=PARTS.get(row.get("Split_Set"), row.get("Split_Set", "Test3")),
            label_source=f"perceived ({source}, release {release})",
            votes=counts,
            **ratings,
        )


def _find_labels(root: Path) -> Path:
    """Return `Labels/labels_consensus.csv`; early releases spell it label, labels, concensus."""
    tables = files_below(root, "[Ll]abel*/labels_con[cs]ensus.csv")
    if len(tables) != 1:
        raise WrongFolderError(
            f"found {len(tables)} tables Labels/labels_consensus.csv under {root}", "there must be one"
        )
    return tables[0]


def _read_labels(table: Path) -> dict[str, dict[str, str]]:
    """Return the rows of the table, by file stem."""
    return {Path(row["FileName"]).stem: row for row in table_rows(table, {"FileName": str, "EmoClass": str})}


def _unrecorded(root: Path) -> set[str]:
    there = {path.stem for path in matching(root, [RECORDINGS])[RECORDINGS]}
    return _read_labels(_find_labels(root)).keys() - ABSENT - there


def _read_votes(table: Path) -> dict[str, dict[str, float]]:
    """Return raters per primary emotion of each recording.

    Releases 1.6 and 2.0 have a column EmoClass_Major, those between write a row as
    `WORKER00000014; Angry; Disgust,Annoyed; A:5.0; V:2.0; D:5.0;` in a column EmoDetail.
    """
    if not table.is_file():
        raise CorpusError(f"{table} is missing (each rater's choice): copy it from the release, or use consensus")
    votes = defaultdict(Counter)
    for row in table_rows(table, {"FileName": str}):
        if "EmoClass_Major" not in row and "EmoDetail" not in row:
            raise CorpusError(
                f"{table} has neither EmoClass_Major nor EmoDetail among its columns {list(row)}: use the "
                "unchanged file of the release"
            )
        choices = [row["EmoClass_Major"]] if "EmoClass_Major" in row else row["EmoDetail"].split(";")[1:]
        if not choices:
            raise CorpusError(
                f"{table}: EmoDetail of {row['FileName']} is {row['EmoDetail']!r}, without a choice after the rater: "
                "use the unchanged file of the release"
            )
        votes[Path(row["FileName"]).stem][PRIMARY.get(choices[0].strip(), "other")] += 1.0
    return {name: dict(counts) for name, counts in votes.items()}


def _winner(counts: dict[str, float]) -> tuple[str, str]:
    """Return the most frequent choice as native label and as emotion; a tie, such as anger:disgust, is "other"."""
    most = sorted(emotion for emotion, count in counts.items() if count == max(counts.values()))
    return ":".join(most), most[0] if len(most) == 1 else "other"


def _known(row: dict[str, str], column: str) -> str | None:
    value = row.get(column, "").strip()
    return None if value in ("", "N/A", "Unknown") else value


def _number(row: dict[str, str], column: str, table: Path) -> float | None:
    value = _known(row, column)
    try:
        return None if value is None else float(value)
    except ValueError as error:
        raise CorpusError(
            f"{table}: {column} of {row['FileName']} must be a number, not {value!r}: use the unchanged file of the "
            "release"
        ) from error


SPEC = CorpusSpec(
    name="msp_podcast",
    read=read,
    title="MSP-Podcast corpus",
    scheme="msp8",
    language="en",
    license="institutional licence",
    source="https://www.lab-msp.com/MSP/MSP-Podcast.html (Lotfian & Busso 2019, doi:10.1109/TAFFC.2017.2736999)",
    label_sources=("consensus", "votes"),
    divisions={
        "test1": ("Train", "Development", "Test1"),
        "test2": ("Train", "Development", "Test2"),
    },
    sharing=("test1", "test2"),
    notes={
        "test1": "the release's division, meant to be speaker-independent; some training speakers are unknown, so this "
        "cannot be checked",
        "test2": "segments at random from podcasts that are in no other part; some training speakers are unknown, so "
        "speaker independence cannot be checked",
    },
    dimension_range=(1.0, 7.0),
    unrecorded=_unrecorded,
    access="Institutions sign a licence at https://www.lab-msp.com/MSP/MSP-Podcast.html; pass the folder that "
    "holds Audios and Labels.",
    examples=(
        "Audios/MSP-PODCAST_0001_0008.wav", "Audios/MSP-PODCAST_0001_0019.wav", "Audios/MSP-PODCAST_0023_0149.wav",
        "Audios/MSP-PODCAST_1904_0030.wav", "Audios/MSP-PODCAST_test3_0001.wav",
    ),
    example_texts={
        "Labels/labels_consensus.csv": "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
        "MSP-PODCAST_0001_0008.wav,N,2.6,4.0,3.2,127,Male,Test1\n"
        "MSP-PODCAST_0001_0019.wav,X,4.2,2.8,4.6,127,Male,Test1\n"
        "MSP-PODCAST_0023_0149.wav,H,5.0,6.2,5.0,Unknown,Unknown,Train\n"
        "MSP-PODCAST_1904_0030.wav,C,4.0,2.4,4.8,1001,Female,Development\n",
        "Labels/labels_detailed.csv": "FileName,EmoDetail\n"
        'MSP-PODCAST_0001_0008.wav,"WORKER00000014; Neutral; Neutral,Concerned; A:3.0; V:4.0; D:3.0; "\n'
        'MSP-PODCAST_0001_0008.wav,"WORKER00000007; Neutral; Neutral; A:2.0; V:4.0; D:3.0; "\n'
        'MSP-PODCAST_0001_0019.wav,"WORKER00000014; Angry; Angry,Annoyed; A:4.0; V:2.0; D:5.0; "\n'
        'MSP-PODCAST_0001_0019.wav,"WORKER00000007; Disgust; Disgust; A:4.0; V:3.0; D:4.0; "\n'
        'MSP-PODCAST_0023_0149.wav,"WORKER00000003; Happy; ; A:5.0; V:6.0; D:5.0; "\n'
        'MSP-PODCAST_1904_0030.wav,"WORKER00000003; Contempt; Annoyed; A:4.0; V:2.0; D:5.0; "\n'
        'MSP-PODCAST_1904_0030.wav,"WORKER00000021; Other-Sarcastic; Contempt; A:4.0; V:3.0; D:5.0; "\n'
        'MSP-PODCAST_1904_0030.wav,"WORKER00000009; Contempt; Contempt; A:4.0; V:2.0; D:4.0; "\n',
    },
)  # fmt: skip
