"""Takes reports of finished runs into docs/results/ and writes every figure of README.md and docs/results.md from them.

python docs/write_results.py runs/synthetic_curriculum ravdess_whisper=runs/seed0,runs/seed1,runs/seed2  # pooled
python docs/write_results.py ravdess_svm=runs/svm ravdess_svm_without_refit=runs/other   # the gain of refit
python docs/write_results.py                                                   # from the reports already taken

Runs whose protocol ends in +refit have a table of their own. If both runs of a model are taken together, it shows what
training on the validation speakers adds to the UAR. README.md shows the runs over every fold of a protocol;
docs/results.md all of them, with their size and speed; docs/results.csv every rate of all of them.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas
import yaml

from ser_hf.corpora import get_corpus, list_corpora
from ser_hf.evaluation.chapters import calibration
from ser_hf.evaluation.comparisons.compare import compare
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.evaluation.words import markdown_table, shown
from ser_hf.files import (
    CONFIG,
    CONFUSION,
    COST,
    FORGETTING,
    FORGETTING_MARKDOWN,
    OPTIONS,
    REPORT,
    REPORT_MARKDOWN,
    TRAINING_CURVES,
    fold_folders,
)
from ser_hf.report.cost import write_cost
from ser_hf.report.figures import confusion_figure, save_figure
from ser_hf.report.report import EvaluationReport
from ser_hf.report.runs import RunTables
from ser_hf.splits.protocol import REFIT, Protocol

DOCS = Path(__file__).resolve().parent
TAKEN = (TRAINING_CURVES, FORGETTING, FORGETTING_MARKDOWN)
MACHINE, GAIN = "machine.json", "gain.json"  # what a machine chose, and how calibrated it is; what refit adds
WITHOUT_REFIT = "_without_refit"  # ends the name of the run beside that of the same model with +refit
PICTURED = "synthetic_curriculum"  # whose confusions README.md shows
MARKERS = "<!-- results -->", "<!-- end results -->"


def take(name: str, runs: list[Path]) -> None:
    """The report of a run, or of the seeds of one model pooled, and what the training cost."""
    target = DOCS / "results" / name
    target.mkdir(parents=True, exist_ok=True)
    # The report alone: the tables are of recordings that may not be passed on.
    tables = pooled(runs)
    report = tables.report()
    (target / REPORT_MARKDOWN).write_text(report.to_markdown() + "\n", encoding="utf-8")
    (target / REPORT).write_text(json.dumps(report.slim().to_dict(), separators=(",", ":")) + "\n", encoding="utf-8")
    if name == PICTURED:
        save_figure(confusion_figure(report.to_dict()), target / CONFUSION)
    for file in TAKEN:
        if (runs[0] / file).exists():
            shutil.copyfile(runs[0] / file, target / file)
    write_cost(target, runs)
    if configs := machines(runs):
        state = calibration.section(tables.test)["before"]
        confidence = sum(row["confidence"] * row["n"] for row in state["reliability"]) / report.n
        facts = {"chosen": [[config["cost"], config["gamma"]] for config in configs], "confidence": confidence}
        facts["tuned"] = yaml.safe_load((runs[0] / OPTIONS).read_text(encoding="utf-8")).get("tune", False)
        facts |= {name: state[name] for name in ("ece", "ece_by_chance", "ece_by_chance_95")}
        (target / MACHINE).write_text(json.dumps(facts) + "\n", encoding="utf-8")


def take_gain(name: str, refitted: list[Path], others: list[Path]) -> None:
    """Return the UAR that training on the validation speakers too adds, on the same test utterances."""
    tables = {REFIT: pooled(refitted).test, "without": pooled(others).test}
    protocol = tables["without"].metadata.protocol
    same = {one: PredictionTable(t.rows, replace(t.metadata, protocol=protocol)) for one, t in tables.items()}
    (pair,) = compare(same)["pairs"]
    facts = {fact: pair[fact] for fact in ("difference", "interval", "p")}
    (DOCS / "results" / name / GAIN).write_text(json.dumps(facts) + "\n", encoding="utf-8")


def pooled(runs: list[Path]) -> RunTables:
    return RunTables.pool([RunTables.read(run) for run in runs])


def machines(runs: list[Path]) -> list[dict]:
    """The configurations of the support vector machines of all folds."""
    files = [folder / CONFIG for run in runs for folder in fold_folders(run, CONFIG)]
    configs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return [config for config in configs if config["model_type"] == "ser_svm"]


def is_whole(report: EvaluationReport) -> bool:
    """Whether the run covers every fold of the protocol of a corpus."""
    protocol = Protocol.parse(report.protocol)
    known = {(name, rule): groups for name in list_corpora() for rule, groups in get_corpus(name).folds.items()}
    folds = known.get((*protocol.corpora, *protocol.rules), ())
    return report.synthetic or 0 < len(folds) == len(report.per_fold)


def is_refitted(report: EvaluationReport) -> bool:
    return REFIT in Protocol.parse(report.protocol).suffixes


def to_tables(reports: dict[str, EvaluationReport], *, costs: bool) -> str:
    """A table of the runs that keep to their protocol, and one of those that train on the validation speakers too."""
    refitted = {name: report for name, report in reports.items() if is_refitted(report)}
    others = {name: report for name, report in reports.items() if name not in refitted}
    return (
        f"{to_table(others, costs=costs)}\n\nThe next models were trained on the validation speakers too (`+refit`), "
        "who are a fold of the corpus. The gain is the UAR minus that of the same model without them.\n\n"
        f"{to_table(refitted, costs=costs)}"
    )


def gain(name: str) -> str:
    facts = read(name, GAIN)
    return shown(facts["difference"], facts["interval"], "+") if facts else "-"


def read(name: str, file: str) -> dict:
    path = DOCS / "results" / name / file
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def to_table(reports: dict[str, EvaluationReport], *, costs: bool) -> str:
    columns = ["run", "test utterances", "n", "UAR [95 % over speakers]", "WAR", "chance"]
    columns += ["gain of refit [95 %, paired over speakers]"] if any(map(is_refitted, reports.values())) else []
    columns += ["parameters and statistics", "seconds an epoch", "epochs"] if costs else []
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, report in reports.items():
        kind = "synthetic speech, " if report.synthetic else ""
        folds = [str(row["fold"]) for row in report.per_fold]
        which = f", fold{'s' * (len(folds) > 1)} {' '.join(folds)}"
        cells = [
            f"[{name}]({'' if costs else 'docs/'}results/{name}/report.md): {report.model}",
            f"{kind}`{report.protocol}`{which}, {report.speakers} unseen speakers, scheme `{report.scheme}`",
            f"{report.n}",
            report.rate("uar"),
            f"{report.rates['war']['value']:.3f}",
            f"{report.chance:.3f}",
            *([gain(name)] if is_refitted(report) else []),
        ]
        if costs:
            cost = read(name, COST)
            numbers, seconds, epochs = (cost.get(key) for key in ("numbers", "epoch_seconds", "epochs"))
            cells += [
                "-" if numbers is None else f"{numbers / 1e6:.2f} M",
                "-" if seconds is None else f"{seconds:.1f}",
                "-" if epochs is None else f"{epochs:.0f}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def rates(reports: dict[str, EvaluationReport]) -> Iterator[dict]:
    """One row for each rate of each report."""
    for name, report in reports.items():
        for metric, rate in report.rates.items():
            low, high = rate["interval"] or (None, None)
            facts = {"run": name, "model": report.model, "protocol": report.protocol, "metric": metric}
            yield {**facts, "value": rate["value"], "low": low, "high": high, "n": report.n}


def to_machines(reports: dict[str, EvaluationReport]) -> str:
    """The table of the support vector machines: what each fold chose, and how calibrated its probabilities are."""
    rows = [
        [
            name,
            f"`{report.protocol}`",
            ", ".join(f"{cost:g} {gamma:g}" for cost, gamma in facts["chosen"]) if facts["tuned"] else "not chosen",
            f"{facts['ece']:.3f}",
            f"{facts['ece_by_chance']:.3f} (95 %: up to {facts['ece_by_chance_95']:.3f})",
            f"{facts['confidence']:.3f}",
            f"{report.rates['war']['value']:.3f}",
        ]
        for name, report in reports.items()
        if (facts := read(name, MACHINE))
    ]
    columns = ["run", "test utterances", "C and gamma of the folds", "ECE", "ECE of a perfectly calibrated model"]
    return "\n".join(markdown_table([*columns, "mean confidence", "accuracy"], rows))


def to_page(reports: dict[str, EvaluationReport]) -> str:
    parts = [
        "# Results\n\nWritten by `docs/write_results.py` from the reports in `docs/results/`; nothing is typed. "
        "Seconds are the median wall time of an epoch on two shared cores, so their order says more than their size; a "
        "dash stands where nothing is trained in epochs, or was not recorded. The name of a run leads to its whole "
        "report, and [results.csv](results.csv) holds every rate.",
        to_tables(reports, costs=True),
        "## Support vector machines\n\nEach fold calibrates its probabilities, and with `--tune true` chooses C and "
        "gamma, by cross-validation over the speakers that it trains on. No other speaker is among them. The ECE, the "
        "mean distance of confidence and accuracy, is that of the test speakers. [The page of the model]"
        "(models/svm.md#calibration) says how the form of the calibration was chosen.",
        to_machines(reports),
    ]
    for name in reports:
        folder = DOCS / "results" / name
        if (folder / FORGETTING_MARKDOWN).exists():
            parts.append(f"## {name}\n\n{(folder / FORGETTING_MARKDOWN).read_text(encoding='utf-8').strip()}")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    taken = {}
    for word in sys.argv[1:]:
        name, _, runs = word.rpartition("=")
        folders = [Path(run) for run in runs.split(",")]
        taken[name or folders[0].name] = folders
    for name, runs in taken.items():
        take(name, runs)
        if others := taken.get(name + WITHOUT_REFIT):
            take_gain(name, runs, others)
    files = sorted((DOCS / "results").glob("*/report.json"))
    reports = {file.parent.name: EvaluationReport.read(file) for file in files}
    whole = {name: report for name, report in reports.items() if is_whole(report)}
    readme = DOCS.parent / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    table = to_tables(whole, costs=False)
    readme.write_text(f"{before}{MARKERS[0]}\n{table}\n{MARKERS[1]}{after}", encoding="utf-8")
    (DOCS / "results.md").write_text(to_page(reports), encoding="utf-8")
    pandas.DataFrame(rates(reports)).to_csv(DOCS / "results.csv", index=False, float_format="%.6g")
    print(f"{len(reports)} reports: {json.dumps({name: round(report.uar, 3) for name, report in reports.items()})}")


if __name__ == "__main__":
    main()
