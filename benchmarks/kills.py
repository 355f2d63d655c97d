"""Kill each command at random moments, run it again, and compare with a run that nobody killed.

    python benchmarks/kills.py --times 42 --seed 0 --out kills.json

The moments are drawn evenly over the duration of the unbroken run; SIGKILL goes to all processes of the command.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
from verbs import Verb, damaged, is_equal, tried

# How often each command is killed, of forty-two kills.
SHARES = {
    "train": 8, "train on two processes": 5, "precompute": 4, "report": 4, "predict": 6, "predict, adapted": 6,
    "download": 4, "push": 5,
}  # fmt: skip


def killed(verb: Verb, folder: Path, after: float, **environment: str) -> bool:
    """Start a command and kill it after some seconds; False if it had ended by then."""
    process = verb.start(folder, **environment)
    try:
        process.communicate(timeout=after)
        return False
    except subprocess.TimeoutExpired:
        # torchrun gives its workers process groups of their own.
        for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.communicate()
        return True


def killed_inside_upload(verb: Verb, folder: Path, random: np.random.Generator, **environment: str) -> bool:
    """Start a push and kill it as soon as it uploads, up to 30 ms later; False if it had made its commit by then."""
    before = len(verb.requests)
    process = verb.start(folder, **environment)
    while process.poll() is None and not any("/preupload/" in one for one in verb.requests[before:]):
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.03))
    if process.poll() is None:
        process.kill()
    process.communicate()
    return not any("/commit/" in one for one in verb.requests[before:])


def try_verb(verb: Verb, count: int, random: np.random.Generator, work: Path) -> dict:
    """Return how many runs were killed, and what was wrong afterwards."""
    whole = work / f"{verb.name}/run-whole"
    environment = {"HF_DATASETS_CACHE": str(work / "cache-whole")}
    verb.prepare(whole)
    began = time.monotonic()
    code, said = verb.run(whole, **environment)
    seconds = time.monotonic() - began
    if code:
        raise SystemExit(f"{verb.name} fails when nobody kills it: {said[-2000:]}")
    expected, wrong, kills, inside = verb.result(whole), [], 0, 0
    for number in range(count):
        folder = work / f"{verb.name}/run-killed{number}"
        environment = {"HF_DATASETS_CACHE": str(work / f"cache-{number}")}
        verb.prepare(folder)
        moment = random.uniform(0.05, 1) * seconds
        if verb.requests is not None and number % 2:
            ended_early = killed_inside_upload(verb, folder, random, **environment)
            inside += ended_early
        else:
            ended_early = killed(verb, folder, moment, **environment)
        kills += ended_early
        left = damaged(folder) if folder.exists() else []
        code, said = verb.run(folder, **environment)
        if code:
            wrong.append(f"killed after {moment:.1f} s: cannot go on ({said[-300:]})")
        elif not is_equal(verb.result(folder), expected):
            wrong.append(f"killed after {moment:.1f} s: another result")
        elif still := damaged(folder):
            wrong.append(f"killed after {moment:.1f} s: {', '.join(still)} damaged at the end")
        elif left:
            wrong.append(f"killed after {moment:.1f} s: left {', '.join(left)} damaged")
        for finished in (folder, work / f"cache-{number}"):
            shutil.rmtree(finished, ignore_errors=True)
    return {
        "tries": count,
        "killed": kills,
        "inside_upload": inside,
        "seconds_unbroken": round(seconds, 1),
        "wrong": wrong,
    }


if __name__ == "__main__":
    found = tried(__doc__, 42, SHARES, try_verb)["verbs"]
    raise SystemExit(any(one["wrong"] for one in found.values()))
