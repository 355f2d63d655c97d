"""The leaderboard of a folder of reports: one ranked table for each test set and way of evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..emotions import EvaluationMap
from ..evaluation.comparisons.compare import LEVEL, compare
from ..evaluation.metrics import METRICS, unweighted_average_recall
from ..evaluation.tables import PredictionTable, TableError
from ..evaluation.words import markdown_table, shown
from ..files import COST, REPORT, TEST, read_json
from .markdown import CROSS_VALIDATED, speakers_in_words
from .report import EvaluationReport

COSTS = {"numbers": "parameters and statistics", "epoch_seconds": "seconds an epoch", "epochs": "epochs"}


class _Kind(NamedTuple):
    """The facts that all entries of one table share."""

    protocol: str
    scheme: str
    label_source: str
    condition: str
    evaluation_map: str
    relation: str
    adaptation: str
    folds: tuple[int, ...]
    n: int
    declared_new: bool
    cross_validated: bool

    @property
    def whole(self) -> _Kind:
        """The same kind, whichever folds were run."""
        return self._replace(folds=(), n=0)


@dataclass(frozen=True)
class _Entry:
    name: str
    report: EvaluationReport
    table: PredictionTable | None
    cost: dict[str, float | None]

    @property
    def kind(self) -> _Kind:
        report = self.report
        return _Kind(
            protocol=report.protocol,
            scheme=report.scheme,
            label_source=", ".join(report.label_source) or "unknown",
            condition=report.condition,
            evaluation_map=str(EvaluationMap(report.evaluation_map)),
            relation=report.relation,
            adaptation=report.adaptation,
            folds=tuple(row["fold"] for row in report.per_fold),
            n=report.n,
            declared_new=report.declared_new,
            cross_validated=report.cross_validated,
        )


def leaderboard(folder: str | Path) -> dict[str, Any]:
    """Rank the reports `*/report.json` of a folder by UAR.

    Entries share a table if they have the same protocol, label scheme, label source, condition, evaluation map, the
    same relation and adaptation to the test speakers, and the same folds and number of utterances, and if neither or
    both were declared to have new speakers, or were cross-validated for a final model. `<protocol>+refit` is a protocol
    of its own, because its models were trained on the validation speakers too. A run over some folds is not in the
    table of runs over more folds.

    A model shares the rank of the leader above it if their `predictions.parquet` show no significant difference, paired
    over speakers (`compare`; p < 0.05, not corrected for the number of pairs). The tie is unknown if a table is missing
    or `compare` refuses the tables, for example because speakers are unknown.

    Returns:
        `folder`; `tables`: [{protocol, scheme, label_source, condition, evaluation_map, relation, adaptation, folds, n,
        declared_new, cross_validated, partial (True if there is a table of the same kind with more folds), entries:
        [{rank, name, model, uar, uar_interval, rates, speakers, tied (with the leader of the rank above; None if
        unknown), p (against that leader; None if unknown, and for the best), note (the reason if the tables cannot be
        compared; else None), numbers, epoch_seconds, epochs}]}].

    Raises:
        FileNotFoundError: if there is no report.
        ValueError: for a report of another version, or one that does not match the predictions beside it.
    """
    files = sorted(Path(folder).glob(f"*/{REPORT}"))
    if not files:
        raise FileNotFoundError(
            f"{folder} has no run folder with a report.json: pass the folder above the run folders; `ser-hf report` "
            "writes the reports"
        )
    entries = [_read(file) for file in files]
    by_kind: dict[_Kind, list[_Entry]] = {}
    for entry in sorted(entries, key=lambda entry: (-entry.report.uar, entry.name)):
        by_kind.setdefault(entry.kind, []).append(entry)
    tables = []
    # The whole protocol first, its parts after it.
    for kind in sorted(by_kind, key=lambda kind: (kind.whole, -len(kind.folds), kind)):
        is_partial = any(other.whole == kind.whole and len(other.folds) > len(kind.folds) for other in by_kind)
        facts = {**kind._asdict(), "folds": list(kind.folds)}
        tables.append({**facts, "partial": is_partial, "entries": _ranked(by_kind[kind])})
    return {"folder": Path(folder).name, "tables": tables}


def to_markdown(facts: dict[str, Any]) -> list[str]:
    """Return the Markdown lines of a `leaderboard`."""
    lines = []
    for table in facts["tables"]:
        folds = " ".join(map(str, table["folds"]))
        which = f"fold{'s' * (len(table['folds']) > 1)} {folds}{' only' * table['partial']}"
        words = [f"`{table['protocol']}`, {which}", f"scheme `{table['scheme']}`", f"{table['label_source']} labels"]
        if table["condition"] != "clean":
            words.append(table["condition"])
        if (known := speakers_in_words(table)) != "blind":
            words.append(known)
        if table["cross_validated"]:
            words.append(CROSS_VALIDATED)
        if table["evaluation_map"]:
            words.append(table["evaluation_map"])
        lines += [f"## {', '.join(words)}, n = {table['n']}", ""]
        headline, *others = METRICS.values()
        header = ["rank", "run", f"{headline.title} [95 % over speakers]", *(metric.title for metric in others)]
        rows = []
        for row in table["entries"]:
            cells = [
                row["rank"], f"{row['name']}: {row['model']}", shown(row["uar"], row["uar_interval"]),
                *(shown(row["rates"].get(one.name, {}).get("value"), None) for one in others), _p(row), *_costs(row),
            ]  # fmt: skip
            rows.append(cells)
        lines += markdown_table([*header, "p against the leader", *COSTS.values()], rows)
        notes = [f"Unknown if {row['name']} shares a rank: {row['note']}." for row in table["entries"] if row["note"]]
        lacking = [one.title for one in others if any(one.name not in row["rates"] for row in table["entries"])]
        if lacking:
            notes.append(
                f"A dash in {', '.join(lacking)}: the report is older than the metric. `ser-hf report` writes it again."
            )
        lines += ["", *(f"* {note}" for note in notes), *([""] if notes else [])]
    lines.append(
        "Models share a rank if they do not differ significantly from the best of this rank (paired over speakers, "
        "p >= 0.05, not corrected for the number of models). A dash in column p: not compared. The comparison needs "
        "the predictions of both models beside their reports, on the same utterances of known speakers."
    )
    return lines


def _read(file: Path) -> _Entry:
    report, beside, cost = EvaluationReport.read(file), file.with_name(TEST), file.with_name(COST)
    table = PredictionTable.read(beside) if beside.is_file() else None
    if table is not None:
        uar, facts = unweighted_average_recall(table.references, table.predictions), table.metadata
        is_of_it = (facts.protocol, facts.condition) == (report.protocol, report.condition)
        if not is_of_it or abs(uar - report.uar) > 1e-9:
            raise ValueError(f"{file} does not match the predictions beside it: write it again with `ser-hf report`")
    costs = read_json(cost, remedy="remove it") if cost.is_file() else {}
    return _Entry(file.parent.name, report, table, {name: costs.get(name) for name in COSTS})


def _ranked(entries: Sequence[_Entry]) -> list[dict[str, Any]]:
    """Return the rows of one table, best first; `entries` are sorted."""
    rows, leader, rank = [], None, 0
    for place, entry in enumerate(entries, start=1):
        p = note = None
        if leader is not None and leader.table is not None and entry.table is not None:
            try:
                p = compare({leader.name: leader.table, entry.name: entry.table})["pairs"][0]["p"]
            except TableError as error:  # each table alone is valid
                note = str(error)
        if leader is None:
            tied = False
        elif p is None:
            tied = None  # unknown
        else:
            tied = p >= 1 - LEVEL
        if not tied:
            leader, rank = entry, place
        report = entry.report
        rows.append(
            {
                "rank": rank,
                "name": entry.name,
                "model": report.model,
                "tied": tied,
                "p": p,
                "note": note,
                "uar": report.uar,
                "uar_interval": report.rates["uar"]["interval"],
                "rates": report.rates,
                "speakers": report.speakers,
                **entry.cost,
            }
        )
    return rows


def _p(row: dict[str, Any]) -> str:
    if row["tied"] is None:
        return "-"
    return "best" if row["p"] is None else f"{row['p']:.4f}"


def _costs(row: dict[str, Any]) -> list[str]:
    numbers, seconds, epochs = (row[name] for name in COSTS)
    return [
        "-" if numbers is None else f"{numbers / 1e6:.2f} M",
        "-" if seconds is None else f"{seconds:.1f}",
        "-" if epochs is None else f"{epochs:.0f}",
    ]
