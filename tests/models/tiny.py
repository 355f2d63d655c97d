"""Small networks for tests: what `build_classifier` is given, and options of a training on the synthetic corpus."""

SMALL = {"channels": [8, 16, 32], "pools": [4, 2, 2], "conv_dropout": 0.1, "classifier_dropout": 0.1}
TINY_MODELS = {
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
        },
        "training": {"num_train_epochs": 25, "per_device_train_batch_size": 16, "learning_rate": 3e-3},
    }
    for name, settings in {
        "parallel-transformer": {"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2},
        "parallel-blstm": {"d_model": 32},
        "cnn-lstm": {"lstm_hidden_size": 32},
        "cnn-attention-lstm": {"lstm_hidden_size": 32},
        "cnn": {},
    }.items()
}
TINY_MODELS["cnn-leaf"] = {
    "build": {
        "name_or_path": "cnn",
        "settings": {"front_end": "leaf", "feature_size": 32, "channels": [8, 16, 32], "pools": [4, 2, 2]},
    },
    "training": TINY_MODELS["cnn"]["training"],
}
