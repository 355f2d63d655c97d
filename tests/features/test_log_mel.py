"""Log-mel features: librosa's numbers, alone and in a batch, on disk and back."""

import json
import os
import subprocess
import sys

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from ser_hf.features.feature_extraction_log_mel import MIN_CLIPS_PER_CELL, LogMelFeatureExtractor

RATE = 16_000
SMALL = {"feature_size": 24, "n_fft": 256, "win_length": 256, "hop_length": 64}


def noise(samples: int, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, samples).astype(np.float32)


def clip(seconds: float = 1.0) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    voice = sum(0.3 / n * np.sin(2 * np.pi * 140 * n * time) for n in range(1, 20))
    return (voice * np.hanning(time.size)).astype(np.float32) + noise(time.size, level=0.003)


def features(extractor, waveforms, **options) -> np.ndarray:
    return extractor(waveforms, sampling_rate=RATE, **options)["input_features"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {"n_fft": 1024, "win_length": 400, "hop_length": 160, "n_mels": 128}),
        (
            {"feature_size": 64, "win_length": 1024, "hop_length": 256, "mel_scale": "htk", "mel_norm": None},
            {"n_fft": 1024, "hop_length": 256, "n_mels": 64, "htk": True, "norm": None},
        ),
        (
            {"feature_size": 40, "power": 1.0, "min_frequency_hz": 60.0, "max_frequency_hz": 7600.0},
            {"n_fft": 1024, "win_length": 400, "hop_length": 160, "n_mels": 40, "power": 1.0, "fmin": 60, "fmax": 7600},
        ),
    ],
)
def test_log_mel_agrees_with_librosa(ours, theirs):
    extractor = LogMelFeatureExtractor(**ours)
    mel = librosa.feature.melspectrogram(y=clip(), sr=RATE, pad_mode="constant", **theirs)
    np.testing.assert_allclose(features(extractor, clip())[0], np.log(mel + 1e-8).T, rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 1500), min_size=1, max_size=5), st.sampled_from([None, 0.03]))
def test_a_clip_has_the_same_features_alone_and_padded_in_a_batch(lengths, crop_seconds):
    extractor = LogMelFeatureExtractor(**SMALL, crop_seconds=crop_seconds, mean=[-5.0] * 24, std=[3.0] * 24)
    waveforms = [noise(length, seed) for seed, length in enumerate(lengths)]
    batch = extractor(waveforms, sampling_rate=RATE)
    assert batch["attention_mask"].shape == batch["input_features"].shape[:2]
    for waveform, row, mask in zip(waveforms, batch["input_features"], batch["attention_mask"], strict=True):
        alone = features(extractor, waveform, padding=False)[0]
        assert mask.sum() == len(alone) == 1 + min(waveform.size, round((crop_seconds or 9) * RATE)) // 64
        np.testing.assert_array_equal(row[mask == 1], alone)
        assert (row[mask == 0] == 0).all()
        assert (np.diff(mask) <= 0).all()  # padding is at the end


def test_the_padded_batch_that_a_gpu_computes_gives_the_same_numbers():
    extractor, waveforms = LogMelFeatureExtractor(), [clip(0.3), noise(9000), clip(0.9)]
    padded = extractor._spectra(pad_sequence([torch.from_numpy(waveform) for waveform in waveforms], batch_first=True))
    for row, alone in zip(padded.numpy(), features(extractor, waveforms, padding=False), strict=True):
        np.testing.assert_allclose(row[: len(alone)], alone, atol=1e-4)


@pytest.mark.gpu
def test_cuda_gives_the_same_numbers_as_the_cpu():
    extractor = LogMelFeatureExtractor()
    extractor.fit_statistics(extractor.log_mel(clip(0.5)))
    waveforms = [clip(0.3), noise(9000), clip(0.9)]
    on_gpu = extractor(waveforms, sampling_rate=RATE, return_tensors="pt", device="cuda")
    assert on_gpu["input_features"].is_cuda
    assert on_gpu["attention_mask"].is_cuda
    np.testing.assert_allclose(on_gpu["input_features"].cpu(), features(extractor, waveforms), atol=1e-3)
    assert isinstance(features(extractor, waveforms, device="cuda"), np.ndarray)


