"""Synthetic emotional speech: a source-filter synthesiser that needs no download, for tests and first steps.

Nonsense statements of five syllables, spoken by a glottal source through a cascade of formants (Klatt 1980,
doi:10.1121/1.383940). Emotion moves pitch, its range and slope, rate, level, spectral tilt, breathiness and jitter, in
the directions of Juslin & Laukka (2003, doi:10.1037/0033-2909.129.5.770) and Banse & Scherer (1996,
doi:10.1037/0022-3514.70.3.614); the sizes are ours. The acted variant is clean and exaggerated, the spontaneous one
subdued, noisy, reverberant and spoken by other people. It shows that a pipeline learns and where it fails to carry
over; its figures say nothing about human speech.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.interpolate import PchipInterpolator
from scipy.signal import fftconvolve, lfilter, resample_poly, sosfilt
from tqdm import tqdm

from ..emotions import unknown_name
from .base import CorpusError, CorpusSpec, Utterance, audio_files

SAMPLING_RATE = 16000
HOP_LENGTH = 80  # samples between control points: 5 ms, as in Klatt (1980)
OVERSAMPLING = 4  # of the glottal source, whose closure is too sharp for 16 kHz
MARGIN_SECONDS = 0.06  # of silence at either end


class Voice(NamedTuple):
    """How an utterance is spoken; emotions, speakers and takes are differences on the same scales."""

    pitch: float  # semitones above the median of the speaker's sex
    swing: float  # semitones from the middle of the range to an accent
    slope: float  # semitones from the first to the last syllable
    rate: float  # syllables per second
    level: float  # dB RMS below full scale
    tilt: float  # dB by which the source is weaker at 3 kHz than a modal one
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
# No draw, however unlucky, leaves these; the rates keep a clip between 0.8 and 1.7 seconds.
LOWEST = Voice(-12.0, 0.2, -8.0, 3.3, -45.0, 0.5, -40.0, 0.1)
HIGHEST = Voice(12.0, 7.0, 6.0, 7.3, -17.0, 25.0, -6.0, 4.0)

SEXES = ("female", "male")  # of the speakers, alternately
MEDIAN_PITCH_HZ = {"female": 205.0, "male": 118.0}
FORMANT_SCALE = {"female": 1.16, "male": 1.0}  # a shorter vocal tract, Peterson & Barney (1952)


class Sound(NamedTuple):
    """A target of the articulation: three formants of a man in Hz, amplitude of the voice and of the frication."""

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
STATEMENTS = ("ma DA ni SO lu", "BE lo ga MI nu", "SU na LI bo de", "no GU mela FA".replace("mela", "me la"))


@dataclass(frozen=True)
class Variant:
    """How strongly people express themselves and where they are recorded."""

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
