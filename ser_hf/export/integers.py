"""Graphs of OpenVINO with eight-bit integers, kept only if they recognise emotions as well as before.

The front end stays in floating point: a spectrum spans too many powers of ten for 256 steps. The encoder's channels are
rescaled first (SmoothQuant: Xiao et al. 2023, arXiv:2211.10438), because a few of them are much larger than the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..evaluation.metrics import confusion_matrix, uar_of
from ..models.family import ModelError
from .graph import INPUT, names_in_front_end

if TYPE_CHECKING:
    import openvino

LARGEST_LOSS = 0.005  # of UAR
CALIBRATED_ON = 100  # recordings; the ranges of the layers do not change with more


@dataclass(frozen=True)
class Recordings:
    """What integers are chosen and checked on; never test recordings.

    Attributes:
        calibration: waveforms of training recordings, each (samples,), at the rate of the model.
        checked: waveforms of validation recordings.
        labels: the true classes of those, as ids, (checked,).
    """

    calibration: Sequence[np.ndarray]
    checked: Sequence[np.ndarray]
    labels: np.ndarray


def to_integers(onnx: Path, recordings: Recordings) -> tuple[openvino.Model, dict[str, Any]]:
    """Return a graph with integers where they do no harm, and what was measured on the checked recordings.

    Layers that lose too much are left in floating point (accuracy-controlled quantisation of NNCF).

    Returns:
        The graph, and `{"n", "uar_float32", "uar_int8", "same_answers"}`.

    Raises:
        ModelError: if more than `LARGEST_LOSS` of the UAR is lost in spite of that, or if a package is missing.
    """
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise ModelError('integers need more packages: pip install "ser_hf[int8]"') from error
    logging.getLogger("nncf").setLevel(logging.WARNING)
    core, labels = openvino.Core(), np.asarray(recordings.labels)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}

    def uar(true: np.ndarray, answered: np.ndarray) -> float:
        return float(uar_of(confusion_matrix(true, answered, classes)))

    def answers(compiled: openvino.CompiledModel, waveforms: Iterable[np.ndarray]) -> np.ndarray:
        return np.asarray([compiled({INPUT: waveform[None]})["logits"][0].argmax() for waveform in waveforms])

    def recall(compiled: openvino.CompiledModel, rows: Iterable[int]) -> tuple[float, None]:
        rows = np.asarray(list(rows))
        return uar(labels[rows], answers(compiled, (recordings.checked[row] for row in rows))), None

    model = core.read_model(onnx)
    classes = model.output("logits").partial_shape[1].get_length()
    before = answers(core.compile_model(model, "CPU", settings), recordings.checked)
    quantised = nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(recordings.calibration, lambda waveform: {INPUT: waveform[None]}),
        nncf.Dataset(range(len(labels))),
        recall,
        max_drop=LARGEST_LOSS,
        subset_size=len(recordings.calibration),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(names=operations_before(model, names_in_front_end(onnx)), validate=False),
    )
    after = answers(core.compile_model(quantised, "CPU", settings), recordings.checked)
    uars = uar(labels, before), uar(labels, after)
    if uars[0] - uars[1] > LARGEST_LOSS:
        raise ModelError(
            f"in eight-bit integers the UAR falls from {uars[0]:.3f} to {uars[1]:.3f} on {len(labels)} validation "
            "recordings: export the model without --int8"
        )
    measured = {"n": len(labels), "uar_float32": uars[0], "uar_int8": uars[1]}
    return quantised, {**measured, "same_answers": float(np.mean(before == after))}


def operations_before(model: openvino.Model, tensors: set[str]) -> list[str]:
    """Return the names of the operations that compute some tensors, and of all before them."""
    found, waiting = set(), [op for op in model.get_ops() if any(out.get_names() & tensors for out in op.outputs())]
    while waiting:
        op = waiting.pop()
        if op.get_friendly_name() not in found:
            found.add(op.get_friendly_name())
            waiting += [given.get_source_output().get_node() for given in op.inputs()]
    return [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_friendly_name() in found]
