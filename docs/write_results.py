"""Takes reports of finished runs into docs/results/ and writes every figure of README.md and docs/results.md from them.

python docs/write_results.py runs/synthetic_curriculum runs/ravdess_whisper
python docs/write_results.py                                                   # from the reports already taken
"""

import json
import shutil
import sys
from pathlib import Path

from ser_hf.evaluation.report import EvaluationReport

DOCS = Path(__file__).resolve().parent
TAKEN = ("report.json", "report.md", "confusion.png", "training.png", "forgetting.json", "forgetting.md")
MARKERS = "<!-- results -->", "<!-- end results -->"


def take(run: Path) -> None:
    target = DOCS / "results" / run.name
    target.mkdir(parents=True, exist_ok=True)
    for name in TAKEN:
        if (run / name).exists():
            shutil.copyfile(run / name, target / name)


def to_table(reports: dict[str, EvaluationReport]) -> str:
    lines = ["| run | test utterances | n | UAR [95 % over speakers] | WAR | chance |", "|---|---|---|---|---|---|"]
    for name, report in reports.items():
        kind = "synthetic speech, " if report.synthetic else ""
        folds = [str(row["fold"]) for row in report.per_fold]
        which = f", fold{'s' * (len(folds) > 1)} {' '.join(folds)}"
        cells = (
            f"[{name}](docs/results/{name}/report.md): {report.model}",
            f"{kind}`{report.protocol}`{which}, {report.speakers} unseen speakers, scheme `{report.scheme}`",
            f"{report.n}",
            report.rate("uar"),
            f"{report.war:.3f}",
            f"{report.chance:.3f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def to_page(reports: dict[str, EvaluationReport]) -> str:
    parts = ["# Results\n\nWritten by `docs/write_results.py` from the reports in `docs/results/`; nothing is typed."]
    for name in reports:
        folder = DOCS / "results" / name
        parts.append(f"## {name}\n\n{(folder / 'report.md').read_text(encoding='utf-8').strip()}")
        if (folder / "forgetting.md").exists():
            parts.append((folder / "forgetting.md").read_text(encoding="utf-8").strip())
    return "\n\n".join(parts) + "\n"


def main() -> None:
    for run in sys.argv[1:]:
        take(Path(run))
    files = sorted((DOCS / "results").glob("*/report.json"))
    reports = {file.parent.name: EvaluationReport.read(file) for file in files}
    readme = DOCS.parent / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    readme.write_text(f"{before}{MARKERS[0]}\n{to_table(reports)}\n{MARKERS[1]}{after}", encoding="utf-8")
    (DOCS / "results.md").write_text(to_page(reports), encoding="utf-8")
    print(f"{len(reports)} reports: {json.dumps({name: round(report.uar, 3) for name, report in reports.items()})}")


if __name__ == "__main__":
    main()
