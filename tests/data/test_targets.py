"""Votes, several emotions and dimensions become targets by the rules that are written down."""

import json

import numpy as np
import pytest

from ser_hf import load_corpus
from ser_hf.corpora import CorpusError
from ser_hf.data.collate import UtteranceCollator
from ser_hf.data.precompute import precompute
from ser_hf.data.targets import with_dimensions, with_targets
from ser_hf.models.pretrained import build_classifier


def votes_of(rows, votes):
    """The rows with raters' votes as a reader writes them."""
    texts = [None if one is None else json.dumps(one) for one in votes]
    voted = rows.remove_columns("votes").add_column("votes", texts)
    voted.info.description = rows.info.description
    return voted


@pytest.fixture
def rows(synthetic):
    """One utterance of anger, fear, happiness and neutral each, in this order (scheme `five`)."""
    labels = synthetic["label"]
    return synthetic.select([labels.index(number) for number in range(4)])


def test_votes_are_shared_out_among_the_classes_and_a_label_counts_where_there_is_none(rows):
    voted = votes_of(rows, [{"anger": 3, "fear": 1}, None, {"contempt": 9}, {"neutral": 2, "contempt": 5, "anger": 2}])
    shares = with_targets(voted, "votes")
    np.testing.assert_allclose(
        shares["target"],
        [[0.75, 0.25, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0.5, 0, 0, 0.5, 0]],
    )  # fmt: skip
    assert shares["label"] == rows["label"], "what utterances are judged by stays"


def test_every_class_with_an_even_share_of_the_votes_is_present(rows):
    voted = votes_of(rows, [{"anger": 8, "fear": 2}, {"fear": 8, "sadness": 1}, None, {"neutral": 1}])
    np.testing.assert_array_equal(
        with_targets(voted, "multi_label")["target"],
        [[1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]],
    )  # fmt: skip


def test_labels_need_nothing_and_votes_that_nobody_gave_are_an_error(rows):
    assert with_targets(rows, "label") is rows
    for kind in ("votes", "multi_label"):
        with pytest.raises(CorpusError, match="no utterance has any: use a corpus or a label source with votes"):
            with_targets(rows, kind)
    with pytest.raises(ValueError, match="must be one of label, votes, multi_label, not 'vote'"):
        with_targets(rows, "vote")


def test_the_votes_of_crema_d_become_targets(miniature):
    dataset = load_corpus("crema_d", miniature("crema_d"), label_source="voice", allow_partial=True)
    targets = np.asarray(with_targets(dataset, "votes")["target"])
    np.testing.assert_allclose(targets.sum(axis=1), 1)
    assert (targets.argmax(axis=1) == dataset["label"]).all(), "the label is what most raters heard"


@pytest.mark.parametrize("corpus", ["iemocap", "msp_podcast"])
def test_dimensions_lie_on_one_scale_whatever_the_corpus(corpus, miniature):
    options = {"label_source": "consensus"} if corpus == "msp_podcast" else {}
    dataset = load_corpus(corpus, miniature(corpus), allow_partial=True, **options)
    scaled = np.asarray(with_dimensions(dataset)["dimensions"])
    lowest, highest = {"iemocap": (1, 5), "msp_podcast": (1, 7)}[corpus]
    np.testing.assert_allclose(
        scaled * (highest - lowest) + lowest,
        np.stack([dataset[name] for name in ("valence", "arousal", "dominance")], axis=1),
        rtol=1e-5,
    )


def test_dimensions_on_another_scale_or_of_nobody_are_errors(rows, tmp_path):
    with pytest.raises(CorpusError, match="leave dimensions out of model_settings"):
        with_dimensions(rows)
    rated = rows.remove_columns("valence").add_column("valence", [0.1, 0.5, 4.0, 0.2])
    with pytest.raises(CorpusError, match=r"valence 4\.0, .* outside 0 to 1, the scale of synthetic"):
        with_dimensions(rated)


def test_a_batch_holds_targets_and_dimensions_where_rows_have_them(rows):
    from transformers import Wav2Vec2FeatureExtractor

    collate = UtteranceCollator(Wav2Vec2FeatureExtractor())
    assert collate(list(rows))["labels"].tolist() == [0, 1, 2, 3]
    rated = rows.remove_columns("arousal").add_column("arousal", [0.1, 0.5, None, 0.2])
    rated.info.description = rows.info.description
    batch = collate(list(with_dimensions(with_targets(votes_of(rated, [{"fear": 2}] * 4), "votes"))))
    assert batch["labels"].tolist() == [[0, 1, 0, 0, 0]] * 4
    np.testing.assert_allclose(batch["dimensions"][:, 1], [0.1, 0.5, np.nan, 0.2])
    assert batch["dimensions"][:, 0].isnan().all()


def test_rows_of_a_frozen_encoder_take_targets_and_are_read_as_arrays_still(rows):
    model, extractor = build_classifier("tiny-whisper", rows.features["label"].names, trainable="head")
    cached = precompute(votes_of(rows, [{"fear": 1}] * 4), model, extractor, frozen=True).select([2, 0])
    targets = with_targets(cached, "votes")
    assert isinstance(targets[0]["layer_statistics"], np.ndarray)
    np.testing.assert_array_equal(targets[0]["layer_statistics"], cached[0]["layer_statistics"])
    assert targets["utterance_id"] == cached["utterance_id"]
    assert np.asarray(targets["target"]).tolist() == [[0, 1, 0, 0, 0]] * 2