def test_statistics_come_from_the_real_frames_of_the_given_clips_and_from_nothing_else():
    extractor = LogMelFeatureExtractor(**SMALL)
    waveforms = [noise(3000, 1), noise(700, 2), noise(5000, 3)]
    frames = np.concatenate(features(extractor, waveforms, padding=False))
    extractor.fit_statistics(iter(extractor.log_mel(waveforms)))
    np.testing.assert_allclose(extractor.mean, frames.mean(axis=0, dtype=np.float64), rtol=1e-5)
    np.testing.assert_allclose(extractor.std, frames.std(axis=0, dtype=np.float64), rtol=1e-4)

    normalised = np.concatenate(features(extractor, waveforms, padding=False))
    np.testing.assert_allclose(normalised.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(normalised.std(axis=0), 1, atol=1e-4)

    fitted = extractor.mean
    features(extractor, noise(3000, 9, level=0.5))
    assert extractor.mean is fitted  # using an extractor teaches it nothing
    extractor.fit_statistics(
        extractor.log_mel(waveforms)
    )  # fitting again starts from the raw features, not from normalised ones
    np.testing.assert_array_equal(extractor.mean, fitted)


def test_statistics_per_cell_are_those_of_each_cell_and_rarely_reached_cells_take_their_bins():
    extractor = LogMelFeatureExtractor(**SMALL, crop_seconds=0.1, normalize="cell")
    short, long = 800, 1600  # 13 and 26 frames
    waveforms = [noise(short, n) for n in range(MIN_CLIPS_PER_CELL)] + [noise(long, 99)]
    rows = features(extractor, waveforms)
    real = np.concatenate(features(extractor, waveforms, padding=False))
    extractor.fit_statistics(extractor.log_mel(waveforms))
    assert extractor.mean.shape == extractor.std.shape == (26, 24)
    np.testing.assert_allclose(extractor.mean[:13], rows[:, :13].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(extractor.std[:13], rows[:, :13].std(axis=0), rtol=1e-3)
    np.testing.assert_allclose(extractor.mean[13:], np.tile(real.mean(axis=0), (13, 1)), rtol=1e-5)
    assert features(extractor, waveforms).shape == (len(waveforms), 26, 24)


@pytest.mark.parametrize("normalize", ["bin", "cell"])
@pytest.mark.parametrize("derived", [{}, {"coefficients": 13, "deltas": 2}])
def test_a_saved_extractor_gives_identical_features(tmp_path, normalize, derived):
    extractor = LogMelFeatureExtractor(**SMALL, **derived, crop_seconds=0.1, normalize=normalize)
    extractor.fit_statistics(extractor.log_mel([noise(1600, seed) for seed in range(12)]))
    extractor.save_pretrained(tmp_path)
    loaded = LogMelFeatureExtractor.from_pretrained(tmp_path)
    assert loaded.to_json_string() == extractor.to_json_string()
    np.testing.assert_array_equal(features(loaded, noise(1500)), features(extractor, noise(1500)))


def test_statistics_saved_before_there_was_a_choice_are_applied_as_they_were(tmp_path):
    """Settings without `normalize`, and a mean and a deviation of each cell."""
    mean, std = np.full((26, 24), -5.0), np.full((26, 24), 2.0)
    LogMelFeatureExtractor(**SMALL, crop_seconds=0.1, mean=mean, std=std).save_pretrained(tmp_path)
    settings_file = tmp_path / "preprocessor_config.json"
    saved = json.loads(settings_file.read_text())
    for name in ("normalize", "coefficients", "deltas"):
        del saved[name]
    settings_file.write_text(json.dumps(saved))
    old, plain = LogMelFeatureExtractor.from_pretrained(tmp_path), LogMelFeatureExtractor(**SMALL, crop_seconds=0.1)
    expected = (features(plain, noise(1600)) + 5) / 2
    np.testing.assert_allclose(features(old, noise(1600)), expected, atol=1e-6)


def test_cepstra_agree_with_librosa():
    log_mel = LogMelFeatureExtractor(feature_size=40).log_mel(clip())[0].numpy()
    expected = librosa.feature.mfcc(S=log_mel.T, n_mfcc=13).T
    cepstra = features(LogMelFeatureExtractor(feature_size=40, coefficients=13), clip())[0]
    np.testing.assert_allclose(cepstra, expected, atol=1e-3)


def test_deltas_are_slopes_and_follow_the_bins():
    plain, derived = (features(LogMelFeatureExtractor(**SMALL, deltas=deltas), clip())[0] for deltas in (0, 2))
    assert derived.shape == (len(plain), 3 * 24)
    np.testing.assert_array_equal(derived[:, :24], plain)
    for order in (1, 2):
        below = derived[:, 24 * (order - 1) : 24 * order]
        expected = librosa.feature.delta(below, width=5, axis=0, mode="nearest")
        np.testing.assert_allclose(derived[:, 24 * order : 24 * (order + 1)], expected, atol=1e-4)


@pytest.mark.parametrize("normalize", ["utterance", "speaker"])
def test_a_lone_clip_is_standardised_with_its_own_statistics_whatever_it_is_batched_with(normalize):
    extractor = LogMelFeatureExtractor(**SMALL, deltas=1, normalize=normalize)
    waveforms = [noise(3000, 1, level=0.5), noise(900, 2, level=0.01)]
    batch = features(extractor, waveforms, padding=False)
    for waveform, together in zip(waveforms, batch, strict=True):
        alone = features(extractor, waveform, padding=False)[0]
        np.testing.assert_array_equal(together, alone)
        np.testing.assert_allclose(alone.mean(axis=0), 0, atol=1e-4)
    assert not extractor.needs_statistics


def test_statistics_of_a_speaker_take_the_voice_away_but_keep_the_differences_between_clips():
    extractor = LogMelFeatureExtractor(**SMALL, normalize="speaker")
    quiet, loud = (extractor.log_mel([noise(2000, seed, level) for seed in range(3)]) for level in (0.02, 0.2))
    one_speaker = [*quiet, *loud]
    statistics = extractor.statistics(one_speaker)
    rows = extractor.assemble(one_speaker, padding=False, speaker_statistics=[statistics] * 6)["input_features"]
    np.testing.assert_allclose(np.concatenate(rows).mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.concatenate(rows).std(axis=0), 1, atol=1e-3)
    assert rows[0].mean() < -0.5
    assert rows[-1].mean() > 0.5


def test_cropping_keeps_the_middle_and_always_gives_the_same_number_of_frames():
    extractor = LogMelFeatureExtractor(crop_seconds=0.5)
    speech, silence = clip(0.5), np.zeros(4000, np.float32)
    around = features(extractor, np.concatenate([silence, speech, silence]))
    np.testing.assert_array_equal(around, features(extractor, speech))
    for seconds in (0.01, 0.5, 0.7, 2.0):
        assert features(extractor, clip(seconds)).shape == (1, 51, 128)
    assert extractor(clip(0.2), sampling_rate=RATE)["attention_mask"].sum() == 21


def test_silence_gives_the_floor_and_no_nan():
    extractor = LogMelFeatureExtractor()
    silence = np.zeros(RATE, np.float32)
    np.testing.assert_allclose(features(extractor, silence), np.log(1e-8), rtol=1e-6)
    extractor.fit_statistics(extractor.log_mel(silence))
    assert np.isfinite(features(extractor, clip())).all()


def test_rounding_to_16_bits_stays_under_the_floor():
    rounding = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32) / 32768
    assert features(LogMelFeatureExtractor(), rounding).mean() < np.log(2e-8)


def test_the_call_of_the_stock_pipeline_returns_torch_tensors():
    batch = LogMelFeatureExtractor()(clip(0.5), sampling_rate=RATE, return_tensors="pt")
    assert set(batch) == {"input_features", "attention_mask"}
    assert batch["input_features"].dtype == torch.float32
    assert batch["input_features"].shape == (1, 51, 128)


def test_the_collator_of_the_trainer_pads_single_features_to_the_same_batch():
    extractor, waveforms = LogMelFeatureExtractor(), [clip(0.3), clip(0.5)]
    singles = [{"input_features": row} for row in features(extractor, waveforms, padding=False)]
    batch = extractor(waveforms, sampling_rate=RATE, return_tensors="pt")
    padded = extractor.pad(singles, return_tensors="pt")
    assert torch.equal(padded["input_features"], batch["input_features"])
    assert torch.equal(padded["attention_mask"].long(), batch["attention_mask"])


def test_the_mask_can_be_left_out():
    assert set(LogMelFeatureExtractor()(clip(), sampling_rate=RATE, return_attention_mask=False)) == {"input_features"}
    assert set(LogMelFeatureExtractor(return_attention_mask=False)(clip(), sampling_rate=RATE)) == {"input_features"}


def test_cached_features_give_the_very_batch_that_fresh_ones_give():
    extractor, waveforms = LogMelFeatureExtractor(), [clip(0.3), clip(0.5)]
    extractor.fit_statistics(extractor.log_mel(waveforms))
    cached = [features.numpy() for features in extractor.log_mel(waveforms)]
    assert {len(features) for features in cached} == {31, 51}
    again, fresh = extractor.assemble(cached), extractor(waveforms, sampling_rate=RATE)
    for name in fresh:
        np.testing.assert_array_equal(again[name], fresh[name])


@pytest.mark.parametrize("convert", [np.float64, np.ndarray.tolist, torch.tensor])
def test_float64_lists_and_tensors_mean_the_same_as_float32(convert):
    extractor, speech = LogMelFeatureExtractor(), clip(0.1)
    np.testing.assert_array_equal(features(extractor, convert(speech)), features(extractor, speech))


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((2, 800), np.float32), r"float32 of shape \(2, 800\).*average channels"),
        ([np.zeros(800, np.float32), np.zeros(0, np.float32)], r"waveform 1 of the batch .* of shape \(0,\)"),
        ([], r"of shape \(0,\)"),
        (np.zeros(800, np.int16), "int16.*divide int16 by 32768"),
        (np.array([0, np.nan, 0], np.float32), "waveform 0 of the batch has NaN"),
        ([np.zeros(9, np.float32), np.array([np.inf], np.float32)], "waveform 1 of the batch has NaN, infinite"),
    ],
)
def test_what_is_no_mono_waveform_is_refused(waveform, message):
    with pytest.raises(ValueError, match=message):
        features(LogMelFeatureExtractor(), waveform)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_fft": 1023}, "n_fft must be an even number, not 1023"),
        ({"win_length": 2048}, "win_length must be from 1 to n_fft"),
        ({"hop_length": 0}, "hop_length must be 1 or more, not 0"),
        ({"max_frequency_hz": 9000.0}, "do not fit between 0 and half the sampling rate, 8000.0 Hz"),
        ({"crop_seconds": 0.0}, "crop_seconds must be positive"),
        ({"mean": [0.0] * 128}, "mean and std must both"),
        ({"mean": [0.0] * 64, "std": [1.0] * 64}, r"of shape \(128,\)"),
        ({"mean": [[0.0] * 128] * 51, "std": [[1.0] * 128] * 51}, r"of shape \(128,\)"),
        ({"mel_scale": "bark"}, "mel_scale"),
        ({"mel_norm": "l2"}, "norm must be"),
        ({"normalize": "cell"}, "normalize='cell' needs crop_seconds"),
        ({"normalize": "corpus"}, "must be one of bin, cell, utterance, speaker, not 'corpus'"),
        ({"coefficients": 129}, "coefficients must be 1 to 128 .*, not 129"),
        ({"deltas": 3}, "deltas must be 0, 1 or 2, not 3"),
        ({"padding_side": "left"}, "padding_side must be"),
    ],
)
def test_contradicting_settings_are_refused_at_construction(wrong, message):
    with pytest.raises(ValueError, match=message):
        LogMelFeatureExtractor(**wrong)


