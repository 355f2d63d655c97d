"""`EvaluationReport`: what prediction tables show, in numbers, words and pictures. Same tables, same report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..evaluation.chapters import calibration, fairness, robustness, selective
from ..evaluation.comparisons.cross_corpus import map_note
from ..evaluation.intervals import METHOD, Interval, caution, shown, speaker_interval
from ..evaluation.metrics import METRICS, confusion_matrix, per_class, uar_of
from ..evaluation.tables import PredictionTable, TableError

WORST_CONFUSIONS = 6  # as many as are listened to

# The chapters of a report that other modules write: field, heading, what it tells, the module.
CHAPTERS = (
    (
        "calibration", "Calibration",
        "Whether the probabilities can be believed: of the answers given with 0.8, eight in ten should be right.",
        calibration,
    ),
    (
        "selective", "When it may abstain",
        "What is gained if the model answers only when it is sure, or names several emotions when it is not.",
        selective,
    ),
    (
        "fairness", "Groups",
        "Whether some people are recognised worse than others, and whether chance alone would show as much.",
        fairness,
    ),
    (
        "robustness", "Under worse conditions",
        "The same test utterances with noise (signal-to-noise ratio in dB), in a room (seconds until its sound has "
        "fallen by 60 dB), over a telephone, through codecs, at another level, clipped.",
        robustness,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class EvaluationReport:
    """The report of one test set. Rates are in [0, 1]; intervals are 95 % over speakers, None where there is none.

    `docs/report.md` says of every field what it is. The chapters are None where the tables do not allow them.
    """

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
    trained_on: list[str] = field(default_factory=list)
    condition: str = "clean"
    evaluation_map: dict[str, list[str]] = field(default_factory=dict)
    per_seed: list[dict[str, Any]] = field(default_factory=list)
    worst_confusions: list[dict[str, Any]] = field(default_factory=list)
    calibration: dict[str, Any] | None = None
    selective: dict[str, Any] | None = None
    fairness: dict[str, Any] | None = None
    robustness: dict[str, Any] | None = None

    @classmethod
    def from_table(
        cls,
        table: PredictionTable,
        *,
        validation: PredictionTable | None = None,
        disturbed: Sequence[PredictionTable] = (),
        by: Sequence[str] = (),
    ) -> EvaluationReport:
        """The report of a test set.

        Args:
            table: predictions of the test speakers.
            validation: predictions of the validation speakers of the same folds and seeds, on which thresholds and
                temperatures are fitted; without it there are none.
            disturbed: tables of the same test set under worse conditions.
            by: columns of the table whose groups are compared, beside gender, age band and language.

        Raises:
            TableError: if the table is of validation speakers, or the tables do not belong together.
        """
        if table.metadata.part != "test":
            raise TableError(
                f"this table is of the {table.metadata.part} speakers, on whom the model was chosen: no test"
            )
        table, validation = _in_order(table), None if validation is None else _in_order(validation)
        rows, facts = table.rows, table.metadata
        judged = table.references, table.predictions
        confusion = confusion_matrix(*judged, len(facts.classes))
        known = bool(rows["speaker"].notna().all())
        rates = {name: float(metric(confusion)) for name, metric in METRICS.items()}
        intervals = {
            f"{name}_interval": speaker_interval(metric, *judged, rows["speaker"], utterances=rows["utterance_id"])
            for name, metric in METRICS.items()
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
            chance=table.chance,
            per_class=[{"class": name, **row} for name, row in zip(facts.classes, per_class(confusion), strict=True)],
            confusion=confusion.tolist(),
            per_fold=_plain(_apart(table, "fold")),
            per_seed=_plain(_apart(table, "seed")),
            worst_confusions=_worst_confusions(table),
            dropped={corpus: dict(sorted(counts.items())) for corpus, counts in sorted(facts.dropped.items())},
            interval_method=METHOD,
            notes=_notes(table, rates["uar"]),
            trained_on=list(facts.trained_on),
            condition=facts.condition,
            evaluation_map=_plain(facts.evaluation_map),
            # An answer that counts as several emotions has no probability of its own.
            calibration=None if facts.evaluation_map else _plain(calibration.section(table, validation)),
            selective=None if facts.evaluation_map else _plain(selective.section(table, validation)),
            fairness=_plain(fairness.section(table, (*fairness.COLUMNS, *by))),
            robustness=_plain(robustness.section(table, [_in_order(one) for one in disturbed])),
            **rates,
            **intervals,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: the fields, and `folds`, the number of them."""
        return _plain({**dataclasses.asdict(self), "folds": len(self.per_fold)})

    def rate(self, metric: str) -> str:
        """A rate of `METRICS` and its interval as people read them, such as `0.731 [0.702, 0.760]`."""
        return shown(getattr(self, metric), getattr(self, f"{metric}_interval"))

    @property
    def circumstances(self) -> str:
        """Everything that a reader must know to compare the rates with others."""
        words = [
            f"95 %, jackknife over {self.speakers} speakers" if self.uar_interval else "no interval",
            f"n = {self.n}",
            self.protocol if self.condition == "clean" else f"{self.protocol} under {self.condition}",
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

    @property
    def dropped_sentence(self) -> str:
        """What the label scheme left out."""
        parts = [
            f"{corpus} {', '.join(f'{count} {emotion}' for emotion, count in counts.items())}"
            for corpus, counts in self.dropped.items()
            if counts
        ]
        return f"Dropped by the scheme: {'; '.join(parts)}." if parts else "The scheme dropped no utterance."

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
        if len(self.per_seed) > 1:
            seeds = ", ".join(f"{row['seed']}: {row['uar']:.3f}" for row in self.per_seed)
            lines += ["", f"UAR by seed: {seeds}."]
        lines += ["", self.dropped_sentence, *[f"\n{note}" for note in self.notes]]
        for name, heading, _, module in CHAPTERS:
            if (chapter := getattr(self, name)) is not None:
                lines += ["", f"**{heading}**", "", *module.to_markdown(chapter)]
        return "\n".join(lines)

    def write(self, folder: str | Path, clips: Mapping[str, bytes] | None = None) -> None:
        """`report.json`, `report.md`, `report.html`, `metrics.csv` and `confusion.png` in a folder.

        Args:
            clips: FLAC files of utterances by their ids, for the page to play.
        """
        from .figures import confusion_figure, save_figure
        from .html import to_html
        from .metrics_csv import to_csv

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        facts = json.dumps(self.to_dict(), indent=2, allow_nan=False)
        (folder / "report.json").write_text(facts + "\n", encoding="utf-8")
        (folder / "report.md").write_text(self.to_markdown() + "\n", encoding="utf-8")
        (folder / "metrics.csv").write_text(to_csv(self.to_dict()), encoding="utf-8")
        save_figure(confusion_figure(self), folder / "confusion.png")
        (folder / "report.html").write_text(to_html(self, clips or {}), encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> EvaluationReport:
        """A report from its JSON.

        Raises:
            ValueError: if the file is no report, or one of another version.
        """
        facts = json.loads(Path(path).read_text(encoding="utf-8"))
        facts.pop("folds", None)  # it follows from per_fold
        # What later versions added is left as it is by default.
        known = {one.name: one.default is one.default_factory is dataclasses.MISSING for one in dataclasses.fields(cls)}
        if differing := sorted({*facts} - {*known} | {name for name, needed in known.items() if needed} - {*facts}):
            raise ValueError(
                f"{path} is no report of this version of ser_hf (missing or unknown: {', '.join(differing)}); "
                "write it again from its prediction table"
            )
        spans = {name: tuple(value) for name, value in facts.items() if name.endswith("_interval") and value}
        return cls(**{**facts, **spans})


def _in_order(table: PredictionTable) -> PredictionTable:
    """The rows by name: the last digits of a sum, and what is drawn at random, must not depend on a table's order."""
    return PredictionTable(table.rows.sort_values(["fold", "seed", "utterance_id"], ignore_index=True), table.metadata)


def _plain(facts: Any) -> Any:
    """Facts as JSON would give them back, so that a report that was read equals the one that was written."""
    return json.loads(json.dumps(facts))


def _apart(table: PredictionTable, column: str) -> list[dict[str, Any]]:
    """The rates of each fold, or of each seed, alone."""
    judged, rows = (table.references, table.predictions), table.rows
    apart = []
    for value, indices in sorted(rows.groupby(column).indices.items()):
        ids = [one[indices] for one in judged]
        apart.append(
            {
                column: int(value),
                "n": rows["utterance_id"].iloc[indices].nunique(),
                "uar": float(uar_of(confusion_matrix(*ids))),
                "uar_interval": speaker_interval(
                    uar_of, *ids, rows["speaker"].iloc[indices], utterances=rows["utterance_id"].iloc[indices]
                ),
            }
        )
    return apart


def _worst_confusions(table: PredictionTable) -> list[dict[str, Any]]:
    """The most frequent confusions of two classes, each with the utterance that was most confidently wrong."""
    rows = table.rows.assign(confidence=table.probabilities.max(axis=1))
    wrong = rows[table.references != table.predictions]
    support = rows["label"].value_counts()
    worst = []
    for (true, predicted), group in wrong.groupby(["label", "prediction"]):
        example = group.sort_values(["confidence", "utterance_id"], ascending=[False, True]).iloc[0]
        worst.append(
            {
                "true": true,
                "predicted": predicted,
                "count": len(group),
                "share": len(group) / int(support[true]),
                "example": example["utterance_id"],
                "confidence": float(example["confidence"]),
            }
        )
    return sorted(worst, key=lambda row: (-row["share"], row["true"], row["predicted"]))[:WORST_CONFUSIONS]


def _notes(table: PredictionTable, uar: float) -> list[str]:
    """What a reader should hear before believing the figures, one sentence each."""
    rows, facts = table.rows, table.metadata
    speakers, seeds = rows["speaker"].nunique(), rows["seed"].nunique()
    notes = [] if facts.condition == "clean" else [f"The recordings were disturbed: {facts.condition}."]
    notes += [f"On a part of the corpus only: {facts.partial[corpus]}." for corpus in sorted(facts.partial)]
    if rows["speaker"].isna().any():
        notes.append("Some speakers are unknown: there is no interval, and nothing here is speaker-independent.")
    elif speakers < 2:
        notes.append("One speaker shows nothing of how speakers vary: there is no interval.")
    else:
        if sentence := caution(speakers, uar):
            notes.append(sentence)
        voices = rows.groupby("label")["speaker"].nunique()
        if lonely := sorted(voices.index[voices == 1]):
            notes.append(f"Only one speaker utters {', '.join(lonely)}: the interval knows little of how it varies.")
    if seeds > 1:
        notes.append(f"Pooled over {seeds} seeds, counts included; the interval is over speakers, not over seeds.")
    if facts.speaker_knowledge == "unknown":
        notes.append(
            "What this model was trained on is not known: it may have heard these speakers, or these very recordings."
        )
    elif not facts.speaker_independent:
        how = (
            "were heard in training" if facts.speaker_knowledge == "blind" else f"are known ({facts.speaker_knowledge})"
        )
        notes.append(f"Test speakers {how}: these figures say nothing about new speakers.")
    if counted := map_note(table):
        notes.append(f"{counted} In the confusion matrix, precision and F1 it stands as the emotion that it counts as.")
    if absent := sorted(set(facts.classes) - set(rows["label"])):
        notes.append(f"No test utterance is of {', '.join(absent)}: rates are over the classes present.")
    return notes


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
