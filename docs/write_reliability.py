"""Writes docs/reliability.md from the results of the benchmarks in docs/reliability.

python benchmarks/fuzz.py --out docs/reliability/fuzz.json
python benchmarks/kills.py --out docs/reliability/kills.json
python benchmarks/two_at_once.py --out docs/reliability/two_at_once.json
python benchmarks/full_disk.py --out docs/reliability/full_disk.json
python benchmarks/report_of_any_size.py --out docs/reliability/report_size.json
python docs/write_reliability.py
"""

import json
from collections.abc import Callable
from pathlib import Path

from ser_hf.evaluation.words import markdown_table

HERE = Path(__file__).resolve().parent
PAGE = """\
# Reliability

Bad files, killed runs, full disks and two commands at once are normal events. This page says what was tried, and what
happened. `docs/write_reliability.py` writes it from the results in `docs/reliability`.

## Damaged and hostile recordings

`benchmarks/fuzz.py` made {fuzz[mutants]:,} mutants of ten kinds of sound files (seed {fuzz[seed]}). Each went through
`read_audio`, a `Classifier`, `ser-hf predict` and `ser-hf doctor`, many in one process. A mutant fails if anything but
one line with its name comes of it: a traceback, a score that is not finite, a truncated recording that is scored
without a word, or a file that gets no answer.

{mutations}

Failed in all: {failed}. The slowest mutant took {fuzz[slowest_seconds]} s of processor time. Memory rose by
{fuzz[mebibytes_above_model]} MiB above that of the loaded model, and by
{fuzz[mebibytes_above_model_command_line]} MiB on the command line.

What a file may claim:

* A sampling rate of 2,000 to 768,000 Hz, and no sample above 100 times full scale.
* At most an hour of sound, or 100 samples (at 16 kHz) for each byte of the file if that is more.
* As much sound as it holds. A recording that lost its end is refused in training and evaluation, and scored with a
  warning in predictions. `--allow_truncated` allows it. A WAV file whose header says 0 or all ones was written to a
  pipe: its length is unknown, and it is read to its end.
* A duration that the model can take (`Family.longest_seconds`, two minutes for most). `ser-hf predict --window 20`
  scores a longer recording in windows, and averages.

Some rare formats (PAF, PVF, IRCAM, AVR, MATLAB, XI) are not examined for a missing end.

## Killed runs

`benchmarks/kills.py` killed commands at random moments (SIGKILL, seed {kills[seed]}), ran them again, and compared the
result with that of a run that nobody killed. The push goes to a small Hub on the same machine; {inside} of its kills
fell inside the upload.

{killed}

## Two commands in one folder

`benchmarks/two_at_once.py` started each command twice, up to four seconds apart (seed {pairs[seed]}). One of the two
may be refused in one line; the folder must hold the result of a single run.

{paired}

## Full disks

`benchmarks/full_disk.py` gave each command a RAM disk of a random size that is too small (seed {disk[seed]}). One line
must name the disk, no file under its final name may be damaged, and with more space the same command must end in the
result of an unbroken run. Unfinished checkpoints are not counted: the next run passes over them.

{filled}

## Large test sets

`benchmarks/report_of_any_size.py` writes the whole report of invented predictions.

{sizes}

The search for copies of recordings is on the page of the [audit](audit.md).
"""


def to_page() -> str:
    names = {"fuzz": "fuzz", "kills": "kills", "pairs": "two_at_once", "disk": "full_disk", "size": "report_size"}
    found = {key: json.loads((HERE / f"reliability/{name}.json").read_text("utf-8")) for key, name in names.items()}
    return PAGE.format(
        **found,
        mutations=_mutations(found["fuzz"]),
        failed=len(found["fuzz"]["broken"]),
        inside=found["kills"]["verbs"]["push"]["inside_upload"],
        killed=_verbs(found["kills"], "killed before the end", lambda one: (one["tries"], one["killed"])),
        paired=_verbs(found["pairs"], "one was refused", lambda one: (one["pairs"], one["refused"])),
        filled=_verbs(found["disk"], "became full", lambda one: (one["points"], one["full"])),
        sizes=_sizes(found["size"]),
    )


def _mutations(fuzz: dict) -> str:
    rows = []
    for mutation, counts in fuzz["outcomes"].items():
        read, truncated, tried = counts.get("read", 0), counts.get("truncated", 0), sum(counts.values())
        failed = sum(f"({mutation})" in broken for broken in fuzz["broken"])
        rows.append([mutation, tried, read, truncated, tried - read - truncated, failed])
    return "\n".join(markdown_table(["mutation", "tried", "read", "truncated", "no sound, or damaged", "failed"], rows))


def _verbs(facts: dict, what: str, counts: Callable[[dict], tuple[int, int]]) -> str:
    rows = []
    for name, one in facts["verbs"].items():
        tried, happened = counts(one)
        rows.append([name, tried, happened, tried - len(one["wrong"]), len(one["wrong"])])
    return "\n".join(markdown_table(["command", "tried", what, "as an unbroken run", "failed"], rows))


def _sizes(sizes: list[dict]) -> str:
    rows = [
        [f"{one['utterances']:,}", f"{one['speakers']:,}", one["processor_seconds"], one["peak_mebibytes"]]
        for one in sizes
    ]
    return "\n".join(markdown_table(["utterances", "speakers", "processor time, s", "peak memory, MiB"], rows))


if __name__ == "__main__":
    (HERE / "reliability.md").write_text(to_page(), encoding="utf-8")
