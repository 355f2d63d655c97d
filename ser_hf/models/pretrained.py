"""One builder for every classifier: HuBERT, wav2vec2, WavLM (stock classes), Whisper (our `whisper_encoder` family),
log-mel images under timm's backbones (`spectrogram`) or under convolutions with recurrence or attention (`hybrid`),
log-mel frames beside those of an encoder (`fusion`), and encoders under other heads (`speech_encoder`).

Stock classes are used unchanged wherever one exists, so that the saved model needs no code of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    HubertConfig,
    PreTrainedConfig,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from . import (
    FAMILIES,
    FusionConfig,
    SpectrogramConfig,
    SpeechEncoderConfig,
    WhisperEncoderConfig,
    WhisperEncoderFeatureExtractor,
    WhisperEncoderForAudioClassification,
)
from .backbones import backbone_layers, build_spectrogram_classifier, is_architecture, is_timm
from .fusions import FUSION, build_fusion_classifier
from .hybrids import HYBRIDS, build_hybrid_classifier, hybrid_layers, is_hybrid
from .speech_encoders import build_on_body, chooses_speech_encoder

if TYPE_CHECKING:
    from torch import nn
    from transformers import FeatureExtractionMixin, PretrainedConfig, PreTrainedModel

WAVEFORM_FAMILIES = ("hubert", "wav2vec2", "wavlm")
OURS = tuple(config.model_type for config, _, _ in FAMILIES)
TINY = {
    "tiny-hubert": HubertConfig,
    "tiny-wav2vec2": Wav2Vec2Config,
    "tiny-wavlm": WavLMConfig,
    "tiny-whisper": WhisperEncoderConfig,
}


# Of all weights, however a checkpoint stores them: extractors give float32, and mixed precision stands on it. By itself
# transformers takes over the half precision of a file.
DTYPE = torch.float32


class ModelError(ValueError):
    """A checkpoint that cannot be used as asked; the message says what to do."""


def build_classifier(
    name_or_path: str,
    labels: Sequence[str],
    *,
    trainable: str = "full",
    in_channels: int = 1,
    front_end: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
    """An emotion classifier with our labels and the feature extractor that feeds it.

    Args:
        name_or_path: a Hub name or folder of a HuBERT, wav2vec2, WavLM, Whisper or timm checkpoint, or of a classifier
            of ours; with random weights an architecture of timm, "vggish", or a name of `HYBRIDS`; "fusion"; or a name
            of `TINY`: small, randomly initialised, for tests and for the embedded example.
        labels: class names in the order of their ids.
        trainable: "head", "last<n>" (the head and the last n layers of the encoder), "encoder" (all but the
            convolutional front end) or "full".
        in_channels: of the images that a backbone looks at: 1, or 3 equal ones.
        front_end: settings of `LogMelFeatureExtractor` other than those of the backbone.
        settings: of the family's configuration, such as {"classifier_dropout": 0.3}. On a HuBERT, wav2vec2, WavLM or
            Whisper checkpoint `pooling` or `dimensions` among them choose the family `speech_encoder`; for "fusion",
            `ssl` is the name or folder of the encoder that it hears.

    Raises:
        ModelError: if the checkpoint is of another kind, is trained for other labels, or knows no such setting.
    """
    label_maps = {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}
    settings = dict(settings or {})
    ssl = settings.pop("ssl", None) if name_or_path == FUSION else None
    config = None if has_random_weights(name_or_path) else _read_config(name_or_path)
    on_body = chooses_speech_encoder(settings) and _is_body(name_or_path, config)
    check_settings(settings, SpeechEncoderConfig if on_body else _configuration_class(name_or_path, config))
    chosen = {**({} if on_body else settings), **label_maps}
    if is_architecture(name_or_path) or is_timm(config):
        model, extractor = build_spectrogram_classifier(
            name_or_path, chosen, in_channels=in_channels, front_end=front_end
        )
    elif name_or_path in HYBRIDS:
        model, extractor = build_hybrid_classifier(name_or_path, chosen, front_end=front_end)
    elif name_or_path == FUSION:
        body = None if ssl is None else build_classifier(ssl, labels)
        model, extractor = build_fusion_classifier(body, chosen, front_end=front_end)
    elif front_end:
        raise ModelError(f"{name_or_path} has a front end of its own: leave front_end out")
    elif name_or_path in TINY:
        model, extractor = _build_tiny(name_or_path, chosen)
    else:
        model, extractor = _load(name_or_path, config, chosen)
    if on_body:
        model, extractor = build_on_body(model, extractor, {**settings, **label_maps})
    set_trainable(model, trainable)
    return model, extractor


def has_random_weights(name_or_path: str) -> bool:
    """Whether a name stands for an architecture, not for a checkpoint: its own weights have heard nothing."""
    return name_or_path in (*TINY, *HYBRIDS, FUSION) or is_architecture(name_or_path)


_OF_EVERY_MODEL = {field.name for field in fields(PreTrainedConfig)} - {"problem_type"}


def check_settings(settings: Mapping[str, Any], config_class: type[PretrainedConfig]) -> None:
    """Raises a `ModelError` for a name that a configuration class does not define: transformers would keep it silently.

    >>> check_settings({"classifier_dropuot": 0.1}, SpectrogramConfig)
    Traceback (most recent call last):
    ser_hf.models.pretrained.ModelError: ser_spectrogram has no setting 'classifier_dropuot': did you mean ...
    """
    known = {field.name for field in fields(config_class)} - _OF_EVERY_MODEL
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, n=1) or sorted(known)
            raise ModelError(f"{config_class.model_type} has no setting {name!r}: did you mean {' or '.join(near)}?")


def _configuration_class(name_or_path: str, config: PretrainedConfig | None) -> type[PretrainedConfig]:
    if is_architecture(name_or_path) or is_timm(config):
        return SpectrogramConfig
    if name_or_path in HYBRIDS:
        return HYBRIDS[name_or_path][0]
    if name_or_path in TINY:
        return TINY[name_or_path]
    if name_or_path == FUSION:
        return FusionConfig
    return WhisperEncoderConfig if config.model_type == "whisper" else type(config)


def _is_body(name_or_path: str, config: PretrainedConfig | None) -> bool:
    """Whether a name stands for an encoder that the family `speech_encoder` can be built on."""
    bodies = (*WAVEFORM_FAMILIES, "whisper", WhisperEncoderConfig.model_type)
    return name_or_path in TINY or (config is not None and config.model_type in bodies)


def _read_config(name_or_path: str) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(name_or_path)
    except OSError as error:
        import timm

        ours = (*TINY, *HYBRIDS, FUSION, "vggish")
        near = get_close_matches(name_or_path, (*ours, *timm.list_models()), n=1)
        raise ModelError(
            f"there is no model {name_or_path!r}{f' (did you mean {near[0]!r}?)' if near else ''}: neither a folder "
            "with a config.json, nor a name the Hub answers to, nor an architecture of timm (without a network, pass a "
            f"folder, or one of {', '.join(ours)})"
        ) from error


def _load(name_or_path: str, config: PretrainedConfig, chosen: dict) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
    refuse_adapters(name_or_path, config)
    if config.model_type == "whisper":
        config = _whisper_encoder_config(config, chosen)
        model = WhisperEncoderForAudioClassification.from_pretrained(name_or_path, config=config, dtype=DTYPE)
        return model, WhisperEncoderFeatureExtractor.from_pretrained(name_or_path)
    if config.model_type not in (*WAVEFORM_FAMILIES, *OURS):
        raise ModelError(
            f"{name_or_path} is a {config.model_type!r} model; wanted one of {', '.join(WAVEFORM_FAMILIES)}, whisper, "
            "or a timm backbone"
        )
    if _is_classifier(config) and list(config.id2label.values()) != list(chosen["label2id"]):
        raise ModelError(
            f"{name_or_path} is trained for {list(config.id2label.values())}, not for "
            f"{list(chosen['label2id'])}: choose the label scheme it was trained with, or an untrained encoder"
        )
    # A layer that is skipped in training leaves no output, and the stock classes fail on a mix of all layers.
    head = {} if config.model_type in OURS else {"use_weighted_layer_sum": True, "layerdrop": 0.0}
    model = AutoModelForAudioClassification.from_pretrained(name_or_path, dtype=DTYPE, **{**head, **chosen})
    return model, AutoFeatureExtractor.from_pretrained(name_or_path)


def _is_classifier(config: PretrainedConfig) -> bool:
    """Whether a checkpoint has a head of its own; the names LABEL_0, LABEL_1 are what transformers fills in."""
    is_named = not all(re.fullmatch(r"LABEL_\d+", label) for label in config.id2label.values())
    return is_named and any("Classification" in name for name in config.architectures or ())


def _whisper_encoder_config(stock: PretrainedConfig, chosen: dict) -> WhisperEncoderConfig:
    ours = WhisperEncoderConfig()
    # The head's width and the encoder-only flag are ours; everything else says how the weights were made.
    differing = ("model_type", "architectures", "classifier_proj_size", "is_encoder_decoder", "use_weighted_layer_sum")
    facts = {key: value for key, value in stock.to_dict().items() if hasattr(ours, key) and key not in differing}
    return WhisperEncoderConfig(**{**facts, **chosen})


def _build_tiny(name: str, chosen: dict) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
    if name == "tiny-whisper":
        sizes = dict(
            d_model=64, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=128, decoder_layers=1,
            classifier_proj_size=64, statistics_dropout=0.1, classifier_dropout=0.1, num_mel_bins=80,
        )  # fmt: skip
        config = WhisperEncoderConfig(**{**sizes, **chosen})
        return WhisperEncoderForAudioClassification(config), WhisperEncoderFeatureExtractor()
    # Strides of 400 samples in all instead of 320, few channels, and layer norm, which padding does not disturb.
    sizes = dict(
        conv_dim=(32, 48, 64), conv_stride=(10, 8, 5), conv_kernel=(40, 16, 10), num_feat_extract_layers=3,
        feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True, hidden_size=64, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=128, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
        classifier_proj_size=64, use_weighted_layer_sum=True, layerdrop=0.0, hidden_dropout=0.0, activation_dropout=0.0,
        attention_dropout=0.0, feat_proj_dropout=0.0, final_dropout=0.0, apply_spec_augment=False,
    )  # fmt: skip
    # The level of the voice carries emotion, so the waveform is not normalised to unit variance.
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    return AutoModelForAudioClassification.from_config(TINY[name](**{**sizes, **chosen})), extractor


def encoder_layers(model: PreTrainedModel) -> list[list[nn.Parameter]]:
    """The encoder's parameters from the input to the output: what stands before its layers, then layer by layer."""
    if is_hybrid(model.config):
        return hybrid_layers(model)
    body = model.encoder if hasattr(model, "encoder") else model.base_model
    if body is None:  # a model that hears no encoder is all head
        return [[]]
    if isinstance(model.config, SpectrogramConfig):
        return backbone_layers(body)
    encoder = body if hasattr(body, "layers") else body.encoder
    layers = [list(layer.parameters()) for layer in encoder.layers]
    within = {id(parameter) for layer in layers for parameter in layer}
    return [[parameter for parameter in body.parameters() if id(parameter) not in within], *layers]


