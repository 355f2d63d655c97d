"""The offset of a speaker: how it is estimated, chosen on other speakers, and kept with any classifier."""

from dataclasses import replace

import numpy as np
import pytest
from answers import by_label
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from predictions import FACTS, make_rows
from scipy.special import softmax

from ser_hf import Classifier
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.inference.evaluate import choose_offsets
from ser_hf.inference.heads import SpeakerLogits
from ser_hf.inference.offsets import OffsetRule
from ser_hf.models.pretrained import ModelError, build_classifier
from ser_hf.models.records import RECORDS

CLASSES = 3
logits = st.integers(1, 6).flatmap(lambda count: arrays(np.float64, (count, CLASSES), elements=st.floats(-9, 9)))


def rule(**numbers):
    defaults = {"prior_utterances": 1.0, "trust_utterances": 3.0, "even_share": 0.3}
    return OffsetRule(np.diag([6.0, 6.0, 6.0]), **{**defaults, **numbers})


@given(logits, arrays(np.float64, (CLASSES,), elements=st.floats(-20, 20)))
def test_an_offset_that_all_utterances_share_is_removed_whole_by_the_plain_mean(scores, offset):
    plain = rule(prior_utterances=0.0, trust_utterances=0.0, even_share=1.0)
    count = len(scores)
    without, with_ = (plain.adapted(scores, one, plain.offset(scores, one), count) for one in (scores, scores + offset))
    np.testing.assert_allclose(without, with_, atol=1e-9)


@given(logits)
def test_of_an_unknown_speaker_the_first_head_answers(scores):
    nothing = np.empty((0, CLASSES))
    offset = rule().offset(nothing, nothing)
    assert not offset.any()
    np.testing.assert_array_equal(rule().adapted(scores, scores[::-1], offset, 0), scores)


@given(logits, logits)
def test_padding_is_not_known(scores, more):
    padded = np.concatenate([scores, more])
    known = np.arange(len(padded)) < len(scores)
    np.testing.assert_allclose(
        rule().offset(padded, padded[::-1] * 0 + padded, known), rule().offset(scores, scores), atol=1e-9
    )


def test_of_utterances_of_one_emotion_the_emotion_is_not_taken_for_the_voice():
    random = np.random.default_rng(0)
    offset, truth = np.array([1.0, -1.0, 0.0]), np.zeros(10, int)
    centred = rule().class_logits[truth] + offset + random.normal(0, 0.5, (10, CLASSES))
    first = rule().class_logits[truth] + 0.5 * offset + random.normal(0, 0.5, (10, CLASSES))
    errors = {share: np.abs(rule(even_share=share).offset(first, centred) - offset).max() for share in (0.0, 1.0)}
    assert errors[0.0] < 0.5 < 3 < errors[1.0]


@given(arrays(np.float64, (CLASSES,), elements=st.floats(0.001, 1)), st.floats(0, 1))
def test_the_more_kinds_of_emotions_are_heard_the_more_all_are_expected_equally_often(heard, least):
    heard, even = heard / heard.sum(), np.full(CLASSES, 1 / CLASSES)
    shares = [rule(even_share=least)._even_share_of(mix * even + (1 - mix) * heard) for mix in (0.0, 0.3, 0.6, 1.0)]
    assert np.all(np.diff(shares) >= -1e-12)
    assert least <= shares[0] <= shares[-1] == pytest.approx(1)
    assert rule(even_share=least)._even_share_of(np.eye(CLASSES)[0]) == pytest.approx(least)


