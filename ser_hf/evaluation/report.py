"""`EvaluationReport`: what a prediction table shows, in numbers, words and one picture. Same table, same report."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .intervals import METHOD, confusion_by_speaker, speaker_interval
from .metrics import METRICS, confusion_matrix, per_class, uar_of
from .tables import PredictionTable

# Below this many speakers the interval itself was seen to cover less than it says, by simulation.
FEW_SPEAKERS = 10

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class EvaluationReport:
    """The report of one test set. Rates are in [0, 1]; intervals are 95 % over speakers, None where there is none."""

    protocol: str
    scheme: str
    n: int
    uar: float
    uar_interval: Interval
    war: float
    war_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    speaker_knowledge: str
    speaker_independent: bool
    speakers: int | None
    corpora: list[str]
    synthetic: bool
    model: str
    label_source: list[str]
    classes: list[str]
    chance: float
    per_class: list[dict[str, Any]]
    confusion: list[list[int]]
    per_fold: list[dict[str, Any]]
    dropped: dict[str, dict[str, int]]
    interval_method: str
    notes: list[str]

    @classmethod
    def from_table(cls, table: PredictionTable) -> EvaluationReport:
        rows, facts = table.rows, table.metadata
        confusion = confusion_matrix(table.references, table.predictions, len(facts.classes))
        known = bool(rows["speaker"].notna().all())
        by_speaker = (
            confusion_by_speaker(table.references, table.predictions, rows["speaker"], len(facts.classes))
            if known
            else confusion[None]
        )
        speakers = len(by_speaker) if known else None
        rates = {name: float(metric(confusion)) for name, metric in METRICS.items()}
        intervals = {f"{name}_interval": speaker_interval(metric, by_speaker) for name, metric in METRICS.items()}
        return cls(
            protocol=facts.protocol,
            scheme=facts.scheme,
            n=len(rows),
            speaker_knowledge=facts.speaker_knowledge,
            speaker_independent=facts.speaker_independent and known,
            speakers=speakers,
            corpora=sorted(rows["corpus"].unique()),
            synthetic=facts.synthetic,
            model=facts.model,
            label_source=sorted(rows["label_source"].unique()),
            classes=list(facts.classes),
            chance=1 / int(np.count_nonzero(confusion.sum(axis=1))),
            per_class=[{"class": name, **row} for name, row in zip(facts.classes, per_class(confusion), strict=True)],
            confusion=confusion.tolist(),
            per_fold=_per_fold(table),
            dropped={corpus: dict(counts) for corpus, counts in sorted(facts.dropped.items())},
            interval_method=METHOD,
            notes=_notes(table, speakers),
            **rates,
            **intervals,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, in the order of the fields."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @property
    def headline(self) -> str:
        """The result in one line, with everything that a reader must know to compare it."""
        words = [f"n = {self.n}", self.protocol, f"scheme {self.scheme}", self.speaker_knowledge]
        if not self.speaker_independent:
            words.append("NOT speaker-independent")
        if self.synthetic:
            words.append("SYNTHETIC speech")
        return (
            f"UAR {_rate(self.uar, self.uar_interval)}, WAR {_rate(self.war, self.war_interval)} ({', '.join(words)})"
        )

    def to_markdown(self) -> str:
        """The report on one screen."""
        rates = ("recall", "precision", "f1")
        method = f"{self.interval_method}, {self.speakers} speakers" if self.uar_interval else "no interval"
        lines = [
            f"**{self.headline}**", "",
            f"95 % intervals: {method}. Chance {self.chance:.3f}. "
            f"Macro F1 {_rate(self.macro_f1, self.macro_f1_interval)}. "
            f"Labels: {', '.join(self.label_source)}. Model: {self.model}.", "",
            "| class | n | recall | precision | F1 |", "|---|---|---|---|---|",
        ]  # fmt: skip
        lines += [
            f"| {row['class']} | {row['support']} | " + " | ".join(_cell(row[name]) for name in rates) + " |"
            for row in self.per_class
        ]
        lines += ["", f"| true \\ predicted | {' | '.join(self.classes)} |", f"|---|{'---|' * len(self.classes)}"]
        lines += [
            f"| {name} | {' | '.join(map(str, counts))} |"
            for name, counts in zip(self.classes, self.confusion, strict=True)
        ]
        if len(self.per_fold) > 1:
            folds = ", ".join(f"{row['fold']}: {row['uar']:.3f} (n = {row['n']})" for row in self.per_fold)
            lines += ["", f"UAR by fold: {folds}."]
        lines += ["", _dropped_sentence(self.dropped), *[f"\n{note}" for note in self.notes]]
        return "\n".join(lines)

    def write(self, folder: str | Path) -> None:
        """`report.json`, `report.md` and `confusion.png` in a folder."""
        from .figures import confusion_figure, save_figure

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
        (folder / "report.md").write_text(self.to_markdown() + "\n", encoding="utf-8")
        save_figure(confusion_figure(self), folder / "confusion.png")

    @classmethod
    def read(cls, path: str | Path) -> EvaluationReport:
        """A report from its JSON."""
        facts = json.loads(Path(path).read_text(encoding="utf-8"))
        spans = {name: tuple(value) for name, value in facts.items() if name.endswith("_interval") and value}
        return cls(**{**facts, **spans})


def _per_fold(table: PredictionTable) -> list[dict[str, Any]]:
    rows = table.rows.reset_index(drop=True)
    return [
        {
            "fold": int(fold),
            "n": len(indices),
            "uar": float(uar_of(confusion_matrix(table.references[indices], table.predictions[indices]))),
        }
        for fold, indices in sorted(rows.groupby("fold").indices.items())
    ]


def _notes(table: PredictionTable, speakers: int | None) -> list[str]:
    notes = [f"On a part of the corpus only: {lack}." for lack in table.metadata.partial.values()]
    if speakers is None:
        notes.append("Some speakers are unknown: there is no interval, and nothing here is speaker-independent.")
    elif speakers < 2:
        notes.append("One speaker shows nothing of how speakers vary: there is no interval.")
    elif speakers < FEW_SPEAKERS:
        notes.append(f"Only {speakers} speakers: the interval is wide, and may cover less than it says.")
    if not table.metadata.speaker_independent:
        notes.append("Test speakers were heard in training: these figures say nothing about new speakers.")
    if absent := sorted(set(table.metadata.classes) - set(table.rows["label"])):
        notes.append(f"No test utterance is of {', '.join(absent)}: rates are over the classes present.")
    return notes


def _dropped_sentence(dropped: dict[str, dict[str, int]]) -> str:
    parts = [
        f"{corpus} {', '.join(f'{count} {emotion}' for emotion, count in counts.items())}"
        for corpus, counts in dropped.items()
        if counts
    ]
    return f"Dropped by the scheme: {'; '.join(parts)}." if parts else "The scheme dropped no utterance."


def _rate(value: float, interval: Interval) -> str:
    return f"{value:.3f}" if interval is None else f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
