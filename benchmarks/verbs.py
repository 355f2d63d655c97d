"""The commands that `kills.py`, `two_at_once.py` and `full_disk.py` try, each on small data of its own.

A `Verb` knows its command, the folder that it writes, and how to compare what it left with what an unbroken run leaves.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import socketserver
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import soundfile

from ser_hf.evaluation.tables import PredictionTable
from ser_hf.files import LOCK
from ser_hf.inference.bulk import UNFINISHED

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests/support"))  # the Hub and the publisher of the tests

from hub_server import HubServer  # noqa: E402
from publisher import Publisher  # noqa: E402
from tiny import save_untrained  # noqa: E402

_END_OF_PNG = b"IEND\xaeB`\x82"
SER_HF = [sys.executable, "-m", "ser_hf.cli.main"]
TWO_PROCESSES = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc_per_node",
    "2",
    "-m",
    "ser_hf.cli.main",
]
CONFIG = ROOT / "recipes/configs/synthetic_classifier.yaml"
TRAINING = [
    "train", "--corpora", "synthetic", "--scheme", "five", "--protocols", "synthetic/si4", "--model_name_or_path",
    "cnn", "--max_steps", "6", "--eval_strategy", "steps", "--save_strategy", "steps", "--eval_steps", "2",
    "--save_steps", "2", "--per_device_train_batch_size", "32", "--use_cpu", "true", "--report_to", "none",
    "--disable_tqdm", "true",
]  # fmt: skip
ADAPTED = ["--adaptation", "online", "--speaker_column", "who"]
DOWNLOAD = """
import dataclasses, sys
from pathlib import Path
from ser_hf.corpora import get_corpus
from ser_hf.sources.download import download_corpus, is_there
from ser_hf.sources.spec import Download
url, folder = sys.argv[1:]
release = Download(f"{url}/emodb.zip", file="emodb.zip")
try:
    spec = dataclasses.replace(get_corpus("emodb"), downloads=(release,), utterances=60, speakers={}, excluded={})
    is_there(spec, Path(folder)) or download_corpus(spec, Path(folder))
except (ValueError, OSError) as error:
    sys.exit(f"ser-hf: {error}")
"""


@dataclass
class Verb:
    """A command.

    Attributes:
        name: in tables.
        command: the words, for the folder to write.
        result: what is compared, from that folder: names of files and their digests, or numbers.
        prepare: makes what must be there before the command runs in a folder.
        environment: variables of its process.
        requests: what a server was asked so far, as long as the command speaks with one that is watched.
    """

    name: str
    command: Callable[[Path], list]
    result: Callable[[Path], Mapping]
    prepare: Callable[[Path], None] = lambda folder: None
    environment: dict[str, str] = field(default_factory=dict)
    requests: list[str] | None = None

    def start(self, folder: Path, **more: str) -> subprocess.Popen:
        """Start the command in a group of processes of its own, so that all of them can be killed."""
        return subprocess.Popen(
            [str(word) for word in self.command(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | self.environment | more,
            start_new_session=True,
        )  # fmt: skip

    def run(self, folder: Path, **more: str) -> tuple[int, str]:
        """Run the command to its end; return the exit code and what it said on stderr."""
        process = self.start(folder, **more)
        said = process.communicate()[1]
        return process.returncode, said


# A server whose clients are killed would print a traceback for each.
socketserver.BaseServer.handle_error = lambda *_: None


@contextmanager
def verbs(work: Path) -> Iterator[list[Verb]]:
    """Make the data of all commands below a folder."""
    finished, card = work / "finished", work / "archive"
    with HubServer() as hub, Publisher({"/emodb.zip": _release(card)}) as publisher:
        predict = _bulk(work / "predict")
        train = Verb("train", lambda run: [*SER_HF, *TRAINING, "--output_dir", run], predictions)
        code, said = train.run(finished)
        if code:
            raise SystemExit(f"the training itself fails: {said[-2000:]}")
        yield [
            train,
            Verb("train on two processes", lambda run: [*TWO_PROCESSES, *TRAINING, "--output_dir", run], predictions),
            Verb("precompute", lambda out: [*SER_HF, "precompute", CONFIG, out, "--model_name_or_path", "cnn"], cached),
            Verb("report", lambda run: [*SER_HF, "report", run], files, lambda run: _copy_tables(finished, run)),
            Verb("predict", lambda run: [*predict, "--out", run / "answers.csv"], files),
            Verb(
                "predict, adapted",
                lambda run: [*predict, "--out", run / "answers.csv", *ADAPTED],
                files,
            ),
            Verb("download", lambda root: [sys.executable, "-c", DOWNLOAD, publisher.url, root], files),
            Verb(
                "push", lambda run: [*SER_HF, "push", run, "--to", f"user/{run.name}"],
                lambda run: repository(hub, run), lambda run: shutil.copytree(finished, run),
                hub.environment(work / "home"), hub.requests,
            ),
        ]  # fmt: skip


def tried(words: str, default: int, shares: Mapping[str, int], try_verb: Callable[..., dict]) -> dict:
    """Try the commands as often as the command line says, print and write what was found, and return it.

    Args:
        words: the docstring of a benchmark.
        default: how often all commands are tried together.
        shares: of each command in that number.
        try_verb: tries one command; takes it, the number of times, a random generator and a folder.
    """
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=default, help="How often all commands are tried together.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="Names of commands; default: all.")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    random, found = np.random.default_rng(options.seed), {}
    with tempfile.TemporaryDirectory() as work, verbs(Path(work)) as all_verbs:
        for verb in all_verbs:
            if verb.name in shares and (not options.only or verb.name in options.only):
                times = max(1, round(options.times * shares[verb.name] / sum(shares.values())))
                found[verb.name] = try_verb(verb, times, random, Path(work))
                print(verb.name, json.dumps(found[verb.name]), flush=True)
    facts = {"seed": options.seed, "verbs": found}
    if options.out:
        options.out.write_text(json.dumps(facts, indent=2) + "\n")
    return facts


def predictions(run: Path) -> dict:
    """Return probabilities of the test speakers, and the names of all files but checkpoints."""
    rows = PredictionTable.read(run / "predictions.parquet").rows.sort_values("utterance_id")
    names = sorted(path.name for path in run.iterdir() if not path.name.startswith("checkpoint-"))
    return {"files": names, "numbers": rows.filter(like="p_").to_numpy()}


def cached(folder: Path) -> dict:
    from datasets import load_from_disk

    rows = load_from_disk(str(folder)).with_format("numpy")
    return {"files": [], "numbers": np.concatenate([np.ravel(row) for row in rows["log_mel"]])}


def files(folder: Path) -> dict:
    """Return the digest of each file."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "files": [(str(path.relative_to(folder)), _digest(path.read_bytes())) for path in found],
        "numbers": np.zeros(0),
    }


