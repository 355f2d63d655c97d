import numpy as np
import pytest
import torch

from ser_hf.data.precompute import precompute
from ser_hf.inference.predict import embed, predict_probabilities
from ser_hf.models.pretrained import ModelError, build_classifier
from ser_hf.models.temperature import emotion_layer


@pytest.mark.parametrize(
    ("name", "cached"), [("tiny-whisper", False), ("tiny-whisper", True), ("tiny-hubert", False), ("cnn", True)]
)
def test_an_embedding_is_what_the_probabilities_of_its_utterance_are_computed_from(name, cached, synthetic):
    """In the order of the dataset, however the utterances are batched by their length."""
    some = synthetic.select(range(0, 960, 80))
    assert len(set(some["duration"])) > 3
    torch.manual_seed(0)
    model, extractor = build_classifier(name, synthetic.features["label"].names, trainable="full")
    if cached:
        some = precompute(some, model, extractor, frozen=name != "cnn")
    embeddings, layer = embed(model, extractor, some), emotion_layer(model)
    assert embeddings.shape == (len(some), layer.in_features)
    logits = layer(torch.as_tensor(embeddings, dtype=torch.float32)).double()
    np.testing.assert_allclose(logits.softmax(dim=1).detach(), predict_probabilities(model, extractor, some), atol=1e-6)
    assert not layer._forward_pre_hooks


def test_a_model_without_a_last_linear_layer_has_no_embedding(synthetic):
    model, extractor = build_classifier("tiny-whisper", synthetic.features["label"].names)
    model.classifier = torch.nn.Linear(2, 2)
    with pytest.raises(ModelError, match="no linear layer `classifier` with 5 outputs"):
        embed(model, extractor, synthetic.select(range(2)))
