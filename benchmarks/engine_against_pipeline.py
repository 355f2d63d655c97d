"""How much faster `Classifier` is than a stock pipeline on the same saved model, from files and from arrays.

    python benchmarks/engine_against_pipeline.py RUN RECORDINGS OUT.json [FOLDER of ser-hf export ...] [--stock OTHER]

`--stock OTHER` is another model for the pipeline, such as the 30-second class of Whisper. `--timed BACKEND` adds a
backend; `--timed int8` a graph in eight-bit integers without asking what they cost, for models with random weights.

All take turns on blocks of recordings; a ratio is that of processor seconds, of this process and of the ffmpeg
processes of the pipeline, over all blocks of a round. Beside it stand the limit that a bare matrix product of this
machine sets, and the answers that are equal. Run it with OMP_NUM_THREADS=1: threads that wait for each other count as
work.
"""

import argparse
import json
import resource
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode
from transformers import pipeline
from transformers.utils import logging

from ser_hf import Classifier
from ser_hf.audio import read_audio
from ser_hf.export.folder import export
from ser_hf.export.graph import INPUT, names_in_front_end, write_onnx
from ser_hf.export.integers import operations_before

BLOCK, ROUNDS, BATCHES = 25, 2, (1, 8)
SIZE = 1024  # of the matrices


def seconds() -> float:
    """Processor seconds of this process and of those that it waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)


def product_rate() -> float:
    """Operations a processor second of a matrix product in float32."""
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    rates = []
    for _ in range(10):
        start = time.process_time()
        a @ b
        rates.append(2 * SIZE**3 / (time.process_time() - start))
    return float(np.median(rates))


def operations(classifier: Classifier, waveforms) -> float:
    """Operations of the model for one recording, on average."""
    for module in classifier.model.modules():
        if parametrize.is_parametrized(module):  # which the counter does not understand
            parametrize.remove_parametrizations(module, "weight")
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        for waveform in waveforms:
            classifier.model(**classifier._inputs([waveform]))
    return counter.get_total_flops() / len(waveforms)


def export_unchecked_integers(classifier: Classifier, waveforms, folder: Path) -> None:
    """Export a model in eight-bit integers without asking what they cost."""
    import nncf
    import openvino

    export(classifier.model, classifier.extractor, folder, "openvino")
    onnx = folder / "model.onnx"
    write_onnx(classifier.model, classifier.extractor, onnx)
    graph = openvino.Core().read_model(onnx)
    front_end = nncf.IgnoredScope(names=operations_before(graph, names_in_front_end(onnx)), validate=False)
    rows = nncf.Dataset(waveforms, lambda waveform: {INPUT: waveform[None]})
    quantised = nncf.quantize(
        graph, rows, subset_size=len(waveforms), preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER, ignored_scope=front_end,
    )  # fmt: skip
    openvino.save_model(quantised, folder / "model.xml", compress_to_fp16=False)


def sides(run: Path, stock: Path, exported: list[Path], timed: list[str], waveforms) -> dict:
    """Functions that classify a list of recordings, by name."""
    pipe = pipeline("audio-classification", str(stock), device="cpu", trust_remote_code=True)
    found = {
        f"stock, batch {size}": lambda many, size=size: [
            one[0]["label"]
            for one in pipe([dict(one) if isinstance(one, dict) else one for one in many], batch_size=size)
        ]
        for size in BATCHES
    }
    classifiers = {"ser_hf": Classifier.from_pretrained(run, device="cpu")}
    for folder in exported:
        classifiers[f"ser_hf, {folder.name}"] = Classifier.from_pretrained(run, backend=folder)
    for backend in timed:
        if backend != "int8":
            classifiers[f"ser_hf, {backend}"] = Classifier.from_pretrained(run, backend=backend)
            continue
        with tempfile.TemporaryDirectory() as folder:
            export_unchecked_integers(classifiers["ser_hf"], waveforms[::10], Path(folder))
            classifiers["ser_hf, int8"] = Classifier.from_pretrained(run, backend=folder)
    for name, classifier in classifiers.items():
        found[name] = lambda many, classifier=classifier: [one[0]["label"] for one in classifier(many, num_workers=0)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("run", "recordings", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("exported", nargs="*", type=Path)
    parser.add_argument("--stock", type=Path)
    parser.add_argument("--timed", nargs="+", default=[])
    parser.add_argument("--count", type=int, default=200)
    given = parser.parse_args()
    logging.set_verbosity_error()

    files = sorted(path for path in given.recordings.rglob("*") if path.suffix in (".wav", ".flac"))
    files = [str(files[place]) for place in np.linspace(0, len(files) - 1, given.count).astype(int)]
    arrays = [{"raw": read_audio(file, sampling_rate=16_000), "sampling_rate": 16_000} for file in files]
    waveforms = [one["raw"] for one in arrays]
    named = sides(given.run, given.stock or given.run, given.exported, given.timed, waveforms)
    for name, classify in list(named.items()):
        try:
            classify(arrays[:2])  # warm
        except Exception as error:
            print(f"{name} fails: {str(error)[:100]}")
            del named[name]

    spent, answers = defaultdict(lambda: np.zeros(ROUNDS)), defaultdict(list)
    for turn in range(ROUNDS):
        for start in range(0, given.count, BLOCK):
            for kind, recordings in (("files", files), ("arrays", arrays)):
                for name, classify in named.items():
                    before = seconds()
                    labels = classify(recordings[start : start + BLOCK])
                    spent[kind, name][turn] += seconds() - before
                    answers[kind, name] += labels

    work = operations(Classifier.from_pretrained(given.run, device="cpu"), waveforms[::10])
    limit = 1000 * work / product_rate()
    rows = []
    for (kind, name), total in spent.items():
        best = np.min([spent[kind, one] for one in named if one.startswith("stock")], axis=0)
        rows.append({
            "from": kind, "who": name, "ms": float(1000 * total.mean() / given.count),
            "ratios": (best / total).round(2).tolist(),
            "equal_answers": float(np.mean(np.asarray(answers[kind, name]) == answers["arrays", "ser_hf"])),
            "times_the_limit": float(1000 * total.mean() / given.count / limit),
        })  # fmt: skip
    facts = {
        "run": given.run.name, "stock": (given.stock or given.run).name, "n": given.count,
        "threads": torch.get_num_threads(), "gigaflops": work / 1e9, "limit_ms": limit,
        "recording_seconds": float(np.mean(list(map(len, waveforms))) / 16_000), "rows": rows,
    }  # fmt: skip
    given.out.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"{facts['run']}, n = {given.count}, {facts['recording_seconds']:.1f} s, limit {limit:.1f} ms")
    for row in rows:
        print(
            f"{row['from']:7} {row['who']:22} {row['ms']:7.1f} ms   {row['ratios']} times the speed of the pipeline   "
            f"{row['equal_answers']:.1%} equal   {row['times_the_limit']:.2f} limits"
        )


if __name__ == "__main__":
    main()