def repository(hub: HubServer, run: Path) -> dict:
    """Return the digest of each published file, and the number of commits."""
    published = hub.repositories[f"user/{run.name}"]
    # The card and the options name the run.
    contents = {name: file.content.replace(run.name.encode(), b"RUN") for name, file in published.head.files.items()}
    digests = [(name, _digest(content)) for name, content in sorted(contents.items())]
    return {"files": [*digests, f"{len(published.published)} commit"], "numbers": np.zeros(0)}


def is_equal(one: Mapping, other: Mapping) -> bool:
    same_shape = one["files"] == other["files"] and one["numbers"].shape == other["numbers"].shape
    return same_shape and bool(np.allclose(one["numbers"], other["numbers"], atol=1e-6))


def damaged(folder: Path) -> list[str]:
    """Return the names of files that cannot be read, and of unfinished ones beside them."""
    from safetensors import safe_open

    bad = []
    for path in (path for path in folder.rglob("*") if path.is_file() and "checkpoint-" not in str(path)):
        if LOCK in path.name or path.name.endswith(UNFINISHED):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".parquet":
                PredictionTable.read(path)
            elif path.suffix == ".safetensors":
                with safe_open(path, framework="numpy"):
                    pass
            elif not path.read_bytes() or (path.suffix == ".png" and not path.read_bytes().endswith(_END_OF_PNG)):
                bad.append(path.name)
        except Exception:
            bad.append(path.name)
    return bad


def _copy_tables(finished: Path, run: Path) -> None:
    run.mkdir(parents=True)
    for name in ("predictions.parquet", "validation.parquet", "config.json", "history.json"):
        shutil.copy(finished / name, run)


def _bulk(folder: Path) -> list:
    """Return the beginning of a command that classifies a table of recordings of ten speakers."""
    folder.mkdir(parents=True)
    random, model = np.random.default_rng(0), save_untrained(folder / "model", "tiny-hubert", ["anger", "fear"])
    rows = ["file,who"]
    for number in range(4_000):
        soundfile.write(folder / f"{number}.wav", random.uniform(-0.3, 0.3, 3_200), 16_000)
        rows.append(f"{number}.wav,speaker{number % 10}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    return [*SER_HF, "predict", model, folder / "table.csv"]


def _release(folder: Path) -> bytes:
    """Return a zip of small recordings with the names of EMO-DB."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    speakers = ("03", "08", "09", "10", "11", "12")
    texts = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
    with zipfile.ZipFile(folder / "emodb.zip", "w") as archive:
        for speaker, text in product(speakers, texts):
            soundfile.write(folder / "one.wav", random.uniform(-0.3, 0.3, 32_000), 16_000)
            archive.write(folder / "one.wav", f"wav/{speaker}{text}Fa.wav")
    return (folder / "emodb.zip").read_bytes()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
