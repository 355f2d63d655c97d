"""Processor time that the doctor's reader takes for 400 refused names, against none.

python benchmarks/doctor_on_refused_names.py

Two folders of 400 empty recordings each are read to the end: in one all names fit, in the other none does. A reader
that starts again after each refusal takes about 100 times as long; one pass takes about as long.
"""

import json
import sys
import tempfile
from pathlib import Path
from time import process_time

from ser_hf.corpora import get_corpus
from ser_hf.sources.spec import read_to_the_end

NAMES = 400


def main() -> None:
    spec, seconds, found = get_corpus("ravdess"), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, name in (("good", "03-01-05-01-01-01-01"), ("refused", "holiday")):
            for number in range(NAMES):  # a folder for each, since the good ones share a name
                path = Path(folder, kind, f"Actor_{number:03d}", f"{name}.wav")
                path.parent.mkdir(parents=True)
                path.touch()
        for kind in ("good", "refused"):
            root = Path(folder, kind)
            started = process_time()
            for _ in range(5):
                reading = read_to_the_end(spec, root)
            seconds[kind] = process_time() - started
            found[kind] = len(reading.refusals)
    ratio = seconds["refused"] / seconds["good"]
    print(f"{found['refused']} refused names take {ratio:.2f} times the processor time of {found['good']}")
    json.dump({"seconds": seconds, "refusals": found, "ratio": ratio}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
