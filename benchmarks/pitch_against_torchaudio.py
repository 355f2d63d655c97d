"""How much faster the pitch effect of training is than that of torchaudio, and what it costs beside reading a clip.

    OMP_NUM_THREADS=1 python benchmarks/pitch_against_torchaudio.py

Both shift one synthetic clip of 4 s by steps drawn as in training, and take turns with reading it, so that a busy
moment of the machine hits all. torchaudio resamples with a filter bank that grows with the two rates over their common
divisor: most steps leave a small one or none. A minute on one core.
"""

from io import BytesIO
from statistics import mean
from time import perf_counter

import numpy as np
import soundfile
import torch
from torchaudio.functional import pitch_shift

from ser_hf.audio import read_audio
from ser_hf.augmentation.effects import SAMPLING_RATE, VOCODER_WINDOW, shift_pitch

STEPS, SECONDS = 8, 4


def main() -> None:
    random = np.random.default_rng(0)
    time = np.arange(SECONDS * SAMPLING_RATE) / SAMPLING_RATE
    clip = (0.3 * np.sin(2 * np.pi * 180 * time) + random.normal(0, 0.01, time.size)).astype(np.float32)
    file = BytesIO()
    soundfile.write(file, clip, SAMPLING_RATE, format="WAV")
    turns = {
        "torchaudio": lambda step: pitch_shift(torch.from_numpy(clip), SAMPLING_RATE, step, n_fft=VOCODER_WINDOW),
        "ser_hf": lambda step: shift_pitch(clip, step, random),
        "reading": lambda step: read_audio(file.getvalue(), sampling_rate=SAMPLING_RATE),
    }
    seconds = {name: [] for name in turns}
    shift_pitch(clip, 1.0, random)  # librosa loads itself at the first call
    for step in random.uniform(-2, 2, STEPS):
        for name, turn in turns.items():
            start = perf_counter()
            turn(step)
            seconds[name].append(perf_counter() - start)
    means = {name: mean(values) for name, values in seconds.items()}
    print(f"one clip of {SECONDS} s, {STEPS} steps within 2 semitones; {torch.get_num_threads()} threads; means")
    print(", ".join(f"{name} {1000 * value:.1f} ms" for name, value in means.items()))
    print(f"ratio to torchaudio: {means['torchaudio'] / means['ser_hf']:.0f}")
    print(f"ratio to reading the clip: {means['ser_hf'] / means['reading']:.1f} times as long")


if __name__ == "__main__":
    main()
