"""Datasets with the columns that protocols read, of any speakers; nothing is recorded, so no audio may be decoded."""

import json
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Value

from ser_hf.corpora import CorpusSpec

CLASSES = ["anger", "fear", "happiness", "neutral", "sadness"]


def pretend(spec: CorpusSpec, *, speakers=None, utterances: int = 10) -> Dataset:
    """Every speaker of a spec (or twelve) says five statements in five emotions; durations are all different."""
    speakers = list(speakers or spec.speakers or (f"s{number:02d}" for number in range(12)))
    divided = {part for division in spec.divisions.values() for part in division}
    parts = sorted(divided | set(spec.limited.values())) or [None]
    mixed = set(spec.sharing) == set(spec.divisions)
    rows = []
    for number, speaker in enumerate(speakers):
        for take in range(utterances):
            rows.append(
                {
                    "utterance_id": f"{spec.name}/{speaker}/{speaker}_{take}",
                    "corpus": spec.name,
                    "speaker": f"{spec.name}-{speaker}",
                    "gender": ("female", "male")[number % 2],
                    "statement": str(take // 2 % 5),
                    "part": parts[(take if mixed else number) % len(parts)],
                    "label": take % 5,
                    "duration": 1 + len(rows) / 1000,
                    "audio": "nowhere.wav",
                }
            )
    text = {name: Value("string") for name in rows[0] if name not in ("label", "duration")}
    features = Features({**text, "label": ClassLabel(names=CLASSES), "duration": Value("float32")})
    return Dataset.from_list(rows, features=features)


def write_emobox(root: Path, corpus: str, folds: list[dict[str, list[str]]]) -> Path:
    """A checkout of EmoBox with the folds of one corpus: {"train" or "valid" or "test": paths without suffix}."""
    name = corpus.replace("_", "")
    for number, parts in enumerate(folds, start=1):
        folder = root / "data" / name / f"fold_{number}"
        folder.mkdir(parents=True)
        for part, paths in parts.items():
            lines = [
                {
                    "key": f"{name}-{Path(path).name}", "dataset": name, "wav": f"downloads/{path}.wav", "type": "raw",
                    "sample_rate": 16000, "num_frame": 33978.0, "task": "category", "length": 2.123625, "emo": "anger",
                    "channel": 1,
                }
                for path in paths
            ]  # fmt: skip
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (folder / f"{name}_{part}_fold_{number}.jsonl").write_text(text, encoding="utf-8")
    return root
