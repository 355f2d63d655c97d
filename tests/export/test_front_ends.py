"""Front ends inside a graph compute what the extractors compute."""

import numpy as np
import pytest
import torch
from tiny import TINY_MODELS
from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from ser_hf.export.front_ends import front_end_of
from ser_hf.export.graph import Graph
from ser_hf.features.feature_extraction_functionals import FunctionalsFeatureExtractor
from ser_hf.features.feature_extraction_log_mel import LogMelFeatureExtractor
from ser_hf.features.feature_extraction_whisper_encoder import WhisperEncoderFeatureExtractor
from ser_hf.inference.heads import Outputs
from ser_hf.models.family import ModelError
from ser_hf.models.pretrained import build_classifier

RATE = 16_000
EXTRACTORS = {
    "log-mel": LogMelFeatureExtractor(),
    "magnitudes, odd window": LogMelFeatureExtractor(power=1.0, win_length=401, n_fft=512, hop_length=100),
    "short window of a long transform": LogMelFeatureExtractor(n_fft=2048, win_length=300, mel_scale="htk"),
    "cepstra with slopes": LogMelFeatureExtractor(coefficients=13, deltas=2),
    "standardised by bin": LogMelFeatureExtractor(mean=np.full(128, -7.0), std=np.full(128, 3.0)),
    "standardised by itself": LogMelFeatureExtractor(normalize="utterance"),
    "cropped": LogMelFeatureExtractor(crop_seconds=1.5, mean=np.full(128, -7.0), std=np.full(128, 3.0)),
    "cropped, standardised by itself": LogMelFeatureExtractor(crop_seconds=1.5, normalize="utterance"),
    "cropped, silent padding": LogMelFeatureExtractor(crop_seconds=1.5, do_normalize=False, padding_value=-18.4),
    "whisper": WhisperEncoderFeatureExtractor(),
    "whisper of 30 s": WhisperFeatureExtractor(),
    "waveform": Wav2Vec2FeatureExtractor(),
    "waveform as it is": Wav2Vec2FeatureExtractor(do_normalize=False),
}


def speech(samples: int) -> np.ndarray:
    """A tone that fades and a click at the very end, in noise: its loudest frame is the last one."""
    time = np.arange(samples) / RATE
    sound = 0.3 * np.sin(2 * np.pi * 220 * time) * np.exp(-3 * time)
    sound[-3:] = 0.9
    return (sound + np.random.default_rng(samples).normal(0, 1e-3, samples)).astype(np.float32)


# Around the borders of hops of 160 samples, and shorter and longer than the crops.
LENGTHS = (8_000, 15_999, 16_000, 16_001, 24_000, 40_123)


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("extractor", EXTRACTORS.values(), ids=EXTRACTORS)
def test_a_front_end_gives_the_features_of_its_extractor(extractor, samples):
    wanted = extractor(speech(samples), sampling_rate=RATE, return_tensors="pt")
    found = front_end_of(extractor)(torch.from_numpy(speech(samples))[None])
    assert set(found) <= set(wanted)
    for name, values in found.items():
        torch.testing.assert_close(values, wanted[name], atol=5e-3, rtol=1e-4)


@pytest.mark.parametrize("name", TINY_MODELS)
def test_a_graph_scores_as_the_model_does(name):
    torch.manual_seed(0)
    model, extractor = build_classifier(labels=["anger", "neutral", "sadness"], **TINY_MODELS[name])
    model.config.head_is_trained = True
    graph, engine = Graph(model.eval(), extractor).eval(), Outputs(model, extractor)
    for samples in LENGTHS:
        with torch.inference_mode():
            found = graph(torch.from_numpy(speech(samples))[None])[0].numpy()
        np.testing.assert_allclose(found[0], engine.scores(speech(samples))[0], atol=1e-4)


def test_functionals_are_refused_with_what_can_be_exported_instead():
    with pytest.raises(ModelError, match="FunctionalsFeatureExtractor cannot be exported: export a model on log-mel"):
        front_end_of(FunctionalsFeatureExtractor())
