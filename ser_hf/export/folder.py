"""Folders that classify by themselves: a graph, what must be known about it, and a script of one page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..files import naming_full_disk, read_json, whole_files, write_whole
from ..models.checkpoint_settings import function_of_scores
from ..models.checkpoint_weights import digest_of_weights
from ..models.family import ModelError, class_names
from ..models.pretrained import inputs_of
from .compiled import Compiled, open_with_onnxruntime, open_with_openvino
from .graph import longest_samples, write_onnx
from .integers import to_integers

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel

    from .integers import Recordings

FORMATS = {"onnx": open_with_onnxruntime, "openvino": open_with_openvino}
GRAPHS = {"onnx": "model.onnx", "openvino": "model.xml"}
NEEDED = {"onnx": "onnxruntime", "openvino": "openvino"}
CHECKED_SECONDS = (0.5, 1.7, 2.0)
LARGEST_DIFFERENCE = 1e-3  # of logits, or of the largest one; rounding makes a hundredth of it
ABOUT, SCRIPT = "about.json", "predict.py"


def export(
    model: PreTrainedModel,
    extractor: FeatureExtractionMixin,
    folder: Path,
    to: str,
    *,
    integers: Recordings | None = None,
) -> dict[str, Any]:
    """Write a folder that classifies recordings without PyTorch and without this package.

    It holds `model.onnx`, or `model.xml` and `model.bin`; `about.json` with labels and sampling rate; `predict.py`,
    which shows how all of this is used; and `requirements.txt`.

    Args:
        folder: is made; it must not exist, or be empty.
        to: "onnx" or "openvino".
        integers: recordings to choose eight-bit integers on, only for "openvino"; None: the graph stays in float32.

    Returns:
        What was measured: of integers as in `integers.to_integers`, else `{"difference"}`, the largest one of the
        logits of model and graph for some noise.

    Raises:
        ModelError: as `refuse_export`, for a model that cannot be exported, for a graph that computes something else
            than the model, and for integers that lose too much.
        DiskFullError: if the disk has no space; nothing is left then.
    """
    folder = Path(folder)
    refuse_export(folder, to, int8=integers is not None)
    about = {
        "model": model.config.name_or_path,
        "weights": digest_of_weights(model),
        "labels": class_names(model.config),
        "function": function_of_scores(model.config),
        "sampling_rate": extractor.sampling_rate,
        "longest_samples": longest_samples(model, extractor),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with naming_full_disk(folder.parent, f"the exported model {folder.name}"), whole_files(folder) as unfinished:
        graph = unfinished / GRAPHS["onnx"]
        write_onnx(model, extractor, graph)
        about["int8"] = _convert(graph, integers) if to == "openvino" else None
        measured = about["int8"] or {"difference": _difference(model, extractor, unfinished, to)}
        shutil.copyfile(Path(__file__).with_name("predict_alone.py"), unfinished / SCRIPT)
        write_whole(unfinished / ABOUT, json.dumps(about, indent=2) + "\n")
        write_whole(unfinished / "requirements.txt", f"{NEEDED[to]}\nnumpy\nsoundfile\nsoxr\n")
    return measured


def refuse_export(folder: Path, to: str, *, int8: bool = False) -> None:
    """Raise a `ModelError` for an unknown format, for integers in ONNX, and for a folder with files in it."""
    if to not in FORMATS:
        raise ModelError(f"a model cannot be exported to {to!r}: use {' or '.join(FORMATS)}")
    if int8 and to != "openvino":
        raise ModelError(f"eight-bit integers need OpenVINO, not {to}: add --to openvino")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder} is there already: name another folder, or delete it")


def open_exported(folder: Path, model: PreTrainedModel, dtype: torch.dtype = torch.float32) -> Compiled:
    """Compile the graph of an exported folder.

    Args:
        dtype: number format of what is not stored as integers.

    Raises:
        ModelError: if the folder holds no exported model, or that of other weights.
    """
    about = read_json(folder / ABOUT, remedy="write it again with ser-hf export")
    if about["weights"] != digest_of_weights(model):
        raise ModelError(f"{folder} was exported from another model than {model.config.name_or_path}: export this one")
    to = "openvino" if (folder / GRAPHS["openvino"]).exists() else "onnx"
    name = f"{NEEDED[to]} int8" if about["int8"] else NEEDED[to]
    return Compiled(name, FORMATS[to](folder / GRAPHS[to], dtype), about["longest_samples"])


@torch.inference_mode()
def _difference(model: PreTrainedModel, extractor: FeatureExtractionMixin, folder: Path, to: str) -> float:
    """Return the largest difference between the logits of a model and those of its graph, for some noise.

    Raises:
        ModelError: if it is more than rounding.
    """
    random, rate = np.random.default_rng(0), extractor.sampling_rate
    sounds = [random.normal(0, 0.1, round(seconds * rate)).astype(np.float32) for seconds in CHECKED_SECONDS]
    run = FORMATS[to](folder / GRAPHS[to])
    differences, largest = [], 0.0
    for sound, found in zip(sounds, run(sounds), strict=True):
        wanted = model(**inputs_of(model, extractor, [sound])).logits.numpy()
        differences.append(np.abs(wanted - found["logits"]).max())
        largest = max(largest, np.abs(wanted).max())
    if not max(differences) <= LARGEST_DIFFERENCE * max(1.0, largest):
        name = model.config.name_or_path or type(model).__name__
        raise ModelError(
            f"the graph of {name} gives other scores than the model: logits differ by {max(differences):.2g}. "
            "Nothing was exported; use the model with PyTorch"
        )
    return float(max(differences))


def _convert(graph: Path, integers: Recordings | None) -> dict[str, Any] | None:
    """Put a graph of OpenVINO in the place of one of ONNX; return what was measured of its integers."""
    try:
        import openvino
    except ImportError as error:
        raise ModelError('an export to OpenVINO needs more packages: pip install "ser_hf[openvino]"') from error
    if integers is None:
        converted, measured = openvino.Core().read_model(graph), None
    else:
        converted, measured = to_integers(graph, integers)
    openvino.save_model(converted, graph.with_suffix(".xml"), compress_to_fp16=False)
    graph.unlink()
    return measured
