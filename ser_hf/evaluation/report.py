"""`EvaluationReport`: what a prediction table shows, in numbers, words and one picture. Same table, same report."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .intervals import METHOD, Interval, speaker_interval
from .metrics import METRICS, confusion_matrix, per_class, uar_of
from .tables import PredictionTable

# With fewer speakers, those who are recognised much worse than the rest may well be missing from the test set, and no
# interval can know: if one person in five is such, 95 % intervals over 3 to 9 speakers cover 0.59 to 0.86 (simulated).
FEW_SPEAKERS = 10


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
        judged = table.references, table.predictions
        confusion = confusion_matrix(*judged, len(facts.classes))
        known = bool(rows["speaker"].notna().all())
        rates = {name: float(metric(confusion)) for name, metric in METRICS.items()}
        intervals = {
            f"{name}_interval": speaker_interval(metric, *judged, rows["speaker"]) for name, metric in METRICS.items()
        }
        return cls(
            protocol=facts.protocol,
            scheme=facts.scheme,
            n=rows["utterance_id"].nunique(),
            speaker_knowledge=facts.speaker_knowledge,
            speaker_independent=facts.speaker_independent and known,
            speakers=rows["speaker"].nunique() if known else None,
            corpora=sorted(rows["corpus"].unique()),
            synthetic=facts.synthetic,
            model=facts.model,
            label_source=sorted(rows["label_source"].dropna().unique()),
            classes=list(facts.classes),
            chance=1 / int(np.count_nonzero(confusion.sum(axis=1))),
            per_class=[{"class": name, **row} for name, row in zip(facts.classes, per_class(confusion), strict=True)],
            confusion=confusion.tolist(),
            per_fold=_per_fold(table),
            dropped={corpus: dict(sorted(counts.items())) for corpus, counts in sorted(facts.dropped.items())},
            interval_method=METHOD,
            notes=_notes(table, intervals["uar_interval"]),
            **rates,
            **intervals,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: the fields, and `folds`, the number of them."""
        return json.loads(json.dumps({**dataclasses.asdict(self), "folds": len(self.per_fold)}))

    def rate(self, metric: str) -> str:
        """A rate of `METRICS` and its interval as people read them, such as `0.731 [0.702, 0.760]`."""
        value, interval = getattr(self, metric), getattr(self, f"{metric}_interval")
        return f"{value:.3f}" if interval is None else f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"

    @property
    def circumstances(self) -> str:
        """Everything that a reader must know to compare the rates with others."""
        words = [
            f"95 %, jackknife over {self.speakers} speakers" if self.uar_interval else "no interval",
            f"n = {self.n}",
            self.protocol,
            "training data UNKNOWN" if self.speaker_knowledge == "unknown" else self.speaker_knowledge,
        ]
        if not self.speaker_independent and self.speaker_knowledge != "unknown":
            words.append("NOT speaker-independent")
        if self.synthetic:
            words.append("SYNTHETIC speech")
        return ", ".join(words)

    @property
    def headline(self) -> str:
        """The result in one line."""
        return f"UAR {self.rate('uar')} ({self.circumstances})"

    def to_markdown(self) -> str:
        """The report on one screen."""
        rates = ("recall", "precision", "f1")
        lines = [
            f"**{self.headline}**", "",
            f"WAR {self.rate('war')}. Macro F1 {self.rate('macro_f1')}. Chance {self.chance:.3f}. Model: {self.model}. "
            f"Scheme: {self.scheme}. Labels: {', '.join(self.label_source) or 'of unknown source'}.", "",
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
        facts = json.dumps(self.to_dict(), indent=2, allow_nan=False)
        (folder / "report.json").write_text(facts + "\n", encoding="utf-8")
        (folder / "report.md").write_text(self.to_markdown() + "\n", encoding="utf-8")
        save_figure(confusion_figure(self), folder / "confusion.png")

    @classmethod
    def read(cls, path: str | Path) -> EvaluationReport:
        """A report from its JSON.

        Raises:
            ValueError: if the file is no report, or one of another version.
        """
        facts = json.loads(Path(path).read_text(encoding="utf-8"))
        facts.pop("folds", None)  # it follows from per_fold
        if differing := sorted(facts.keys() ^ {field.name for field in dataclasses.fields(cls)}):
            raise ValueError(
                f"{path} is no report of this version of ser_hf (missing or unknown: {', '.join(differing)}); "
                "write it again from its prediction table"
            )
        spans = {name: tuple(value) for name, value in facts.items() if name.endswith("_interval") and value}
        return cls(**{**facts, **spans})


def _per_fold(table: PredictionTable) -> list[dict[str, Any]]:
    references, predictions, utterances = table.references, table.predictions, table.rows["utterance_id"]
    return [
        {
            "fold": int(fold),
            "n": utterances.iloc[indices].nunique(),
            "uar": float(uar_of(confusion_matrix(references[indices], predictions[indices]))),
        }
        for fold, indices in sorted(table.rows.groupby("fold").indices.items())
    ]


def _by_seed(table: PredictionTable) -> list[np.ndarray]:
    judged = table.references, table.predictions
    return [
        confusion_matrix(*(ids[indices] for ids in judged), len(table.metadata.classes))
        for _, indices in sorted(table.rows.groupby("seed").indices.items())
    ]


def _notes(table: PredictionTable, interval: Interval) -> list[str]:
    """What a reader should hear before believing the figures, one sentence each."""
    rows, facts = table.rows, table.metadata
    speakers, seeds = rows["speaker"].nunique(), rows["seed"].nunique()
    notes = [f"On a part of the corpus only: {facts.partial[corpus]}." for corpus in sorted(facts.partial)]
    if rows["speaker"].isna().any():
        notes.append("Some speakers are unknown: there is no interval, and nothing here is speaker-independent.")
    elif speakers < 2:
        notes.append("One speaker shows nothing of how speakers vary: there is no interval.")
    else:
        if speakers < FEW_SPEAKERS:
            notes.append(
                f"Only {speakers} speakers: the interval is wide, and covers less than it says if a few people are "
                "recognised much worse than the others."
            )
        if interval[0] == interval[1]:
            notes.append("No speaker differs from the others: an interval without width is not certainty.")
        voices = rows.groupby("label")["speaker"].nunique()
        if lonely := sorted(voices.index[voices == 1]):
            notes.append(f"Only one speaker utters {', '.join(lonely)}: the interval knows little of how it varies.")
    if seeds > 1:
        each = ", ".join(f"{uar_of(confusion):.3f}" for confusion in _by_seed(table))
        notes.append(
            f"Pooled over {seeds} seeds, counts included (UAR of each: {each}); the interval is over speakers, not "
            "over seeds."
        )
    if facts.speaker_knowledge == "unknown":
        notes.append(
            "What this model was trained on is not known: it may have heard these speakers, or these very recordings."
        )
    elif not facts.speaker_independent:
        notes.append("Test speakers were heard in training: these figures say nothing about new speakers.")
    if absent := sorted(set(facts.classes) - set(rows["label"])):
        notes.append(f"No test utterance is of {', '.join(absent)}: rates are over the classes present.")
    return notes


def _dropped_sentence(dropped: dict[str, dict[str, int]]) -> str:
    parts = [
        f"{corpus} {', '.join(f'{count} {emotion}' for emotion, count in counts.items())}"
        for corpus, counts in dropped.items()
        if counts
    ]
    return f"Dropped by the scheme: {'; '.join(parts)}." if parts else "The scheme dropped no utterance."


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
