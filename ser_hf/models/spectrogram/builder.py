"""Builds the `spectrogram` family: backbones of timm by name, from the Hub or from a folder, and VGGish.

Each has the log-mel front end of its training, or our default if it was trained on pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HfHubHTTPError
from torch import nn

from ...features.feature_extraction_log_mel import LogMelFeatureExtractor
from ...files import one_line
from ..family import ModelError, Request
from ..front_end import build_front_end
from .configuration_spectrogram import SpectrogramConfig
from .modeling_spectrogram import SpectrogramForAudioClassification
from .vggish import MEL_BINS, VGGish

# For backbones that were trained on pictures: 64 bands, a frame every 16 ms, the middle 3.5 seconds.
DEFAULT_FRONT_END = {
    "feature_size": 64, "n_fft": 1024, "win_length": 1024, "hop_length": 256, "crop_seconds": 3.5,
}  # fmt: skip
VGGISH_FRONT_END = {
    "feature_size": 64, "n_fft": 512, "win_length": 400, "hop_length": 160, "min_frequency_hz": 125.0,
    "max_frequency_hz": 7500.0, "mel_scale": "htk", "mel_norm": None, "power": 1.0, "log_floor": 0.01,
    "do_normalize": False, "padding_value": math.log(0.01),
}  # fmt: skip


def is_architecture(name: str) -> bool:
    """True if `timm.create_model` builds a name with random weights."""
    import timm

    return timm.is_model(name) and not Path(name).is_dir()


def build(request: Request) -> tuple[SpectrogramForAudioClassification, LogMelFeatureExtractor]:
    """Build a classifier on an architecture (random weights) or a timm checkpoint, and its extractor.

    With `in_channels` 1, the three colour filters of a pretrained stem are summed; with 3, the image is repeated.

    Raises:
        ValueError: for settings that the extractor does not have.
        ModelError: for a checkpoint that timm cannot load.
    """
    name, in_channels = request.name_or_path, request.in_channels
    if request.config is None:
        own = {"backbone": name, "in_channels": in_channels}
        model = SpectrogramForAudioClassification(SpectrogramConfig(**{**own, **request.settings}))
        own = VGGISH_FRONT_END if name == "vggish" else DEFAULT_FRONT_END
        extractor = build_front_end({**own, **(request.front_end or {})})
        if name == "vggish" and extractor.feature_size != MEL_BINS:
            raise ValueError(f"VGGish needs {MEL_BINS} mel bins, not {extractor.feature_size}")
        return model, extractor

    import timm

    source = f"local-dir:{name}" if Path(name).is_dir() else f"hf-hub:{name}"
    arguments = {"in_chans": in_channels, "num_classes": 0}
    try:
        pretrained = timm.create_model(source, pretrained=True, **arguments)
    except (OSError, HfHubHTTPError, RuntimeError) as error:
        raise ModelError(f"timm cannot load {name} ({one_line(error)}): fetch it again") from error
    facts = json.loads(_config_file(name).read_text(encoding="utf-8"))
    backbone_args = {key: value for key, value in facts.get("model_args", {}).items() if key not in arguments}
    own = {"backbone": facts["architecture"], "backbone_args": backbone_args, "in_channels": in_channels}
    model = SpectrogramForAudioClassification(SpectrogramConfig(**{**own, **request.settings}))
    model.backbone.load_state_dict(pretrained.state_dict())
    own = _front_end_of(facts["feature_extraction"]) if "feature_extraction" in facts else DEFAULT_FRONT_END
    return model, build_front_end({**own, **(request.front_end or {})})


def convert_vggish(checkpoint: str | Path, folder: str | Path) -> None:
    """Convert the public PyTorch weights of VGGish into a folder for `--model_name_or_path`.

    Args:
        checkpoint: `vggish-10086976.pth` of github.com/harritaylor/torchvggish, itself a conversion of the weights
            that were published with AudioSet.
        folder: the folder for configuration, weights and front end.

    Raises:
        ValueError: if the file has other weights.
    """
    weights = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = SpectrogramForAudioClassification(SpectrogramConfig(backbone="vggish"))
    wanted = model.backbone.state_dict()
    if differing := sorted(wanted.keys() ^ weights.keys()):
        raise ValueError(f"{checkpoint} does not hold VGGish: its tensors differ from VGGish's in {differing[0]}")
    model.backbone.load_state_dict(weights)
    # Without the head, which is not trained.
    body = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("backbone.")}
    model.save_pretrained(folder, state_dict=body)
    LogMelFeatureExtractor(**VGGISH_FRONT_END).save_pretrained(folder)


def backbone_layers(model: SpectrogramForAudioClassification) -> list[list[nn.Parameter]]:
    """Return a backbone's parameters from the input to the output: the stem, then block by block."""
    backbone = model.backbone
    if isinstance(backbone, VGGish):
        return [list(layer.parameters()) for layer in backbone.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    from timm.models import group_parameters

    names = group_parameters(backbone, backbone.group_matcher(coarse=False))
    return [[backbone.get_parameter(name) for name in names[number]] for number in sorted(names)]


def _config_file(name_or_path: str) -> Path:
    if Path(name_or_path).is_dir():
        return Path(name_or_path, "config.json")
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(name_or_path, "config.json"))


def _front_end_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the front end of a checkpoint's training as settings of the log-mel extractor."""
    floor = float(facts["log"].removeprefix("ln(mel + ").removesuffix(")"))
    return {
        "feature_size": facts["n_mels"], "sampling_rate": facts["sampling_rate"], "n_fft": facts["n_fft"],
        "win_length": facts["win_length"], "hop_length": facts["hop_length"], "min_frequency_hz": facts["fmin"],
        "max_frequency_hz": facts["fmax"], "mel_scale": facts["mel_scale"], "mel_norm": facts["mel_norm"],
        "power": {"magnitude": 1.0, "power": 2.0}[facts["spectrum"]], "log_floor": floor, "do_normalize": False,
        "padding_value": math.log(floor),
    }  # fmt: skip
