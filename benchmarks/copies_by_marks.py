"""The share of copies that the marks in a ledger recognise, and the similarity of other recordings.

    python benchmarks/copies_by_marks.py ravdess path/to/ravdess [--every 12]

Marks of the whole corpus are compared with disturbed copies of every so-many-th recording, which must be recognised,
and with these recordings themselves, which must resemble no other. The pairs of other recordings above the threshold
are printed: takes of one sentence by one speaker may be nearly equal.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from fingerprint_recall import DISTURBANCES, RATE

from ser_hf.audio import read_audio
from ser_hf.corpora import find_root, get_corpus, read_utterances
from ser_hf.fingerprint import fingerprint
from ser_hf.fingerprint_mark import ALIKE, Marks, mark_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("root", nargs="?")
    parser.add_argument("--every", type=int, default=12)
    options = parser.parse_args()
    spec = get_corpus(options.corpus)
    root = find_root(spec, options.root and Path(options.root))
    paths = [one.path for one in read_utterances(spec, root, next(iter(spec.label_sources), None))]
    prints = [fingerprint(path) for path in paths]
    texts = [mark_of(print_) for print_ in prints]
    marks, chosen, random = Marks(texts), range(0, len(paths), options.every), np.random.default_rng(0)
    started, others = time.process_time(), []
    for row in chosen:
        similarities = marks.similarities(prints[row])
        similarities[row] = 0
        others += [(value, paths[row].name, paths[other].name) for other, value in enumerate(similarities)]
    seconds = (time.process_time() - started) / len(chosen)
    highest = sorted(others, reverse=True)[:10]
    facts = {
        "corpus": options.corpus,
        "recordings": len(paths),
        "bytes_of_a_mark": max(map(len, texts)),
        "seconds_of_processor_time_for_a_comparison_with_all": round(seconds, 4),
        "pairs_of_others": len(others),
        "others_above_threshold": int(sum(value >= ALIKE for value, *_ in others)),
        "most_similar_others": [(round(float(value), 3), *names) for value, *names in highest],
        "copies": {},
    }
    for name, disturb in DISTURBANCES.items():
        values = []
        for row in chosen:
            copy = np.clip(disturb(read_audio(paths[row], sampling_rate=RATE), random), -1, 1).astype(np.float32)
            values.append(marks.similarities(fingerprint({"array": copy, "sampling_rate": RATE}))[row])
        facts["copies"][name] = {"n": len(values), "recognised": round(float(np.mean(np.array(values) >= ALIKE)), 3)}
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
