"""Takes reports of finished runs into docs/results/ and writes every figure of README.md and docs/results.md from them.

python docs/write_results.py runs/synthetic_curriculum ravdess_whisper=runs/seed0,runs/seed1,runs/seed2  # pooled
python docs/write_results.py                                                   # from the reports already taken

README.md shows the runs over every fold of a protocol; docs/results.md all of them, with their size and speed;
docs/results.csv every rate of all of them.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas

from ser_hf.corpora import get_corpus, list_corpora
from ser_hf.files import CONFUSION, COST, FORGETTING, FORGETTING_MARKDOWN, REPORT, REPORT_MARKDOWN, TRAINING_CURVES
from ser_hf.report.cost import write_cost
from ser_hf.report.figures import confusion_figure, save_figure
from ser_hf.report.report import EvaluationReport
from ser_hf.report.runs import RunTables
from ser_hf.splits.protocol import Protocol

DOCS = Path(__file__).resolve().parent
TAKEN = (TRAINING_CURVES, FORGETTING, FORGETTING_MARKDOWN)
PICTURED = "synthetic_curriculum"  # whose confusions README.md shows
MARKERS = "<!-- results -->", "<!-- end results -->"


def take(name: str, runs: list[Path]) -> None:
    """The report of a run, or of the seeds of one model pooled, and what the training cost."""
    target = DOCS / "results" / name
    target.mkdir(parents=True, exist_ok=True)
    # The report alone: the tables are of recordings that may not be passed on.
    report = RunTables.pool([RunTables.read(run) for run in runs]).report()
    (target / REPORT_MARKDOWN).write_text(report.to_markdown() + "\n", encoding="utf-8")
    (target / REPORT).write_text(json.dumps(report.slim().to_dict()) + "\n", encoding="utf-8")
    if name == PICTURED:
        save_figure(confusion_figure(report.to_dict()), target / CONFUSION)
    for file in TAKEN:
        if (runs[0] / file).exists():
            shutil.copyfile(runs[0] / file, target / file)
    write_cost(target, runs)


def is_whole(report: EvaluationReport) -> bool:
    """Whether the run covers every fold of the protocol of a corpus."""
    protocol = Protocol.parse(report.protocol)
    known = {(name, rule): groups for name in list_corpora() for rule, groups in get_corpus(name).folds.items()}
    folds = known.get((*protocol.corpora, *protocol.rules), ())
    return report.synthetic or 0 < len(folds) == len(report.per_fold)


def to_table(reports: dict[str, EvaluationReport], *, costs: bool) -> str:
    columns = ["run", "test utterances", "n", "UAR [95 % over speakers]", "WAR", "chance"]
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
        ]
        if costs:
            file = DOCS / "results" / name / COST
            cost = json.loads(file.read_text()) if file.exists() else {}
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


def to_page(reports: dict[str, EvaluationReport]) -> str:
    parts = [
        "# Results\n\nWritten by `docs/write_results.py` from the reports in `docs/results/`; nothing is typed. "
        "Seconds are the median wall time of an epoch on two shared cores, so their order says more than their size; a "
        "dash stands where nothing is trained in epochs, or was not recorded. The name of a run leads to its whole "
        "report, and [results.csv](results.csv) holds every rate.",
        to_table(reports, costs=True),
    ]
    for name in reports:
        folder = DOCS / "results" / name
        if (folder / FORGETTING_MARKDOWN).exists():
            parts.append(f"## {name}\n\n{(folder / FORGETTING_MARKDOWN).read_text(encoding='utf-8').strip()}")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    for word in sys.argv[1:]:
        name, _, runs = word.rpartition("=")
        folders = [Path(run) for run in runs.split(",")]
        take(name or folders[0].name, folders)
    files = sorted((DOCS / "results").glob("*/report.json"))
    reports = {file.parent.name: EvaluationReport.read(file) for file in files}
    whole = {name: report for name, report in reports.items() if is_whole(report)}
    readme = DOCS.parent / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    table = to_table(whole, costs=False)
    readme.write_text(f"{before}{MARKERS[0]}\n{table}\n{MARKERS[1]}{after}", encoding="utf-8")
    (DOCS / "results.md").write_text(to_page(reports), encoding="utf-8")
    pandas.DataFrame(rates(reports)).to_csv(DOCS / "results.csv", index=False, float_format="%.6g")
    print(f"{len(reports)} reports: {json.dumps({name: round(report.uar, 3) for name, report in reports.items()})}")


if __name__ == "__main__":
    main()
