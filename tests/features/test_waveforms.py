"""Every extractor of ours takes the same waveforms, and refuses the others in the same words."""

import numpy as np
import pytest

from ser_hf.features import waveforms
from ser_hf.features.feature_extraction_functionals import FunctionalsFeatureExtractor
from ser_hf.features.feature_extraction_fusion import FusionFeatureExtractor
from ser_hf.features.feature_extraction_log_mel import LogMelFeatureExtractor
from ser_hf.features.feature_extraction_whisper_encoder import WhisperEncoderFeatureExtractor

RATE = 16_000
EXTRACTORS = {
    "log-mel": LogMelFeatureExtractor,
    "functionals": FunctionalsFeatureExtractor,
    "fusion": lambda: FusionFeatureExtractor(
        front_end={"do_normalize": False}, ssl={"feature_extractor_type": "Wav2Vec2FeatureExtractor"}
    ),
    "whisper": WhisperEncoderFeatureExtractor,
}


@pytest.fixture(params=EXTRACTORS)
def extractor(request):
    return EXTRACTORS[request.param]()


def noise(samples):
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((2, 800), np.float32), r"float32 of shape \(2, 800\).*average channels"),
        ([noise(800), np.zeros(0, np.float32)], r"waveform 1 of the batch .* of shape \(0,\)"),
        ([], r"of shape \(0,\)"),
        (np.zeros(800, np.int16), "int16.*divide int16 by 32768"),
        ([noise(800), np.full(800, np.nan, np.float32)], "waveform 1 of the batch has NaN, infinite"),
    ],
)
def test_what_is_no_mono_waveform_is_refused(extractor, waveform, message):
    with pytest.raises(ValueError, match=message):
        extractor(waveform, sampling_rate=RATE)


def test_another_sampling_rate_is_refused_and_a_missing_one_is_warned_about(extractor, monkeypatch):
    warnings = []
    monkeypatch.setattr(waveforms.logger, "warning_once", warnings.append)
    with pytest.raises(ValueError, match=r"16000 Hz.*resample"):
        extractor(noise(RATE), sampling_rate=8000)
    told = extractor(noise(RATE), sampling_rate=RATE)
    assert not warnings
    assumed = extractor(noise(RATE))
    (warning,) = warnings
    assert "no sampling_rate given" in warning
    assert "16000 Hz" in warning
    for name in told:
        np.testing.assert_array_equal(assumed[name], told[name])


@pytest.mark.parametrize("convert", [np.float64, np.ndarray.tolist, lambda clip: [clip], lambda clip: (clip,)])
def test_other_floats_lists_and_batches_of_one_mean_the_same(extractor, convert):
    told, again = extractor(noise(8000), sampling_rate=RATE), extractor(convert(noise(8000)), sampling_rate=RATE)
    for name in told:
        np.testing.assert_array_equal(again[name], told[name])
