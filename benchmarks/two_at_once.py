"""Start the same command twice at once in one folder: each ends in the result of a single run, or is refused in a line.

python benchmarks/two_at_once.py --times 24 --seed 0 --out two_at_once.json
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from verbs import Verb, damaged, is_equal, tried

SHARES = {"train": 6, "precompute": 4, "report": 3, "predict": 4, "download": 4, "push": 3}
REFUSALS = ("another process (", "another process is downloading", "is there already", "nothing is downloaded into it")


def try_verb(verb: Verb, times: int, random: np.random.Generator, work: Path) -> dict:
    alone = work / f"{verb.name}/run-alone"
    verb.prepare(alone)
    code, said = verb.run(alone)
    if code:
        raise SystemExit(f"{verb.name} fails alone: {said[-2000:]}")
    expected, refused, wrong = verb.result(alone), 0, []
    for number in range(times):
        folder = work / f"{verb.name}/run-pair{number}"
        verb.prepare(folder)
        environment = {"HF_DATASETS_CACHE": str(work / f"cache-{verb.name}-{number}")}
        first = verb.start(folder, **environment)
        time.sleep(random.uniform(0, 4))
        pair = [first, verb.start(folder, **environment)]
        ends = [(process.communicate()[1], process.returncode) for process in pair]
        for said, code in ends:
            lines = said.strip().splitlines()
            if code and any(word in said for word in REFUSALS) and "Traceback" not in said:
                refused += 1
            elif code:
                wrong.append(f"pair {number}: ended with {code}: {lines[-1] if lines else ''}")
        if all(code for _, code in ends):
            wrong.append(f"pair {number}: both were refused")
        elif not is_equal(verb.result(folder), expected):
            wrong.append(f"pair {number}: another result")
        elif bad := damaged(folder):
            wrong.append(f"pair {number}: {', '.join(bad)} damaged")
    return {"pairs": times, "refused": refused, "wrong": wrong}


if __name__ == "__main__":
    found = tried(__doc__, 24, SHARES, try_verb)["verbs"]
    raise SystemExit(any(one["wrong"] for one in found.values()))
