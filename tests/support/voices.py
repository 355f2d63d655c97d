"""Sounds that are as different from each other as recordings of speech, for tests of copies."""

import itertools

import numpy as np

RATE = 16_000  # Hz


def speech(seed, seconds=2):
    """Return noise whose bands rise and fall twenty times a second, other ones for each seed."""
    random, size = np.random.default_rng(seed), seconds * RATE
    loudness = np.exp(1.5 * random.normal(size=(20 * seconds, 24))).repeat(RATE // 20, axis=0)
    spectrum, hertz = np.fft.rfft(random.normal(size=size)), np.fft.rfftfreq(size, 1 / RATE)
    edges = itertools.pairwise(np.linspace(250, 3400, 25))
    bands = [np.fft.irfft(spectrum * ((hertz >= low) & (hertz < high))) for low, high in edges]
    samples = (loudness * np.stack(bands, axis=1)).sum(axis=1)
    return (0.9 * samples / np.abs(samples).max()).astype(np.float32)
