"""Synthetic speech in the layout of corpora that must be requested, so that their experiments run end to end.

    python recipes/experiments/miniatures.py FOLDER

Writes FOLDER/crema-d (20 actors), FOLDER/iemocap (10) and FOLDER/savee (4), with the five emotions of the synthesiser,
and FOLDER/noise, a babble of its voices. Names, tables and folders are those of the releases. Results on them say
nothing about the real corpora.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import soundfile

from ser_hf.corpora.synthetic import SAMPLING_RATE, synthesise

EMOTIONS = ("anger", "fear", "happiness", "neutral", "sadness")
STATEMENTS, TAKES = range(4), range(2)


def write(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, SAMPLING_RATE, subtype="PCM_16")


def crema_d(root: Path) -> None:
    """Write about every fifth actor of CREMA-D, four in each of its five folds; women and men alternate."""
    codes = dict(zip(EMOTIONS, ("ANG", "FEA", "HAP", "NEU", "SAD"), strict=True))
    actors = [first + number for first in (1001, 1019, 1037, 1055, 1073) for number in range(4)]
    for (index, actor), emotion, statement in product(enumerate(actors), EMOTIONS, STATEMENTS):
        name = f"{actor}_{('IEO', 'TIE', 'IOM', 'IWW')[statement]}_{codes[emotion]}_XX.wav"
        write(root / "AudioWAV" / name, synthesise(emotion, index, statement, 0))
    rows = [f"{actor},30,{('Female', 'Male')[index % 2]},Unknown,Unknown" for index, actor in enumerate(actors)]
    (root / "VideoDemographics.csv").write_text("\n".join(["ActorID,Age,Sex,Race,Ethnicity", *rows]) + "\n")
    _votes(root, {code: code[0] for code in codes.values()})


def _votes(root: Path, letters: dict[str, str]) -> None:
    """Write votes of ten raters for each voice: five to nine for the intended emotion, the others for its neighbour."""
    random, order = np.random.default_rng(0), list(letters.values())
    summary, tabulated = ['"",FileName,VoiceVote'], ['"",A,D,F,H,N,S,fileName,numResponses']
    for number, file in enumerate(sorted((root / "AudioWAV").glob("*.wav")), start=1):
        meant = letters[file.stem.split("_")[2]]
        neighbour, right = order[order.index(meant) - 1], int(random.integers(5, 10))
        counts = {**dict.fromkeys("ADFHNS", 0), meant: right, neighbour: 10 - right}
        winner = meant if right > 5 else ":".join(sorted((meant, neighbour)))
        summary.append(f"{number},{file.stem},{winner}")
        tabulated.append(f"{100000 + number},{','.join(str(count) for count in counts.values())},{file.stem},10")
    (root / "summaryTable.csv").write_text("\n".join(summary) + "\n", encoding="utf-8")
    (root / "tabulatedVotes.csv").write_text("\n".join(tabulated) + "\n", encoding="utf-8")


def iemocap(root: Path) -> None:
    """Write five sessions of a woman and a man, spontaneous voices, the four usual classes, and dimensions."""
    codes = {"anger": "ang", "happiness": "hap", "neutral": "neu", "sadness": "sad"}
    # Valence, arousal, dominance of an emotion, from 1 to 5; raters differ by halves.
    middles = {"anger": (1.8, 3.8, 3.8), "happiness": (4, 3.4, 3.2), "neutral": (3, 2.6, 3), "sadness": (2.2, 2.2, 2.6)}
    random = np.random.default_rng(0)
    for session in range(1, 6):
        dialog, lines = f"Ses{session:02d}F_impro01", ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        for number, (emotion, statement, take, sex) in enumerate(product(codes, STATEMENTS, TAKES, (0, 1))):
            name = f"{dialog}_{'FM'[sex]}{number:03d}"
            samples = synthesise(emotion, 2 * session + sex, statement, take, variant="spontaneous")
            write(root / f"Session{session}/sentences/wav/{dialog}/{name}.wav", samples)
            rated = np.clip(np.round(2 * (middles[emotion] + random.normal(0, 0.4, 3))) / 2, 1, 5)
            dimensions = ", ".join(f"{value:.4f}" for value in rated)
            lines += [f"[{number}.0000 - {number}.9000]\t{name}\t{codes[emotion]}\t[{dimensions}]", ""]
        table = root / f"Session{session}/dialog/EmoEvaluation/{dialog}.txt"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")


def savee(root: Path) -> None:
    """Write four men, with as many utterances as in the release: fifteen of each emotion, thirty neutral."""
    codes = dict(zip(EMOTIONS, ("a", "f", "h", "n", "sa"), strict=True))
    for (index, man), emotion in product(enumerate(("DC", "JE", "JK", "KL")), EMOTIONS):
        for number in range(15 if emotion != "neutral" else 30):
            samples = synthesise(emotion, 2 * index + 1, number % 4, number // 4)
            write(root / f"AudioData/{man}/{codes[emotion]}{number + 1:02d}.wav", samples)


def babble(root: Path, *, voices: int = 8, seconds: int = 4) -> None:
    random = np.random.default_rng(0)
    for number in range(10):
        sound = np.zeros(seconds * SAMPLING_RATE)
        for voice in range(voices):
            emotion, statement = random.choice(EMOTIONS), int(random.integers(len(STATEMENTS)))
            samples = synthesise(emotion, 100 + voice, statement, number)[: len(sound)]
            start = random.integers(len(sound) - len(samples) + 1)
            sound[start : start + len(samples)] += samples / np.sqrt(np.mean(samples**2))
        write(root / f"babble{number}.wav", 0.1 * sound / np.sqrt(np.mean(sound**2)))


def main() -> None:
    folder = Path(sys.argv[1])
    for name, fill in (("crema-d", crema_d), ("iemocap", iemocap), ("savee", savee), ("noise", babble)):
        if not (folder / name).exists():
            unfinished = folder / f"{name}.unfinished"
            fill(unfinished)
            unfinished.rename(folder / name)


if __name__ == "__main__":
    main()
