"""Synthetic emotional speech: a source-filter synthesiser that needs no download, for tests and first steps.

Nonsense statements of five syllables, spoken by a glottal source through a cascade of formants (Klatt 1980,
doi:10.1121/1.383940). Emotion moves pitch, its range and slope, rate, level, spectral tilt and jitter in the directions
of Juslin & Laukka (2003, doi:10.1037/0033-2909.129.5.770) and Banse & Scherer (1996, doi:10.1037/0022-3514.70.3.614),
and breathiness with tilt (Klatt & Klatt 1990, doi:10.1121/1.398894); the sizes are ours. The acted variant is clean and
exaggerated; the spontaneous one is subdued, noisy, reverberant and spoken by other people. Results on these corpora
show that a pipeline works, and where it fails to generalise; they say nothing about human speech.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.lib.stride_tricks import sliding_window_view
from scipy.interpolate import PchipInterpolator
from scipy.signal import fftconvolve, get_window, lfilter, resample_poly
from tqdm import tqdm

from ..emotions import unknown_name
from ..sources.reading import Reading
from ..sources.spec import CorpusSpec
from ..sources.utterance import Utterance

SAMPLING_RATE = 16000
HOP_LENGTH = 80  # samples between control points: 5 ms, as in Klatt (1980)
OVERSAMPLING = 4  # of the glottal source, whose closure is too sharp for 16 kHz
MARGIN_SECONDS = 0.06  # of silence at either end


class Voice(NamedTuple):
    """The parameters of a voice; emotions, speakers and takes are differences on the same scales."""

    pitch: float  # semitones above the median of the speaker's sex
    swing: float  # semitones from the middle of the range to an accent
    slope: float  # semitones from the first to the last syllable
    rate: float  # syllables per second
    level: float  # dB RMS below full scale
    tilt: float  # dB taken from the glottal source at 3 kHz
    breath: float  # dB of aspiration relative to the glottal pulses
    jitter: float  # per cent of the pitch


NEUTRAL = Voice(0.0, 2.0, -3.0, 5.0, -28.0, 10.0, -24.0, 0.6)
EMOTIONS = {
    "anger": Voice(+4.0, +2.0, +2.0, +0.7, +8.0, -7.0, -3.0, +0.8),
    "fear": Voice(+7.0, -1.3, +4.0, +1.4, -2.0, +4.0, +7.0, +1.2),
    "happiness": Voice(+5.5, +3.0, +3.0, +0.9, +4.0, -3.0, -2.0, -0.3),
    "neutral": Voice(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "sadness": Voice(-2.5, -1.3, -1.0, -1.4, -7.0, +6.0, +5.0, +0.2),
}
SPEAKER_SPREAD = Voice(2.0, 0.5, 0.7, 0.3, 1.5, 1.5, 3.0, 0.15)
TAKE_SPREAD = Voice(0.7, 0.4, 0.7, 0.2, 1.0, 1.0, 1.5, 0.1)
# Limits of every random draw; the rates keep a clip at about 0.8 to 1.7 seconds.
LOWEST = Voice(-12.0, 0.2, -8.0, 3.3, -45.0, 0.5, -40.0, 0.1)
HIGHEST = Voice(12.0, 7.0, 6.0, 7.3, -17.0, 25.0, -6.0, 4.0)

SPEAKERS, TAKES = 24, 2  # of the embedded corpora
SEXES = ("female", "male")  # of the speakers, alternately
MEDIAN_PITCH_HZ = {"female": 205.0, "male": 118.0}
FORMANT_SCALE = {"female": 1.16, "male": 1.0}  # a shorter vocal tract, Peterson & Barney (1952)


class Sound(NamedTuple):
    """A target of articulation: three formants of a man in Hz, amplitude of the voice and of the frication."""

    f1: float
    f2: float
    f3: float
    voice: float = 1.0
    hiss: float = 0.0


SOUNDS = {
    # vowels: men of Peterson & Barney (1952), doi:10.1121/1.1906875
    "a": Sound(730, 1090, 2440), "e": Sound(530, 1840, 2480), "i": Sound(270, 2290, 3010),
    "o": Sound(570, 840, 2410), "u": Sound(300, 870, 2240),
    # consonants: formants of Klatt (1980), table III
    "b": Sound(200, 1100, 2150, voice=0.03), "d": Sound(200, 1600, 2600, voice=0.03),
    "g": Sound(200, 1990, 2850, voice=0.03), "l": Sound(310, 1050, 2880, voice=0.5),
    "m": Sound(480, 1270, 2130, voice=0.3), "n": Sound(480, 1340, 2470, voice=0.3),
    "f": Sound(340, 1100, 2080, voice=0.0, hiss=0.1), "s": Sound(320, 1390, 2530, voice=0.0, hiss=0.25),
}  # fmt: skip
UPPER_FORMANTS = (3500.0, 4500.0, 5500.0)  # Hz; speech hardly moves them
BANDWIDTHS = np.array([60.0, 90.0, 150.0, 200.0, 250.0, 300.0])  # Hz
STATEMENTS = ("ma DA ni SO lu", "BE lo ga MI nu", "SU na LI bo de", "FE do mu GA li")


@dataclass(frozen=True)
class Variant:
    """The strength of expression and the recording conditions."""

    expression: float  # share of the full emotion
    unsteadiness: float  # factor on `TAKE_SPREAD`
    noise: float  # dB RMS below full scale
    reverberation: float  # dB of the reverberant relative to the direct sound
    decay_seconds: float  # by 60 dB
    microphone_tilt: float  # dB lost at 3 kHz


VARIANTS = {
    "acted": Variant(1.0, 1.0, noise=-70.0, reverberation=-30.0, decay_seconds=0.15, microphone_tilt=0.0),
    "spontaneous": Variant(0.5, 1.3, noise=-48.0, reverberation=-6.0, decay_seconds=0.4, microphone_tilt=4.0),
}


def synthesise(
    emotion: str, speaker_index: int, statement: int, take: int, *, variant: str = "acted", seed: int = 0
) -> np.ndarray:
    """Return one utterance, a pure function of the arguments: float32 in [-1, 1] at 16 kHz, shape (samples,).

    Args:
        emotion: one of `EMOTIONS`.
        speaker_index: from 0, without limit; even numbers are women, odd numbers men.
        statement: from 0 to 3, see `STATEMENTS`.
        take: from 0, without limit; takes differ like repetitions by one speaker.
        variant: "acted" or "spontaneous"; the same index is another speaker in each.

    Raises:
        ValueError: for an unknown emotion or variant (the message names the nearest), an unknown statement, or negative
            numbers.

    >>> synthesise("sadness", 0, 0, 0).size > synthesise("fear", 0, 0, 0).size
    True
    """
    if emotion not in EMOTIONS:
        raise ValueError(unknown_name("synthetic emotion", emotion, EMOTIONS))
    if variant not in VARIANTS:
        raise ValueError(unknown_name("synthetic variant", variant, VARIANTS))
    if not 0 <= statement < len(STATEMENTS):
        raise ValueError(f"there is no synthetic statement {statement}: use 0 to {len(STATEMENTS) - 1}")
    place = VARIANTS[variant]
    variant_key = list(VARIANTS).index(variant)

    person = _random(seed, variant_key, speaker_index)
    sex = SEXES[speaker_index % 2]
    habits = np.add(NEUTRAL, SPEAKER_SPREAD * person.standard_normal(len(NEUTRAL)))
    formant_scale = FORMANT_SCALE[sex] * person.uniform(0.96, 1.04)
    room = _room(place, person)

    random = _random(seed, variant_key, speaker_index, list(EMOTIONS).index(emotion), statement, take)
    feeling = np.multiply(EMOTIONS[emotion], place.expression * random.normal(1.0, 0.1))
    chance = TAKE_SPREAD * random.standard_normal(len(NEUTRAL)) * place.unsteadiness
    voice = Voice(*np.clip(habits + feeling + chance, LOWEST, HIGHEST))

    semitones, formants, voicing, frication = _articulate(STATEMENTS[statement].split(), voice, random)
    source = _voice_source(MEDIAN_PITCH_HZ[sex] * 2 ** (semitones / 12), voice, random)
    voiced = _vocal_tract(source * _at_samples(voicing), formants * formant_scale)
    fricative = _at_samples(frication) * _turbulence(source.size, formant_scale, random)
    return _record(voiced / _rms(voiced) + fricative, voice.level, room, place, random)


def _random(seed: int, *keys: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=keys))


def _articulate(syllables: list[str], voice: Voice, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return pitch in semitones, formants in Hz (frames, 6), and amplitudes of voice and frication, by `HOP_LENGTH`."""
    stressed = np.array([syllable.isupper() for syllable in syllables])
    lengths = np.where(stressed, 1.15, 0.9) * random.normal(1.0, 0.05, len(syllables)) / voice.rate
    starts = MARGIN_SECONDS + np.cumsum(lengths) - lengths
    end = starts[-1] + lengths[-1]
    seconds = np.arange(0, end + MARGIN_SECONDS, HOP_LENGTH / SAMPLING_RATE)

    targets = []
    for syllable, stress, start, length in zip(syllables, stressed, starts, lengths, strict=True):
        consonant, vowel = (SOUNDS[letter] for letter in syllable.lower())
        vowel = vowel._replace(voice=1.0 if stress else 0.7)
        targets += [(start + share * length, consonant) for share in (0.05, 0.25)]
        targets += [(start + share * length, vowel) for share in (0.45, 0.9)]
    first, last = (sound._replace(voice=0.0, hiss=0.0) for _, sound in (targets[0], targets[-1]))
    targets = [(0.0, first), (MARGIN_SECONDS, first), *targets, (end, last), (end + MARGIN_SECONDS, last)]
    times, sounds = zip(*targets, strict=True)
    tracks = PchipInterpolator(times, sounds)(seconds)

    accents = np.where(stressed, 1.0, -2 / 3) + random.normal(0, 0.15, len(syllables))  # two of five: zero mean
    centres = starts + 0.6 * lengths
    melody = voice.pitch + voice.swing * accents + voice.slope * np.linspace(-0.5, 0.5, len(syllables))
    semitones = PchipInterpolator(centres, melody)(np.clip(seconds, centres[0], centres[-1]))
    upper = np.broadcast_to(UPPER_FORMANTS, (len(seconds), len(UPPER_FORMANTS)))
    return semitones, np.hstack([tracks[:, :3], upper]), tracks[:, 3], tracks[:, 4]


