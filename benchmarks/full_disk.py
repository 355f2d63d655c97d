"""Let the disk become full at random points: nothing under its final name is damaged, and one line names the disk.

    python benchmarks/full_disk.py --times 28 --seed 0 --out full_disk.json

With the right to mount, each command writes into a RAM disk of a random size, smaller than what it needs. Without it,
no file may grow beyond a random size. What is there afterwards must be readable, and with space the same command must
end in the result of an unbroken run.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from verbs import Verb, damaged, is_equal, tried

SHARES = {"train": 9, "precompute": 4, "report": 4, "predict": 4, "predict, adapted": 4, "download": 3}


@contextmanager
def disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a RAM disk of so many bytes; give False where that is not allowed."""
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def limited(verb: Verb, folder: Path, size: int, **environment: str) -> tuple[int, str]:
    """Run a command none of whose files may grow beyond a size."""
    earlier = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, earlier[1]))
    try:
        process = verb.start(folder, **environment)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, earlier)
    said = process.communicate()[1]
    return process.returncode, said


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def try_verb(verb: Verb, points: int, random: np.random.Generator, work: Path) -> dict:
    whole = work / f"{verb.name}/run-whole"
    verb.prepare(whole)
    before = size_of(whole) if whole.exists() else 0
    code, said = verb.run(whole)
    if code:
        raise SystemExit(f"{verb.name} fails with space: {said[-2000:]}")
    expected, needed, wrong, full = verb.result(whole), size_of(whole), [], 0
    for number in range(points):
        mounted = work / f"{verb.name}/disk{number}"
        size = int(before + random.uniform(0.05, 0.95) * (needed - before)) + 16_384
        with disk(mounted, size) as is_mounted:
            folder = mounted / "run"
            verb.prepare(folder)
            code, said = verb.run(folder) if is_mounted else limited(verb, folder, size // 4)
            lines = [line for line in said.splitlines() if " is full" in line or "its disk has" in line]
            full += code != 0
            if code and (len(lines) != 1 or "Traceback" in said):
                wrong.append(f"{size:,} bytes: not one line, but {said[-300:]}")
            if bad := damaged(folder):
                wrong.append(f"{size:,} bytes: {', '.join(bad)} damaged")
            if is_mounted:  # with more space, the same command goes on
                subprocess.run(["mount", "-o", "remount,size=1g", str(mounted)], check=True)
            code, said = verb.run(folder)
            if code or not is_equal(verb.result(folder), expected):
                wrong.append(f"{size:,} bytes: with space, it ends with {code} and another result: {said[-300:]}")
        shutil.rmtree(mounted, ignore_errors=True)
    return {"points": points, "full": full, "bytes_needed": needed, "wrong": wrong}


if __name__ == "__main__":
    found = tried(__doc__, 28, SHARES, try_verb)["verbs"]
    raise SystemExit(any(one["wrong"] for one in found.values()))
