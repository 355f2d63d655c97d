"""The synthetic corpora: what is heard is what was asked for, measured with tools the synthesiser does not use."""

import os
from collections import Counter
from dataclasses import replace
from itertools import product

import librosa
import numpy as np
import pytest
import soundfile
from sklearn.metrics import recall_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from ser_hf.corpora import CorpusError, find_root, get_corpus, read_corpus
from ser_hf.corpora.synthetic import EMOTIONS, SAMPLING_RATE, STATEMENTS, VARIANTS, generate, synthesise

NAMES = {"acted": "synthetic", "spontaneous": "synthetic_spontaneous"}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Utterances of both corpora: the acted one in full, made in the cache, the spontaneous one with a single take."""
    spontaneous = tmp_path_factory.mktemp("spontaneous")
    generate(spontaneous, variant="spontaneous", speakers=12, takes=1)
    acted = read_corpus(get_corpus("synthetic"))
    return {
        "acted": acted,
        "spontaneous": read_corpus(get_corpus("synthetic_spontaneous"), spontaneous, allow_partial=True),
    }


@pytest.fixture(scope="module")
def prosody(corpora):
    """Per variant: prosodic statistics, emotions and speakers of every first take."""
    tables = {}
    for variant, utterances in corpora.items():
        first_takes = [utterance for utterance in utterances if utterance.path.stem.endswith("_0")]
        tables[variant] = (
            np.array([measure(soundfile.read(utterance.path)[0]) for utterance in first_takes]),
            np.array([utterance.emotion for utterance in first_takes]),
            np.array([utterance.speaker for utterance in first_takes]),
        )
    return tables


def measure(samples):
    """Pitch and its range in semitones (by autocorrelation), level in dB, log duration, energy over 1 kHz in dB."""
    frames = librosa.util.frame(samples, frame_length=640, hop_length=160).T * np.hanning(640)
    power = np.abs(np.fft.rfft(frames, 2048)) ** 2
    loud = power[power.sum(axis=1) > 0.05 * power.sum(axis=1).max()]
    lags = np.fft.irfft(loud)[:, 27:267].argmax(axis=1) + 27  # 60 to 600 Hz
    low, middle, high = np.percentile(12 * np.log2(SAMPLING_RATE / lags), [20, 50, 80])
    treble = loud[:, 128:].sum() / loud.sum()
    return middle, high - low, 10 * np.log10(np.mean(samples**2)), np.log(samples.size), 10 * np.log10(treble)


def unseen_speakers_uar(features, emotions, speakers):
    classifier = make_pipeline(StandardScaler(), SVC(C=3))
    predictions = cross_val_predict(classifier, features, emotions, groups=speakers, cv=GroupKFold(4))
    return recall_score(emotions, predictions, average="macro")


def difference(prosody, column, one, other):
    """Of the acted emotions' mean, averaged over speakers, so that their voices and sexes cancel."""
    features, emotions, _ = prosody["acted"]
    return features[emotions == one, column].mean() - features[emotions == other, column].mean()


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_utterance_is_a_function_of_its_arguments(variant):
    arguments = {"emotion": "anger", "speaker_index": 1, "statement": 2, "take": 0, "variant": variant, "seed": 3}
    samples = synthesise(**arguments)
    np.testing.assert_array_equal(samples, synthesise(**arguments))
    others = {"emotion": "fear", "speaker_index": 3, "statement": 0, "take": 1, "seed": 4}
    others["variant"] = "spontaneous" if variant == "acted" else "acted"
    for name, value in others.items():
        other = synthesise(**{**arguments, name: value})
        shorter = min(samples.size, other.size)
        assert np.corrcoef(samples[:shorter], other[:shorter])[0, 1] < 0.9, name


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_clip_is_finite_short_and_below_full_scale(variant):
    for emotion, statement, take in product(EMOTIONS, range(len(STATEMENTS)), range(2)):
        samples = synthesise(emotion, 1000 + take, statement, take, variant=variant, seed=take)
        assert samples.dtype == np.float32
        assert 0.75 < samples.size / SAMPLING_RATE < 1.75
        assert np.isfinite(samples).all()
        assert 0.01 < np.abs(samples).max() < 0.99


@pytest.mark.parametrize("speaker", [0, 1])
def test_pitch_tracked_by_pyin_rises_from_sadness_to_fear(speaker):
    def median_pitch(emotion):
        clips = np.concatenate([synthesise(emotion, speaker, statement, 0) for statement in range(2)])
        pitch_hz, voiced, _ = librosa.pyin(clips, fmin=50, fmax=700, sr=SAMPLING_RATE, frame_length=1024)
        assert voiced.mean() > 0.6
        return np.nanmedian(pitch_hz)

    sadness, neutral, happiness, fear = map(median_pitch, ("sadness", "neutral", "happiness", "fear"))
    assert sadness < neutral < happiness < fear


def test_emotions_move_pitch_range_level_rate_and_tilt_as_in_the_literature(prosody):
    pitch, swing, level, duration, treble = range(5)
    assert difference(prosody, pitch, "anger", "neutral") > 2
    assert difference(prosody, swing, "happiness", "fear") > 1
    assert difference(prosody, level, "anger", "neutral") > 5
    assert difference(prosody, level, "sadness", "neutral") < -4
    assert difference(prosody, duration, "fear", "neutral") < -0.1
    assert difference(prosody, duration, "sadness", "neutral") > 0.1
    assert difference(prosody, treble, "anger", "sadness") > 2


