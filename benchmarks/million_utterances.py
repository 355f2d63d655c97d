"""A million utterances through `build_dataset` and into a training loop: time, and memory that does not grow.

    python benchmarks/million_utterances.py                     # a million rows; about half a GB in the temp folder
    python benchmarks/million_utterances.py --utterances 100000

The corpus is a table of your own recordings (`folder`): a recording of half a second per speaker, hard-linked under as
many names as are wanted, since a file system may allow no more than 65,000 links to a file. Two speakers each have
recordings of one length, so that splitting compares all of them by their samples. Every report runs in a process of its
own, with a peak of its own.
"""

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil
import soundfile

SPEAKERS, EMOTIONS = 500, ("anger", "fear", "happiness", "neutral", "sadness")
BATCH_SIZE, BATCHES = 8, 10_000  # of the training loop: the growth from the first thousand to the last is what counts


def write_corpus(root: Path, utterances: int) -> None:
    """One tone per speaker under many names; and the table of all names."""
    with (root / "table.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "emotion", "speaker", "gender", "language", "statement"])
        for speaker in range(SPEAKERS):
            folder = root / f"{speaker:03d}"
            folder.mkdir()
            time = np.arange(8000 + speaker // 2) / 16_000
            first = folder / "0.wav"
            soundfile.write(first, 0.1 * np.sin(2 * np.pi * (100 + speaker) * time), 16_000)
            for number in range(speaker, utterances, SPEAKERS):
                path = folder / f"{number // SPEAKERS}.wav"
                if path != first:
                    os.link(first, path)
                gender = ("female", "male")[speaker % 2]
                words = [EMOTIONS[number // SPEAKERS % 5], f"s{speaker:03d}", gender, "en", number // SPEAKERS % 20]
                table.writerow([path.relative_to(root), *words])


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def own_megabytes() -> float:
    """What the process holds; pages of memory-mapped files are the system's, which takes them back at need (Linux)."""
    memory = psutil.Process().memory_info()
    return (memory.rss - memory.shared) / 2**20


def report_building(root: Path) -> None:
    import datasets  # noqa: F401 - what importing costs is no part of what building costs

    from ser_hf import load_corpus

    imported, start = peak_megabytes(), perf_counter()
    rows = load_corpus("folder", root)
    seconds = perf_counter() - start
    print(
        f"build_dataset: {len(rows):,} utterances in {seconds:.0f} s ({1e6 * seconds / len(rows):.0f} us each), peak "
        f"memory {peak_megabytes():.0f} MB, of which {imported:.0f} MB are imports"
    )


def built():
    """The dataset that `report_building` has left in the cache."""
    import datasets

    (file,) = Path(datasets.config.HF_DATASETS_CACHE, "ser_hf").glob("corpora-*.arrow")
    return datasets.Dataset.from_file(str(file))


def report_splitting() -> None:
    from ser_hf.splits.split import split

    rows = built()
    for protocol in ("folder/kfold5", "folder/loso"):
        start = perf_counter()
        parts = split(rows, protocol, 0)
        print(
            f"{protocol}: {' / '.join(f'{len(part):,}' for part in parts.values())}, divided and checked in "
            f"{perf_counter() - start:.1f} s, peak memory {peak_megabytes():.0f} MB"
        )


def report_training() -> None:
    """The sampler over all utterances, decoding in the collator; no model, whose memory is its own affair."""
    from torch.utils.data import DataLoader
    from transformers import Wav2Vec2FeatureExtractor

    from ser_hf.data.balance import UtteranceSampler, balancing_groups, sampling_weights
    from ser_hf.data.collate import UtteranceCollator

    rows, start = built(), perf_counter()
    weights = sampling_weights(balancing_groups(rows["label"], rows["corpus"], "class"))
    sampler = UtteranceSampler(weights, len(rows), seed=0, lengths=rows["duration"], batch_size=BATCH_SIZE)
    collate = UtteranceCollator(Wav2Vec2FeatureExtractor())
    loader = DataLoader(rows, batch_size=BATCH_SIZE, sampler=sampler, collate_fn=collate)
    batches = iter(loader)
    next(batches)
    print(f"training: first batch after {perf_counter() - start:.1f} s")
    report_growth("training", batches)


def report_streaming() -> None:
    from torch.utils.data import DataLoader
    from transformers import Wav2Vec2FeatureExtractor

    from ser_hf.data.collate import UtteranceCollator

    stream = built().to_iterable_dataset(num_shards=64).shuffle(seed=0, buffer_size=1000)
    report_growth(
        "streaming",
        iter(DataLoader(stream, batch_size=BATCH_SIZE, collate_fn=UtteranceCollator(Wav2Vec2FeatureExtractor()))),
    )


def report_growth(name: str, batches) -> None:
    start, memory = perf_counter(), []
    for _ in range(BATCHES // 1000):
        for batch in islice(batches, 1000):
            assert len(batch["labels"]) == BATCH_SIZE
        memory.append(own_megabytes())
    rate = BATCHES * BATCH_SIZE / (perf_counter() - start)
    print(
        f"{name}: own memory {memory[0]:.0f} MB after the first thousand batches of {BATCH_SIZE}, {memory[-1]:.0f} MB "
        f"after {BATCHES:,} ({memory[-1] - memory[0]:+.1f} MB); {rate:.0f} utterances a second"
    )


REPORTS = {
    "building": report_building,
    "splitting": report_splitting,
    "training": report_training,
    "streaming": report_streaming,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=1_000_000)
    parser.add_argument("--only", choices=REPORTS, help="run one report on --root, in this process")
    parser.add_argument("--root", type=Path)
    options = parser.parse_args()
    if options.only:
        REPORTS[options.only](*([options.root] if options.only == "building" else []))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "corpus")
        root.mkdir()
        write_corpus(root, options.utterances)
        caches = {"HF_DATASETS_CACHE": str(Path(folder, "cache")), "HF_HUB_OFFLINE": "1"}
        for report in REPORTS:
            words = [sys.executable, __file__, "--only", report, "--root", str(root)]
            subprocess.run(words, check=True, env={**os.environ, **caches})


if __name__ == "__main__":
    main()
