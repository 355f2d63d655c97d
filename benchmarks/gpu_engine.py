"""Clips a second of a `Classifier` on a GPU, beside the bare model and a stock pipeline.

    python benchmarks/gpu_engine.py [OUT.json] [--clips 512] [--minutes 7]

It needs this package, but no recordings and no weights: the networks are random, of the sizes of HuBERT-base,
HuBERT-large and the encoder of Whisper-base, and the clips are noise, all of 4 seconds or of 2 to 6 seconds. The bare
model gets batches that are on the GPU already: what it does is all that anybody can reach. It is also compiled
(`torch.compile` with CUDA graphs), for the batch of 4-second clips. Without a GPU everything runs on the processor, to
try the script: --clips 8 --layers 1.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AudioClassificationPipeline,
    HubertConfig,
    HubertForSequenceClassification,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
)  # fmt: skip

from ser_hf.features.feature_extraction_whisper_encoder import WhisperEncoderFeatureExtractor
from ser_hf.inference.classifier import Classifier
from ser_hf.models.speech.configuration_speech_encoder import SpeechEncoderConfig
from ser_hf.models.speech.modeling_speech_encoder import SpeechEncoderForAudioClassification

RATE, BATCH = 16_000, 32
NAMES = ["anger", "happiness", "neutral", "sadness"]
LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: number for number, name in enumerate(NAMES)}}


def hubert(layers: int | None, **size):
    depth = {} if layers is None else {"num_hidden_layers": layers}
    return HubertForSequenceClassification(HubertConfig(**size | depth, **LABELS)), Wav2Vec2FeatureExtractor()


def hubert_large(layers: int | None):
    return hubert(
        layers, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
        do_stable_layer_norm=True, feat_extract_norm="layer",
    )  # fmt: skip


def whisper_base(layers: int | None):
    encoder = WhisperConfig(
        d_model=512, encoder_layers=layers or 6, encoder_attention_heads=8, encoder_ffn_dim=2048
    ).to_dict()
    model = SpeechEncoderForAudioClassification(SpeechEncoderConfig(encoder=encoder, head_is_trained=True, **LABELS))
    return model, WhisperEncoderFeatureExtractor()


NETWORKS = {"HuBERT-base": hubert, "HuBERT-large": hubert_large, "Whisper-base encoder": whisper_base}


def clips_a_second(classify: Callable[[], object], clips: int, device: str) -> float:
    """Return the speed of the faster one of two runs, after one that warms up."""
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        classify()
        if device == "cuda":
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - start)
    return clips / min(spent[1:])


def measured(model, extractor, sounds: list[np.ndarray], device: str, *, compiles: bool) -> dict[str, float]:
    """Return the speeds of the bare model, of a `Classifier` and of the stock pipeline, in clips a second."""
    count = len(sounds)
    by_length = sorted(sounds, key=len, reverse=True)
    batches = [
        {
            name: tensor.to(device)
            for name, tensor in extractor(
                by_length[start : start + BATCH], sampling_rate=RATE, padding=True, return_tensors="pt"
            ).items()
        }
        for start in range(0, count, BATCH)
    ]

    def bare(network: Callable, dtype: torch.dtype) -> Callable[[], None]:
        @torch.inference_mode()
        def run() -> None:
            with torch.autocast(device, dtype, enabled=dtype != torch.float32):
                for batch in batches:
                    network(**batch)

        return run

    found = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        found[f"bare model, {name}"] = clips_a_second(bare(model, dtype), count, device)
        classifier = Classifier(model, extractor, dtype=dtype)
        found[f"ser_hf, {name}"] = clips_a_second(lambda classifier=classifier: classifier(sounds), count, device)
    if compiles:
        compiled = torch.compile(model, mode="reduce-overhead")
        found["bare model, bfloat16, compiled"] = clips_a_second(bare(compiled, torch.bfloat16), count, device)
    pipe = AudioClassificationPipeline(model=model, feature_extractor=extractor, device=device)
    inputs = [{"raw": sound, "sampling_rate": RATE} for sound in sounds]
    for size in (1, 16):
        found[f"stock pipeline, batch {size}, float32"] = clips_a_second(
            lambda size=size: pipe([dict(one) for one in inputs], batch_size=size), count, device
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--minutes", type=float, default=7.0, help="No new network is begun after so long.")
    parser.add_argument("--layers", type=int, help="Of every network; default: as many as it has.")
    given = parser.parse_args()
    start, device = time.monotonic(), "cuda" if torch.cuda.is_available() else "cpu"
    about = torch.cuda.get_device_name() if device == "cuda" else "no GPU"
    rows, random = [], np.random.default_rng(0)
    for durations, shortest, longest in (("4 s", 4.0, 4.0), ("2 to 6 s", 2.0, 6.0)):
        lengths = (random.uniform(shortest, longest, given.clips) * RATE).astype(int)
        sounds = [random.normal(0, 0.1, length).astype(np.float32) for length in lengths]
        for name, build in NETWORKS.items():
            if time.monotonic() - start > 60 * given.minutes:
                print(f"{name}, clips of {durations}: left out, since {given.minutes:g} minutes are over")
                continue
            torch.manual_seed(0)
            model, extractor = build(given.layers)
            model.eval().to(device)
            compiles = device == "cuda" and shortest == longest
            found = measured(model, extractor, sounds, device, compiles=compiles)
            rows.append({"network": name, "clips": durations, "n": given.clips, "clips_a_second": found})
            print(f"\n{name}, {given.clips} clips of {durations}, {about}")
            for who, speed in found.items():
                limit = found[f"bare model, {'bfloat16' if 'bfloat16' in who else 'float32'}"]
                print(f"  {who:34} {speed:8.1f} clips a second, {speed / limit:6.1%} of the bare model", flush=True)
            if given.out is not None:  # after each: a run that is cut off has the rest
                facts = {"device": about, "torch": torch.__version__, "rows": rows}
                given.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
