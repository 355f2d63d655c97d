"""The records of the stock families."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..family import Family, always

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


def masks_padding(model: PreTrainedModel, extractor: FeatureExtractionMixin) -> bool:
    """True if padding changes nothing; group norm in the feature encoder computes its statistics over padding too."""
    return model.config.feat_extract_norm == "layer" and extractor.return_attention_mask


def _waveform_encoder(name: str, prefix: str, checkpoint: str) -> Family:
    return Family(
        name=name,
        summary="the stock class of transformers, with learned layer weights",
        usage=f"`{checkpoint}`",
        page="stock_encoders",
        model_type=name,
        config_class=f"transformers:{prefix}Config",
        model_class=f"transformers:{prefix}ForSequenceClassification",
        extractor_class="transformers:Wav2Vec2FeatureExtractor",
        is_stock=True,
        builder=".stock.builder:build",
        architectures=(f"tiny-{name}",),
        encoder=name,
        padding_invariant=masks_padding,
        tiny={"name_or_path": f"tiny-{name}"},
    )


FAMILIES = (
    _waveform_encoder("hubert", "Hubert", "facebook/hubert-base-ls960"),
    _waveform_encoder("wav2vec2", "Wav2Vec2", "facebook/wav2vec2-base"),
    _waveform_encoder("wavlm", "WavLM", "microsoft/wavlm-base-plus"),
    Family(
        name="whisper",
        summary="a stock Whisper classifier of other people: scored as in a stock pipeline, never trained here",
        model_type="whisper",
        config_class="transformers:WhisperConfig",
        model_class="transformers:WhisperForAudioClassification",
        extractor_class="transformers:WhisperFeatureExtractor",
        is_stock=True,
        builder="",  # a Whisper checkpoint is trained as a `speech_encoder`
        encoder="encoder",
        padding_invariant=always,
        has_fixed_window=True,
    ),
)
