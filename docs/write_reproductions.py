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
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from ser_hf.evaluation.compare import compare
from ser_hf.evaluation.intervals import shown
from ser_hf.evaluation.report import EvaluationReport
from ser_hf.evaluation.runs import RunTables

DOCS = Path(__file__).resolve().parent
TAKEN = DOCS / "reproductions"
EXPERIMENTS = DOCS.parent / "recipes" / "experiments"
PLACE = re.compile(r"<!-- experiments (?P<ids>[^\n]*) -->\n.*?<!-- end experiments -->", re.DOTALL)
COPIED = ("report.json", "forgetting.json", "forgetting.md")


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
                against = facts.get("against") if part != facts.get("against") else None
                yield Row(name, run, part, text, f"{run}/{against}" if against else "", facts)
        else:
            yield Row(name, run, facts.get("report", ""), facts["row"], facts.get("against", ""), facts)


def take(row: Row, runs: Path) -> None:
    """What is kept of a finished run: its report, what it was compared with, and how it was started."""
    record = runs / row.run / "reproduction.json"
    if "result" in row.facts or not record.exists():
        return
    row.folder.mkdir(parents=True, exist_ok=True)
    told = json.loads(record.read_text(encoding="utf-8"))
    # Where a model lay is nobody's business.
    told["models"] = {
        name: f"./{Path(model).name}" if Path(model).is_dir() else model for name, model in told["models"].items()
    }
    (TAKEN / row.run / "reproduction.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for name in COPIED:
        if (runs / row.name / name).exists():
            shutil.copyfile(runs / row.name / name, row.folder / name)
    if diagnoses := sorted((runs / row.run).glob(f"seed*/{row.part}/fold*/diagnosis.json")):  # of an adaptation
        (row.folder / "diagnosis.json").write_text(json.dumps(mean_of(diagnoses), indent=1) + "\n", encoding="utf-8")
    for file in row.facts.get("files", ()):  # of the run, to be looked at
        shutil.copyfile(runs / row.run / file, TAKEN / row.run / Path(file).name)
    if row.against and (runs / row.against / "predictions.parquet").exists():
        tables = {side: RunTables.read(runs / place).test for side, place in (("it", row.name), ("other", row.against))}
        pair = compare(tables)["pairs"][0]
        kept = {"against": row.against, **{key: pair[key] for key in ("difference", "interval", "p")}}
        (row.folder / "difference.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def record_of(row: Row) -> dict:
    file = TAKEN / row.run / "reproduction.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def mean_of(files: list[Path]) -> dict[str, float | None]:
    """The mean of each figure over diagnoses of folds and seeds; None for one that none of them has."""
    told = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    figures = {key: [one[key] for one in told if isinstance(one[key], float)] for key in told[0]}
    return {key: sum(values) / len(values) if values else None for key, values in figures.items()}


def cells(row: Row) -> list[str] | None:
    """What a report says of a row; None where there is none yet."""
    file = row.folder / "report.json"
    if not file.exists():
        return None
    report = EvaluationReport.read(file)
    folds = " ".join(str(one["fold"]) for one in report.per_fold)
    known = "unseen speakers" if report.speaker_independent else "speakers, **shared** with training"
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
    said, published = "", published_models()
    for name, model in record_of(row).get("models", {}).items():
        if model != published[name] and "/" not in model:  # an architecture
            said += f", random weights in place of {published[name]}"
        elif model != published[name] and name not in Path(model).name:
            part = "" if Path(model).name in judged else f", {Path(model).name}"
            said += f"{part} in place of {published[name]}"
    return said


@cache
def published_models() -> dict[str, str]:
    """What the published experiments were made of; from a script, which is no module of the package."""
    return runpy.run_path(str(EXPERIMENTS.parent / "reproduce.py"))["MODELS"]


def extras(row: Row, report: EvaluationReport) -> str:
    each = [Path(file).name for file in row.facts.get("files", ())]
    said = f": {', '.join(f'[{name}](reproductions/{row.run}/{name})' for name in each)}" if each else ""
    if group := row.facts.get("groups"):
        section = report.fairness[group]
        each = [f"{one['group']} {shown(one['uar'], one['uar_interval'])}" for one in section["groups"]]
        said += f": {', '.join(each)}; {section['gap']['verdict'].split('. ')[0]}"
    if "forgetting" in row.facts:
        told = json.loads((row.folder / "forgetting.json").read_text(encoding="utf-8"))
        for corpus in row.facts["forgetting"]:  # end minus right after: not biased by noise, unlike the best since
            said += f"; {corpus} lost {of(told['corpora'][corpus]['transfer'], -1)}"
        said += (
            f"; backward transfer {of(told['backward_transfer'])}, average at the end {of(told['average'], sign='')}"
        )
    if (file := row.folder / "diagnosis.json").exists():
        told = json.loads(file.read_text(encoding="utf-8"))
        said += f"; domain distance {told['domain_distance']:.2f}"
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
            if refusal := record_of(row).get("refusal"):  # there is nothing to judge
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
            record = record_of(row)
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
        for row in (row for name in every for row in rows_of(name)):
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
