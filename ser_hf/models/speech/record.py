"""The records of the families on a speech encoder."""

from __future__ import annotations

from ..family import WAVEFORM_ENCODERS, Family

FAMILIES = (
    Family(
        name="speech_encoder",
        summary="any speech encoder, Whisper at the recording's own length: learned layer weights, mean, statistics or "
        "attentive pooling, valence, arousal and dominance beside the emotion",
        usage="`openai/whisper-base`; any other speech encoder with `--model_settings pooling=attentive`",
        page="speech_encoder",
        model_type="ser_speech_encoder",
        config_class=".speech.configuration_speech_encoder:SpeechEncoderConfig",
        model_class=".speech.modeling_speech_encoder:SpeechEncoderForAudioClassification",
        extractor_class="ser_hf.features.feature_extraction_whisper_encoder:WhisperEncoderFeatureExtractor",
        builder=".speech.builder:build_speech_encoder",
        architectures=("tiny-whisper", *(f"tiny-{name}" for name in WAVEFORM_ENCODERS)),
        reads=("whisper", *WAVEFORM_ENCODERS),
        chosen_by=("pooling", "dimensions"),
        encoder="encoder",
        cached_input="layer_statistics",
        can_cache=lambda config: config.pooling != "attentive",  # which weighs single frames
        fits_statistics=True,
        has_dimensions=lambda config: config.dimensions,
        tiny={"name_or_path": "tiny-whisper"},
    ),
    Family(
        name="fusion",
        summary="log-mel and encoder features, frame by frame, under dilated convolutions",
        usage="`fusion`, with `--model_settings ssl=facebook/hubert-base-ls960`",
        page="fusion",
        model_type="ser_fusion",
        config_class=".speech.configuration_fusion:FusionConfig",
        model_class=".speech.modeling_fusion:FusionForAudioClassification",
        extractor_class="ser_hf.features.feature_extraction_fusion:FusionFeatureExtractor",
        builder=".speech.builder:build_fusion",
        architectures=("fusion",),
        builder_settings=("ssl",),
        takes_front_end=True,
        encoder="encoder",
        cached_input="frames",
        cached_settings=("inputs", "log_mel_bins", "ssl_layer"),
        fits_statistics=True,
        tiny={
            "name_or_path": "fusion",
            "settings": {"ssl": "tiny-whisper", "ssl_layer": None, "hidden_size": 64, "hidden_dropout": 0.3},
        },
    ),
    Family(
        name="svm",
        summary="a support vector machine on functionals, frozen embeddings or both; nothing is pickled",
        usage="`recipes/train_svm.py`",
        page="svm",
        model_type="ser_svm",
        config_class=".speech.configuration_svm:SVMConfig",
        model_class=".speech.modeling_svm:SVMForAudioClassification",
        extractor_class="ser_hf.features.feature_extraction_functionals:FunctionalsFeatureExtractor",
        builder=".speech.builder:build_svm",
        architectures=("svm",),
        builder_settings=("ssl", "feature_set"),
        encoder="encoder",
        cached_input="vectors",
        cached_settings=("inputs", "functionals", "encoder_outputs"),
        is_fitted=True,
        emotion_layer="",
        logits=("head.calibration_weight", "head.calibration_bias"),
        tiny={"name_or_path": "svm"},
    ),
)
