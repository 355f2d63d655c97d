"""Processor time and memory of a report, by the number of utterances and speakers.

    python benchmarks/report_of_any_size.py --out report_size.json

The predictions are invented; the report has all its chapters, with thresholds from validation speakers and groups by
gender and age. Each size runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

SIZES = ((1_000, 100), (10_000, 1_000), (100_000, 10_000))


def measure(utterances: int, speakers: int) -> dict:
    sys.path.append(str(Path(__file__).parents[1] / "tests/support"))
    from predictions import FACTS, make_rows

    from ser_hf.evaluation.tables import PredictionTable
    from ser_hf.report.runs import RunTables

    def table(part: str) -> PredictionTable:
        number = np.arange(utterances) % speakers
        rows = make_rows(utterances, speakers, seed=len(part)).assign(
            speaker=[f"{part}-{one:05d}" for one in number],
            utterance_id=[f"{part}/{one}" for one in range(utterances)], gender=np.where(number % 2, "female", "male"),
            age=20 + number % 50,
        )  # fmt: skip
        return PredictionTable(rows, replace(FACTS, part=part))

    tables = RunTables(table("test"), table("validation"))
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        tables.report().write(folder)
    seconds, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "utterances": utterances, "speakers": speakers, "processor_seconds": round(seconds, 1),
        "peak_mebibytes": round(peak / (2**20 if sys.platform == "darwin" else 2**10)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, metavar=("UTTERANCES", "SPEAKERS"), help="Only this one.")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.size:
        print(json.dumps(measure(*options.size)))
        return
    found = []
    for size in SIZES:
        words = [sys.executable, __file__, "--size", *map(str, size)]
        found.append(
            json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        )
        print(json.dumps(found[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
