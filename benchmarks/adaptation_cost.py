"""What adaptation to voices costs beside scores: processor seconds of both, in one run of bulk prediction.

    python benchmarks/adaptation_cost.py runs/ravdess_lda/fold0 corpora/ravdess

All recordings are taken to be of one person, which is the dearest case: an offset is estimated anew for each recording,
from up to 200 earlier ones.
"""

import argparse
import os
from pathlib import Path
from time import process_time

from ser_hf import Classifier
from ser_hf.inference.bulk import Recordings
from ser_hf.inference.bulk.scoring import Online

BLOCK = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a classifier that can be adapted")
    parser.add_argument("folder", type=Path, help="a folder of recordings")
    parser.add_argument("--recordings", type=int, default=300)
    options = parser.parse_args()

    scoring = Online(Classifier.from_pretrained(options.model, device="cpu"))
    found = [one._replace(speaker="one") for one in Recordings([os.fspath(options.folder)])][: options.recordings]
    scoring.score(found[:2])  # the first call prepares things
    scores = adaptation = 0.0
    for start in range(0, len(found), BLOCK):
        block, before = found[start : start + BLOCK], process_time()
        scored, between = scoring.score(block), process_time()
        scoring.rows(block, scored)
        scores, adaptation = scores + between - before, adaptation + process_time() - between
    print(
        f"{len(found)} recordings of one person: {1000 * scores / len(found):.1f} ms of processor time for a score, "
        f"{1000 * adaptation / len(found):.2f} ms for its adaptation: ratio {adaptation / scores:.2%}"
    )


if __name__ == "__main__":
    main()