def test_women_and_men_alternate_and_differ_in_pitch_from_each_other_and_among_themselves(corpora, prosody):
    sexes = {utterance.speaker: utterance.gender for utterance in corpora["acted"]}
    assert [sexes[speaker] for speaker in sorted(sexes)] == ["female", "male"] * 12
    features, _, speakers = prosody["acted"]
    pitch = np.array([features[speakers == speaker, 0].mean() for speaker in sorted(sexes)])
    women, men = pitch[::2], pitch[1::2]
    assert women.mean() - men.mean() > 6
    assert women.std() > 0.7
    assert men.std() > 0.7


def test_acted_emotions_are_learned_by_prosody_on_unseen_speakers(prosody):
    assert unseen_speakers_uar(*prosody["acted"]) > 0.9


def test_shuffled_emotions_are_not_learned(prosody):
    features, emotions, speakers = prosody["acted"]
    shuffled = np.random.default_rng(0).permutation(emotions)
    assert unseen_speakers_uar(features, shuffled, speakers) < 0.3


def test_spontaneous_speech_is_harder_and_hardest_for_what_learned_on_acted_speech(prosody):
    within = unseen_speakers_uar(*prosody["spontaneous"])
    features, emotions, _ = prosody["acted"]
    acted = make_pipeline(StandardScaler(), SVC(C=3)).fit(features, emotions)
    features, emotions, _ = prosody["spontaneous"]
    across = recall_score(emotions, acted.predict(features), average="macro")
    assert 0.3 < across < within - 0.05
    assert 0.5 < within < 0.85


def test_the_generated_corpus_is_complete_16_bit_and_balanced(corpora):
    acted = corpora["acted"]
    assert Counter(utterance.speaker for utterance in acted) == get_corpus("synthetic").speakers
    cells = Counter((utterance.emotion, utterance.statement, utterance.gender) for utterance in acted)
    assert set(cells.values()) == {24}
    assert {utterance.label_source for utterance in acted} == {"synthetic"}
    assert all(utterance.native_label == utterance.emotion for utterance in acted)
    info = soundfile.info(acted[0].path)
    assert (info.samplerate, info.channels, info.subtype) == (SAMPLING_RATE, 1, "PCM_16")
    speaker, emotion, statement, take = acted[-1].path.stem.removeprefix("acted").split("_")
    expected = synthesise(emotion, int(speaker), int(statement), int(take))
    np.testing.assert_allclose(soundfile.read(acted[-1].path)[0], expected, atol=2**-15)


def made_by(generate):
    return replace(get_corpus("synthetic"), generate=generate)


def test_what_a_killed_generation_left_does_not_stop_the_next_process_of_its_number(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / f"ser_hf/synthetic-1.{os.getpid()}").mkdir(parents=True)
    root = find_root(made_by(lambda folder: (folder / "one.wav").touch()))
    assert [path.name for path in root.iterdir()] == ["one.wav"]


def test_who_comes_second_to_a_generated_corpus_or_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = tmp_path / "ser_hf/synthetic-1"

    def overtaken(folder):
        (folder / "ours.wav").touch()
        root.mkdir()
        (root / "theirs.wav").touch()

    def fail(folder):
        (folder / "half.wav").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_root(made_by(fail))
    assert list(root.parent.iterdir()) == []
    assert [path.name for path in find_root(made_by(overtaken)).iterdir()] == ["theirs.wav"]
    assert list(root.parent.iterdir()) == [root]


def test_no_speaker_is_in_both_corpora():
    assert not get_corpus("synthetic").speakers.keys() & get_corpus("synthetic_spontaneous").speakers.keys()


@pytest.mark.parametrize("name", NAMES.values())
def test_each_fold_holds_speakers_of_both_sexes_and_each_speaker_is_tested_once(name):
    folds = get_corpus(name).folds["si4"]
    assert sorted(speaker for fold in folds for speaker in fold) == sorted(get_corpus(name).speakers)
    for fold in folds:
        assert {int(speaker[-2:]) % 2 for speaker in fold} == {0, 1}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["notes.wav", "{other}00_anger_0_0.wav", "{variant}00_rage_0_0.wav"])
def test_a_file_that_does_not_belong_is_refused_by_name(tmp_path, variant, name):
    other = "spontaneous" if variant == "acted" else "acted"
    path = tmp_path / name.format(variant=variant, other=other)
    soundfile.write(path, np.zeros(16000), SAMPLING_RATE)
    with pytest.raises(CorpusError, match=f"{path.name}.*move it out"):
        read_corpus(get_corpus(NAMES[variant]), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"emotion": "angry"}, "did you mean 'anger'"),
        ({"variant": "spontan"}, "did you mean 'spontaneous'"),
        ({"statement": 4}, "use 0 to 3"),
        ({"speaker_index": -1}, "non-negative"),
    ],
)
def test_impossible_requests_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        synthesise(**{"emotion": "anger", "speaker_index": 0, "statement": 0, "take": 0, **arguments})
