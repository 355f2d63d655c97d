"""The leaderboard of a folder of reports: one ranked table for each test set and way of evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..emotions import EvaluationMap
from ..evaluation.comparisons.compare import LEVEL, compare
from ..evaluation.metrics import METRICS, unweighted_average_recall
from ..evaluation.tables import PredictionTable, TableError
from ..evaluation.words import markdown_table, shown
from ..files import COST, REPORT, TEST
from ..splits.relation import in_words
from .report import EvaluationReport

COSTS = {"numbers": "parameters and statistics", "epoch_seconds": "seconds an epoch", "epochs": "epochs"}
_LIKE = ("protocol", "scheme", "label_source", "condition", "evaluation_map", "relation", "adaptation", "folds", "n",
         "declared_new", "cross_validated")  # fmt: skip


@dataclass(frozen=True)
class _Entry:
    name: str
    report: EvaluationReport
    table: PredictionTable | None
    cost: dict[str, float | None]

    @property
    def likeness(self) -> tuple:
        """The facts that all entries of one table share, in the order of `_LIKE`."""
        return (
            self.report.protocol,
            self.report.scheme,
            ", ".join(self.report.label_source) or "unknown",
            self.report.condition,
            str(EvaluationMap(self.report.evaluation_map)),
            self.report.relation,
            self.report.adaptation,
            tuple(row["fold"] for row in self.report.per_fold),
            self.report.n,
            self.report.declared_new,
            self.report.cross_validated,
        )


def leaderboard(folder: str | Path) -> dict[str, Any]:
    """Rank the reports `*/report.json` of a folder by UAR.

    Entries share a table if they have the same protocol, label scheme, label source, condition, evaluation map, the
    same relation and adaptation to the test speakers, and the same folds and number of utterances. `<protocol>+refit`
    is a protocol of its own, because its models were trained on the validation speakers too. A run over some folds is
    not in the table of runs over more folds.

    A model shares the rank of the leader above it if their `predictions.parquet` show no significant difference, paired
    over speakers (`compare`; p < 0.05, not corrected for the number of pairs). The tie is unknown if a table is missing
    or `compare` refuses the tables, for example because speakers are unknown.

    Returns:
        `folder`; `tables`: [{protocol, scheme, label_source, condition, evaluation_map, folds, n, partial (True if
        there is a table of the same kind with more folds), entries: [{rank, name, model, uar, uar_interval, rates,
        speakers, tied (with the leader of the rank above; None if unknown), p
        (against that leader; None if unknown, and for the best), note (the reason if the tables cannot be compared;
        else None), numbers, epoch_seconds, epochs}]}].

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
    kinds: dict[tuple, list[_Entry]] = {}
    for entry in sorted(entries, key=lambda entry: (-entry.report.uar, entry.name)):
        kinds.setdefault(entry.likeness, []).append(entry)
    tables = []
    # The whole protocol first, its parts after it.
    for kind, members in sorted(kinds.items(), key=lambda item: (item[0][:7], -len(item[0][7]), item[0][7:])):
        more = [other for other in kinds if other[:7] == kind[:7] and len(other[7]) > len(kind[7])]
        facts = {**dict(zip(_LIKE, kind, strict=True)), "folds": list(kind[7])}
        tables.append({**facts, "partial": bool(more), "entries": _ranked(members)})
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
        if (known := in_words(table["relation"], table["adaptation"])) != "blind":
            words.append(known)
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
    report, beside, cost = (
        EvaluationReport.read(file),
        file.with_name(TEST),
        file.with_name(COST),
    )
    table = PredictionTable.read(beside) if beside.is_file() else None
    if table is not None:
        uar, facts = unweighted_average_recall(table.references, table.predictions), table.metadata
        is_of_it = (facts.protocol, facts.condition) == (report.protocol, report.condition)
        if not is_of_it or abs(uar - report.uar) > 1e-9:
            raise ValueError(f"{file} does not match the predictions beside it: write it again with `ser-hf report`")
    costs = json.loads(cost.read_text(encoding="utf-8")) if cost.is_file() else {}
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
        facts = {"rank": rank, "name": entry.name, "model": entry.report.model, "tied": tied, "p": p, "note": note}
        rows.append({**facts, **_facts(entry)})
    return rows


def _facts(entry: _Entry) -> dict[str, Any]:
    kept = ("rates", "speakers")
    uar = {"uar": entry.report.uar, "uar_interval": entry.report.rates["uar"]["interval"]}
    return {**uar, **{name: getattr(entry.report, name) for name in kept}, **entry.cost}


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
