"""Bulk prediction of more and more recordings: peak memory that does not grow.

    python benchmarks/bulk_memory.py
    python benchmarks/bulk_memory.py --recordings 5000 20000 100000

The recordings are clips of a fifth of a second in a Parquet file, of fifty speakers who are adapted to. A small random
network scores them, since the memory of a model does not depend on their number. Each number has a process of its own,
with a peak of its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow
import soundfile
from pyarrow.parquet import ParquetWriter

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests/support"))  # the network of the tests

SPEAKERS, RATE, ROWS = 50, 16_000, 1_000


def write_clips(table: Path, count: int) -> None:
    """Write a table of clips of noise, each another one."""
    random, clip = np.random.default_rng(0), BytesIO()
    sound = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("audio", sound), ("who", pyarrow.string())])
    with ParquetWriter(table, schema) as writer:
        for start in range(0, count, ROWS):
            rows = []
            for number in range(start, min(start + ROWS, count)):
                clip.seek(0)
                soundfile.write(clip, random.normal(0, 0.1, RATE // 5), RATE, format="WAV")
                name = f"{number:07d}.wav"
                rows.append({"audio": {"bytes": clip.getvalue(), "path": name}, "who": f"speaker{number % SPEAKERS}"})
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def report(model: str, table: str, out: str) -> None:
    from ser_hf import Classifier
    from ser_hf.inference.bulk import Recordings, predict_to_table

    start, classifier = perf_counter(), Classifier.from_pretrained(model, device="cpu")
    loaded = _peak()
    counts = predict_to_table(classifier, Recordings([table], "who"), Path(out), adaptation="online")
    print(
        f"{counts.recordings:,} recordings ({counts.errors} errors) in {perf_counter() - start:.0f} s: peak memory "
        f"{_peak():.0f} MiB, of which {loaded:.0f} MiB were there before the first one",
        flush=True,
    )


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--report", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.report:
        report(*options.report)
        return
    from tiny import save_untrained

    with tempfile.TemporaryDirectory() as work:
        model = save_untrained(Path(work, "model"), "tiny-hubert", ["anger", "fear", "neutral"])
        for count in options.recordings:
            table = Path(work, f"{count}.parquet")
            write_clips(table, count)
            words = [model, table, Path(work, f"answers{count}.parquet")]
            subprocess.run([sys.executable, __file__, "--report", *map(str, words)], check=True)


if __name__ == "__main__":
    main()
