"""Small networks of every family, as `build_classifier` is given them; `test_learning.py` says how they are trained."""

import numpy as np
import torch

from ser_hf.inference.offsets import OffsetRule
from ser_hf.models.pretrained import build_classifier
from ser_hf.models.records import RECORDS

# Windows of 100 ms and bands 25 Hz apart: pitch is what differs most between emotions of the synthetic corpus.
FINE_FRONT_END = {
    "feature_size": 80, "n_fft": 2048, "win_length": 1600, "hop_length": 320, "max_frequency_hz": 4000.0,
}  # fmt: skip
HYBRID = {"channels": [8, 16, 32], "pools": [4, 2, 2], "conv_dropout": 0.1, "classifier_dropout": 0.1}


def model(name_or_path, extractor=None, trainable="full", **settings):
    return {"name_or_path": name_or_path, "settings": settings, "front_end": extractor, "trainable": trainable}


def build_svm(encoder, labels, *, feature_set="functionals", settings=None):
    """A support vector machine on the encoder of this name, or on functionals alone."""
    own = {} if encoder is None else {"ssl": encoder}
    return build_classifier("svm", labels, settings={**own, "feature_set": feature_set, **(settings or {})})


def save_untrained(folder, name, labels, *, sharpness=1.0):
    """Save a random network as if it were trained, with a rule for known speakers; return its folder.

    Args:
        sharpness: factor of the head's weights: an untrained head hides the difference that a trained one shows.
    """
    torch.manual_seed(0)
    built, extractor = build_classifier(name, labels)
    built.config.head_is_trained = True
    with torch.no_grad():
        built.classifier.weight.mul_(sharpness)
    OffsetRule(np.eye(len(labels)), prior_utterances=1.0, trust_utterances=1.0, even_share=0.5).write_to(built)
    built.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


TINY_ENCODERS = ("tiny-hubert", "tiny-wav2vec2", "tiny-wavlm", "tiny-whisper")
HYBRIDS = ("hybrid_parallel", "parallel-blstm", "hybrid_stacked", "cnn-attention-lstm", "cnn", "cnn-leaf")
TINY_MODELS = {
    # The instance of each record, which is how a new family is tested.
    **{family.name: dict(family.tiny) for family in RECORDS if family.tiny and not family.is_fitted},
    # Variants.
    "test_efficientnet": model("test_efficientnet"),
    "attentive-hubert": model("tiny-hubert", pooling="attentive"),
    "attentive-whisper": model("tiny-whisper", pooling="attentive"),
    "statistics-whisper": model("tiny-whisper", pooling="statistics"),
    "dimensions-whisper": model("tiny-whisper", pooling="mean", dimensions=True),
    "mean-wavlm": model("tiny-wavlm", pooling="mean"),
    "parallel-blstm": model("parallel-blstm", FINE_FRONT_END, d_model=32, **HYBRID),
    "cnn-attention-lstm": model("cnn-attention-lstm", FINE_FRONT_END, lstm_hidden_size=32, **HYBRID),
    "cnn": model("cnn", FINE_FRONT_END, **HYBRID),
    "cnn-leaf": model("cnn", front_end="leaf", feature_size=32, **HYBRID),
    "fusion-hubert": model("fusion", ssl="tiny-hubert", ssl_layer=None),
    "fusion-log-mel": model("fusion", inputs="log_mel"),
    "fusion-ssl": model("fusion", ssl="tiny-wav2vec2", inputs="ssl", ssl_layer=2),
}
