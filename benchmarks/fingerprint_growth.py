"""How time and memory of the search for near-duplicates grow with the number of recordings.

    python benchmarks/fingerprint_growth.py                       # 1,000 and 10,000 recordings, two minutes
    python benchmarks/fingerprint_growth.py 1000 10000 100000     # twenty minutes of one core

Recordings are made up: two seconds of noise through three formants that glide from syllable to syllable, 8 kHz. Every
hundredth is a copy of the one before it, disturbed in one of four ways. Each size runs in a process of its own, with a
peak of its own. Seconds are processor time. The exponent is the slope of log seconds against log recordings.
"""

import argparse
import json
import resource
import subprocess
import sys
from time import process_time

import numpy as np
import soxr

from ser_hf.fingerprint import SAMPLING_RATE, find_matches, fingerprint

SECONDS, COPIES = 2, 100  # one recording in so many is a copy of the one before it
HOP, WINDOW = 64, 256  # samples, of the synthesis
FORMANTS = ((300, 900), (900, 2300), (2300, 3300))  # Hz, the ranges that they are drawn from


def speech(random: np.random.Generator) -> np.ndarray:
    """Return two seconds of syllables, (samples,)."""
    frames = SECONDS * SAMPLING_RATE // HOP
    borders = np.cumsum(random.uniform(0.1, 0.35, 24) * SAMPLING_RATE / HOP)
    time, hertz = np.arange(frames), np.fft.rfftfreq(WINDOW, 1 / SAMPLING_RATE)
    envelope = np.interp(time, borders, random.uniform(-35, 0, 24))  # dB
    syllable = np.abs(np.sin(np.pi * np.interp(time, borders, np.arange(24))))
    spectrum = np.full((frames, len(hertz)), 1e-3)
    for low, high in FORMANTS:
        centre, level = random.uniform(low, high, 24), 10 ** (random.uniform(-20, 0, 24) / 20)
        glide, loud = np.interp(time, borders, centre), np.interp(time, borders, level)
        spectrum += loud[:, None] * np.exp(-0.5 * ((hertz - glide[:, None]) / random.uniform(60, 150)) ** 2)
    spectrum *= (10 ** (envelope / 20) * (0.05 + syllable))[:, None]
    noise = random.normal(size=(frames, len(hertz))) + 1j * random.normal(size=(frames, len(hertz)))
    blocks = np.fft.irfft(spectrum * noise, axis=1) * np.hanning(WINDOW)
    waveform = np.zeros(frames * HOP + WINDOW)
    for quarter in range(WINDOW // HOP):  # overlap and add
        part = blocks[:, quarter * HOP : (quarter + 1) * HOP].ravel()
        waveform[quarter * HOP : quarter * HOP + len(part)] += part
    return (waveform / np.abs(waveform).max() * 10 ** (random.uniform(-12, -1) / 20)).astype(np.float32)


def trimmed(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
    size = len(waveform)
    return waveform[int(random.uniform(0, 0.2) * size) : size - int(random.uniform(0, 0.2) * size)]


def softer(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """20 dB, rounded to 16 bits."""
    return np.rint(waveform / 10 * 32768).astype(np.float32) / 32768


def resampled(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return soxr.resample(soxr.resample(waveform, SAMPLING_RATE, 11_025), 11_025, SAMPLING_RATE)


def mu_law(waveform: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Through 8 bits, G.711 without its segments; trimmed first."""
    cut = trimmed(waveform, random)
    code = np.rint(127 * np.sign(cut) * np.log1p(255 * np.abs(cut)) / np.log(256))
    return (np.sign(code) * np.expm1(np.abs(code) / 127 * np.log(256)) / 255).astype(np.float32)


DISTURBANCES = (trimmed, softer, resampled, mu_law)


def report(number: int) -> dict:
    """Fingerprint and search so many recordings."""
    prints, planted, spent = [], set(), 0.0
    for place in range(number):
        # The place is the seed, so that a larger set begins with a smaller one.
        copies = place % COPIES == COPIES - 1
        random = np.random.default_rng(place - 1 if copies else place)
        waveform = speech(random)
        if copies:
            planted.add((place - 1, place))
            waveform = DISTURBANCES[place // COPIES % len(DISTURBANCES)](waveform, random)
        started = process_time()
        prints.append(fingerprint({"array": waveform, "sampling_rate": SAMPLING_RATE}))
        spent += process_time() - started
    kept = sum(one.levels.nbytes + one.anchors.nbytes + one.keys.nbytes for one in prints)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = process_time()
    matches = find_matches(prints)
    searched = process_time() - started
    found = {(match.first, match.second) for match in matches}
    return {
        "number": number,
        "anchors": sum(len(one.anchors) for one in prints),
        "prints_seconds": spent,
        "search_seconds": searched,
        "kept": kept / 1e6,
        "before": before,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "planted": len(planted),
        "found": len(found & planted),
        "false": len(found - planted),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--only", action="store_true", help="report on one number in this process, as JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(report(options.numbers[0])))
        return
    print(
        "| recordings | anchors | fingerprints, s | search, s | kept, MB | peak before search, MB | peak, MB "
        "| planted copies found | false alarms |\n|---|---|---|---|---|---|---|---|---|"
    )
    rows = []
    for number in options.numbers:
        words = [sys.executable, __file__, str(number), "--only"]
        rows.append(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))
        print(
            "| {number:,} | {anchors:,} | {prints_seconds:.1f} | {search_seconds:.1f} | {kept:.0f} | {before:.0f} "
            "| {peak:.0f} | {found} of {planted} | {false} |".format(**rows[-1]),
            flush=True,
        )
    logarithms = np.log([[row["number"], row["search_seconds"]] for row in rows])
    if len(rows) > 1:
        print(f"exponent of the time of the search: {np.polyfit(*logarithms.T, 1)[0]:.2f}")


if __name__ == "__main__":
    main()
