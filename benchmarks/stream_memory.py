"""Answers for a generator of recordings: memory that does not grow with their number.

    python benchmarks/stream_memory.py
    python benchmarks/stream_memory.py --recordings 100000

The recordings are clips of noise of a tenth to half a second, each made when it is asked for. A small random network
scores them, since the memory of a model does not depend on their number.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests/support"))  # the network of the tests

RATE, STEPS = 16_000, 8


def clips(count: int) -> Iterator[dict]:
    random = np.random.default_rng(0)
    for _ in range(count):
        samples = random.integers(RATE // 10, RATE // 2)
        yield {"raw": random.normal(0, 0.1, samples).astype(np.float32), "sampling_rate": RATE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=20_000)
    count = parser.parse_args().recordings
    from tiny import save_untrained

    from ser_hf import Classifier

    process, sizes = psutil.Process(), []
    with tempfile.TemporaryDirectory() as folder:
        model = save_untrained(Path(folder), "tiny-hubert", ["anger", "fear", "neutral"])
        classifier = Classifier.from_pretrained(model, device="cpu")
    for number, _ in enumerate(classifier(clips(count)), start=1):
        if number % (count // STEPS) == 0:
            sizes.append(process.memory_info().rss / 2**20)
            print(f"{number:,} recordings: {sizes[-1]:.0f} MiB", flush=True)
    print(f"from the first step to the last: {sizes[-1] - sizes[0]:+.0f} MiB")


if __name__ == "__main__":
    main()
