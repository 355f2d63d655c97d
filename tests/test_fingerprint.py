"""Near-duplicates are found whatever was done to the copy; other performances are not; and the search stays small."""

from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import istft, stft

from ser_hf import fingerprint_index
from ser_hf.audio import read_audio
from ser_hf.corpora import get_corpus, read_utterances
from ser_hf.fingerprint import THRESHOLD, find_matches, fingerprint, near_duplicates
from ser_hf.fingerprint_index import Anchors, compared_pairs

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


def babble(seed, seconds=2):
    """Noise whose bands change every tenth of a second: no speech, but it has anchors and details as speech has."""
    random = np.random.default_rng(seed)
    spectrum = stft(random.normal(size=seconds * RATE), nperseg=512)[2]
    levels = random.uniform(-40, 0, (33, 10 * seconds + 1))
    gains = np.kron(10 ** (levels / 20), np.ones((8, 7)))[: spectrum.shape[0], : spectrum.shape[1]]
    waveform = istft(spectrum * gains, nperseg=512)[1]
    return waveform / np.abs(waveform).max() / 2


@pytest.fixture(scope="module")
def prints():
    """Sixty clips and nine altered copies of some of them."""
    clips = [babble(seed) for seed in range(60)]
    changes = ("start cut", "end cut", "softer", "8 kHz", "MP3", "Vorbis", "GSM", "mu-law", "both cut, softer, MP3")
    copies = [COPIES[change](clips[6 * number]) for number, change in enumerate(changes)]
    return [fingerprint(one) for one in (*map(heard, clips), *copies)]


def pairs_of(matches):
    return {(match.first, match.second) for match in matches}


def highest_correlation(one, other):
    """The correlation of two fingerprints at the best of all lags, by brute force: no anchor, no hash, no index."""
    parts = []
    for levels in (one.levels, other.levels):
        decibels = np.maximum(levels / 4.0, levels.max() / 4 - 25)
        smooth = np.apply_along_axis(np.convolve, 0, np.diff(decibels, axis=1), np.ones(5) / 5, "same")
        parts.append(smooth - smooth.mean(axis=0))
    size = sum(map(len, parts))
    spectra = [np.fft.rfft(part, size, axis=0) for part in parts]
    products = np.fft.irfft(spectra[0] * spectra[1].conj(), size, axis=0).sum(axis=1)
    return products.max() / min(np.vdot(part, part) for part in parts)


@pytest.fixture(scope="module")
def exhaustive(prints):
    numbers = combinations(range(len(prints)), 2)
    return {(one, other) for one, other in numbers if highest_correlation(prints[one], prints[other]) > THRESHOLD}


@pytest.mark.parametrize("bucket", [64, 4])  # 4 needs hashes as long as those of sixteen times as many recordings
def test_the_index_finds_what_a_comparison_of_all_with_all_finds(prints, exhaustive, bucket, monkeypatch):
    monkeypatch.setattr(fingerprint_index, "_BUCKET", bucket)
    assert len(exhaustive) == 9
    assert pairs_of(find_matches(prints)) == exhaustive


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_recordings_does_not_matter(prints, seed):
    order = np.random.default_rng(seed).permutation(len(prints))
    found = {
        (frozenset((int(order[match.first]), int(order[match.second]))), match.similarity, match.overlap_seconds)
        for match in find_matches([prints[number] for number in order])
    }
    assert found == {
        (frozenset((match.first, match.second)), match.similarity, match.overlap_seconds)
        for match in find_matches(prints)
    }


def test_equal_recordings_are_linked_with_ten_earlier_ones(prints):
    """All copies hang together, and another copy of them is found too."""
    number = 200
    matches = find_matches([*[prints[0]] * number, prints[60]])
    assert len(matches) == 10 * (number - 9) + 45
    assert {match.second for match in matches if match.first == 0} >= {1, number - 1, number}


def test_five_copies_are_linked_all_with_all(prints):
    assert pairs_of(find_matches([prints[0]] * 5)) == set(combinations(range(5), 2))


def test_an_excerpt_is_found_in_a_long_recording():
    long = np.concatenate([babble(seed) for seed in range(60)])
    excerpt = long[int(77.7 * RATE) : int(79.7 * RATE)]
    (match,) = near_duplicates([heard(babble(100)), heard(long), heard(excerpt)])
    assert (match.first, match.second) == (1, 2)
    assert match.lag_seconds == pytest.approx(77.7, abs=0.005)


def compared(keys):
    """The pairs of anchors that are compared, of five anchors a recording."""
    recordings = len(keys) // 5
    starts, times = 5 * np.arange(recordings + 1), np.tile(np.arange(0, 200, 40), recordings)
    anchors = Anchors(starts, np.full(recordings, 200), times, keys)
    return sum(len(later) for later, _ in compared_pairs(anchors))


def test_compared_pairs_grow_as_the_recordings_and_not_as_their_square():
    keys = np.random.default_rng(0).integers(-127, 128, (80_000, 144), np.int8)
    numbers = 80_000 // 4 ** np.arange(5)
    counts = [compared(keys[:number]) for number in numbers]
    assert np.polyfit(np.log(numbers), np.log(counts), 1)[0] < 1.2
    assert counts[0] < 80_000 * 16 * 64


def test_equal_keys_do_not_make_compared_pairs_explode():
    assert compared(np.ones((40_000, 144), np.int8)) <= 40_000 * 16 * 64
