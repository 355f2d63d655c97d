"""The record of the `spectrogram` family."""

from __future__ import annotations

from ..family import Family, never

FAMILIES = (
    Family(
        name="spectrogram",
        summary="a timm backbone or VGGish on log-mel images, ImageNet or AudioSet weights kept",
        usage="`resnet18`, `timm/tf_efficientnet_lite0.in1k`, `vggish`",
        page="spectrogram",
        model_type="ser_spectrogram",
        config_class=".spectrogram.configuration_spectrogram:SpectrogramConfig",
        model_class=".spectrogram.modeling_spectrogram:SpectrogramForAudioClassification",
        extractor_class="ser_hf.features.feature_extraction_log_mel:LogMelFeatureExtractor",
        builder=".spectrogram.builder:build",
        architectures=("vggish",),
        is_architecture=".spectrogram.builder:is_architecture",
        reads=("timm_wrapper",),
        takes_front_end=True,
        encoder="backbone",
        layers=".spectrogram.builder:backbone_layers",
        longest_seconds=600.0,
        padding_invariant=never,  # convolutions smear the padding into the recording
        tiny={
            "name_or_path": "test_resnet",
            "front_end": {
                "feature_size": 80, "n_fft": 2048, "win_length": 1600, "hop_length": 640, "max_frequency_hz": 4000.0,
            },
        },
    ),
)  # fmt: skip
