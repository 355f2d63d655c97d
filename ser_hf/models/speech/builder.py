"""Builds the families on a speech encoder: `speech_encoder`, `fusion`, `svm` and `lda`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import WhisperConfig, WhisperForAudioClassification

from ...features.feature_extraction_functionals import FunctionalsFeatureExtractor
from ...features.feature_extraction_fusion import FusionFeatureExtractor
from ...features.feature_extraction_whisper_encoder import WhisperEncoderFeatureExtractor
from ..checkpoint_settings import refuse_adapters
from ..checkpoint_weights import DTYPE, load_extractor, load_model, refuse_unfit_encoder
from ..family import WAVEFORM_ENCODERS, ModelError, Request
from ..front_end import build_front_end
from ..pretrained import build_classifier
from ..records import family_of
from ..stock.builder import build as build_stock
from .configuration_fusion import FusionConfig
from .configuration_lda import LDAConfig
from .configuration_speech_encoder import SpeechEncoderConfig
from .configuration_svm import SVMConfig
from .modeling_fusion import FusionForAudioClassification
from .modeling_lda import LDAForAudioClassification
from .modeling_speech_encoder import SpeechEncoderForAudioClassification
from .modeling_svm import SVMForAudioClassification
from .ssl_encoder import encoder_size

if TYPE_CHECKING:
    from torch import nn
    from transformers import FeatureExtractionMixin, PretrainedConfig, PreTrainedModel

# The head of a Whisper encoder if no pooling is chosen: that of the published RAVDESS figures.
WHISPER_HEAD = {
    "pooling": "statistics", "classifier_proj_size": 512, "statistics_dropout": 0.5, "classifier_dropout": 0.5,
}  # fmt: skip
TINY_WHISPER = WhisperConfig(
    d_model=64, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=128, decoder_layers=1, num_mel_bins=80,
    is_encoder_decoder=False,
)  # fmt: skip
TINY_WHISPER_HEAD = {"classifier_proj_size": 64, "statistics_dropout": 0.1, "classifier_dropout": 0.1}
# Settings in a stock configuration that are not about the encoder.
_OF_A_HEAD = (
    "id2label", "label2id", "problem_type", "architectures", "transformers_version", "head_is_trained",
    "calibration_temperature", "speaker_offsets", "abstention", "training_seconds", "has_adapters", "dtype",
)  # fmt: skip
# 128 bands as in the published fusions; windows of 25 ms.
FUSION_FRONT_END = {"feature_size": 128, "n_fft": 1024, "win_length": 400, "hop_length": 320, "do_normalize": False}


@dataclass(frozen=True)
class Body:
    """A speech encoder from a classifier.

    Attributes:
        encoder: the encoder with its weights.
        facts: its stock configuration, without labels and head.
        extractor: the extractor of its input.
    """

    encoder: nn.Module
    facts: dict[str, Any]
    extractor: FeatureExtractionMixin

    @classmethod
    def of(cls, name: str, model: PreTrainedModel, extractor: FeatureExtractionMixin) -> Body:
        """Return the encoder of a classifier; `name` is used in messages.

        Raises:
            ModelError: if the classifier is not built on a speech encoder alone.
        """
        kind = model.config.model_type
        if isinstance(model, SpeechEncoderForAudioClassification):
            return cls(model.encoder, dict(model.config.encoder), extractor)
        if kind not in WAVEFORM_ENCODERS:
            raise ModelError(f"ssl={name} is a {kind!r} model: use a HuBERT, wav2vec2, WavLM or Whisper checkpoint")
        encoder = family_of(model).encoder_of(model)
        return cls(encoder, _facts(encoder.config), extractor)


def build_speech_encoder(request: Request) -> tuple[SpeechEncoderForAudioClassification, FeatureExtractionMixin]:
    """Build a `speech_encoder` from a Whisper checkpoint, or with a chosen pooling on any speech encoder."""
    labels = {name: request.settings[name] for name in ("id2label", "label2id")}
    has_default_head = "pooling" not in request.settings and "dimensions" not in request.settings
    if request.name_or_path == "tiny-whisper" or (request.config and request.config.model_type == "whisper"):
        settings = request.settings if has_default_head else labels
        model, extractor = _tiny_whisper(settings) if request.config is None else _load_whisper(request, settings)
        if has_default_head:
            return model, extractor
    else:
        model, extractor = build_stock(
            Request(name_or_path=request.name_or_path, config=request.config, settings=labels, labels=request.labels)
        )
        extractor.return_attention_mask = True  # padding must not be pooled, even if the encoder uses no mask
    body = Body.of(request.name_or_path, model, extractor)
    ours = SpeechEncoderForAudioClassification(SpeechEncoderConfig(**{"encoder": body.facts, **request.settings}))
    ours.encoder.load_state_dict(body.encoder.state_dict())
    return ours, extractor


def build_fusion(request: Request) -> tuple[FusionForAudioClassification, FusionFeatureExtractor]:
    """Build a `fusion` with the weights of another classifier's encoder, and its extractor.

    The default of `ssl_layer` is the middle layer, because the middle layers carry most emotion (Yang et al. 2021,
    SUPERB, arXiv:2105.01051).

    Raises:
        ValueError: for settings that contradict each other.
    """
    settings, front_end = dict(request.settings), request.front_end
    ssl = settings.pop("ssl", None)
    body = None if ssl is None else Body.of(ssl, *build_classifier(ssl, request.labels))
    inputs = settings.get("inputs", FusionConfig.inputs)
    if (body is None) != (inputs == "log_mel"):
        raise ValueError(
            f"inputs={inputs} uses no encoder: leave ssl out" if body is not None
            else f"inputs={inputs} needs an encoder: name its checkpoint, as in ssl=facebook/hubert-base-ls960"
        )  # fmt: skip
    if inputs == "ssl" and front_end:
        raise ValueError("inputs=ssl uses no log-mel frames: leave front_end out")
    own, middle = dict(FUSION_FRONT_END), {}
    if body is not None:
        own["hop_length"] = _samples_per_frame(body)
        middle = {"encoder": body.facts, "ssl_layer": encoder_size(body.facts)[0] // 2}
    log_mel = None if inputs == "ssl" else build_front_end({**own, **(front_end or {})})
    if log_mel is not None and body is not None and log_mel.hop_length != own["hop_length"]:
        raise ValueError(
            f"hop_length must be {own['hop_length']} samples, a frame of this encoder, not {log_mel.hop_length}"
        )
    bins = {} if log_mel is None else {"log_mel_bins": log_mel.width}
    model = FusionForAudioClassification(FusionConfig(**{**middle, **settings, **bins}))
    if body is not None:
        weights = body.encoder.state_dict()  # more than needed if the layers above are left out
        model.encoder.load_state_dict({name: weights[name] for name in model.encoder.state_dict()})
    extractor = FusionFeatureExtractor(
        None if log_mel is None else log_mel.to_dict(), None if body is None else body.extractor.to_dict()
    )
    return model, extractor


def build_svm(request: Request) -> tuple[SVMForAudioClassification, FunctionalsFeatureExtractor]:
    """Build a support vector machine that is not fitted yet, and its extractor.

    The setting `ssl` names the checkpoint whose encoder or backbone computes embeddings (default: functionals alone);
    `feature_set` is "functionals" or "egemaps", as in `FunctionalsFeatureExtractor`.

    Raises:
        ModelError: if there is no such encoder.
        ValueError: if inputs and encoder contradict each other.
        ImportError: for "egemaps" without the package opensmile.
    """
    settings = dict(request.settings)
    ssl, feature_set = settings.pop("ssl", None), settings.pop("feature_set", "functionals")
    described, encoder, theirs = {}, None, None
    if ssl is not None:
        settings.setdefault("inputs", "embeddings")
        model, extractor = build_classifier(ssl, request.labels)
        if family_of(model).name == "spectrogram":
            if model.config.in_channels != 1 or model.config.backbone == "vggish":
                raise ModelError(f"ssl={ssl} cannot give embeddings: use a timm backbone with one input channel")
            described = {"backbone": model.config.backbone, "backbone_args": model.config.backbone_args}
            encoder, theirs = model.backbone, extractor.to_dict()
        else:
            body = Body.of(ssl, model, extractor)
            described, encoder, theirs = {"encoder": body.facts}, body.encoder, body.extractor.to_dict()
    extractor = FunctionalsFeatureExtractor(
        "none" if settings.get("inputs") == "embeddings" else feature_set, encoder_inputs=theirs
    )
    model = SVMForAudioClassification(SVMConfig(**{**settings, **described}, functionals=extractor.feature_size))
    if encoder is not None:
        model.encoder.load_state_dict(encoder.state_dict())
    return model.requires_grad_(False).eval(), extractor


def build_lda(request: Request) -> tuple[LDAForAudioClassification, FeatureExtractionMixin]:
    """Build a linear discriminant that is not fitted yet, and the extractor of its encoder.

    The setting `ssl` names the checkpoint of the encoder.

    Raises:
        ModelError: if there is no such encoder.
    """
    settings = dict(request.settings)
    ssl = settings.pop("ssl", None)
    if ssl is None:
        raise ModelError("lda needs an encoder: name its checkpoint, as in ssl=openai/whisper-base")
    model, extractor = build_classifier(ssl, request.labels)
    body = Body.of(ssl, model, extractor)
    ours = LDAForAudioClassification(LDAConfig(**{"encoder": body.facts, **settings}))
    ours.encoder.load_state_dict(body.encoder.state_dict())
    body.extractor.return_attention_mask = True  # padding must not be pooled, even if the encoder uses no mask
    return ours.eval(), body.extractor


def _tiny_whisper(settings: Mapping[str, Any]) -> tuple[SpeechEncoderForAudioClassification, FeatureExtractionMixin]:
    own = {"encoder": _facts(TINY_WHISPER), **WHISPER_HEAD, **TINY_WHISPER_HEAD}
    config = SpeechEncoderConfig(**{**own, **settings})
    return SpeechEncoderForAudioClassification(config), WhisperEncoderFeatureExtractor()


def _load_whisper(
    request: Request, settings: Mapping[str, Any]
) -> tuple[SpeechEncoderForAudioClassification, FeatureExtractionMixin]:
    """Read the encoder of any stock Whisper checkpoint, with or without its decoder."""
    refuse_adapters(request.name_or_path, request.config)
    config = SpeechEncoderConfig(**{"encoder": _facts(request.config), **WHISPER_HEAD, **settings})
    # Only the encoder: the head of a stock classifier has weights of the same names as ours.
    with torch.random.fork_rng(devices=[]):  # the stock head draws random weights that are not used
        stock, loading = load_model(request.name_or_path, WhisperForAudioClassification)
    refuse_unfit_encoder(request.name_or_path, stock, loading)
    weights = {f"encoder.{name}": tensor for name, tensor in stock.encoder.state_dict().items()}
    model = SpeechEncoderForAudioClassification.from_pretrained(None, config=config, state_dict=weights, dtype=DTYPE)
    return model, load_extractor(request.name_or_path, WhisperEncoderFeatureExtractor)


def _facts(config: PretrainedConfig) -> dict[str, Any]:
    """Return the facts of a stock configuration about the encoder: not its labels and not its old head."""
    return {name: value for name, value in config.to_diff_dict().items() if name not in _OF_A_HEAD}


def _samples_per_frame(body: Body) -> int:
    if body.facts["model_type"] == "whisper":
        return 2 * body.extractor.hop_length  # its second convolution halves the frames
    return math.prod(body.encoder.config.conv_stride)
