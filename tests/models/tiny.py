"""Small networks of every family: what `build_classifier` is given, and with what they learn the synthetic corpus.

Those without `training` are too small or too raw to learn it in half a minute; everything else is asked of them.
"""

SPEECH_ENCODERS = {
    "attentive-hubert": ("tiny-hubert", {"pooling": "attentive"}),
    "attentive-whisper": ("tiny-whisper", {"pooling": "attentive"}),
    "statistics-whisper": ("tiny-whisper", {"pooling": "statistics", "dimensions": True}),
    "mean-wavlm": ("tiny-wavlm", {"pooling": "mean"}),
}
HYBRIDS = {
    "parallel-transformer": {"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2},
    "parallel-blstm": {"d_model": 32},
    "cnn-lstm": {"lstm_hidden_size": 32},
    "cnn-attention-lstm": {"lstm_hidden_size": 32},
    "cnn": {},
}
FUSIONS = {
    "fusion-hubert": {"ssl": "tiny-hubert", "ssl_layer": None},
    "fusion-whisper": {"ssl": "tiny-whisper"},
    "fusion-log-mel": {"inputs": "log_mel"},
    "fusion-ssl": {"ssl": "tiny-wav2vec2", "inputs": "ssl", "ssl_layer": 2},
}
TINY_MODELS = {
    **{
        name: {"build": {"name_or_path": name}}
        for name in ("tiny-hubert", "tiny-wav2vec2", "tiny-wavlm", "tiny-whisper", "test_resnet", "test_efficientnet")
    },
    **{
        name: {"build": {"name_or_path": body, "settings": settings}}
        for name, (body, settings) in SPEECH_ENCODERS.items()
    },
    **{
        name: {
            "build": {
                "name_or_path": name,
                "settings": {
                    "channels": [8, 16, 32],
                    "pools": [4, 2, 2],
                    "conv_dropout": 0.1,
                    "classifier_dropout": 0.1,
                    **settings,
                },
                "front_end": {"feature_size": 40, "n_fft": 512, "win_length": 512},
            }
        }
        for name, settings in HYBRIDS.items()
    },
    **{name: {"build": {"name_or_path": "fusion", "settings": settings}} for name, settings in FUSIONS.items()},
    "cnn-leaf": {
        "build": {
            "name_or_path": "cnn",
            "settings": {"front_end": "leaf", "feature_size": 32, "channels": [8, 16, 32], "pools": [4, 2, 2]},
        }
    },
}
