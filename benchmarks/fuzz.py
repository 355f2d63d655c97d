"""Damaged, cut, edited and hostile sound files: does one of them end more than its own line?

Mutants of ten kinds of sound files, drawn by a seed, go through `read_audio`, a `Classifier`, `ser-hf predict` and
`ser-hf doctor`, many in each process. Counted are: exceptions that are no `AudioError`, refusals that do not name
their file in one line, scores that are not finite, processor seconds of the slowest mutant, and memory above the model.

    python benchmarks/fuzz.py --mutants 10000 --seed 0 --out fuzz.json
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from ser_hf import Classifier
from ser_hf.audio import AudioError, audio_info, read_audio
from ser_hf.models.pretrained import build_classifier

RATE = 16_000
FORMATS = {
    "wav": ("WAV", ("PCM_16", "FLOAT", "ULAW", "GSM610", "IMA_ADPCM")), "flac": ("FLAC", ("PCM_16", "PCM_24")),
    "mp3": ("MP3", ("MPEG_LAYER_III",)), "ogg": ("OGG", ("VORBIS",)), "opus": ("OGG", ("OPUS",)),
    "aiff": ("AIFF", ("PCM_16", "DOUBLE")), "au": ("AU", ("PCM_16", "FLOAT", "G721_32")),
    "w64": ("W64", ("PCM_16", "DOUBLE")), "caf": ("CAF", ("PCM_16", "ALAC_16")), "rf64": ("RF64", ("PCM_16", "FLOAT")),
}  # fmt: skip
EXTREME = (0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFF0, 0x10, 0xFFFF)
ODD_RATES = (0, 1, 7, 100, 1_999, 2_000, 11_025, 96_000, 768_000, 768_001, 2**31 - 1, 2**32 - 1)
ODD_SAMPLES = (np.nan, np.inf, -np.inf, 1e37, -3e38, 1e300, 101.0, 32_768.0)
FOREIGN = (
    b"<!DOCTYPE html><html><body>404</body></html>" * 40, b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
    b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(2000), b"PK\x03\x04" + bytes(500), b"\0" * 5000, b"", b"RIFF",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", b"#!/bin/sh\necho sound\n",
)  # fmt: skip
MOST_SECONDS, MOST_MIB = 5.0, 500.0
PER_PROCESS = 500


def tone(rng: np.random.Generator, seconds: float) -> np.ndarray:
    moments = np.arange(round(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * rng.uniform(90, 400) * moments) + 0.02 * rng.standard_normal(len(moments))


def encode(samples: np.ndarray, format: str, subtype: str, rate: int = RATE) -> bytes:
    file = BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


# --- mutations: of a whole file, with a generator -> a mutant ---


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(1, len(content))]


def flip_bits(content: bytes, rng: np.random.Generator, within: int | None = None) -> bytes:
    mutant = bytearray(content)
    for at in rng.integers(0, min(within or len(mutant), len(mutant)), rng.integers(1, 24)):
        mutant[at] ^= 1 << rng.integers(8)
    return bytes(mutant)


def flip_header_bits(content: bytes, rng: np.random.Generator) -> bytes:
    return flip_bits(content, rng, 96)


def declare(content: bytes, rng: np.random.Generator) -> bytes:
    """Write an extreme number over four bytes of the header: lengths, rates, channels, sizes of blocks."""
    at, number = int(rng.integers(0, 96)), int(rng.choice(EXTREME))
    return content[:at] + number.to_bytes(4, ("little", "big")[rng.integers(2)]) + content[at + 4 :]


def splice(content: bytes, rng: np.random.Generator) -> bytes:
    first, second = sorted(rng.integers(0, len(content), 2))
    piece = rng.bytes(rng.integers(1, 400)) if rng.random() < 0.5 else content[first:second]
    at = rng.integers(0, len(content))
    return content[:at] + piece + content[at:]


MUTATIONS = (cut, flip_bits, flip_header_bits, declare, splice)


def mutants(number: int, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """Yield mutation, suffix and content, always the same for a seed."""
    rng = np.random.default_rng(seed)
    whole = [
        (suffix, encode(tone(rng, rng.uniform(0.3, 2)), format, subtype))
        for suffix, (format, subtypes) in FORMATS.items()
        for subtype in subtypes
    ]
    floating = [(suffix, *of) for suffix, of in FORMATS.items() if {"FLOAT", "DOUBLE"} & set(of[1])]
    for count in range(number):
        suffix, content = whole[rng.integers(len(whole))]
        kind = rng.integers(20)
        if count == 0:
            yield "hours of silence", "flac", silence(3 * 3600)
        elif kind == 0:
            rate = int(rng.choice(ODD_RATES))
            content = encode(tone(rng, 0.5), "WAV", "PCM_16")
            yield "odd rate", "wav", content[:24] + rate.to_bytes(4, "little") + content[28:]
        elif kind == 1:
            suffix, format, subtypes = floating[rng.integers(len(floating))]
            samples = tone(rng, 0.5)
            samples[rng.integers(len(samples), size=rng.integers(1, 4))] = rng.choice(ODD_SAMPLES)
            yield "odd samples", suffix, encode(samples, format, "DOUBLE" if "DOUBLE" in subtypes else "FLOAT")
        elif kind == 2:
            yield "no sound", suffix, FOREIGN[rng.integers(len(FOREIGN))] + rng.bytes(rng.integers(0, 50))
        else:
            mutate: Callable = MUTATIONS[rng.integers(len(MUTATIONS))]
            yield mutate.__name__.replace("_", " "), suffix, mutate(content, rng)


def silence(seconds: int) -> bytes:
    """Return hours of digital silence in a FLAC file of a few hundred kilobytes."""
    file = BytesIO()
    with soundfile.SoundFile(file, "w", RATE, 1, format="FLAC") as sound:
        for _ in range(seconds // 60):
            sound.write(np.zeros(60 * RATE, np.int16))
    return file.getvalue()


# --- what happens to them ---


class Tally:
    """Counts of what happened, and the broken promises in words."""

    def __init__(self):
        self.outcomes: dict[str, Counter] = {}
        self.broken: list[str] = []
        self.slowest = (0.0, "")

    def add(self, mutation: str, outcome: str) -> None:
        self.outcomes.setdefault(mutation, Counter())[outcome] += 1

    def check(self, promise: bool, words: str) -> None:
        if not promise:
            self.broken.append(words)

    def one_line(self, error: Exception | str, path: Path) -> None:
        self.check(
            path.name in str(error) and "\n" not in str(error), f"{path.name}: not one line with its name: {error}"
        )


def in_process(path: Path, mutation: str, classifier: Classifier, tally: Tally) -> None:
    began = time.process_time()
    try:
        waveform = read_audio(path)
        outcome = "read"
        tally.check(bool(np.isfinite(waveform).all()), f"{path.name}: samples are not finite")
    except AudioError as error:
        outcome = error.kind
        tally.one_line(error, path)
    except Exception as error:
        outcome = "crash"
        tally.broken.append(f"{path.name} ({mutation}): read_audio raised {type(error).__name__}: {error}")
    tally.add(mutation, outcome)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            answer = classifier(str(path), on_error="report")
        if refused := answer[0]["label"] is None:
            tally.one_line(answer[0]["error"], path)
        else:
            finite = all(math.isfinite(entry["score"]) for entry in answer)
            tally.check(finite, f"{path.name}: scores are not finite")
        told = any(path.name in str(one.message) for one in warned)
        tally.check(outcome != "truncated" or refused or told, f"{path.name}: truncated, scored without a word")
    except Exception as error:
        tally.broken.append(f"{path.name} ({mutation}): Classifier raised {type(error).__name__}: {error}")
    try:
        audio_info(path)
    except AudioError as error:
        tally.one_line(error, path)
    tally.slowest = max(tally.slowest, (time.process_time() - began, f"{path.name} ({mutation})"))


def run(*words: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "ser_hf.cli.main", *map(str, words)], capture_output=True, text=True)


def from_the_command_line(folder: Path, model: Path, tally: Tally) -> None:
    """The same files through `ser-hf predict` and `ser-hf doctor`, all in one process each."""
    files = sorted(folder.rglob("*.*"))
    told = run("predict", model, *files, "--json")
    tally.check("Traceback" not in told.stderr, f"ser-hf predict: {told.stderr[-500:]}")
    rows = json.loads(told.stdout or "[]", parse_constant=lambda word: tally.broken.append(f"ser-hf predict: {word}"))
    lines = [line for line in told.stderr.splitlines() if line.startswith("ser-hf: ")]
    for file in files:
        answers = sum(row["file"] == str(file) for row in rows) + sum(str(file) in line for line in lines)
        tally.check(answers == 1, f"ser-hf predict: {answers} answers for {file.name}")
    told = run("doctor", "folder", folder, "--json")
    tally.check("Traceback" not in told.stderr, f"ser-hf doctor: {told.stderr[-500:]}")
    examined = json.loads(told.stdout)["recordings"] if told.stdout else 0
    tally.check(examined == len(files), f"ser-hf doctor: {examined} of {len(files)} files examined")


def mebibytes(whose: int) -> float:
    return resource.getrusage(whose).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def fuzz(number: int, seed: int, work: Path) -> dict:
    """Return the counts, and the broken promises."""
    model, extractor = build_classifier("tiny-whisper", ["anger", "neutral"])
    model.config.head_is_trained = True
    model.save_pretrained(work / "model")
    extractor.save_pretrained(work / "model")
    classifier = Classifier.from_pretrained(str(work / "model"))
    sound = work / "good/anger/good.wav"
    sound.parent.mkdir(parents=True)
    sound.write_bytes(encode(tone(np.random.default_rng(0), 2), "WAV", "PCM_16"))
    classifier(str(sound))
    run("predict", work / "model", sound)
    loaded, loaded_apart = mebibytes(resource.RUSAGE_SELF), mebibytes(resource.RUSAGE_CHILDREN)

    tally, folder = Tally(), work / "folder/anger"
    folder.mkdir(parents=True)
    for count, (mutation, suffix, content) in enumerate(mutants(number, seed), start=1):
        path = folder / f"{count:05d}.{suffix}"
        path.write_bytes(content)
        in_process(path, mutation, classifier, tally)
        if count % PER_PROCESS == 0 or count == number:
            from_the_command_line(folder.parent, work / "model", tally)
            for file in folder.iterdir():
                file.unlink()
    above = mebibytes(resource.RUSAGE_SELF) - loaded
    above_apart = mebibytes(resource.RUSAGE_CHILDREN) - loaded_apart
    tally.check(tally.slowest[0] <= MOST_SECONDS, f"{tally.slowest[1]} took {tally.slowest[0]:.1f} processor seconds")
    for what, size in (("in this process", above), ("on the command line", above_apart)):
        tally.check(size <= MOST_MIB, f"{size:.0f} MiB above the loaded model {what}")
    return {
        "mutants": number, "seed": seed, "outcomes": {name: dict(one) for name, one in sorted(tally.outcomes.items())},
        "slowest_seconds": round(tally.slowest[0], 2), "slowest": tally.slowest[1],
        "mebibytes_above_model": round(above), "mebibytes_above_model_command_line": round(above_apart),
        "broken": tally.broken,
    }  # fmt: skip


def main(words: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as work:
        facts = fuzz(options.mutants, options.seed, Path(work))
    text = json.dumps(facts, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    return facts


if __name__ == "__main__":
    raise SystemExit(bool(main()["broken"]))
