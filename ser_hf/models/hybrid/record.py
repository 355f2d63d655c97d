"""The records of the `hybrid` families."""

from __future__ import annotations

from ..family import Family

# Windows of 100 ms and bands 25 Hz apart: pitch is what differs most between emotions of the synthetic corpus.
_TINY_FRONT_END = {"feature_size": 80, "n_fft": 2048, "win_length": 1600, "hop_length": 320, "max_frequency_hz": 4000.0}
_TINY = {"channels": [8, 16, 32], "pools": [4, 2, 2], "conv_dropout": 0.1, "classifier_dropout": 0.1}


def _hybrid(kind: str, summary: str, architectures: tuple[str, ...], tiny: dict) -> Family:
    return Family(
        name=f"hybrid_{kind}",
        summary=summary,
        usage=", ".join(f"`{one}`" for one in architectures),
        page="hybrid",
        model_type=f"ser_hybrid_{kind}",
        config_class=f".hybrid.configuration_hybrid:Hybrid{kind.title()}Config",
        model_class=f".hybrid.modeling_{kind}:Hybrid{kind.title()}ForAudioClassification",
        extractor_class="ser_hf.features.feature_extraction_log_mel:LogMelFeatureExtractor",
        builder=".hybrid.builder:build",
        architectures=architectures,
        takes_front_end=True,
        layers=".hybrid.builder:hybrid_layers",
        tiny={"name_or_path": architectures[0], "front_end": _TINY_FRONT_END, "settings": {**_TINY, **tiny}},
    )


FAMILIES = (
    _hybrid(
        "parallel",
        "a CNN beside a Transformer or an attention-BLSTM",
        ("parallel-transformer", "parallel-blstm"),
        {"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2},
    ),
    _hybrid(
        "stacked",
        "a CNN below an LSTM, with or without attention, or a plain CNN",
        ("cnn-lstm", "cnn-attention-lstm", "cnn"),
        {"lstm_hidden_size": 64},
    ),
)