def _voice_source(pitch_hz: np.ndarray, voice: Voice, random: np.random.Generator) -> np.ndarray:
    """Return the derivative of the glottal flow with aspiration, pulses of unit RMS."""
    # A control point lasts about a glottal cycle, so noise on them is jitter.
    pitch_hz = pitch_hz * (1 + voice.jitter / 100 * random.standard_normal(len(pitch_hz)))
    cycles = np.cumsum(_at_samples(pitch_hz, OVERSAMPLING)) / (SAMPLING_RATE * OVERSAMPLING)
    opening = (cycles % 1) / 0.6  # over an open quotient of 0.6
    pulses = np.where(opening < 1, 2 * opening - 3 * opening**2, 0.0)  # KLGLOTT88, Klatt & Klatt (1990)
    shimmer = 1 + 0.03 * random.standard_normal(int(cycles[-1]) + 1)
    pulses = _tilt(resample_poly(pulses * shimmer[cycles.astype(int)], 1, OVERSAMPLING), voice.tilt)
    return pulses / _rms(pulses) + 10 ** (voice.breath / 20) * random.standard_normal(pulses.size)


def _vocal_tract(excitation: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """Apply a cascade of resonators, Klatt (1980), equation 2, for formants (frames, resonators).

    Each frame of the excitation rings out in its own tract and the frames add up; a recursive filter whose
    coefficients move would click.
    """
    n_fft = 1024  # the narrowest resonance has fallen by 100 dB after 64 ms
    delay = np.exp(-2j * np.pi * np.arange(n_fft // 2 + 1) / n_fft)
    radius = np.exp(-np.pi * BANDWIDTHS / SAMPLING_RATE)
    first = -2 * radius * np.cos(2 * np.pi * formants / SAMPLING_RATE)
    response = np.ones((len(formants), delay.size), complex)
    for first_column, second in zip(first.T[..., None], radius**2, strict=True):
        moves = first_column if np.ptp(first_column) else first_column[:1]  # a resonator that stands still is one row
        response *= (1 + moves + second) / (1 + moves * delay + second * delay**2)

    padded = np.pad(excitation, (HOP_LENGTH, n_fft))
    frames = sliding_window_view(padded, 2 * HOP_LENGTH)[: excitation.size : HOP_LENGTH]
    rung_out = np.fft.irfft(np.fft.rfft(frames * get_window("hann", 2 * HOP_LENGTH), n_fft) * response)
    speech = np.zeros(padded.size)
    for frame, piece in enumerate(rung_out):
        speech[frame * HOP_LENGTH :][:n_fft] += piece
    return speech[HOP_LENGTH:-n_fft]


def _turbulence(samples: int, formant_scale: float, random: np.random.Generator) -> np.ndarray:
    """Return noise of unit RMS around 5 kHz, between that of /f/ and that of /s/."""
    angle = 2 * np.pi * 5000 * formant_scale / SAMPLING_RATE
    noise = lfilter([1.0, -1.0], [1.0, -2 * 0.8 * np.cos(angle), 0.8**2], random.standard_normal(samples))
    return noise / _rms(noise)


def _room(place: Variant, random: np.random.Generator) -> np.ndarray:
    """Return an impulse response: the direct sound, then decaying noise."""
    seconds = np.arange(1, int(place.decay_seconds * SAMPLING_RATE)) / SAMPLING_RATE
    tail = random.standard_normal(seconds.size) * 10 ** (-3 * seconds / place.decay_seconds)
    return np.append(1.0, 10 ** (place.reverberation / 20) * tail / np.linalg.norm(tail))


def _record(
    speech: np.ndarray, level: float, room: np.ndarray, place: Variant, random: np.random.Generator
) -> np.ndarray:
    speech = _tilt(fftconvolve(speech, room)[: speech.size], place.microphone_tilt)
    noise = lfilter([1.0], [1.0, -0.9], random.standard_normal(speech.size))  # rooms rumble more than they hiss
    recording = 10 ** (level / 20) * speech / _rms(speech) + 10 ** (place.noise / 20) * noise / _rms(noise)
    return (recording * min(1.0, 0.98 / np.abs(recording).max())).astype(np.float32)  # turned down rather than clipped


def _tilt(signal: np.ndarray, tilt: float) -> np.ndarray:
    """Apply a one-pole low-pass with a gain of -`tilt` dB at 3 kHz and 0 dB at 0 Hz."""
    power = 10 ** (-tilt / 10)
    middle = 1 - power * np.cos(2 * np.pi * 3000 / SAMPLING_RATE)
    # The pole a inside the unit circle of (1 - a)^2 = power * (1 - 2 a cos + a^2).
    pole = (1 - power) / (middle + np.sqrt(middle**2 - (1 - power) ** 2))
    return lfilter([1 - pole], [1.0, -pole], signal)


def _at_samples(track: np.ndarray, oversampling: int = 1) -> np.ndarray:
    hop_length = HOP_LENGTH * oversampling
    return np.interp(np.arange(len(track) * hop_length) / hop_length, np.arange(len(track)), track)


def _rms(signal: np.ndarray) -> float:
    return np.sqrt(np.mean(signal**2))


def generate(root: Path, *, variant: str, speakers: int = SPEAKERS, takes: int = TAKES, seed: int = 0) -> None:
    """Write `<variant><speaker>_<emotion>_<statement>_<take>.wav`, 16-bit, for every combination, numbered from 0."""
    root.mkdir(parents=True, exist_ok=True)
    everything = list(product(range(speakers), EMOTIONS, range(len(STATEMENTS)), range(takes)))
    for speaker, emotion, statement, take in tqdm(
        everything, desc=f"synthetic {variant} speech", unit="clip", disable=None
    ):
        samples = synthesise(emotion, speaker, statement, take, variant=variant, seed=seed)
        path = root / f"{variant}{speaker:02d}_{emotion}_{statement}_{take}.wav"
        soundfile.write(path, samples, SAMPLING_RATE, subtype="PCM_16")


def read(reading: Reading, *, variant: str) -> Iterator[Utterance]:
    name = re.compile(
        rf"(?P<speaker>{variant}(?P<number>\d{{2,}}))_(?P<emotion>{'|'.join(EMOTIONS)})_(?P<statement>[0-3])_\d+"
    )
    like = (
        f"synthetic {variant} speech ({variant}NN_EMOTION_S_T): move it out of the folder, or remove the folder from "
        "the cache, and the corpus is generated again"
    )
    codes = {emotion: emotion for emotion in EMOTIONS}
    for path, match in reading.named(name, "*", like=like):
        gender = SEXES[int(match["number"]) % 2]
        yield Utterance.from_name(path, match, codes, gender=gender, label_source="synthetic")


def describe(name: str, variant: str, title: str) -> CorpusSpec:
    """Return the spec of a variant at its default size."""
    speakers = [f"{variant}{number:02d}" for number in range(SPEAKERS)]
    each = len(EMOTIONS) * len(STATEMENTS) * TAKES
    return CorpusSpec(
        name=name,
        read=partial(read, variant=variant),
        title=title,
        scheme="five",
        language=None,
        own_speakers=True,
        license="CC0-1.0",
        source=f"{__name__} (procedural: generated, not recorded from people)",
        version="1",
        utterances=SPEAKERS * each,
        speakers=dict.fromkeys(speakers, each),
        folds={"si4": tuple(tuple(speakers[first : first + 6]) for first in range(0, SPEAKERS, 6))},
        notes={"si4": "four folds of six consecutive speakers, three women and three men each; synthetic speech"},
        examples=tuple(
            f"{speaker}_{emotion}_{statement}_0.wav"
            for speaker, emotion, statement in product(speakers[:4], EMOTIONS, (0, 3))
        ),
        generate=partial(generate, variant=variant),
    )


SPEC = describe("synthetic", "acted", "Synthetic acted emotional speech")
