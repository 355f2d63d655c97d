"""Near-duplicates are found whatever was done to the copy; other performances are not."""

from io import BytesIO

import numpy as np
import pytest
import soundfile
import soxr

from ser_hf.audio import read_audio
from ser_hf.corpora import get_corpus, read_utterances
from ser_hf.fingerprint import fingerprint, near_duplicates

RATE = 16_000


def coded(waveform, container, subtype, rate=RATE):
    file = BytesIO()
    soundfile.write(file, soxr.resample(waveform, RATE, rate), rate, format=container, subtype=subtype)
    return file.getvalue()


def heard(waveform):
    return {"array": waveform.astype(np.float32), "sampling_rate": RATE}


COPIES = {
    "start cut": lambda x: heard(x[len(x) // 5 :]),
    "end cut": lambda x: heard(x[: -len(x) // 4]),
    "softer": lambda x: coded(x / 10, "WAV", "PCM_16"),
    "upside down": lambda x: heard(-x),
    "8 kHz": lambda x: coded(x, "WAV", "PCM_16", 8_000),
    "48 kHz": lambda x: coded(x, "FLAC", "PCM_16", 48_000),
    "MP3": lambda x: coded(x, "MP3", "MPEG_LAYER_III"),
    "Vorbis": lambda x: coded(x, "OGG", "VORBIS"),
    "GSM": lambda x: coded(x, "WAV", "GSM610", 8_000),
    "mu-law": lambda x: coded(x, "WAV", "ULAW", 8_000),
    "both cut, softer, MP3": lambda x: coded(x[len(x) // 8 : -len(x) // 8] / 4, "MP3", "MPEG_LAYER_III"),
}


@pytest.fixture(scope="module")
def actor(shared):
    """One actor: sixty utterances, of two sentences in two takes each."""
    return sorted((shared / "corpora/ravdess/Actor_23").glob("*.flac"))


@pytest.mark.real
@pytest.mark.parametrize("change", COPIES)
def test_an_altered_copy_is_found_among_all_takes_of_its_speaker(actor, change):
    copies = [COPIES[change](read_audio(path)) for path in actor[::20]]
    matches = near_duplicates([*actor, *copies])
    assert {(match.first, match.second) for match in matches} == {(20 * k, len(actor) + k) for k in range(3)}


@pytest.mark.real
def test_a_cut_is_measured_to_the_frame(actor):
    waveform = read_audio(actor[0])
    (match,) = near_duplicates([actor[0], heard(waveform[8_000:])])
    assert match.lag_seconds == pytest.approx(0.5, abs=0.005)
    assert match.overlap_seconds == pytest.approx(len(waveform) / RATE - 0.5, abs=0.05)


@pytest.mark.real
def test_two_takes_of_a_word_do_not_match(shared):
    tess = read_utterances(get_corpus("tess"), shared / "corpora/tess")
    assert near_duplicates([utterance.path for utterance in tess]) == []


@pytest.mark.real
def test_ravdess_holds_one_recording_twice(shared):
    actor = sorted((shared / "corpora/ravdess/Actor_07").glob("*.flac"))
    (match,) = near_duplicates(actor)
    assert {actor[match.first].stem, actor[match.second].stem} == {"03-01-03-01-02-01-07", "03-01-03-01-02-02-07"}
    assert match.similarity == 1


def test_silence_and_very_short_sounds_match_nothing():
    silence, click = np.zeros(RATE, np.float32), np.random.default_rng(0).normal(size=800).astype(np.float32) / 10
    assert len(fingerprint(heard(silence)).anchors) == 0
    assert near_duplicates([heard(silence), heard(silence), heard(click), heard(click)]) == []
    assert near_duplicates([]) == []
