"""Disturbances: they do what their unit says, the same way on every machine, and to nothing else."""

import numpy as np
import pytest
from scipy.signal import correlate

from ser_hf.audio import read_audio
from ser_hf.augmentation.conditions import (
    DISTURBANCES,
    STANDARD,
    canonical_condition,
    disturb_waveform,
    parse_condition,
)
from ser_hf.augmentation.effects import SAMPLING_RATE
from ser_hf.data.dataset import load_corpus

ALL = [*STANDARD, "noise:-5", "reverb:0.05", "mp3:32", "level:12", "clip:50"]


@pytest.fixture(scope="module")
def speech(synthetic):
    return read_audio(synthetic["audio"][0])


def level(waveform):
    return 10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)))


@pytest.mark.parametrize("condition", ALL)
def test_a_disturbed_utterance_has_its_samples_and_is_finite(speech, condition):
    disturbed = disturb_waveform(speech, condition, "a")
    assert disturbed.shape == speech.shape
    assert disturbed.dtype == np.float32
    assert np.isfinite(disturbed).all()
    assert not np.allclose(disturbed, speech, atol=1e-4)


@pytest.mark.parametrize("condition", ALL)
def test_what_is_random_depends_on_the_utterance_alone(speech, condition):
    once, again, other = (disturb_waveform(speech, condition, name) for name in ("a", "a", "b"))
    assert np.array_equal(once, again)
    assert np.array_equal(once, other) == (condition.partition(":")[0] not in ("noise", "reverb"))


@pytest.mark.parametrize("condition", ALL)
@pytest.mark.parametrize("samples", [1, 7, 160])
def test_what_is_almost_too_short_to_hear_is_disturbed_all_the_same(condition, samples):
    clip = np.linspace(-0.5, 0.5, samples, dtype=np.float32) if samples > 1 else np.array([0.5], np.float32)
    assert disturb_waveform(clip, condition, "a").shape == (samples,)


@pytest.mark.parametrize("condition", ALL)
def test_silence_stays_silence(condition):
    assert not disturb_waveform(np.zeros(1600, np.float32), condition, "a").any()


@pytest.mark.parametrize("snr_db", [20, 10, 0, -5])
def test_noise_is_as_far_below_the_signal_as_it_says(speech, snr_db):
    noise = disturb_waveform(speech, f"noise:{snr_db}", "a").astype(np.float64) - speech
    assert level(speech) - level(noise) == pytest.approx(snr_db, abs=0.01)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    halves = np.array_split(spectrum, 2)
    assert halves[0].mean() == pytest.approx(halves[1].mean(), rel=0.1), "white noise has no colour"


@pytest.mark.parametrize("t60_seconds", [0.3, 1.0])
def test_a_room_falls_by_sixty_decibels_in_its_time(t60_seconds):
    click = np.zeros(2 * SAMPLING_RATE, np.float32)
    click[0] = 1
    response = disturb_waveform(click, f"reverb:{t60_seconds}", "a")
    assert level(response) == pytest.approx(level(click), abs=0.01)
    frames = np.square(response[1 : 1 + int(0.9 * t60_seconds * SAMPLING_RATE)]).reshape(-1, 160).mean(axis=1)
    slope = np.polyfit(np.arange(len(frames)) * 0.01, 10 * np.log10(frames), 1)[0]
    assert slope == pytest.approx(-60 / t60_seconds, rel=0.05)


def test_a_telephone_passes_its_band_and_no_other():
    time = np.arange(SAMPLING_RATE) / SAMPLING_RATE
    lost = {
        hertz: level(tone := 0.3 * np.sin(2 * np.pi * hertz * time)) - level(disturb_waveform(tone, "telephone", "a"))
        for hertz in (60, 1000, 7000)
    }
    assert abs(lost[1000]) < 0.5
    assert min(lost[60], lost[7000]) > 25


@pytest.mark.parametrize("condition", ["gsm", "mp3:16", "mp3:32"])
def test_a_codec_delays_nothing_and_keeps_the_speech(speech, condition):
    coded = disturb_waveform(speech, condition, "a")
    lags = correlate(coded, speech, method="fft")
    assert abs(int(lags.argmax()) - (len(speech) - 1)) <= 2
    assert np.corrcoef(coded, speech)[0, 1] > 0.8


def test_level_is_gain_and_clips_at_full_scale(speech):
    assert np.allclose(disturb_waveform(speech, "level:-30", "a"), speech * 10**-1.5, atol=1e-7)
    assert np.abs(disturb_waveform(speech, "level:40", "a")).max() == 1


@pytest.mark.parametrize("per_cent", [1, 10, 50])
def test_the_wanted_share_of_the_samples_is_clipped(speech, per_cent):
    clipped = disturb_waveform(speech, f"clip:{per_cent}", "a")
    peaks = np.abs(clipped) >= np.abs(clipped).max() * (1 - 1e-6)
    assert peaks.mean() == pytest.approx(per_cent / 100, abs=0.001)
    assert level(clipped) == pytest.approx(level(speech), abs=0.3)


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("nois:10", "unknown condition 'nois'; did you mean 'noise'"),
        ("noise", "takes a number from -30 to 60"),
        ("noise:loud", "takes a number from -30 to 60"),
        ("noise:nan", "takes a number from -30 to 60"),
        ("clip:95", "takes a number from 0.1 to 90"),
        ("gsm:13", "gsm takes no value"),
    ],
)
def test_a_condition_that_cannot_be_is_refused_with_the_way_out(condition, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_condition(condition)


def test_a_condition_has_one_name_and_one_noise(speech):
    assert canonical_condition("reverb:1.0") == canonical_condition("reverb:1") == "reverb:1"
    assert all(canonical_condition(condition) == condition for condition in STANDARD)
    assert np.array_equal(disturb_waveform(speech, "noise:10", "a"), disturb_waveform(speech, "noise:1e1", "a"))


def test_every_kind_is_in_the_standard_set():
    assert {parse_condition(condition)[0] for condition in STANDARD} == set(DISTURBANCES)


@pytest.fixture(scope="module")
def synthetic():
    return load_corpus("synthetic").select(range(4))
