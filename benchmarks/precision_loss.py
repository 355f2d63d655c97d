"""Compare a run on unseen speakers in float32, in bfloat16 and in eight-bit integers: UAR, answers and scores.

    python benchmarks/precision_loss.py RUN CORPUS OUT.json

The integers of each fold are chosen on its training part and checked on its validation part, as `ser-hf export --int8`
does; then all answer the test part. Differences are paired over the test speakers. Exported folders are kept beside
OUT.json, and a run that was interrupted goes on with them. The folds must not be fitted again on their validation part
(`--refit false`), else the check sees what the model was fitted to.
"""

import json
import sys
from pathlib import Path

import numpy as np

from ser_hf import Classifier
from ser_hf.cli.export import recordings_for_integers
from ser_hf.data.dataset import load_corpus
from ser_hf.evaluation.intervals import confusion_by_speaker, paired_difference, speaker_interval
from ser_hf.evaluation.metrics import uar_of
from ser_hf.export.folder import export
from ser_hf.files import fold_folders
from ser_hf.inference.precision import DTYPES, seconds_of_product
from ser_hf.splits.ledger import Ledger
from ser_hf.splits.split import split

FORMATS = ("float32", "bfloat16", "int8")


def main() -> None:
    run, corpus, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    labels, speakers, checked, scores = [], [], [], {name: [] for name in FORMATS}
    for folder in fold_folders(run, "config.json") or [run]:
        exported = out.parent / f"int8_{out.stem}_{folder.name}"
        exact = Classifier.from_pretrained(folder, device="cpu")
        if not exported.exists():
            export(exact.model, exact.extractor, exported, "openvino",
                   integers=recordings_for_integers(exact, str(folder), corpus, None))  # fmt: skip
        checked.append(json.loads((exported / "about.json").read_text())["int8"])
        ledger = Ledger.of_model(str(folder))
        protocol, fold = ledger.protocol_of(corpus)
        test = split(load_corpus(corpus, None, ledger.trainings[-1].scheme), protocol, fold)["test"]
        labels += test["label"]
        speakers += test["speaker"]
        rounded = Classifier.from_pretrained(folder, device="cpu", dtype="bfloat16")
        integers = Classifier.from_pretrained(folder, backend=exported)
        for name, classifier in zip(FORMATS, (exact, rounded, integers), strict=True):
            scores[name].append(classifier.scores(test["audio"]))
        print(folder.name, checked[-1], flush=True)
    scores = {name: np.concatenate(found) for name, found in scores.items()}
    answers = {name: found.argmax(axis=1).tolist() for name, found in scores.items()}
    counts = {name: confusion_by_speaker(labels, found, speakers) for name, found in answers.items()}
    losses = {}
    for name in FORMATS[1:]:
        loss, interval = paired_difference(uar_of, counts["float32"], counts[name])
        equal = float(np.mean(np.equal(answers["float32"], answers[name])))
        differences = np.abs(scores["float32"] - scores[name]).max(axis=1)  # of the class that differs most
        losses[name] = {
            "loss": loss, "interval": interval, "equal_answers": equal,
            "median_difference": float(np.median(differences)), "largest_difference": float(differences.max()),
        }  # fmt: skip
    facts = {
        "run": run.name, "n": len(labels), "speakers": len(set(speakers)), "checked": checked,
        "uar": {name: float(uar_of(one.sum(axis=0))) for name, one in counts.items()},
        "uar_interval": {
            name: speaker_interval(uar_of, labels, found, speakers) for name, found in answers.items()
        },
        "losses": losses,
        "product_ms": {name: 1000 * seconds_of_product(dtype, "cpu") for name, dtype in DTYPES.items()},
    }  # fmt: skip
    out.write_text(json.dumps(facts, indent=1, default=float) + "\n")
    print(json.dumps(facts, indent=1, default=float))


if __name__ == "__main__":
    main()
