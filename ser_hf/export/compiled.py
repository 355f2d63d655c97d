"""Graphs compiled by OpenVINO or ONNX Runtime, for use in place of a model of PyTorch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..models.family import ModelError
from .graph import INPUT, longest_samples, write_onnx

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Compiled:
    """A compiled graph. Each recording is computed alone, so that nothing is padded.

    Attributes:
        name: what computes it.
        run: waveforms, each (samples,) float32 -> the outputs of each, by name, (1, classes).
        longest_samples: of a recording that the graph takes.
    """

    name: str
    run: Callable[[Sequence[np.ndarray]], list[Outputs]]
    longest_samples: int

    def takes(self, waveform: np.ndarray) -> bool:
        return waveform.size <= self.longest_samples

    def __call__(self, waveforms: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Return the outputs for recordings, each (recordings, classes)."""
        rows = self.run(waveforms)
        return {name: torch.from_numpy(np.concatenate([row[name] for row in rows])) for name in rows[0]}


def compile_model(
    model: PreTrainedModel, extractor: FeatureExtractionMixin, backend: str, dtype: torch.dtype = torch.float32
) -> Compiled:
    """Compile a model with its front end.

    Args:
        backend: one of `BACKENDS`.
        dtype: float32 or bfloat16.

    Raises:
        ModelError: for another backend, for a model that cannot be a graph, or if a package is missing.
    """
    if backend not in BACKENDS:
        known = ", ".join(("torch", *BACKENDS))
        raise ModelError(
            f"there is no backend and no folder {str(backend)!r}: use {known}, or a folder of ser-hf export"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(model, extractor, path)
        return Compiled(backend, BACKENDS[backend](path, dtype), longest_samples(model, extractor))


def open_with_openvino(
    path: Path, dtype: torch.dtype = torch.float32
) -> Callable[[Sequence[np.ndarray]], list[Outputs]]:
    """Return a function that runs a graph with OpenVINO, several recordings at a time."""
    try:
        import openvino
    except ImportError as error:
        raise ModelError('backend="openvino" needs more packages: pip install "ser_hf[openvino]"') from error
    settings = {
        # Without it OpenVINO takes that of the processor: other scores on other machines.
        "INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32",
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    requests = openvino.AsyncInferQueue(compiled)
    names = [output.get_any_name() for output in compiled.outputs]

    def run(waveforms: Sequence[np.ndarray]) -> list[Outputs]:
        rows: list[Outputs] = [{}] * len(waveforms)

        def keep(request: openvino.InferRequest, number: int) -> None:
            rows[number] = {name: request.get_tensor(name).data.copy() for name in names}

        requests.set_callback(keep)
        for number, waveform in enumerate(waveforms):
            requests.start_async({INPUT: waveform[None]}, number)
        requests.wait_all()
        return rows

    return run


def open_with_onnxruntime(
    path: Path, dtype: torch.dtype = torch.float32
) -> Callable[[Sequence[np.ndarray]], list[Outputs]]:
    """Return a function that runs a graph with ONNX Runtime, which has no products in bfloat16 for processors."""
    if dtype != torch.float32:
        raise ModelError('ONNX Runtime computes in float32 on a processor: use dtype="float32", or OpenVINO')
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError('backend="onnxruntime" needs more packages: pip install "ser_hf[onnx]"') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda waveforms: [
        dict(zip(names, session.run(names, {INPUT: waveform[None]}), strict=True)) for waveform in waveforms
    ]


BACKENDS = {"openvino": open_with_openvino, "onnxruntime": open_with_onnxruntime}
