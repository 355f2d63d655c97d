"""How much faster `read_audio` decodes and resamples to 16 kHz than the stock pipeline does for a file path.

    python benchmarks/decode_against_pipeline.py                # synthetic 48 kHz clips of 2 to 6 s
    python benchmarks/decode_against_pipeline.py FOLDER         # recordings, e.g. RAVDESS as it is published (48 kHz)

The pipeline starts one ffmpeg program for every file. Both take turns on every file. Waveforms are compared on mono
files only: ffmpeg's mono version of a stereo file is 3 dB louder than the average of its channels.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import soundfile
from transformers.pipelines.audio_utils import ffmpeg_read

from ser_hf.audio import audio_info, read_audio

ROUNDS, WARM_UP = 10, 2
RATE = 16_000


def write_clips(folder: Path) -> None:
    random = np.random.default_rng(0)
    for number, seconds in enumerate(random.uniform(2, 6, 10)):
        time = np.arange(int(seconds * 48_000)) / 48_000
        voice = 0.3 * np.sin(2 * np.pi * random.uniform(80, 400) * time) + random.normal(0, 0.01, time.size)
        soundfile.write(folder / f"{number}.wav", voice, 48_000)


def compare(paths: list[Path]) -> None:
    infos = [audio_info(path) for path in paths]
    seconds, differences = {"pipeline": [], "ser_hf": []}, []
    for turn in range(WARM_UP + ROUNDS):
        for path, info in zip(paths, infos, strict=True):
            start = perf_counter()
            theirs = ffmpeg_read(path.read_bytes(), RATE)
            middle = perf_counter()
            ours = read_audio(path, sampling_rate=RATE)
            if turn >= WARM_UP:
                seconds["pipeline"].append(middle - start)
                seconds["ser_hf"].append(perf_counter() - middle)
            if info.channels == 1:
                n = min(theirs.size, ours.size)
                differences.append(np.sqrt(np.mean((theirs[:n] - ours[:n]) ** 2) / np.mean(theirs**2)))

    rates = ", ".join(str(rate) for rate in sorted({info.sampling_rate for info in infos}))
    length = np.mean([info.duration_seconds for info in infos])
    milliseconds = {name: median(values) * 1000 for name, values in seconds.items()}
    print(f"n = {len(paths)} files at {rates} Hz, {length:.1f} s on average; {os.cpu_count()} cores; {ROUNDS} rounds")
    print(
        f"stock pipeline {milliseconds['pipeline']:.2f} ms, read_audio {milliseconds['ser_hf']:.2f} ms a file (medians)"
    )
    print(f"largest relative difference of a waveform, RMS, mono files: {max(differences, default=float('nan')):.1e}")
    print(f"ratio: {milliseconds['pipeline'] / milliseconds['ser_hf']:.1f}")


def main() -> None:
    if shutil.which("ffmpeg") is None:
        sys.exit("the stock pipeline needs the ffmpeg program: install it, e.g. `apt-get install ffmpeg`")
    if len(sys.argv) > 1:
        compare(sorted(path for path in Path(sys.argv[1]).rglob("*") if path.suffix in (".wav", ".flac")))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_clips(Path(folder))
        compare(sorted(Path(folder).iterdir()))


if __name__ == "__main__":
    main()
