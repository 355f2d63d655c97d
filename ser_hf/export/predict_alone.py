"""Emotions of recordings, without PyTorch.

    pip install -r requirements.txt
    python predict.py one.wav two.flac    # a line of JSON for each: {"file": ..., "emotion": ..., "scores": {...}}

The graph takes a waveform, mono and at the sampling rate in about.json, and returns logits. Features are inside.
"""

import json
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr

HERE = Path(__file__).resolve().parent


def load():
    """Return the function that computes logits, (classes,), from a waveform, (samples,)."""
    if (HERE / "model.xml").exists():
        import openvino

        # Float32 on every machine; some processors are faster with "bf16", and a little less exact.
        compiled = openvino.Core().compile_model(HERE / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda waveform: compiled({"waveform": waveform[None]})["logits"][0]
    import onnxruntime

    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    return lambda waveform: session.run(["logits"], {"waveform": waveform[None]})[0][0]


def read(file, sampling_rate):
    """Return a recording as float32, (samples,), mono, at the sampling rate of the model."""
    channels, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return soxr.resample(channels.mean(axis=1), rate, sampling_rate)


def scores(logits, function):
    if function == "softmax":
        powers = np.exp(logits - logits.max())
        return powers / powers.sum()
    return 1 / (1 + np.exp(-logits)) if function == "sigmoid" else logits


def classify(compute, waveform, about):
    """Return the score of each class; of a recording that is too long, the mean over equal parts."""
    parts = np.array_split(waveform, -(-len(waveform) // about["longest_samples"]))
    weights = [len(part) for part in parts]
    return np.average([scores(compute(part), about["function"]) for part in parts], axis=0, weights=weights)


def main(files):
    if not files:
        print(__doc__, file=sys.stderr)
        return 2
    about, compute, failed = json.loads((HERE / "about.json").read_text(encoding="utf-8")), load(), 0
    for file in files:
        try:
            waveform = read(file, about["sampling_rate"])
        except (OSError, RuntimeError) as error:  # of soundfile, for what is missing or no sound file
            failed = 1
            print(f"{file} cannot be read: {error}", file=sys.stderr)
            continue
        found = dict(zip(about["labels"], map(float, classify(compute, waveform, about)), strict=True))
        print(json.dumps({"file": file, "emotion": max(found, key=found.get), "scores": found}, ensure_ascii=False))
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
