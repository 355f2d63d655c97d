"""Writes the figures of docs/speakers.md and the table of adaptation in README.md; nothing is typed.

python docs/write_speakers.py runs/ravdess_on runs/emodb_on runs/nemo_on    # of ser-hf evaluate --adaptation ... --out
python docs/write_speakers.py                                               # from what was taken already

The chapters on adaptation are kept in docs/speakers/<corpus>.adaptation.json; the curves beside them are written by
`benchmarks/enrolment.py RUN docs/speakers/<corpus>`.
"""

import json
import sys
from pathlib import Path

from ser_hf.corpora import get_corpus
from ser_hf.evaluation.words import markdown_table, shown
from ser_hf.files import REPORT
from ser_hf.report.report import EvaluationReport

DOCS = Path(__file__).resolve().parent
TAKEN = DOCS / "speakers"
MARKERS = "<!-- adaptation -->\n", "\n<!-- end adaptation -->"
IN_README = ("none", "online")


def take(run: Path) -> None:
    """Keep the chapter on adaptation of an evaluation, with the facts that its table needs."""
    report = EvaluationReport.read(run / REPORT)
    (corpus,) = report.corpora
    facts = {name: getattr(report, name) for name in ("protocol", "scheme", "classes", "n", "speakers")}
    TAKEN.mkdir(exist_ok=True)
    (TAKEN / f"{corpus}.adaptation.json").write_text(json.dumps({**facts, **report.chapters["adapted"]}) + "\n")


def taken() -> dict[str, dict]:
    names = sorted(file.name.split(".")[0] for file in TAKEN.glob("*.adaptation.json"))
    return {name: json.loads((TAKEN / f"{name}.adaptation.json").read_text()) for name in names}


def to_summary(chapters: dict[str, dict]) -> str:
    """One row for each corpus, for README.md."""
    rows = []
    for name, facts in chapters.items():
        by_name = {row["adaptation"]: row for row in facts["adaptations"]}
        rates = [shown(by_name[one]["uar"], by_name[one]["uar_interval"]) for one in IN_README]
        rows.append([get_corpus(name).title, f"`{facts['protocol']}`, {facts['speakers']} unseen speakers", facts["n"]])
        rows[-1] += [len(facts["classes"]), *rates]
    header = ["corpus", "test utterances", "n", "classes", *(f"UAR, {one} [95 % over speakers]" for one in IN_README)]
    return "\n".join(markdown_table(header, rows))


def to_page(chapters: dict[str, dict]) -> str:
    """All adaptations of all corpora, and what the curves say."""
    parts = []
    for name, facts in chapters.items():
        rows = [
            [
                row["adaptation"], shown(row["uar"], row["uar_interval"]),
                "" if row["adaptation"] == "none" else shown(row["gain"], row["gain_interval"], "+"),
                shown(row["ece"], None), *(shown(row["uar_by_gender"].get(one), None) for one in ("female", "male")),
                shown(row["worst_uar"], None),
            ]
            for row in facts["adaptations"]
        ]  # fmt: skip
        header = ["adaptation", "UAR [95 % over speakers]", "gain over none", "ECE", "UAR, female", "UAR, male"]
        parts.append(
            f"### {get_corpus(name).title}\n\nWhisper-base, `{facts['protocol']}`, scheme `{facts['scheme']}`, "
            f"n = {facts['n']} utterances of {facts['speakers']} unseen speakers.\n\n"
            + "\n".join(markdown_table([*header, "UAR, worst speaker"], rows))
        )
        if (TAKEN / f"{name}.json").is_file():
            parts.append(f"![UAR by enrolled utterances](speakers/{name}.png)\n\n{of_curves(name)}")
    return "\n\n".join(parts)


def of_curves(name: str) -> str:
    """Return in words what the curves of `benchmarks/enrolment.py` show."""
    facts = json.loads((TAKEN / f"{name}.json").read_text())
    lowest = min((row for row in facts["curves"] if row["k"] != 0), key=lambda row: row["adapted"]["gain"])
    plain = min((row for row in facts["curves"] if row["k"] != 0), key=lambda row: row["plain"]["gain"])
    (twenty,) = [row for row in facts["curves"] if (row["kind"], row["k"]) == ("random", 20)]
    return (
        f"The least gain of these curves is {lowest['adapted']['gain']:+.3f} ({lowest['kind']}, k = {lowest['k']}, n = "
        f"{lowest['n']}); that of the plain mean is {plain['plain']['gain']:+.3f} ({plain['kind']}, k = {plain['k']}). "
        f"With 20 utterances at random the gain is {twenty['adapted']['gain']:+.3f}, with the plain mean "
        f"{twenty['plain']['gain']:+.3f} (n = {twenty['n']}, {facts['draws']} draws)."
    )


def main() -> None:
    for run in map(Path, sys.argv[1:]):
        take(run)
    chapters = taken()
    for page, text in ((DOCS.parent / "README.md", to_summary(chapters)), (DOCS / "speakers.md", to_page(chapters))):
        before, rest = page.read_text(encoding="utf-8").split(MARKERS[0])
        after = rest.split(MARKERS[1].strip("\n"))[1]
        page.write_text(f"{before}{MARKERS[0]}{text}{MARKERS[1]}{after}", encoding="utf-8")
    print(f"{len(chapters)} corpora")


if __name__ == "__main__":
    main()
