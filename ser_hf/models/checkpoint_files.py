"""The files of a checkpoint, examined before anything is built from them.

A folder of another library, an incomplete download and a run of several folds are told apart here. Without this,
transformers would guess the kind of model from the name of the folder, or end in an error about the bytes of a header.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors import SafetensorError, safe_open
from transformers.utils import (
    ADAPTER_CONFIG_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
)

from ..files import CONFIG, OPTIONS, fold_folders, one_line
from .family import ModelError

# In the order in which transformers looks for them.
_WEIGHTS = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME)
_CONVERT = "convert it with transformers 4 (`from_pretrained(..., {}=True)`, `save_pretrained`), and pass that folder"
_ELSEWHERE = "score your recordings with its own library, and pass the table of predictions to `ser-hf report`"
_PASS_SOURCE = "pass the model that it was made from, in the form of transformers"
# Files by which others are known, the most telling first: whose they are, and what to do.
_OF_OTHERS = (
    ("hyperparams.yaml", "SpeechBrain", _ELSEWHERE),
    ("*.nemo", "NVIDIA NeMo", _ELSEWHERE),
    ("modules.json", "sentence-transformers", "pass the folder of the speech encoder in it, if it has one"),
    ("*.gguf", "llama.cpp", _PASS_SOURCE),
    ("tf_model.h5", "TensorFlow", _CONVERT.format("from_tf")),
    ("flax_model.msgpack", "Flax", _CONVERT.format("from_flax")),
    ("saved_model.pb", "TensorFlow", _ELSEWHERE),
    ("*.tflite", "TensorFlow Lite", _ELSEWHERE),
    ("*.keras", "Keras", _ELSEWHERE),
    ("*.h5", "Keras", _ELSEWHERE),
    ("*.onnx", "ONNX", _PASS_SOURCE),
    ("openvino_model.xml", "OpenVINO", _PASS_SOURCE),
    ("*.mlmodel", "Core ML", _PASS_SOURCE),
    ("*.pkl", "pickle, such as those of scikit-learn", _ELSEWHERE),
    ("*.pickle", "pickle, such as those of scikit-learn", _ELSEWHERE),
    ("*.joblib", "scikit-learn", _ELSEWHERE),
    ("*.skops", "scikit-learn", _ELSEWHERE),
    ("*.ckpt", "PyTorch Lightning or SpeechBrain", _ELSEWHERE),
    ("*.pt", "fairseq or another program on PyTorch", _PASS_SOURCE),
    ("*.pth", "fairseq or another program on PyTorch", _PASS_SOURCE),
)


def refuse_unfit_files(name_or_path: str | os.PathLike) -> None:
    """Raise a `ModelError` for a folder or file that is not a checkpoint of transformers, or not a whole one.

    Nothing is raised for a name on the Hub, whose files are read and checked when they are fetched.
    """
    path = Path(name_or_path)
    if path.is_file():
        raise ModelError(f"{path} is a file: pass the folder that holds it, with its {CONFIG}")
    if path.is_dir():
        _refuse_without_config(path)
        _refuse_unfit_config(path)
        _refuse_damaged_weights(path)
    elif path.is_absolute() or len(path.parts) > 2 or path.parts[:1] == ("..",):  # no name of the Hub
        raise ModelError(f"there is no model {str(path)!r}: the folder does not exist")


def refuse_unfit_repository(name: str, error: Exception) -> None:
    """Raise a `ModelError` for a name on the Hub that cannot be fetched, or that another library wrote.

    Args:
        error: what transformers or the Hub raised for this name; nothing is raised if it is about something else.
    """
    if Path(name).is_dir():
        return
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    if any(isinstance(one, GatedRepoError) for one in causes):
        raise ModelError(
            f"the model {name} is gated: accept its terms on https://huggingface.co/{name}, then run `hf auth login`"
        )
    if any(isinstance(one, (RepositoryNotFoundError, HFValidationError)) for one in causes):
        raise ModelError(
            f"there is no model {name!r}: it is not a folder here, and the Hub has no such model (of a private one, "
            "run `hf auth login` first)"
        )
    if any(isinstance(one, LocalEntryNotFoundError) for one in causes):
        raise ModelError(
            f"there is no model {name!r}: it is not a folder here, it was not downloaded before, and the Hub cannot be "
            "reached; pass a folder, or connect to a network"
        )
    try:
        files = HfApi().list_repo_files(name)
    except Exception:  # a second question to a Hub that may have failed before
        return
    _refuse_of_others(name, files)


def _refuse_without_config(folder: Path) -> None:
    if (folder / CONFIG).is_file():
        return
    if folds := fold_folders(folder, CONFIG):
        raise ModelError(
            f"{folder} is a run with the folds {', '.join(one.name for one in folds)}: pass one of them, such as "
            f"{folds[0]}"
        )
    from transformers.trainer import TRAINER_STATE_NAME  # slow, and only for this message
    from transformers.trainer_utils import get_last_checkpoint

    files = _names_in(folder)
    checkpoint = get_last_checkpoint(folder)
    if checkpoint is not None and OPTIONS in files:
        raise ModelError(
            f"{folder} is an unfinished run: finish it with the command that started it, or pass a checkpoint of it, "
            f"such as {checkpoint}"
        )
    if checkpoint is not None:
        raise ModelError(f"{folder} has no {CONFIG}, but holds checkpoints: pass one of them, such as {checkpoint}")
    if TRAINER_STATE_NAME in files:
        raise ModelError(
            f"{folder} is a checkpoint of a Trainer without its {CONFIG}: copy the {CONFIG} and the "
            "preprocessor_config.json of the same model into it"
        )
    _refuse_of_others(str(folder), files)
    if not files:
        raise ModelError(f"there is no model in {folder}: the folder is empty")
    raise ModelError(f"there is no model in {folder}: it has no {CONFIG}, which every model of transformers has")


def _refuse_unfit_config(folder: Path) -> None:
    """Raise a `ModelError` for a configuration that does not say what the model is.

    From a folder called `my-wav2vec2`, transformers would conclude that this is a wav2vec2 with default sizes.
    """
    file = folder / CONFIG
    _refuse_pointer(file)
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file} is not JSON ({one_line(error)}): fetch it again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file} needs names and values, not a {type(content).__name__}: fetch it again")
    if not content.get("model_type") and "architecture" not in content:  # the second is timm's
        _refuse_of_others(str(folder), _names_in(folder))
        raise ModelError(f"{file} names no model_type, so the kind of model is unknown: fetch it again")


def _refuse_damaged_weights(folder: Path) -> None:
    found = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        _refuse_of_others(str(folder), _names_in(folder))
        raise ModelError(f"{folder} has no weights ({SAFE_WEIGHTS_NAME} or {WEIGHTS_NAME}): fetch it again")
    for file in [found] if found.suffix != ".json" else _shards(found):
        if not file.is_file():
            raise ModelError(f"{folder} has lost the file {file.name} of its weights: fetch it again")
        _refuse_pointer(file)
        if file.stat().st_size == 0:
            raise ModelError(f"{file} is empty: fetch it again")
        if file.suffix == ".safetensors":
            try:
                with safe_open(file, "pt"):
                    pass
            except SafetensorError as error:
                raise ModelError(f"{file} is damaged or incomplete ({one_line(error)}): fetch it again") from error


def _shards(index: Path) -> list[Path]:
    _refuse_pointer(index)
    try:
        return sorted({index.with_name(name) for name in json.loads(index.read_bytes())["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} does not list the files of the weights: fetch it again") from error


def _refuse_pointer(file: Path) -> None:
    with file.open("rb") as opened:
        if opened.read(40).startswith(b"version https://git-lfs"):
            raise ModelError(
                f"{file} is only a pointer of git-LFS to the real file: run `git lfs pull` in {file.parent}"
            )


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _refuse_of_others(name: str, files: Sequence[str]) -> None:
    """Raise a `ModelError` if the names of the files show which other library wrote a model."""
    if ADAPTER_CONFIG_NAME in files:
        raise ModelError(
            f"{name} holds only adapters of PEFT ({ADAPTER_CONFIG_NAME}), not a whole model: merge them into their "
            "base model with `merge_and_unload()`, save it with `save_pretrained`, and pass the new folder"
        )
    for pattern, author, remedy in _OF_OTHERS:
        if found := [file for file in files if fnmatch(file, pattern)]:
            raise ModelError(f"{name} holds files of {author} ({found[0]}), not of transformers: {remedy}")
