"""`EvaluationReport`: the results of prediction tables in numbers, words and figures. Same tables, same report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..evaluation.chapters import CHAPTERS, Tables
from ..evaluation.comparisons.cross_corpus import map_note
from ..evaluation.intervals import METHOD, caution
from ..evaluation.metrics import METRICS, confusion_matrix, per_class, uar_of
from ..evaluation.tables import PredictionTable, TableError
from ..evaluation.words import without_html
from ..files import CONFUSION, METRICS_CSV, REPORT, REPORT_HTML, REPORT_MARKDOWN, read_json, write_whole
from ..splits.relation import Adaptation, Relation, from_older_facts
from . import markdown
from .figures import confusion_figure, save_figure
from .html import to_html
from .metrics_csv import to_csv

WORST_CONFUSIONS = 6  # few enough to listen to

SCHEMA = 2  # of report.json; 1 had a key for each rate and chapter


@dataclass(frozen=True)
class EvaluationReport:
    """The report of one test set. Rates are in [0, 1]; intervals are 95 % over speakers, None if there is none.

    `docs/report.md` explains every field. A chapter is None if the tables do not allow it.
    """

    protocol: str
    scheme: str
    n: int
    rates: dict[str, dict[str, Any]]
    relation: str
    adaptation: str
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
    chapters: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    scoring: dict[str, str] = field(default_factory=dict)
    declared_new: bool = False
    removed_answers: list[str] = field(default_factory=list)
    languages: dict[str, str] = field(default_factory=dict)
    cross_validated: bool = False

    @classmethod
    def from_table(
        cls,
        table: PredictionTable,
        *,
        validation: PredictionTable | None = None,
        disturbed: Sequence[PredictionTable] = (),
        adapted: Sequence[PredictionTable] = (),
        by: Sequence[str] = (),
    ) -> EvaluationReport:
        """Return the report of a test set.

        Args:
            table: predictions for the test speakers.
            validation: predictions for the validation speakers of the same folds and seeds, on which thresholds and
                temperatures are fitted; default: no thresholds, no temperatures.
            disturbed: tables of the same test set under worse conditions.
            adapted: tables of the same test set with several kinds of adaptation, "none" among them.
            by: columns of the table whose groups are compared, in addition to gender, age band and language.

        Raises:
            TableError: if the table is of validation speakers, or the tables do not belong together.
        """
        if table.metadata.part != "test":
            raise TableError(
                f"this table has {table.metadata.part} speakers, on whom the model was chosen: pass a table of test "
                "speakers"
            )
        table, validation = _in_order(table), None if validation is None else _in_order(validation)
        rows, facts = table.rows, table.metadata
        confusion = confusion_matrix(table.references, table.predictions, len(facts.classes))
        tables = Tables(table, validation, *([_in_order(one) for one in several] for several in (disturbed, adapted)))
        rates = {}
        for name, metric in METRICS.items():
            value, interval = table.rate(metric)
            rates[name] = {"value": value, "interval": interval}
        return cls(
            protocol=facts.protocol,
            scheme=facts.scheme,
            n=table.n,
            rates=_plain(rates),
            relation=_relation(table),
            adaptation=facts.adaptation,
            speakers=table.speakers,
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
            notes=_notes(table, rates["uar"]["value"]),
            trained_on=list(facts.trained_on),
            condition=facts.condition,
            evaluation_map=_plain(facts.evaluation_map),
            scoring=dict(facts.scoring),
            declared_new=facts.declared_new,
            removed_answers=list(facts.removed_answers),
            languages=dict(sorted(facts.languages.items())),
            cross_validated=facts.cross_validated,
            chapters={one.name: _plain(one.section(tables, by)) for one in CHAPTERS},
        )

    @property
    def uar(self) -> float:
        """The unweighted average recall: the headline of a report."""
        return self.rates["uar"]["value"]

    def rate(self, metric: str) -> str:
        """Return a rate of `METRICS` and its interval as text, such as `0.731 [0.702, 0.760]`."""
        return markdown.rate(self.to_dict(), metric)

    @property
    def headline(self) -> str:
        """The result in one line."""
        return markdown.headline(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types: `schema`, the fields, and `folds` (the number of folds)."""
        return {"schema": SCHEMA, **_plain(dataclasses.asdict(self)), "folds": len(self.per_fold)}

    def slim(self, chapters: Sequence[str] = ()) -> EvaluationReport:
        """Return the report without its chapters and confusions, a few kilobytes, to be kept beside code.

        Args:
            chapters: names of chapters to keep.
        """
        kept = {name: chapter if name in chapters else None for name, chapter in self.chapters.items()}
        return dataclasses.replace(self, chapters=kept, worst_confusions=[])

    def to_markdown(self) -> str:
        """Return the report as Markdown, on one screen."""
        return without_html(markdown.to_markdown(self.to_dict()))

    def write(self, folder: str | Path, clips: Mapping[str, bytes] | None = None) -> None:
        """Write `report.json`, `report.md`, `report.html`, `metrics.csv` and `confusion.png` into a folder.

        Args:
            clips: FLAC files of utterances by their ids, for the page to play.
        """
        folder, facts = Path(folder), self.to_dict()
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / REPORT, json.dumps(facts, indent=2, allow_nan=False) + "\n")
        write_whole(folder / REPORT_MARKDOWN, self.to_markdown() + "\n")
        write_whole(folder / METRICS_CSV, to_csv(facts))
        save_figure(confusion_figure(facts), folder / CONFUSION)
        write_whole(folder / REPORT_HTML, to_html(facts, clips or {}))

    @classmethod
    def read(cls, path: str | Path) -> EvaluationReport:
        """Read a report from its JSON, also from that of schema 1.

        Raises:
            ValueError: if the file is not a report, or is of a later version.
        """
        again = "write it again from its prediction table with `ser-hf report`"
        facts = read_json(path, remedy=again)
        if not isinstance(facts, dict):
            raise ValueError(f"{path} is not a report: {again}")
        schema = facts.pop("schema", 1)
        if schema > SCHEMA:
            raise ValueError(f"{path} has the schema {schema}; this ser_hf reads up to {SCHEMA}: update ser_hf")
        if schema == 1:
            facts = _of_schema_1(facts)
        facts.pop("folds", None)  # it follows from per_fold
        fields = dataclasses.fields(cls)
        unknown = set(facts) - {one.name for one in fields}
        # Fields that later versions added have their defaults.
        needed = {one.name for one in fields if one.default is one.default_factory is dataclasses.MISSING}
        if differing := sorted(unknown | needed - set(facts)):
            raise ValueError(
                f"{path} is not a report of this version of ser_hf (missing or unknown: {', '.join(differing)}): "
                f"{again}"
            )
        return cls(**facts)