def set_trainable(model: PreTrainedModel, trainable: str) -> None:
    """Freezes what shall not learn: everything but "head", "last<n>", "encoder" or "full" (nothing).

    Raises:
        ModelError: for another word, or for more layers than there are.
    """
    front, *layers = encoder_layers(model)
    match = re.fullmatch(r"last([1-9]\d*)", trainable)
    if trainable not in ("head", "encoder", "full") and (match is None or int(match[1]) > len(layers)):
        some = f"'last1' to 'last{len(layers)}', " if layers else ""
        raise ModelError(f"trainable is {trainable!r}, wanted 'head', {some}'encoder' or 'full'")
    learning = (
        {"head": 0, "encoder": len(layers), "full": len(layers)}.get(trainable) if match is None else int(match[1])
    )
    for number, layer in enumerate([front, *layers]):
        for parameter in layer:
            parameter.requires_grad = trainable == "full" or number > len(layers) - learning
    if trainable == "full" and isinstance(getattr(model, "encoder", None), WhisperEncoder):
        model.encoder.embed_positions.requires_grad_(False)  # Whisper's positions are fixed sinusoids


def is_frozen(model: PreTrainedModel) -> bool:
    """Whether only the head learns."""
    return not any(parameter.requires_grad for layer in encoder_layers(model) for parameter in layer)


