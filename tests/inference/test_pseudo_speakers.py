"""Pseudo-speakers: who sounds alike is one speaker, names and emotions play no part."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

import ser_hf
from ser_hf.inference.adaptation import adapt
from ser_hf.inference.pseudo_speakers import LEAST_UTTERANCES, groups_of_voices


def made_voices(people, each, seed, noise=0.05):
    """Vectors of people whose centres are more than 1 apart, in a random order, and who said which."""
    random = np.random.default_rng(seed)
    speakers = random.permutation(np.repeat(np.arange(people), each))
    return 2 * np.eye(people, 40)[speakers] + random.normal(0, noise, (len(speakers), 40)), speakers


@given(st.integers(1, 12), st.integers(LEAST_UTTERANCES, 30), st.integers(0, 99))
def test_people_who_are_far_apart_are_told_apart_and_counted(people, each, seed):
    vectors, speakers = made_voices(people, each, seed)
    found = groups_of_voices(vectors, within=40 * 0.05**2)
    assert adjusted_rand_score(speakers, found) == 1
    assert list(dict.fromkeys(found)) == list(range(people))  # numbered as they appear


@given(st.integers(0, 80), st.floats(0.01, 0.1), st.integers(0, 99))
def test_one_voice_is_one_speaker_however_much_its_utterances_differ(count, noise, seed):
    vectors = np.random.default_rng(seed).normal(0, noise, (count, 300))
    assert len(set(groups_of_voices(vectors, within=300 * noise**2))) == min(count, 1)


@given(st.integers(0, 99))
def test_the_order_of_recordings_does_not_matter(seed):
    vectors, _ = made_voices(4, 8, seed, noise=0.2)
    order = np.random.default_rng(seed).permutation(len(vectors))
    found, again = groups_of_voices(vectors, 0.5), groups_of_voices(vectors[order], 0.5)
    assert adjusted_rand_score(found[order], again) == 1


@pytest.mark.slow
def test_names_are_neither_needed_nor_used(tmp_path, run_verb):
    dataset = ser_hf.load_corpus("synthetic", scheme="five")
    run = ser_hf.train(
        dataset, "lda:tiny-whisper", protocol="synthetic/si4", folds=[0], output_dir=str(tmp_path / "run")
    )
    out = tmp_path / "pseudo"
    words = ["--corpus", "synthetic", "--adaptation", "pseudo-speakers,transductive", "--out", str(out)]
    code, told, _ = run_verb("evaluate", str(run.folder), *words)
    assert code == 0
    assert "held-out speakers, pseudo-speakers adaptation" in told

    classifier, rows = run.classifier(), ser_hf.split(dataset, "synthetic/si4", fold=0)["test"]
    renamed = rows.remove_columns("speaker").add_column("speaker", [None] * len(rows))
    named, nameless = (adapt(classifier.model, classifier.extractor, one, "pseudo-speakers") for one in (rows, renamed))
    np.testing.assert_array_equal(
        named.probabilities[np.argsort(named.positions)], nameless.probabilities[np.argsort(nameless.positions)]
    )
