"""Marks know copies of a recording, and nothing else, in less than a kilobyte each."""

import numpy as np
import pytest
import soxr
from voices import RATE, speech

from ser_hf.fingerprint import fingerprint
from ser_hf.fingerprint_mark import ALIKE, Marks, mark_of


def print_of(samples, rate=RATE):
    return fingerprint({"array": np.asarray(samples, np.float32), "sampling_rate": rate})


@pytest.fixture(scope="module")
def marks():
    return Marks([mark_of(print_of(speech(seed))) for seed in range(8)])


CHANGES = {
    "nothing": lambda x: (x, RATE),
    "20 dB softer, 16 bit": lambda x: (np.rint(x / 10 * 32768) / 32768, RATE),
    "8 kHz": lambda x: (soxr.resample(x, RATE, 8_000), 8_000),
    "a tenth off each end": lambda x: (x[len(x) // 10 : -len(x) // 10], RATE),
    "noise, 20 dB lower": lambda x: (x + 0.1 * x.std() * np.random.default_rng(9).normal(size=len(x)), RATE),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_copy_is_known_and_resembles_no_other(marks, change):
    for seed in range(8):
        similarities = marks.similarities(print_of(*change(speech(seed))))
        assert similarities[seed] >= ALIKE
        assert np.delete(similarities, seed).max() < ALIKE - 0.1


def test_a_recording_equals_its_own_mark(marks):
    assert marks.similarities(print_of(speech(3)))[3] == pytest.approx(1.0)


def test_a_mark_is_shorter_than_a_kilobyte_and_looks_like_no_path():
    for seed in range(20):
        text = mark_of(print_of(speech(seed, seconds=4)))
        assert len(text) == 764
        assert not set(text) & set("/\\~+")


def test_what_has_no_sound_has_no_mark_and_resembles_nothing(marks):
    silence = print_of(np.zeros(RATE))
    assert mark_of(silence) == ""
    assert not marks.similarities(silence).any()
    assert not Marks(["", mark_of(print_of(speech(1)))]).similarities(print_of(speech(1)))[0]
    assert Marks([]).similarities(print_of(speech(1))).shape == (0,)


def test_a_damaged_mark_is_refused():
    with pytest.raises(ValueError, match="572 bytes"):
        Marks([mark_of(print_of(speech(1)))[:-8]])
