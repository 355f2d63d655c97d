"""CPU seconds, wall seconds and UAR of `recipes/train_svm.py` and of nkululeko with openSMILE, both cold.

    python benchmarks/svm_against_nkululeko.py RAVDESS_FOLDER [ENVIRONMENT_FOLDER]

Both go from the recordings to a report: actors 1 to 20 of RAVDESS train a support vector machine, 21 to 24 test it.
nkululeko (https://github.com/felixbur/nkululeko) gets an environment of its own, which is made in ENVIRONMENT_FOLDER
where it is not there; openSMILE's licence allows research, so neither is a dependency of ser_hf. CPU seconds are user
and system time of the process and its children, imports included; caches are empty, and nothing is measured twice.
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from time import perf_counter

import pandas

from ser_hf.corpora import get_corpus, read_utterances

ROOT = Path(__file__).parents[1]
PACKAGES = ("nkululeko", "opensmile")
SETTINGS = """
[EXP]
root = ./
name = nkululeko
[DATA]
databases = ['train', 'test']
train = ./train.csv
train.type = csv
train.absolute_path = True
train.split_strategy = train
test = ./test.csv
test.type = csv
test.absolute_path = True
test.split_strategy = test
target = emotion
labels = {labels}
[FEATS]
type = ['os']
scale = standard
[MODEL]
type = svm
"""


def main() -> None:
    ravdess = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(sys.argv[2] if len(sys.argv) > 2 else f"{folder}/environment").absolute()
        theirs = nkululeko(ravdess, _environment(environment), Path(folder))
        ours = ser_hf(ravdess, Path(folder))
    for name, (cpu, wall, uar) in (("nkululeko, openSMILE + SVM", theirs), ("ser_hf, functionals + SVM", ours)):
        print(f"{name:28s} {cpu:6.1f} s CPU  {wall:6.1f} s wall  UAR {uar:.3f}  (240 utterances of 4 unheard actors)")
    print(f"ratio: {theirs[0] / ours[0]:.1f} of CPU, {theirs[1] / ours[1]:.1f} of wall; {os.cpu_count()} cores")


def nkululeko(ravdess: Path, python: Path, folder: Path) -> tuple[float, float, float]:
    utterances = [
        {"file": str(one.path), "speaker": one.speaker, "emotion": one.emotion, "gender": one.gender}
        for one in read_utterances(get_corpus("ravdess"), ravdess)
    ]
    table = pandas.DataFrame(utterances)
    tests = table["speaker"] > "20"
    table[~tests].to_csv(folder / "train.csv", index=False)
    table[tests].to_csv(folder / "test.csv", index=False)
    (folder / "run.ini").write_text(SETTINGS.format(labels=sorted(table["emotion"].unique())))
    cpu, wall, output = _measured([python, "-m", "nkululeko.nkululeko", "--config", "run.ini"], folder)
    found = re.findall(r"\bUAR:? *(0?\.\d+)", output)
    if not found:
        raise SystemExit(f"nkululeko printed no UAR:\n{output[-3000:]}")
    return cpu, wall, float(found[-1])


def ser_hf(ravdess: Path, folder: Path) -> tuple[float, float, float]:
    run = folder / "run"
    command = [sys.executable, ROOT / "recipes/train_svm.py", ROOT / "recipes/configs/ravdess_svm.yaml"]
    command += ["--folds", "5", "--roots", f"ravdess={ravdess}", "--output_dir", run]
    cpu, wall, _ = _measured(command, folder, HF_HOME=str(folder / "cache"), HF_DATASETS_CACHE=str(folder / "cache"))
    return cpu, wall, json.loads((run / "report.json").read_text())["rates"]["uar"]["value"]


def _measured(command: list, folder: Path, **environment: str) -> tuple[float, float, str]:
    """CPU seconds, wall seconds and the output of a command."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    ended = subprocess.run(
        [str(word) for word in command], cwd=folder, env=os.environ | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wall, after = perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode:
        raise SystemExit(f"{command[-1]} ended with {ended.returncode}:\n{ended.stdout[-3000:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall, ended.stdout


def _environment(folder: Path) -> Path:
    """The interpreter of nkululeko's environment, which is made if it is not there."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


if __name__ == "__main__":
    main()