def test_wrong_requests_are_refused():
    extractor = LogMelFeatureExtractor()
    with pytest.raises(ValueError, match="set crop_seconds"):
        extractor(clip(), sampling_rate=RATE, padding="max_length")
    with pytest.raises(ValueError, match="normalize is 'utterance'"):
        LogMelFeatureExtractor(normalize="utterance").fit_statistics(extractor.log_mel(clip()))
    with pytest.raises(ValueError, match="no clip"):
        extractor.fit_statistics([])
    with pytest.raises(ValueError, match="do_normalize is False"):
        LogMelFeatureExtractor(do_normalize=False).fit_statistics(extractor.log_mel(clip()))


def test_the_file_travels_to_the_hub_and_works_there_without_ser_hf(tmp_path, monkeypatch):
    monkeypatch.setattr(LogMelFeatureExtractor, "_auto_class", "AutoFeatureExtractor")
    LogMelFeatureExtractor(feature_size=40).save_pretrained(tmp_path / "hub")
    script = (
        "import sys; sys.modules['ser_hf'] = None\n"
        "import numpy as np; from transformers import AutoFeatureExtractor\n"
        f"extractor = AutoFeatureExtractor.from_pretrained({str(tmp_path / 'hub')!r}, trust_remote_code=True)\n"
        "print(extractor(np.zeros(1600), sampling_rate=16000)['input_features'].shape)"
    )
    environment = os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 11, 40)", done.stderr
