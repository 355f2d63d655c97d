"""bfloat16 changes scores by some thousandths, "auto" takes it only where it is faster; the default is float32."""

import numpy as np
import pytest
import torch
from answers import by_label
from tiny import save_untrained

from ser_hf.inference import precision
from ser_hf.inference.classifier import Classifier
from ser_hf.models.family import ModelError

LABELS = ["anger", "neutral", "sadness"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model"), "tiny-whisper", LABELS, sharpness=20)


@pytest.fixture(scope="module")
def sounds():
    random = np.random.default_rng(0)
    return [random.normal(0, 0.1, 8000 + 1000 * number).astype(np.float32) for number in range(6)]


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_bfloat16_rounds_scores_and_nothing_more(saved, sounds, backend, dtype):
    exact = Classifier.from_pretrained(saved, device="cpu")
    rounded = Classifier.from_pretrained(saved, device="cpu", backend=backend, dtype=dtype)
    assert (exact.dtype, rounded.dtype) == (torch.float32, torch.bfloat16)
    assert rounded.computing == f"{backend} bfloat16"
    differences = np.abs(exact.scores(sounds) - rounded.scores(sounds))
    assert differences.max() < 0.05
    if backend == "torch":  # OpenVINO rounds only on processors with such products
        assert differences.max() > 1e-5, "nothing was computed in bfloat16"


def test_a_known_speaker_is_scored_in_the_same_format(saved, sounds):
    rounded = Classifier.from_pretrained(saved, device="cpu", dtype="bfloat16")
    rounded.speaker("anna").enrol(sounds[:2])
    assert rounded.speaker("anna")._engine.dtype == torch.bfloat16
    exact = Classifier.from_pretrained(saved, device="cpu")
    exact.speaker("anna").enrol(sounds[:2])
    told, wanted = (by_label(one(sounds[3], speaker="anna")) for one in (rounded, exact))
    assert told == pytest.approx(wanted, abs=0.05)
    assert told != wanted


@pytest.mark.parametrize(("gain", "wanted"), [(1.0, torch.float32), (1.9, torch.bfloat16)])
def test_auto_takes_bfloat16_only_where_its_products_are_faster(monkeypatch, saved, gain, wanted):
    monkeypatch.setattr(
        precision, "seconds_of_product", lambda dtype, device: 1.0 / (gain if dtype == torch.bfloat16 else 1.0)
    )
    assert Classifier.from_pretrained(saved, device="cpu", dtype="auto").dtype == wanted


def test_auto_measures_this_machine():
    assert precision.dtype_of("auto") in (torch.float32, torch.bfloat16)
    assert all(precision.seconds_of_product(dtype, "cpu") > 0 for dtype in precision.DTYPES.values())


@pytest.mark.parametrize("dtype", ["float16", torch.float64, "half"])
def test_another_format_is_refused(saved, dtype):
    with pytest.raises(ModelError, match=r"^dtype must be float32, bfloat16 or auto, not '"):
        Classifier.from_pretrained(saved, device="cpu", dtype=dtype)


def test_onnxruntime_refuses_bfloat16(saved):
    with pytest.raises(ModelError, match='float32 on a processor: use dtype="float32"'):
        Classifier.from_pretrained(saved, backend="onnxruntime", dtype="bfloat16")
