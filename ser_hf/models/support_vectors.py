"""Support vector machines for the `svm` family: on functionals, on what a frozen encoder of any other family hears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..features.feature_extraction_functionals import FunctionalsFeatureExtractor
from .pretrained import WAVEFORM_FAMILIES, ModelError, build_classifier, check_settings
from .spectrogram import SpectrogramForAudioClassification
from .svm import SVMConfig, SVMForAudioClassification
from .whisper_encoder import WhisperEncoderForAudioClassification


def build_svm_classifier(
    encoder_name_or_path: str | None,
    labels: Sequence[str],
    *,
    feature_set: str = "functionals",
    settings: Mapping[str, Any] | None = None,
) -> tuple[SVMForAudioClassification, FunctionalsFeatureExtractor]:
    """A support vector machine that is yet to be fitted, and the extractor that feeds it.

    Args:
        encoder_name_or_path: whatever `build_classifier` takes: its encoder or backbone is embedded; None: functionals
            alone.
        labels: class names in the order of their ids.
        feature_set: "functionals" or "egemaps", as in `FunctionalsFeatureExtractor`.
        settings: of `SVMConfig`.

    Raises:
        ModelError: if there is no such encoder, or no such setting.
        ValueError: for inputs and an encoder that contradict each other.
        ImportError: for "egemaps" without the package opensmile.
    """
    settings = dict(settings or {})
    check_settings(settings, SVMConfig)
    described, encoder, their_extractor = {}, None, None
    if encoder_name_or_path is not None:
        settings.setdefault("inputs", "embeddings")
        described, encoder, their_extractor = _encoder(encoder_name_or_path, labels)
    extractor = FunctionalsFeatureExtractor(
        "none" if settings.get("inputs") == "embeddings" else feature_set, encoder_inputs=their_extractor
    )
    config = SVMConfig(
        **{**settings, **described},
        functionals=extractor.feature_size,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = SVMForAudioClassification(config)
    if encoder is not None:
        model.encoder.load_state_dict(encoder.state_dict())
    return model.requires_grad_(False).eval(), extractor


def _encoder(name_or_path: str, labels: Sequence[str]):
    """What a configuration says of an encoder, the encoder, and the settings of the extractor that feeds it."""
    model, extractor = build_classifier(name_or_path, labels)
    if isinstance(model, SpectrogramForAudioClassification):
        described = {"backbone": model.config.backbone, "backbone_args": model.config.backbone_args}
        return described, model.backbone, extractor.to_dict()
    is_whisper = isinstance(model, WhisperEncoderForAudioClassification)
    if not is_whisper and model.config.model_type not in WAVEFORM_FAMILIES:
        raise ModelError(
            f"{name_or_path} is a {model.config.model_type!r} model; embeddings come from a HuBERT, wav2vec2, WavLM or "
            "Whisper checkpoint, or from a timm backbone"
        )
    stock = model.config.to_dict()
    described = {name: value for name, value in stock.items() if name not in ("id2label", "label2id", "architectures")}
    described["model_type"] = "whisper" if is_whisper else stock["model_type"]
    encoder = model.encoder if is_whisper else getattr(model, model.base_model_prefix)
    return {"encoder": described}, encoder, extractor.to_dict()
