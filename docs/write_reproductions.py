"""Takes reports of `recipes/reproduce.py` into docs/reproductions/ and writes every table of experiments from them.

python docs/write_reproductions.py runs/reproductions   # the finished runs of that folder, then the pages
python docs/write_reproductions.py                      # the pages, from the reports already taken

A page names experiments in a comment, and their rows stand from there to the next `<!-- end experiments -->`:

    <!-- experiments D8 -->
    <!-- end experiments -->
"""

from __future__ import annotations

import json
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas
import yaml

from ser_hf.evaluation.comparisons.compare import compare
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.evaluation.words import shown
from ser_hf.files import FORGETTING, FORGETTING_MARKDOWN, REPORT, TEST
from ser_hf.report.report import EvaluationReport
from ser_hf.splits.protocol import SELECTED, Protocol
from ser_hf.splits.relation import Relation

DOCS = Path(__file__).resolve().parent
TAKEN = DOCS / "reproductions"
EXPERIMENTS = DOCS.parent / "recipes" / "experiments"
PLACE = re.compile(r"<!-- experiments (?P<ids>[^\n]*) -->\n.*?<!-- end experiments -->", re.DOTALL)
MINIATURES = {"crema-d": "CREMA-D", "iemocap": "IEMOCAP", "savee": "SAVEE"}
COPIED = (FORGETTING, FORGETTING_MARKDOWN)
MADE = (REPORT, "corpora.json", "diagnosis.json", "difference.json")


class Row(NamedTuple):
    """One row of a table: a run, or one of the parts that a run has."""

    experiment: str
    run: str
    part: str  # a folder of the run, or ""
    text: str
    against: str  # another row's run/part, whose predictions are of the same utterances; or ""
    facts: dict  # the run's own, of the experiment's file

    @property
    def name(self) -> str:
        return f"{self.run}/{self.part}".rstrip("/")

    @property
    def folder(self) -> Path:
        """Where its report lies in docs/."""
        return DOCS / "results" / self.facts["result"] if "result" in self.facts else TAKEN / self.name


@cache
def experiment(name: str) -> dict:
    return yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text(encoding="utf-8"))


def rows_of(name: str) -> Iterator[Row]:
    for run, facts in experiment(name)["runs"].items():
        if "rows" in facts:  # one command, several reports
            for part, text in facts["rows"].items():
                against = facts.get("against", {})
                other = against.get(part) if isinstance(against, dict) else against
                yield Row(name, run, part, text, f"{run}/{other}" if other not in (None, part) else "", facts)
        else:
            yield Row(name, run, facts.get("report", ""), facts["row"], facts.get("against", ""), facts)


def is_finished(row: Row, runs: Path) -> bool:
    return "result" not in row.facts and (runs / row.run / "reproduction.json").exists()


def forget(row: Row) -> None:
    """What was taken of an earlier run: a difference from it must not stand beside the report of this one."""
    for name in (*COPIED, *MADE):
        (row.folder / name).unlink(missing_ok=True)


