"""How many planted near-duplicates the fingerprint finds, and how many distinct recordings it takes for one.

    python benchmarks/fingerprint_recall.py emodb path/to/emodb [--every 3]

Each disturbance is applied to every so-many-th utterance, and these copies are searched together with the whole corpus:
a copy is found if the search returns it with its original. The lowest similarity is that of a copy and its original
alone, 0 if the search does not compare them. "Others" are found pairs of a copy and another recording.

Every unordered pair of the corpus's own recordings is a chance for a false alarm. The found
pairs are printed: listen before calling them false (RAVDESS holds one recording twice).
"""

import argparse
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ser_hf.audio import read_audio
from ser_hf.corpora import get_corpus, read_utterances
from ser_hf.fingerprint import THRESHOLD, find_matches, fingerprint

RATE = 16_000


def code(waveform: np.ndarray, container: str, subtype: str, rate: int = RATE, **options) -> np.ndarray:
    """Through a codec and back to 16 kHz."""
    file = BytesIO()
    samples = np.clip(soxr.resample(waveform, RATE, rate), -1, 1)
    soundfile.write(file, samples, rate, format=container, subtype=subtype, **options)
    file.seek(0)
    decoded, rate = soundfile.read(file, dtype="float32")
    return soxr.resample(decoded, rate, RATE)


def resampled(waveform: np.ndarray, rate: int) -> np.ndarray:
    return soxr.resample(soxr.resample(waveform, RATE, rate), rate, RATE)


def start_cut(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return waveform[int(random.uniform(0.05, 0.3) * len(waveform)) :]


def end_cut(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return waveform[: len(waveform) - int(random.uniform(0.05, 0.3) * len(waveform))]


def shorter_and_softer(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Up to a fifth cut off at each end, peak at -20 to -1 dB."""
    size = len(waveform)
    kept = waveform[int(random.uniform(0, 0.2) * size) : size - int(random.uniform(0, 0.2) * size)]
    return kept / np.abs(kept).max() * 10 ** (random.uniform(-20, -1) / 20)


DISTURBANCES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "start cut, 5 to 30 %": start_cut,
    "end cut, 5 to 30 %": end_cut,
    "20 dB softer, 16 bit": lambda x, random: code(x / 10, "WAV", "PCM_16"),
    "48 kHz and back": lambda x, random: resampled(x, 48_000),
    "24 kHz and back": lambda x, random: resampled(x, 24_000),
    "8 kHz and back": lambda x, random: resampled(x, 8_000),
    "MP3, default quality": lambda x, random: code(x, "MP3", "MPEG_LAYER_III"),
    "MP3, lowest bit rate": lambda x, random: code(
        x, "MP3", "MPEG_LAYER_III", compression_level=0.99, bitrate_mode="CONSTANT"
    ),
    "Vorbis, lowest quality": lambda x, random: code(x, "OGG", "VORBIS", compression_level=0.99),
    "Opus, default quality": lambda x, random: code(x, "OGG", "OPUS"),
    "Opus, lowest bit rate": lambda x, random: code(x, "OGG", "OPUS", compression_level=0.99),
    "GSM full rate": lambda x, random: code(x, "WAV", "GSM610", rate=8_000),
    "mu-law": lambda x, random: code(x, "WAV", "ULAW", rate=8_000),
    "both ends cut, gain, MP3": lambda x, random: code(shorter_and_softer(x, random), "MP3", "MPEG_LAYER_III"),
    "both ends cut, gain, GSM": lambda x, random: code(shorter_and_softer(x, random), "WAV", "GSM610", rate=8_000),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("root", type=Path)
    parser.add_argument("--every", type=int, default=3)
    options = parser.parse_args()
    paths = [utterance.path for utterance in read_utterances(get_corpus(options.corpus), Path(options.root))]
    started = time.process_time()
    prints = [fingerprint(path) for path in paths]
    computed = time.process_time()
    matches = find_matches(prints, threshold=0.6)
    searched = time.process_time()
    found = [match for match in matches if match.similarity >= THRESHOLD]
    pairs = len(paths) * (len(paths) - 1) // 2
    print(f"{options.corpus}: {len(paths)} recordings, {pairs} pairs, threshold {THRESHOLD}")
    print(f"processor time: fingerprints {computed - started:.1f} s, search {searched - computed:.1f} s")
    print(f"called near-duplicates: {len(found)} pairs, {100 * len(found) / len(paths):.2f} per 100 recordings")
    for match in matches[:8]:
        print(f"  {match.similarity:.3f} {paths[match.first].stem} {paths[match.second].stem}")

    random, total, hits = np.random.default_rng(0), 0, 0
    for name, disturb in DISTURBANCES.items():
        copies, similarities = {}, []
        for number in range(0, len(paths), options.every):
            copy = np.asarray(disturb(read_audio(paths[number]), random), np.float32)
            copies[number] = fingerprint({"array": copy, "sampling_rate": RATE})
            alone = find_matches([prints[number], copies[number]], threshold=0.0)
            similarities += [match.similarity for match in alone] or [0.0]
        planted = {(number, len(paths) + place) for place, number in enumerate(copies)}
        searched = {(match.first, match.second) for match in find_matches([*prints, *copies.values()])}
        recalled = len(planted & searched)
        others = sum(second >= len(paths) for _, second in searched - planted)
        total, hits = total + len(planted), hits + recalled
        print(
            f"{name:26} n {len(planted):5} recall {recalled / len(planted):.4f} lowest {min(similarities):.3f} "
            f"others {others}",
            flush=True,
        )
    print(f"{'all':26} n {total:5} recall {hits / total:.4f} ({total - hits} missed)")


if __name__ == "__main__":
    main()
