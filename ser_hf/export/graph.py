"""A classifier as one graph: a waveform in, logits out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ..models.family import ModelError
from ..models.records import family_of
from .front_ends import front_end_of

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel

INPUT = "waveform"
OUTPUTS = ("logits", "centred_logits")  # those of the model's outputs that a graph gives, if it has them
EXAMPLE_SECONDS = 2.0
SHORTEST_SAMPLES = 2000  # what the exporter may assume; the graph takes shorter ones as far as the model does


class Graph(nn.Module):
    """A model behind its front end, for one recording: waveform, (1, samples) -> some of `OUTPUTS`, each (1, classes).

    Raises:
        ModelError: for a model whose extractor cannot be part of a graph.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__()
        self.front_end, self.model = front_end_of(extractor), model

    def forward(self, waveform: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.model(**self.front_end(waveform))
        return tuple(outputs[name] for name in OUTPUTS if outputs.get(name) is not None)


def write_onnx(model: PreTrainedModel, extractor: FeatureExtractionMixin, path: Path) -> None:
    """Write a model with its front end as one ONNX file, for recordings of `longest_samples`.

    Raises:
        ModelError: for a model that cannot be a graph, or if the packages for it are missing.
    """
    try:
        import onnx  # noqa: F401 - the exporter of torch needs both
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ModelError('a graph needs more packages: pip install "ser_hf[onnx]"') from error
    graph = Graph(model.eval().to("cpu"), extractor).eval()
    example = torch.zeros(1, round(EXAMPLE_SECONDS * extractor.sampling_rate))
    samples = torch.export.Dim("samples", min=SHORTEST_SAMPLES, max=longest_samples(model, extractor))
    with torch.inference_mode(), _quietly():
        outputs = graph.model(**graph.front_end(example))
        names = [name for name in OUTPUTS if outputs.get(name) is not None]
        try:
            program = torch.onnx.export(
                graph, (example,), input_names=[INPUT], output_names=names, dynamic_shapes={INPUT: {1: samples}},
                dynamo=True, optimize=True, verbose=False,
            )  # fmt: skip
        except torch.onnx.OnnxExporterError as error:
            raise ModelError(
                f"{model.config.name_or_path or type(model).__name__} cannot be exported: the exporter of PyTorch "
                "cannot write a part of it, such as an LSTM, as a graph; export a model without such layers"
            ) from error
    program.save(path)


def names_in_front_end(onnx: Path) -> set[str]:
    """Return the names of all values that the front end of a graph computes."""
    from onnx import load

    return {
        name
        for node in load(onnx).graph.node
        if any(entry.key == "namespace" and "front_end" in entry.value for entry in node.metadata_props)
        for name in node.output
    }


def longest_samples(model: PreTrainedModel, extractor: FeatureExtractionMixin) -> int:
    """Return the samples of the longest recording that a graph takes: of Whisper one window, not several."""
    seconds = family_of(model).longest_seconds
    if isinstance(encoder := family_of(model).encoder_of(model), WhisperEncoder):
        seconds = min(seconds, encoder.config.max_source_positions / 50)
    return round(seconds * extractor.sampling_rate)


@contextmanager
def _quietly() -> Iterator[None]:
    """Hide what the exporter remarks on its own passes."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
