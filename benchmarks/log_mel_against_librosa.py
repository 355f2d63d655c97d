"""How much faster `LogMelFeatureExtractor` computes log-mel features on the CPU than librosa does.

    python benchmarks/log_mel_against_librosa.py                # 32 synthetic clips of 2 to 6 s
    python benchmarks/log_mel_against_librosa.py FOLDER         # the first 32 recordings under a folder

Both get the same decoded clips and settings, and take turns, so that a busy moment of the machine hits both. Where
other programs keep the cores busy, threads wait for each other: there, compare with OMP_NUM_THREADS=1.
"""

import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import librosa
import numpy as np
import torch

from ser_hf.audio import read_audio
from ser_hf.features.feature_extraction_log_mel import LogMelFeatureExtractor

ROUNDS, WARM_UP, CLIPS = 20, 3, 32
RATE = 16_000


def clips(folder: str | None) -> list[np.ndarray]:
    if folder is not None:
        paths = sorted(path for path in Path(folder).rglob("*") if path.suffix in (".wav", ".flac"))[:CLIPS]
        return [read_audio(path, sampling_rate=RATE) for path in paths]
    random = np.random.default_rng(0)
    times = [np.arange(int(seconds * RATE)) / RATE for seconds in random.uniform(2, 6, CLIPS)]
    return [
        (0.3 * np.sin(2 * np.pi * random.uniform(80, 400) * t) + random.normal(0, 0.01, t.size)).astype(np.float32)
        for t in times
    ]


def with_librosa(extractor: LogMelFeatureExtractor, waveforms: list[np.ndarray]) -> list[np.ndarray]:
    return [
        np.log(
            librosa.feature.melspectrogram(
                y=waveform, sr=RATE, n_fft=extractor.n_fft, win_length=extractor.win_length,
                hop_length=extractor.hop_length, n_mels=extractor.feature_size, pad_mode="constant",
            )
            + extractor.log_floor
        )
        for waveform in waveforms
    ]  # fmt: skip


def main() -> None:
    extractor = LogMelFeatureExtractor()
    waveforms = clips(sys.argv[1] if len(sys.argv) > 1 else None)
    seconds = {"librosa": [], "ser_hf": []}
    for _ in range(WARM_UP + ROUNDS):
        start = perf_counter()
        theirs = with_librosa(extractor, waveforms)
        middle = perf_counter()
        ours = extractor(waveforms, sampling_rate=RATE, return_tensors="pt")["input_features"]
        seconds["librosa"].append(middle - start)
        seconds["ser_hf"].append(perf_counter() - middle)

    pairs = zip(theirs, ours.numpy(), strict=True)
    difference = max(np.expm1(np.abs(a.T - b[: a.shape[1]])).max() for a, b in pairs)
    milliseconds = {name: median(values[WARM_UP:]) / len(waveforms) * 1000 for name, values in seconds.items()}
    length = np.mean([waveform.size for waveform in waveforms]) / RATE
    print(f"n = {len(waveforms)} clips, {length:.1f} s on average; {torch.get_num_threads()} threads; {ROUNDS} rounds")
    print(f"librosa {milliseconds['librosa']:.2f} ms, ser_hf {milliseconds['ser_hf']:.2f} ms a clip (medians)")
    print(f"largest relative difference of a mel energy: {difference:.1e}")
    print(f"ratio: {milliseconds['librosa'] / milliseconds['ser_hf']:.1f}")


if __name__ == "__main__":
    main()