def made_validation(speakers=4, each=12, seed=0, **facts):
    """A table of speakers whose logits are shifted."""
    random = np.random.default_rng(seed)
    rows = make_rows(utterances=speakers * each, speakers=speakers, seed=seed, fold=0)
    rows["label"] = np.asarray(FACTS.classes)[np.arange(len(rows)) // speakers % len(FACTS.classes)]
    truth = (rows["label"].to_numpy()[:, None] == np.asarray(FACTS.classes)) * 3.0
    shift = random.normal(0, 2, (speakers, len(FACTS.classes)))[np.arange(len(rows)) % speakers]
    probabilities = softmax(truth + shift + random.normal(size=truth.shape), axis=1)
    rows[[f"p_{name}" for name in FACTS.classes]] = probabilities
    rows["prediction"] = np.asarray(FACTS.classes)[probabilities.argmax(axis=1)]
    return PredictionTable(rows, replace(FACTS, part="validation", **facts))


def any_model():
    return build_classifier("cnn", list(FACTS.classes), settings={"channels": [8, 16, 32]})[0]


def test_a_rule_is_chosen_on_validation_speakers_and_removes_the_shift_of_others():
    model = any_model()
    choose_offsets(model, made_validation(speakers=8))
    rule, others = OffsetRule.of(model), made_validation(speakers=8, seed=1)
    logits, right = np.log(others.probabilities), others.references
    before, after = logits.argmax(axis=1) == right, np.zeros(len(right), bool)
    for speaker in set(others.rows["speaker"]):
        rows = np.flatnonzero(others.rows["speaker"] == speaker)
        own = logits[rows]
        after[rows] = rule.adapted(own, own, rule.offset(own, own), len(rows)).argmax(axis=1) == right[rows]
    assert (~after).mean() < 0.5 * (~before).mean()


def test_a_rule_does_not_depend_on_the_order_or_the_names_of_validation_speakers():
    table, one, other = made_validation(), any_model(), any_model()
    choose_offsets(one, table)
    renamed = table.rows["speaker"].map(lambda name: f"new-{name}")
    choose_offsets(other, PredictionTable(table.rows.assign(speaker=renamed), table.metadata))
    assert one.config.speaker_offsets == other.config.speaker_offsets


@pytest.mark.parametrize("table", [made_validation(speakers=1, each=24), made_validation(each=3), "class", "nameless"])
def test_too_little_to_choose_from_gives_no_rule(table):
    if isinstance(table, str):
        full = made_validation()
        changes = {"speaker": None} if table == "nameless" else {}
        rows = full.rows[(full.rows["label"] != "anger") | (table == "nameless")].assign(**changes)
        table = PredictionTable(rows, full.metadata)
    model = any_model()
    choose_offsets(model, table)
    with pytest.raises(ModelError, match="cannot be adapted to a speaker"):
        OffsetRule.of(model)


@pytest.mark.parametrize("family", [one for one in RECORDS if one.tiny], ids=lambda family: family.name)
def test_every_family_keeps_its_rule(family, tmp_path):
    model, extractor = build_classifier(labels=list(FACTS.classes), **family.tiny)
    model.config.head_is_trained = True
    rule(even_share=0.15).write_to(model)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    classifier = Classifier.from_pretrained(str(tmp_path))
    kept = OffsetRule.of(classifier.model)
    assert kept.even_share == 0.15
    np.testing.assert_array_equal(kept.class_logits, rule().class_logits)
    if not family.is_fitted:  # those have no scores before they are fitted
        logits = SpeakerLogits(classifier.model, classifier.extractor).scores([noise()])
        np.testing.assert_allclose(logits[:, :CLASSES], logits[:, CLASSES:])
        scores = softmax(logits[0, :CLASSES])
        assert by_label(classifier(noise())) == pytest.approx(dict(zip(FACTS.classes, scores, strict=True)), abs=1e-5)


def noise():
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    return {"array": samples, "sampling_rate": 16_000}


def test_a_damaged_rule_is_one_line(tmp_path):
    for changes in ({"even_share": 2}, {"class_logits": [[1.0]]}, {"prior_utterances": None}, {"other": 1}):
        model = any_model()
        rule().write_to(model)
        model.config.speaker_offsets |= changes
        with pytest.raises(ModelError, match=r"speaker_offsets in the config.json of .* cannot be true .*train again"):
            OffsetRule.of(model)
