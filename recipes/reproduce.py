"""Run published experiments, each from the file in `recipes/experiments/` that has its name.

    python recipes/reproduce.py                  # lists them
    python recipes/reproduce.py A1 D3            # some; SER_HF_CORPORA names the folder of the corpora
    python recipes/reproduce.py all --models hubert=models/hubert-base whisper=models/whisper-base

Every run is an ordinary command with its own folder under `--runs`. Finished runs are kept, so that the same command
continues after an interruption. `docs/write_reproductions.py RUNS` then writes docs/reproductions.md from the reports.
A corpus that must be requested is replaced by a miniature (`recipes/experiments/miniatures.py`), and its rows say so.
"""

import argparse
import json
import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
EXPERIMENTS = {
    file.stem: file  # A2 before A10
    for file in sorted((HERE / "experiments").glob("[A-Z]*.yaml"), key=lambda file: (file.stem[0], int(file.stem[1:])))
}
# The models of the experiments; `--models` replaces one by a folder or another model.
MODELS = {
    "hubert": "facebook/hubert-base-ls960",
    "wav2vec2": "facebook/wav2vec2-base",
    "whisper": "openai/whisper-base",
    "resnet18": "timm/resnet18.a1_in1k",
    "efficientnet": "timm/tf_efficientnet_lite0.in1k",
    "vgg16": "timm/vgg16.tv_in1k",
    "vggish": "vggish",
}


def parsed(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("ids", nargs="*", help="experiments to run, or all; without any, the experiments are listed")
    parser.add_argument("--runs", default="runs/reproductions", help="folder for the runs")
    parser.add_argument(
        "--models",
        nargs="*",
        default=[],
        metavar="NAME=MODEL",
        help="folders or other models to use instead of the defaults, as NAME=MODEL: "
        f"{', '.join('='.join(pair) for pair in MODELS.items())}",
    )
    arguments = parser.parse_args(argv)
    arguments.ids = list(EXPERIMENTS) if arguments.ids == ["all"] else arguments.ids
    if strange := [name for name in arguments.ids if name not in EXPERIMENTS]:
        parser.error(f"there is no experiment {strange[0]}; use {', '.join(EXPERIMENTS)}")
    given = dict(word.partition("=")[::2] for word in arguments.models)
    if strange := [name for name, model in given.items() if name not in MODELS or not model]:
        parser.error(f"--models needs the form NAME=MODEL with a NAME of {', '.join(MODELS)}, not {strange[0]!r}")
    # The commands run in the folder of the project, so relative folders are resolved here.
    found = {name: str(Path(model).resolve()) if Path(model).is_dir() else model for name, model in given.items()}
    arguments.models = {**MODELS, **found}
    return arguments


def read(name: str) -> dict:
    """Return the content of an experiment's file."""
    return yaml.safe_load(EXPERIMENTS[name].read_text(encoding="utf-8"))


def commands_of(run: dict) -> list[str]:
    return run["command"] if isinstance(run["command"], list) else [run["command"]]


def needed_by(run: dict) -> list[str]:
    """Return the runs whose folders the commands of a run read."""
    return re.findall(r"\{runs\}/(\w+)", " ".join(commands_of(run)))


def in_order(names: list[str], everything: dict[str, dict]) -> list[str]:
    """Return runs, each after those that it needs.

    >>> in_order(["A2"], {"A1": {"command": "train"}, "A2": {"command": "evaluate {runs}/A1/fold0"}})
    ['A1', 'A2']
    """
    ordered = {}
    for name in names:
        ordered |= dict.fromkeys([*in_order(needed_by(everything[name]), everything), name])
    return list(ordered)


def miniatures_of(arguments: argparse.Namespace) -> Path:
    return Path(arguments.runs).resolve() / "miniatures"


def words_of(command: str, name: str, arguments: argparse.Namespace) -> list[str]:
    """Return the words that start a command of a run: a recipe with its output folder, or a verb of `ser-hf`."""
    runs = Path(arguments.runs).resolve()
    places = {**arguments.models, "runs": runs, "miniatures": miniatures_of(arguments), "out": runs / name}
    # Word by word, because a value may contain braces.
    words = [_filled(word, places) for word in shlex.split(command)]
    if words[0] == "ser-hf":
        return [sys.executable, "-m", "ser_hf.cli.main", *words[1:]]
    ends = [] if "{out}" in command else ["--output_dir", str(runs / name), "--disable_tqdm", "true"]
    if words[0] == "train_svm.py":
        ends = ends[:2]
    return [sys.executable, str(HERE / words[0]), *words[1:], *ends]


def _filled(word: str, places: dict) -> str:
    for name, value in places.items():
        word = word.replace("{" + name + "}", str(value))
    return word


def run(name: str, facts: dict, arguments: argparse.Namespace) -> bool:
    """Carry out a run if needed and record its commands and CPU seconds; return True if it is complete."""
    folder = Path(arguments.runs, name)
    record = folder / "reproduction.json"
    if "result" in facts:  # of all folds, or of many epochs
        print(f"{name}: the result is in docs/results/{facts['result']}, from: {facts['command']}")
        return True
    commands = commands_of(facts)
    models = {word: value for word, value in arguments.models.items() if "{" + word + "}" in " ".join(commands)}
    content = {"commands": commands, "models": models}
    if record.exists():
        done = json.loads(record.read_text(encoding="utf-8"))
        if differing := [fact for fact in content if done[fact] != content[fact]]:
            print(f"{name}: {folder} holds a run with other {' and '.join(differing)}: remove it", file=sys.stderr)
        return not differing
    folder.mkdir(parents=True, exist_ok=True)
    for command in commands:
        words = words_of(command, name, arguments)
        print(f"{name}: {shlex.join(words[1:])}", flush=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            with (folder / "output.log").open("a", encoding="utf-8") as log:
                ended = subprocess.run(words, cwd=HERE.parent, stdout=log, stderr=subprocess.STDOUT, check=False)
        finally:  # those of an interrupted try count too
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = folder / "seconds.json"
            seconds = json.loads(spent.read_text()) if spent.exists() else 0.0
            seconds += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            spent.write_text(json.dumps(seconds))
        told = (folder / "output.log").read_text(encoding="utf-8").strip().splitlines() or ["no output"]
        if "fails" in facts:  # an expected refusal is exit code 1 with the expected message
            is_as_expected = ended.returncode == 1 and facts["fails"] in told[-1]
        else:
            is_as_expected = ended.returncode == 0
        if not is_as_expected:
            print(f"{name}: exit code {ended.returncode}: {told[-1]} (see {folder}/output.log)", file=sys.stderr)
            return False
    content["cpu_seconds"] = round(seconds)
    if "fails" in facts:
        content["refusal"] = told[-1]
    record.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return True


def main(argv=None) -> None:
    arguments = parsed(argv)
    if not arguments.ids:
        for name in EXPERIMENTS:
            print(f"{name:4}{read(name)['what']}")
        return
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads leave their core to other processes
    subprocess.run([sys.executable, HERE / "experiments" / "miniatures.py", miniatures_of(arguments)], check=True)
    runs = {name: read(name)["runs"] for name in EXPERIMENTS}
    everything = {name: one for each in runs.values() for name, one in each.items()}
    wanted = in_order([name for one in arguments.ids for name in runs[one]], everything)
    failed = [name for name in wanted if not run(name, everything[name], arguments)]
    if failed:
        raise SystemExit(f"{len(failed)} runs are missing: {', '.join(failed)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("reproduce.py: interrupted; run the same command again to continue", file=sys.stderr)
        raise SystemExit(130) from None