def take(row: Row, runs: Path) -> None:
    """What is kept of a finished run: its report, what it was compared with, and how it was started."""
    row.folder.mkdir(parents=True, exist_ok=True)
    told = json.loads((runs / row.run / "reproduction.json").read_text(encoding="utf-8"))
    # Where a model lay is nobody's business.
    told["models"] = {
        name: f"./{Path(model).name}" if Path(model).is_absolute() else model for name, model in told["models"].items()
    }
    (TAKEN / row.run / "reproduction.json").write_text(json.dumps(told) + "\n", encoding="utf-8")
    if (file := runs / row.name / REPORT).exists():
        kept = ["robustness", *(["fairness"] if "groups" in row.facts else [])]  # chapters that `extras` reads
        report = EvaluationReport.read(file).slim(kept).to_dict()
        (row.folder / REPORT).write_text(json.dumps(report, separators=(",", ":")) + "\n", encoding="utf-8")
    for name in COPIED:
        if (runs / row.name / name).exists():
            shutil.copyfile(runs / row.name / name, row.folder / name)
    predictions = runs / row.name / TEST
    if predictions.exists() and len(each := _by_corpus(PredictionTable.read(predictions))) > 1:
        (row.folder / "corpora.json").write_text(json.dumps(each, indent=1) + "\n", encoding="utf-8")
    if diagnoses := sorted((runs / row.run).glob(f"seed*/{row.part}/fold*/diagnosis.json")):  # of an adaptation
        (row.folder / "diagnosis.json").write_text(json.dumps(mean_of(diagnoses), indent=1) + "\n", encoding="utf-8")
    for file in row.facts.get("files", ()):  # of the run, to be looked at
        shutil.copyfile(runs / row.run / file, TAKEN / row.run / Path(file).name)
    if row.against and (runs / row.against / TEST).exists():
        tables = {"it": PredictionTable.read(predictions), "other": PredictionTable.read(runs / row.against / TEST)}
        pair = compare(_on_what_both_have(tables))["pairs"][0]
        kept = {"against": row.against, **{key: pair[key] for key in ("difference", "interval", "p")}}
        (row.folder / "difference.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _by_corpus(table: PredictionTable) -> dict[str, dict]:
    """What a report of each corpus alone says: the pooled rates are those of the easier one, too."""
    reports = {one: EvaluationReport.from_table(table.on_corpora([one])) for one in table.rows["corpus"].unique()}
    return {
        one: {"n": told.n, "uar": told.uar, "interval": told.rates["uar"]["interval"]} for one, told in reports.items()
    }


def _on_what_both_have(tables: dict[str, PredictionTable]) -> dict[str, PredictionTable]:
    """The tables on the corpora of both, such as those of a generalist and of a specialist."""
    corpora = set.intersection(*(set(table.rows["corpus"]) for table in tables.values()))
    return {side: _as_divided(table).on_corpora(corpora) for side, table in tables.items()}


def _as_divided(table: PredictionTable) -> PredictionTable:
    """Whatever chose the epoch, the test utterances of `selected` are those of the protocol: what it gains is asked."""
    protocol = replace(Protocol.parse(table.metadata.protocol), suffixes=()).name
    return replace(table, metadata=replace(table.metadata, protocol=protocol, relation=Relation.SHARED))


def record_of(run: str) -> dict:
    file = TAKEN / run / "reproduction.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def mean_of(files: list[Path]) -> dict[str, float | list[float] | None]:
    """The mean of each figure over diagnoses of folds and seeds; None for one that none of them has."""
    told = pandas.DataFrame([json.loads(file.read_text(encoding="utf-8")) for file in files])
    means = {}
    for key in told:
        known = told[told[key].notna()]
        # How many of the confident pseudo-labels are right, wherever there were any.
        weights = known["confident_share"] if key == "pseudo_label_accuracy" else None
        means[key] = np.average(np.stack(known[key]), axis=0, weights=weights).tolist() if len(known) else None
    return means


def cells(row: Row) -> list[str] | None:
    """What a report says of a row; None where there is none yet."""
    file = row.folder / REPORT
    if not file.exists():
        return None
    report = EvaluationReport.read(file)
    folds = " ".join(str(one["fold"]) for one in report.per_fold)
    known = "unseen speakers"
    if SELECTED in Protocol.parse(report.protocol).suffixes:
        known = "speakers: the epoch was chosen on them"
    elif report.relation != Relation.HELD_OUT:
        known = "speakers, **shared** with training" if report.relation == Relation.SHARED else "speakers: unknown"
    where = f"[{report.protocol}]({file.relative_to(DOCS).as_posix()}), fold{'s' * (' ' in folds)} {folds}"
    seeds = f", {len(report.per_seed)} seeds" if len(report.per_seed) > 1 else ""
    if report.per_fold and report.speakers is not None:
        where += f", {report.speakers} {known}{seeds}"
    return [
        f"{row.text}{extras(row, report)}",
        report.model + replaced(row, report.model),
        where,
        str(report.n),
        report.rate("uar"),
        report.rate("war"),
    ]


def replaced(row: Row, judged: str) -> str:
    """What a model, or a part of the one that was judged, stands in for, where the published one could not be had."""
    said, published = "", reproduce()["MODELS"]
    for name, model in models_of(row.run).items():
        if model != published[name] and "/" not in model:  # an architecture
            said += f", random weights in place of {published[name]}"
        elif model != published[name] and name not in Path(model).name:
            part = "" if Path(model).name in judged else f", {Path(model).name}"
            said += f"{part} in place of {published[name]}"
    return said


def models_of(run: str) -> dict[str, str]:
    """The models of a run, and of those whose models it reads."""
    facts = every_run()[run]
    read = {name: model for one in reproduce()["needed_by"](facts) for name, model in models_of(one).items()}
    return {**read, **record_of(run).get("models", {})}


def stand_ins(run: str) -> dict[str, str]:
    """Which corpora are miniatures in a run, or in those whose models it reads: {corpus: the run with it}."""
    facts = every_run()[run]
    commands = " ".join(reproduce()["commands_of"](facts))
    found = {name: run for folder, name in MINIATURES.items() if f"{{miniatures}}/{folder}" in commands}
    for one in reproduce()["needed_by"](facts):
        found = {**stand_ins(one), **found}
    return found


@cache
def every_run() -> dict[str, dict]:
    return {
        run: facts for file in EXPERIMENTS.glob("[A-Z]*.yaml") for run, facts in experiment(file.stem)["runs"].items()
    }


@cache
def reproduce() -> dict:
    """What the script that runs them says of experiments; it is no module of the package."""
    return runpy.run_path(str(EXPERIMENTS.parent / "reproduce.py"))


def extras(row: Row, report: EvaluationReport) -> str:
    each = [f"{row.run}/{Path(file).name}" for file in row.facts.get("files", ())]
    if "forgetting" in row.facts:
        each.append(f"{row.name}/forgetting.md")
    said = ""
    for corpus, run in stand_ins(row.run).items():
        said += f"; {corpus} as a miniature of synthetic speech{f' (in {run})' if run != row.run else ''}"
    absent = [one["class"] for one in report.per_class if not one["support"]]
    if absent and not report.evaluation_map:
        said += f"; nothing there is {' or '.join(absent)}"
    if each:
        said += f": {', '.join(f'[{Path(file).name}](reproductions/{file})' for file in each)}"
    if (file := row.folder / "corpora.json").exists() and "forgetting" not in row.facts:
        for corpus, one in json.loads(file.read_text(encoding="utf-8")).items():
            said += f"; {corpus} alone {shown(one['uar'], one['interval'])}, n = {one['n']}"
    for one in (report.chapters.get("robustness") or {}).get("conditions", ()):
        said += f": UAR {shown(one['uar'], one['uar_interval'])} under {one['condition']}"
    if group := row.facts.get("groups"):
        section = report.chapters["fairness"][group]
        each = [f"{one['group']} {shown(one['uar'], one['uar_interval'])}" for one in section["groups"]]
        said += f": {', '.join(each)}; {section['gap']['verdict'].split('. ')[0]}"
    if "forgetting" in row.facts:
        told = json.loads((row.folder / FORGETTING).read_text(encoding="utf-8"))
        for corpus in row.facts["forgetting"]:  # end minus right after: not biased by noise, unlike the best since
            said += f"; {corpus} lost {of(told['corpora'][corpus]['transfer'], -1)}"
        said += (
            f"; backward transfer {of(told['backward_transfer'])}, average at the end {of(told['average'], sign='')}"
        )
    if (file := row.folder / "diagnosis.json").exists():
        told = json.loads(file.read_text(encoding="utf-8"))
        said += f"; domain distance {told['domain_distance']:.2f}"
        if told["alignment"] is not None:
            said += f", what aligns pays {told['alignment'][0]:.2g} at first and {told['alignment'][1]:.2g} in the end"
        if told["confident_share"] and told["pseudo_label_accuracy"] is not None:
            said += f"; {told['confident_share']:.0%} confident, of these {told['pseudo_label_accuracy']:.0%} right"
    return said


def of(figure: dict, factor: int = 1, sign: str = "+") -> str:
    """A figure with its interval, times 1 or -1."""
    interval = figure["interval"] and sorted(factor * bound for bound in figure["interval"])
    return shown(factor * figure["value"], interval, sign)


def table(names: list[str]) -> str:
    columns = ["id", "run", "model", "test", "n", "UAR [95 % over speakers]", "WAR", "paired difference of UAR"]
    columns += ["printed", "their test"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    notes, missing = [], []
    for name in names:
        content, first = experiment(name), True
        for row in rows_of(name):
            if refusal := record_of(row.run).get("refusal"):  # there is nothing to judge
                told = refusal.partition(" Its utterances")[0]  # which it names one by one
                notes.append(f"* {name}, {row.text}: `{told}`")
                continue
            told = cells(row)
            if told is None:
                missing.append(row.name)
                continue
            difference = row.folder / "difference.json"
            against = "-"
            if row.against and difference.exists():
                pair = json.loads(difference.read_text(encoding="utf-8"))
                against = f"{shown(pair['difference'], pair['interval'], '+')} against {pair['against']}"
            printed = [content["printed"], content["their_test"]] if first else ["", ""]
            what = f"**{content['what']}**<br>{told[0]}" if first else told[0]
            lines.append(f"| {name} | {what} | {' | '.join([*told[1:], against, *printed])} |")
            first = False
    notes += [f"* {name}: {experiment(name)['note']}" for name in names if "note" in experiment(name)]
    if missing:
        notes.append(f"* Not run here yet: {', '.join(missing)}.")
    return "\n".join([*lines, *([""] if notes else []), *notes])


def commands(names: list[str]) -> str:
    """How each run is started, as its record says, and what it took."""
    lines, seen, total = [], set(), 0
    for name in names:
        for row in rows_of(name):
            record = record_of(row.run)
            if row.run not in seen and record:
                seen.add(row.run)
                total += record["cpu_seconds"]
                lines += [f"* {row.run}: `{shlex.join(shlex.split(one))}`" for one in record["commands"]]
    return f"{len(seen)} runs took {total / 3600:.1f} hours of processor time together.\n\n" + "\n".join(lines)


def main() -> None:
    every = sorted(file.stem for file in EXPERIMENTS.glob("[A-Z]*.yaml"))
    if len(sys.argv) > 1:
        runs = Path(sys.argv[1])
        if not runs.is_dir():
            raise SystemExit(f"there is no folder {runs}; wanted the --runs of recipes/reproduce.py, or no word at all")
        finished = [row for name in every for row in rows_of(name) if is_finished(row, runs)]
        for row in finished:  # all of them first, since rows of two experiments may be of one run
            forget(row)
        for row in finished:
            take(row, runs)

    def filled(place: re.Match) -> str:
        words = place["ids"].split()
        write = commands if words[0] == "commands" else table
        return (
            f"<!-- experiments {place['ids']} -->\n{write(words[words[0] == 'commands' :])}\n<!-- end experiments -->"
        )

    for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md"):
        text, count = PLACE.subn(filled, page.read_text(encoding="utf-8"))
        if count:
            page.write_text(text, encoding="utf-8")
            print(f"{page.name}: {count} tables")


if __name__ == "__main__":
    main()
