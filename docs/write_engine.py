"""Writes the tables of docs/engine.md from the results of the benchmarks in docs/engine; nothing is typed.

OMP_NUM_THREADS=1 python benchmarks/engine_against_pipeline.py RUN RECORDINGS docs/engine/NAME.json [EXPORTED ...]
OMP_NUM_THREADS=1 python benchmarks/precision_loss.py RUN CORPUS docs/engine/precision_NAME.json
python docs/write_engine.py
"""

import json
import re
from pathlib import Path

from ser_hf.evaluation.words import markdown_table, shown

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS / "engine"
TITLES = {
    "lda": "Linear discriminant on Whisper-base",
    "whisper30": "Whisper-base with a learned-layer head, beside its 30-second class; random heads, time only",
    "resnet18": "ResNet18 on log-mel spectrograms",
    "hubert2": "HuBERT with 2 layers (the size of DistilHuBERT); random weights, time only",
    "hubert12": "HuBERT-base, 12 layers; random weights, time only",
    "fusion": "Fusion of log-mel and Whisper-base; random head, time only",
    "svm": "Support vector machine on functionals",
}


def to_speeds() -> str:
    parts = []
    for name, title in TITLES.items():
        facts = json.loads((RESULTS / f"{name}.json").read_text())
        rows = [
            [
                row["from"], re.sub("int8_.*", "int8", row["who"]), f"{row['ms']:.1f}",
                " and ".join(f"{one:.2f}" for one in row["ratios"]), f"{row['equal_answers']:.1%}",
                f"{row['times_the_limit']:.2f}",
            ]
            for row in facts["rows"]
        ]  # fmt: skip
        header = ["from", "who", "ms a recording", "times as fast as the pipeline", "equal answers", "times the limit"]
        parts.append(
            f"### {title}\n\nn = {facts['n']} recordings of {facts['recording_seconds']:.1f} s on average, "
            f"{facts['gigaflops']:.2f} billion operations each: {facts['limit_ms']:.1f} ms of a bare matrix product in "
            "float32, the limit.\n\n" + "\n".join(markdown_table(header, rows))
        )
    return "\n\n".join(parts)


def to_losses() -> str:
    rows = []
    for file in sorted(RESULTS.glob("precision_*.json")):
        facts = json.loads(file.read_text())
        uars = {name: shown(facts["uar"][name], facts["uar_interval"][name]) for name in facts["uar"]}
        for name, found in facts["losses"].items():
            loss = shown(found["loss"], found["interval"], "+")
            rows.append([
                facts["run"], name, facts["n"], facts["speakers"], uars["float32"], uars[name], loss,
                f"{found['equal_answers']:.1%}", f"{found['median_difference']:.3f}",
                f"{found['largest_difference']:.3f}",
            ])  # fmt: skip
    header = [
        "run", "format", "n", "unseen speakers", "UAR, float32", "UAR, this format", "loss [95 %, paired]",
        "equal answers", "score differs by: median", "at most",
    ]  # fmt: skip
    products = " and ".join(f"{spent:.0f} ms in {name}" for name, spent in facts["product_ms"].items())
    table = "\n".join(markdown_table(header, rows))
    return f"{table}\n\nTwo matrices of 1024 x 1024 take {products} on one core of this processor."


def main() -> None:
    page = DOCS / "engine.md"
    text = page.read_text(encoding="utf-8")
    for name, content in (("speeds", to_speeds()), ("losses", to_losses())):
        place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        text = place.sub(lambda found, content=content: f"{found[1]}{content}\n{found[2]}", text)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
