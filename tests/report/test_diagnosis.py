"""What is told of an adaptation: distances that a picture cannot fake, and pseudo-labels that were right."""

import json
from dataclasses import replace

import numpy as np
import pytest
from predictions import FACTS, make_rows
from sklearn.decomposition import PCA

from ser_hf.evaluation.comparisons.domain_shift import (
    Diagnosis,
    diagnose,
    principal_plane,
    proxy_a_distance,
)
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.report.diagnoses import picture, write_diagnoses

WIDTH = 16


def clouds(displaced, *, voices=0.0, speakers=10, each=30, seed=0):
    """Two domains (utterances, WIDTH) along an axis, whose speakers differ besides; domains and speakers of each."""
    random = np.random.default_rng(seed)
    names = np.repeat(np.arange(2 * speakers), each)
    is_target = names >= speakers
    points = random.normal(size=(len(names), WIDTH)) + voices * random.normal(size=(2 * speakers, WIDTH))[names]
    points[:, 0] += displaced * is_target
    return points, is_target, [f"speaker-{name}" for name in names]


def test_domains_that_are_alike_have_no_distance_and_such_that_are_apart_have_all_of_it():
    assert proxy_a_distance(*clouds(0.0)) < 0.2
    assert 0.4 < proxy_a_distance(*clouds(1.0)) < 1.4
    assert proxy_a_distance(*clouds(12.0)) == 2


def test_a_distance_is_that_of_the_best_line_where_this_is_known():
    """Two equal Gaussians d apart: the best line errs with the normal tail beyond d / 2."""
    from scipy.stats import norm

    expected = 2 * (1 - 2 * norm.sf(0.75))
    assert proxy_a_distance(*clouds(1.5, each=200)) == pytest.approx(expected, abs=0.1)


def test_voices_are_not_taken_for_a_domain():
    """Every speaker is known by heart at once, but says nothing of the domain of the next one."""
    points, is_target, speakers = clouds(0.0, voices=4.0)
    assert proxy_a_distance(points, is_target, speakers) < 0.7
    as_if_alone = [f"{name}-{number}" for number, name in enumerate(speakers)]
    assert proxy_a_distance(points, is_target, as_if_alone) > 1.2


def test_a_single_speaker_of_a_domain_cannot_be_held_out():
    points, is_target, speakers = clouds(3.0, speakers=1)
    assert proxy_a_distance(points, is_target, speakers) is None


def test_the_plane_is_that_of_scikit_learn_whatever_the_order_of_the_utterances():
    points = clouds(3.0)[0] * np.linspace(1, 3, WIDTH)
    places, explained = principal_plane(points)
    oracle = PCA(2).fit(points)
    np.testing.assert_allclose(np.abs(places), np.abs(oracle.transform(points)), atol=1e-8)
    assert explained == pytest.approx(oracle.explained_variance_ratio_.sum())
    order = np.random.default_rng(0).permutation(len(points))
    np.testing.assert_allclose(principal_plane(points[order])[0], places[order], atol=1e-8)


def table(corpus, count, **options):
    rows = make_rows(count, **options)
    return PredictionTable(rows.assign(corpus=corpus, speaker=[f"{corpus}-{name}" for name in rows["speaker"]]), FACTS)


@pytest.fixture
def diagnosis():
    source, target, heard = table("emodb", 60, seed=1), table("ravdess", 120, seed=2), table("ravdess", 90, skill=0.5)
    embeddings = np.random.default_rng(0).normal(size=(180, WIDTH))
    history = [{"alignment": 0.4, "epoch": 1}, {"eval_uar": 0.5}, {"alignment": 0.1, "epoch": 2}]
    return heard, diagnose(source, target, heard, embeddings, confidence_floor=0.6, log_history=history)


def test_pseudo_labels_are_judged_where_they_were_confident(diagnosis):
    heard, told = diagnosis
    rows = heard.rows[heard.rows[["p_anger", "p_neutral", "p_sadness"]].max(axis=1) >= 0.6]
    assert 0 < len(rows) < 90
    assert told.confident_share == pytest.approx(len(rows) / 90)
    assert told.pseudo_label_accuracy == pytest.approx((rows["label"] == rows["prediction"]).mean())
    assert list(told.alignment) == [0.4, 0.1]


def test_without_a_confident_pseudo_label_none_was_right_and_a_map_judges_them_too(diagnosis):
    heard, _ = diagnosis
    of = dict(embeddings=np.random.default_rng(0).normal(size=(180, WIDTH)), log_history=[])
    source, target = table("emodb", 60, seed=1), table("ravdess", 120, seed=2)
    assert diagnose(source, target, heard, confidence_floor=1.0, **of).pseudo_label_accuracy is None
    every_answer_is_right = {name: tuple({"anger", "neutral", "sadness"} - {name}) for name in FACTS.classes}
    mapped = PredictionTable(heard.rows, replace(FACTS, evaluation_map=every_answer_is_right))
    told = diagnose(source, target, mapped, confidence_floor=0.0, **of)
    assert (told.pseudo_label_accuracy, told.confident_share, told.alignment) == (1.0, 1.0, None)


def test_what_is_written_is_read_again_and_means_are_taken_over_folds(diagnosis, tmp_path):
    _, told = diagnosis
    told.write(tmp_path)
    again = Diagnosis.read(tmp_path)
    assert again.points.equals(told.points)
    assert replace(again, points=None, alignment=None) == replace(told, points=None, alignment=None)
    other = replace(told, target_uar=told.target_uar + 0.2, domain_distance=None, alignment=(0.2, 0.1))
    markdown = write_diagnoses(tmp_path, {"none": [replace(told, alignment=None)], "lmmd": [told, other]})
    facts = json.loads((tmp_path / "adaptation.json").read_text())
    assert facts["lmmd"]["target_uar"] == pytest.approx(told.target_uar + 0.1)
    assert facts["lmmd"]["domain_distance"] == told.domain_distance, "a fold that cannot tell is left out"
    assert facts["lmmd"]["alignment"] == pytest.approx([0.3, 0.1])
    assert "0.300 to 0.100" in markdown
    assert "| none |" in markdown
    small = write_diagnoses(tmp_path, {"coral": [replace(told, alignment=(0.00042, 0.0))]})
    assert "4.2e-04 to 0.000" in small, "a distance that is small is not none"
    assert (tmp_path / "embeddings.png").stat().st_size > 10_000


def test_the_picture_shows_every_test_utterance_once_in_each_panel_and_its_numbers_below(diagnosis):
    _, told = diagnosis
    panels = picture({"none": told, "lmmd": replace(told, target_uar=0.875)}).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["none", "lmmd"]
    for axes in panels:
        drawn = np.concatenate([line.get_xydata() for line in axes.lines])
        assert len(drawn) == 180
        np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(told.points["x"]))
        assert {line.get_marker() for line in axes.lines} == {"o", "^"}, "a marker for each corpus"
    assert "target UAR 0.875" in panels[1].get_xlabel()