def _of_schema_1(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of a report of schema 1 in the form of the present schema."""
    facts = from_older_facts(facts)
    rates = {
        name: {"value": facts.pop(name), "interval": facts.pop(f"{name}_interval", None)}
        for name in METRICS
        if name in facts
    }
    chapters = {one.name: facts.pop(one.name, None) for one in CHAPTERS}
    return {**facts, "rates": rates, "chapters": chapters}


def _relation(table: PredictionTable) -> str:
    """Return the relation of the test speakers to the training; nobody knows it of speakers without a name."""
    facts = table.metadata
    nobody_knows = facts.relation == Relation.HELD_OUT and table.speakers is None and not facts.declared_new
    return Relation.UNKNOWN.value if nobody_knows else facts.relation


def _in_order(table: PredictionTable) -> PredictionTable:
    """Return the table sorted by name, so that rounding and random numbers do not depend on the order of its rows."""
    return PredictionTable(table.rows.sort_values(["fold", "seed", "utterance_id"], ignore_index=True), table.metadata)


def _plain(facts: Any) -> Any:
    """Return facts as JSON would read them, so that a report that is read equals the one that was written."""
    return json.loads(json.dumps(facts))


def _apart(table: PredictionTable, column: str) -> list[dict[str, Any]]:
    """Return the UAR of each fold, or of each seed, alone."""
    apart = []
    for value, positions in sorted(table.rows.groupby(column).indices.items()):
        part = table.part(positions)
        uar, interval = part.rate(uar_of)
        apart.append({column: int(value), "n": part.n, "uar": uar, "uar_interval": interval})
    return apart


def _worst_confusions(table: PredictionTable) -> list[dict[str, Any]]:
    """Return the most frequent confusions of two classes, each with the utterance of the most confident error."""
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
    """Return warnings about the figures for the reader, one sentence each."""
    rows, facts = table.rows, table.metadata
    speakers, seeds = rows["speaker"].nunique(), rows["seed"].nunique()
    notes = [] if facts.condition == "clean" else [f"The recordings were disturbed: {facts.condition}."]
    if facts.cross_validated:
        models = len(rows.groupby(["fold", "seed"]))
        notes.append(
            f"These are the figures of {models} models of a cross-validation with the same options, each on test "
            "utterances that it was not trained on. The final model beside this report was trained on all of them: it "
            "has no test utterances of its own."
        )
    notes += [f"The corpus is incomplete: {facts.partial[corpus]}." for corpus in sorted(facts.partial)]
    if rows["speaker"].isna().any():
        notes.append("Some speakers are unknown: no interval, and the evaluation is not speaker-independent.")
    elif speakers < 2:
        notes.append("Only one speaker: no interval. Train and evaluate all folds for one (--folds -1, --fold -1).")
    else:
        if sentence := caution(speakers, uar):
            notes.append(sentence)
        voices = rows.groupby("label")["speaker"].nunique()
        if lonely := sorted(voices.index[voices == 1]):
            notes.append(f"Only one speaker has utterances of {', '.join(lonely)}: the interval may be too narrow.")
    if seeds > 1 and facts.adaptation != Adaptation.NONE:
        notes.append(
            f"The known recordings of each speaker were drawn or ordered {seeds} times, numbered as seeds; rates and "
            "counts are pooled over them, and the interval is over speakers."
        )
    elif seeds > 1:
        notes.append(f"Rates and counts are pooled over {seeds} seeds; the interval is over speakers, not over seeds.")
    if facts.relation == Relation.UNKNOWN:
        notes.append(
            "The training data of this model is unknown: it may have been trained on these speakers or recordings."
        )
    elif facts.relation == Relation.SHARED:
        notes.append(
            "The model was trained on test speakers, or chosen on them: these figures say nothing about unseen "
            "speakers."
        )
    if facts.declared_new:
        notes.append("That the test speakers are new to the model is the word of its user; it was not checked.")
    if facts.removed_answers:
        notes.append(
            f"The model also answers {', '.join(facts.removed_answers)}, which the scheme does not have: these answers "
            "were removed, and the other probabilities scaled to sum to 1."
        )
    if len(answers := rows["prediction"].unique()) == 1:
        notes.append(f"The model gives the same answer, {answers[0]}, to every utterance: it tells nothing apart.")
    if counted := map_note(table):
        notes.append(
            f"{counted} In the confusion matrix, precision and F1, an answer that counts as correct is shown as the "
            "true emotion."
        )
    if absent := sorted(set(facts.classes) - set(rows["label"])):
        notes.append(f"No test utterances of {', '.join(absent)}: rates are over the other classes.")
    return notes
