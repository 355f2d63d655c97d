"""Builds classifiers on HuBERT, wav2vec2 and WavLM with the classes of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import (
    AutoModelForAudioClassification,
    HubertConfig,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
)

from ..family import Request
from ..pretrained import load_checkpoint

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel

TINY = {"tiny-hubert": HubertConfig, "tiny-wav2vec2": Wav2Vec2Config, "tiny-wavlm": WavLMConfig}
# Strides of 400 samples in all instead of 320, few channels, and layer norm, which padding does not disturb.
TINY_SIZES = dict(
    conv_dim=(32, 48, 64), conv_stride=(10, 8, 5), conv_kernel=(40, 16, 10), num_feat_extract_layers=3,
    feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True, hidden_size=64, num_hidden_layers=2,
    num_attention_heads=2, intermediate_size=128, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    classifier_proj_size=64, use_weighted_layer_sum=True, layerdrop=0.0, hidden_dropout=0.0, activation_dropout=0.0,
    attention_dropout=0.0, feat_proj_dropout=0.0, final_dropout=0.0, apply_spec_augment=False,
)  # fmt: skip


def build(request: Request) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
    """Build a stock classifier and its extractor from a checkpoint, or a small one with random weights."""
    if request.config is not None:
        # A layer that is skipped in training leaves no output, and the stock classes fail on a mix of all layers.
        return load_checkpoint(request, use_weighted_layer_sum=True, layerdrop=0.0)
    config = TINY[request.name_or_path](**{**TINY_SIZES, **request.settings})
    # The level of the voice carries emotion, so the waveform is not normalised to unit variance.
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    return AutoModelForAudioClassification.from_config(config), extractor
