"""Functionals of an utterance: librosa's numbers where it has them, pitch that is right, one vector for any length."""

import builtins

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_hf.features import feature_extraction_functionals
from ser_hf.features.feature_extraction_functionals import FunctionalsFeatureExtractor
from ser_hf.features.speech_descriptors import STATISTICS

RATE = 16_000
FRAMES = {"n_fft": 1024, "win_length": 640, "hop_length": 320, "center": True, "pad_mode": "constant"}


def voice(seconds: float = 1.0, hertz: float = 140.0) -> np.ndarray:
    """A buzz of falling harmonics that swells and fades, and some noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    buzz = sum(0.3 / n * np.sin(2 * np.pi * hertz * n * time) for n in range(1, 20))
    noise = np.random.default_rng(0).normal(0, 0.003, time.size)
    return (buzz * (0.2 + np.hanning(time.size)) + noise).astype(np.float32)


@pytest.fixture(scope="module")
def ours():
    return FunctionalsFeatureExtractor().descriptors(voice())


def power() -> np.ndarray:
    return np.abs(librosa.stft(voice(), **FRAMES)) ** 2


def librosa_chroma() -> np.ndarray:
    return librosa.feature.chroma_stft(S=power(), sr=RATE, n_fft=1024, tuning=0.0)


def librosa_mfcc() -> np.ndarray:
    return librosa.feature.mfcc(S=librosa_mel(), n_mfcc=20)


def librosa_mel() -> np.ndarray:
    return librosa.power_to_db(librosa.feature.melspectrogram(S=power(), sr=RATE, n_mels=40))


# In librosa's units; single precision of a sum of 513 magnitudes is what separates them.
ORACLES = {
    "mel_db": (librosa_mel, 2e-3),
    "mfcc": (librosa_mfcc, 5e-3),
    "mfcc_delta": (lambda: librosa.feature.delta(librosa_mfcc(), mode="nearest"), 2e-3),
    "chroma_stft": (librosa_chroma, 1e-4),
    "tonnetz": (lambda: librosa.feature.tonnetz(chroma=librosa_chroma(), sr=RATE), 1e-4),
    "spectral_contrast": (
        lambda: librosa.feature.spectral_contrast(S=np.sqrt(power()), sr=RATE, n_bands=5, n_fft=1024), 2e-2
    ),
    "spectral_centroid": (lambda: librosa.feature.spectral_centroid(S=np.sqrt(power()), sr=RATE), 0.05),
    "spectral_bandwidth": (lambda: librosa.feature.spectral_bandwidth(S=np.sqrt(power()), sr=RATE), 0.05),
    "spectral_rolloff": (lambda: librosa.feature.spectral_rolloff(S=np.sqrt(power()), sr=RATE), 1e-2),
    "log_flatness": (lambda: np.log(librosa.feature.spectral_flatness(S=np.sqrt(power()), power=2.0)), 1e-3),
}  # fmt: skip


@pytest.mark.parametrize("name", ORACLES)
def test_a_descriptor_agrees_with_librosa(name, ours):
    theirs, tolerance = ORACLES[name]
    np.testing.assert_allclose(ours[name], theirs().T, atol=tolerance, rtol=1e-4)


def test_zero_crossings_agree_with_librosa_inside_the_clip(ours):
    theirs = librosa.feature.zero_crossing_rate(voice(), frame_length=640, hop_length=320, pad=False)[0]
    # librosa repeats the first and last sample beyond the ends, and counts a crossing less or more at a window's edge.
    np.testing.assert_allclose(ours["zero_crossing_rate"][2:-3, 0], theirs[2:-3], atol=1.1 / 640)


@settings(deadline=None, max_examples=40)
@given(st.floats(80, 400), st.booleans(), st.floats(0.001, 0.9))
def test_pitch_is_right_within_two_percent(hertz, is_pulse_train, amplitude):
    time = np.arange(RATE // 2) / RATE
    if is_pulse_train:
        harmonics = range(1, int(RATE / 2 / hertz))  # all that the sampling rate holds, in phase
        waveform = amplitude * sum(np.cos(2 * np.pi * hertz * n * time) for n in harmonics) / len(harmonics)
    else:
        waveform = amplitude * np.sin(2 * np.pi * hertz * time)
    found = FunctionalsFeatureExtractor().descriptors(waveform.astype(np.float32))
    inside = slice(3, -3)  # windows that lie in the clip
    np.testing.assert_allclose(found["pitch_hz"][inside], hertz, rtol=0.02)
    assert (found["periodicity"][inside] > 0.8).all()


def test_noise_has_no_pitch_and_a_voice_has_one():
    noise = np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)
    extractor = FunctionalsFeatureExtractor()
    share = extractor.feature_names.index("voiced_share")
    assert extractor(noise, sampling_rate=RATE)["input_features"][0, share] < 0.05
    assert extractor(voice(), sampling_rate=RATE)["input_features"][0, share] > 0.9


def test_statistics_are_numpys(ours):
    extractor = FunctionalsFeatureExtractor()
    vector = dict(zip(extractor.feature_names, extractor.functionals(voice()), strict=True))
    loud = ours["level_db"][:, 0] > ours["level_db"].max() - feature_extraction_functionals.PAUSE_DB
    centroid, times = ours["spectral_centroid"][loud, 0].astype(float), np.flatnonzero(loud) * 320 / RATE
    slope = np.polyfit(times, centroid, 1)[0]
    expected = [centroid.mean(), centroid.std(), *np.percentile(centroid, [10, 50, 90]), slope]
    np.testing.assert_allclose([vector[f"spectral_centroid_{name}"] for name in STATISTICS], expected, rtol=2e-3)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 6000), min_size=1, max_size=4), st.floats(0, 1))
def test_any_clip_has_one_finite_vector_alone_and_in_a_batch(lengths, level):
    extractor, random = FunctionalsFeatureExtractor(), np.random.default_rng(0)
    clips = [(level * random.normal(0, 0.1, length)).astype(np.float32) for length in lengths]
    batch = extractor(clips, sampling_rate=RATE, return_tensors="np")["input_features"]
    assert batch.shape == (len(clips), extractor.feature_size)
    assert np.isfinite(batch).all()
    for clip, row in zip(clips, batch, strict=True):
        np.testing.assert_array_equal(extractor(clip, sampling_rate=RATE)["input_features"][0], row)


def test_settings_survive_the_disk(tmp_path):
    FunctionalsFeatureExtractor(hop_length=160).save_pretrained(tmp_path)
    again = FunctionalsFeatureExtractor.from_pretrained(tmp_path)
    assert again.hop_length == 160
    assert len(set(again.feature_names)) == again.feature_size == len(again.functionals(voice()))


def test_what_it_cannot_hear_is_refused():
    extractor = FunctionalsFeatureExtractor()
    with pytest.raises(ValueError, match="needs 16000 Hz, not 8000 Hz"):
        extractor(voice(), sampling_rate=8000)
    for waveform, reason in (
        (np.zeros((2, 10), np.float32), "shape"), (np.zeros(0, np.float32), "shape"), (np.zeros(9, np.int16), "int16"),
        (np.full(9, np.nan, np.float32), "NaN"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            extractor([waveform], sampling_rate=RATE)
    with pytest.raises(ValueError, match="must be one of functionals, egemaps, none"):
        FunctionalsFeatureExtractor("gemaps")
    with pytest.raises(ValueError, match="n_fft = 512 must hold a window of"):
        FunctionalsFeatureExtractor(n_fft=512)
    with pytest.raises(ValueError, match=r"feature_extractor_type must be one of .*, not None"):
        FunctionalsFeatureExtractor(encoder_inputs={"sampling_rate": RATE})


def test_egemaps_without_opensmile_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "opensmile":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    feature_extraction_functionals._smile.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'ser_hf\[opensmile\]'"):
        FunctionalsFeatureExtractor("egemaps")(voice(), sampling_rate=RATE)


@pytest.mark.parametrize("tones", [1, 2])
@pytest.mark.parametrize("begins_with_silence", [False, True])
def test_voiced_stretches_are_counted_as_they_sound(tones, begins_with_silence):
    extractor = FunctionalsFeatureExtractor()
    tone = 0.3 * np.sin(2 * np.pi * 150 * np.arange(8000) / 16_000) + 0.1 * np.sin(
        2 * np.pi * 300 * np.arange(8000) / 16_000
    )
    silence = np.zeros(4000)
    clip = np.concatenate([*([silence] if begins_with_silence else []), *[tone, silence] * tones])
    vector = dict(zip(extractor.feature_names, extractor.functionals(clip.astype(np.float32)), strict=True))
    assert vector["voiced_stretch_seconds"] == pytest.approx(0.5, abs=0.06)
    heard = vector["voiced_stretches_per_second"] * (1 - vector["pause_share"]) * vector["seconds"]
    assert round(heard) == tones