def is_padding_invariant(model: PreTrainedModel, extractor: FeatureExtractionMixin) -> bool:
    """Whether a clip scores the same alone and padded in a batch; unknown families are assumed not to.

    Group norm in the feature encoder (hubert-base, wav2vec2-base) takes its statistics over the padding too. Where the
    extractor crops or pads every clip to one length, a batch changes nothing.
    """
    if hears_fixed_window(model):
        return True
    if getattr(extractor, "crop_seconds", None) is not None:
        return True
    if hasattr(model, "padding_invariant"):
        return model.padding_invariant
    has_mask = getattr(extractor, "return_attention_mask", False)
    return model.config.model_type in WAVEFORM_FAMILIES and model.config.feat_extract_norm == "layer" and has_mask


def hears_fixed_window(model: PreTrainedModel) -> bool:
    """Whether a model wants every clip padded or cut to the window of its extractor: stock Whisper, 30 seconds."""
    return model.config.model_type == "whisper"


def refuse_adapters(name_or_path: str, config: PretrainedConfig) -> None:
    """Raises a `ModelError` for weights that were saved with adapters beside them (`models.lora`), half of a model."""
    if getattr(config, "has_adapters", False):
        raise ModelError(
            f"{name_or_path} is a checkpoint within a LoRA training, whose adapters are merged at its end: run that "
            "training again, which goes on from here, and take its finished folder"
        )


def refuse_regression(name_or_path: str, config: PretrainedConfig) -> None:
    """Raises a `ModelError` for a head whose outputs are values, such as arousal: a softmax of them means nothing."""
    if config.problem_type == "regression":
        raise ModelError(
            f"{name_or_path} estimates values of {', '.join(config.id2label.values())} (problem_type 'regression'), "
            "not probabilities of emotions: choose a classifier, or train one; with --model_settings pooling=attentive "
            "dimensions=true it estimates valence, arousal and dominance beside the emotion"
        )


def refuse_untrained_head(name_or_path: str, missing_keys: Sequence[str], config: PretrainedConfig) -> None:
    """Raises a `ModelError` if the weights of the emotion head are not those of a training."""
    refuse_adapters(name_or_path, config)
    if missing_keys:
        raise ModelError(
            f"{name_or_path} has no trained emotion head ({sorted(missing_keys)[0]} is missing): its scores would be "
            "noise. Train it first, for example: python recipes/train_classifier.py --model_name_or_path "
            f"{name_or_path}"
        )
    is_classifier = any("Classification" in name for name in config.architectures or ())
    if not is_classifier or getattr(config, "head_is_trained", True) is False:
        raise ModelError(
            f"the emotion head of {name_or_path} was saved before it was trained: its scores would be noise"
        )
