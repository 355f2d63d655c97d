"""Augmentation: each effect does what its unit says, the same way whenever and wherever the same draw is made."""

import numpy as np
import pytest
import soundfile
from conftest import write_tone
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_hf.audio import read_audio
from ser_hf.augmentation.effects import SAMPLING_RATE, WAVEFORM_EFFECTS
from ser_hf.data.augment import (
    DRAW,
    EFFECTS,
    PARTNER,
    Augmentation,
    AugmentedRows,
    Draw,
    DrawSampler,
)
from ser_hf.data.balance import UtteranceSampler

TONE = (0.3 * np.sin(2 * np.pi * 220 * np.arange(2 * SAMPLING_RATE) / SAMPLING_RATE)).astype(np.float32)


@pytest.fixture(scope="module")
def speech(synthetic):
    return read_audio(synthetic["audio"][0])


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two, of which one is shorter than the utterances; the second begins like an impulse response, with a delay."""
    folder = tmp_path_factory.mktemp("recordings")
    random = np.random.default_rng(0)
    for name, seconds in (("b.wav", 0.2), ("a/c.flac", 5)):
        (folder / name).parent.mkdir(exist_ok=True)
        samples = 0.1 * random.standard_normal(round(seconds * SAMPLING_RATE))
        samples[100] = 0.9
        soundfile.write(folder / name, samples, SAMPLING_RATE)
    return folder


def word(name, recordings, text=None):
    effect = WAVEFORM_EFFECTS[name]
    text = text or ("" if effect.unit is None else f"{effect.least}..{effect.most}")
    if effect.of_recordings:
        text = f"{recordings}:{text}".rstrip(":")
    return f"{name}={text}".rstrip("=")


def row(utterance_id="a", *, epoch=0, repetition=0, label=0):
    return {"utterance_id": utterance_id, "label": label, DRAW: Draw(0, epoch, repetition)}


def always(*words, **options):
    return Augmentation.parse(words, probability=1.0, **options)


def hertz(waveform):
    """By the peak of a windowed spectrum, of the middle: no phase vocoder is right at its edges."""
    middle = waveform[len(waveform) // 4 : -len(waveform) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 2**18))
    return spectrum.argmax() * SAMPLING_RATE / 2**18


def level(waveform):
    return 10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)))


@pytest.mark.parametrize("name", WAVEFORM_EFFECTS)
def test_the_same_draw_sounds_the_same_and_any_other_does_not(name, speech, recordings):
    augmentation = always(word(name, recordings))
    heard = augmentation.alter_waveform(speech, row())
    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
    again = always(word(name, recordings)).alter_waveform(speech, row())
    assert np.array_equal(heard, again)
    assert heard.shape != speech.shape or np.abs(heard - speech).max() > 1e-3
    if WAVEFORM_EFFECTS[name].unit is None:
        return  # nothing about it is random but whether it happens
    for other in (row(epoch=1), row(repetition=1), row("b")):
        assert not np.array_equal(heard, augmentation.alter_waveform(speech, other))
    assert not np.array_equal(heard, always(word(name, recordings), seed=1).alter_waveform(speech, row()))


@pytest.mark.parametrize("name", WAVEFORM_EFFECTS)
def test_an_effect_happens_as_often_as_its_probability_says_and_differently_from_epoch_to_epoch(name, recordings):
    augmentation = Augmentation.parse([word(name, recordings)], probability=0.3)
    happens = [augmentation.alters_waveform(row(str(n), epoch=epoch)) for n in range(100) for epoch in range(10)]
    assert np.mean(happens) == pytest.approx(0.3, abs=0.06)
    assert np.reshape(happens, (100, 10)).any(axis=1).mean() > 0.9, "not always the same utterances"


@pytest.mark.parametrize("name", WAVEFORM_EFFECTS)
@pytest.mark.parametrize("samples", [1, 7, 160, 1023])
def test_what_is_almost_too_short_to_hear_and_silence_are_let_through(name, samples, recordings):
    augmentation = always(word(name, recordings))
    for epoch in range(3):
        clip = np.linspace(-0.5, 0.4, samples, dtype=np.float32)
        heard = augmentation.alter_waveform(clip, row(epoch=epoch))
        assert len(heard) >= samples / augmentation.fastest - 1
        assert len(heard) > 0
        assert np.isfinite(heard).all()
    assert not augmentation.alter_waveform(np.zeros(samples, np.float32), row()).any()


@pytest.mark.parametrize(
    ("words", "fastest"),
    [(["tempo=0.5..0.8", "speed=0.9..1.2"], 1.2), (["tempo=1..1.5", "speed=1..2"], 3.0), (["speed=0.5..0.9"], 1.0)],
)
def test_either_of_two_effects_may_shorten_an_utterance_without_the_other(words, fastest):
    assert Augmentation.parse(words).fastest == pytest.approx(fastest)


@pytest.mark.parametrize("semitones", [-4, 3, 12])
def test_a_tone_moves_by_its_semitones_and_lasts_as_long(semitones):
    heard = always(f"pitch={semitones}").alter_waveform(TONE, row())
    assert hertz(heard) == pytest.approx(220 * 2 ** (semitones / 12), rel=0.003)
    assert len(heard) == len(TONE)


@pytest.mark.parametrize(("name", "higher"), [("tempo", 1), ("speed", None)])
@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_tone_gets_shorter_by_its_factor_and_only_on_a_tape_higher(name, higher, factor):
    heard = always(f"{name}={factor}").alter_waveform(TONE, row())
    assert len(heard) == pytest.approx(len(TONE) / factor, abs=1)
    assert hertz(heard) == pytest.approx(220 * (higher or factor), rel=0.003)


@pytest.mark.parametrize("name", ["noise", "recorded_noise"])
def test_the_noise_is_as_far_below_the_speech_as_the_range_says(name, speech, recordings):
    augmentation, found = always(word(name, recordings, "5..20")), []
    for epoch in range(40):
        noise = augmentation.alter_waveform(speech, row(epoch=epoch)).astype(np.float64) - speech
        found.append(level(speech) - level(noise))
    assert 5 <= min(found) + 0.01 < 7
    assert 18 < max(found) - 0.01 <= 20
    assert np.mean(found) == pytest.approx(12.5, abs=2), "evenly"


def test_recorded_noise_is_that_of_the_recordings(speech, tmp_path):
    write_tone(tmp_path / "hum.wav", hertz=50, seconds=1.0)
    heard = always(f"recorded_noise={tmp_path}:0").alter_waveform(speech, row())
    assert hertz(heard - speech) == pytest.approx(50, abs=1)


def test_a_click_in_a_recorded_room_is_its_impulse_response_from_the_direct_sound_on(tmp_path):
    response = np.zeros(4000)
    response[[80, 1080, 2080]] = 0.8, 0.4, -0.2
    soundfile.write(tmp_path / "room.wav", response, SAMPLING_RATE, subtype="FLOAT")
    click = np.zeros(8000, np.float32)
    click[10] = 0.5
    heard = always(f"impulse_responses={tmp_path}").alter_waveform(click, row())
    assert np.flatnonzero(np.abs(heard) > 1e-4).tolist() == [10, 1010, 2010]
    np.testing.assert_allclose(heard[[1010, 2010]] / heard[10], [0.5, -0.25], rtol=1e-5)


def test_a_low_pass_passes_what_is_low():
    time = np.arange(SAMPLING_RATE) / SAMPLING_RATE
    low, high = (np.sin(2 * np.pi * f * time).astype(np.float32) for f in (500, 4000))
    augmentation = always("lowpass=2000")
    assert level(augmentation.alter_waveform(low, row())) == pytest.approx(level(low), abs=0.1)
    assert level(augmentation.alter_waveform(high, row())) < level(high) - 45


def test_an_effect_more_changes_nothing_about_the_others(speech):
    """So that an effect, on and off, can be compared over the same draws."""
    with_gain = always("noise=10", "level=-6").alter_waveform(speech, row())
    np.testing.assert_allclose(with_gain, always("noise=10").alter_waveform(speech, row()) * 10**-0.3, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.integers(0, 1000))
def test_masks_are_of_whole_bins_and_frames_no_wider_than_asked(frames, epoch):
    log_mel = np.random.default_rng(0).standard_normal((frames, 32)).astype(np.float32)
    masked = always("specaugment=2x5x7").mask(log_mel, row(epoch=epoch))
    hidden = masked != log_mel
    bins, times = hidden.all(axis=0), hidden.all(axis=1)
    assert bins.all() or bins.sum() <= 10
    assert times.sum() <= 14
    assert np.array_equal(hidden, bins[None, :] | times[:, None])
    assert (masked[hidden] == log_mel.mean()).all()


def test_masks_have_all_widths_up_to_the_widest():
    log_mel = np.random.default_rng(0).standard_normal((100, 32))
    augmentation = always("specaugment=1x5x7")
    hidden = [augmentation.mask(log_mel, row(epoch=epoch)) != log_mel for epoch in range(300)]
    assert {int(one.all(axis=0).sum()) for one in hidden} == set(range(6))
    assert {int(one.all(axis=1).sum()) for one in hidden} == set(range(8))


@pytest.fixture(scope="module")
def rows(synthetic):
    return synthetic.select(range(0, 480, 24))


def draws(rows, epoch=0):
    return [Draw(index, epoch, 0) for index in range(len(rows))]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_mixture_holds_the_share_that_it_says(kind, rows):
    augmentation = always(f"{kind}=1")
    for mixed in AugmentedRows(rows, augmentation, np.ones(len(rows))).__getitems__(draws(rows)):
        found, share, _ = mixed[PARTNER]
        assert found == kind
        own, other = np.full(1000, 2.0), np.full(300, 5.0)
        heard = augmentation.mix(own, other, mixed)
        assert len(heard) == 1000
        assert heard.mean() == pytest.approx(5 - 3 * share, abs=0.0016)
        assert set(np.unique(heard)) <= {2.0, 5.0} or kind == "mixup"


def test_the_shares_and_the_partners_of_mixtures_differ(rows):
    augmented = AugmentedRows(rows, always("mixup=1"), np.ones(len(rows)))
    partners = [one[PARTNER] for epoch in range(20) for one in augmented.__getitems__(draws(rows, epoch))]
    assert np.mean([share for _, share, _ in partners]) == pytest.approx(0.5, abs=0.06), "Beta(1, 1) is even"
    assert len({partner["utterance_id"] for _, _, partner in partners}) == len(rows)


def test_partners_are_drawn_as_often_as_utterances_are(rows):
    weights = np.r_[np.full(len(rows) - 1, 1e-9), 1.0]
    augmented = AugmentedRows(rows, always("mixup=1"), weights)
    partners = {one[PARTNER].row["utterance_id"] for one in augmented.__getitems__(draws(rows))}
    assert partners == {rows[len(rows) - 1]["utterance_id"]}


def test_what_is_mixed_does_not_depend_on_the_batch(rows):
    augmented = AugmentedRows(rows, Augmentation.parse(["mixup=0.2", "cutmix=1"]), np.ones(len(rows)))
    together = augmented.__getitems__(draws(rows))
    assert 0 < sum(PARTNER in one for one in together) < len(rows)
    assert [augmented[draw] for draw in draws(rows)] == together


def test_draws_come_in_the_order_of_the_plain_sampler_and_count_repetitions():
    weights = np.array([4.0, 1, 1, 1, 1])
    plain, sampler = (kind(weights, 40, seed=3) for kind in (UtteranceSampler, DrawSampler))
    for epoch in range(2):
        plain.set_epoch(epoch)
        sampler.set_epoch(epoch)
        found = list(sampler)
        assert [draw.index for draw in found] == list(plain)
        assert {draw.epoch for draw in found} == {epoch}
        assert len(set(found)) == 40, "no two draws are alike"
        assert [draw.repetition for draw in found if draw.index == 0] == list(range(20))


def test_every_recording_is_left_alone_equally_often_where_classes_are_balanced():
    labels = [0] * 60 + [1] * 20 + [2] * 5
    chances = Augmentation.parse(["gsm"], probability=0.4).favouring_rare_classes(labels, 3).class_probabilities
    for chance, size in zip(chances, (60, 20, 5), strict=True):
        draws_of_each = 60 / size
        assert draws_of_each * (1 - chance) == pytest.approx(1 - 0.4)


def test_rarer_classes_are_altered_as_often_as_their_probability_says():
    augmentation = Augmentation.parse(["gsm"], probability=0.4).favouring_rare_classes([0] * 9 + [1] * 3, 2)
    happens = [[augmentation.alters_waveform(row(str(n), label=label)) for n in range(2000)] for label in (0, 1)]
    np.testing.assert_allclose(np.mean(happens, axis=1), [0.4, 0.8], atol=0.04)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nois=5..20"], "unknown effect 'nois'; did you mean 'noise'"),
        (["noise"], "noise= is not a range within -30 to 60 \\(dB of signal above noise\\), such as noise=-30..60"),
        (["noise=20..5"], "not a range within -30 to 60"),
        (["noise=5..80"], "not a range within -30 to 60"),
        (["pitch=-2..2", "pitch=1"], "pitch is given twice"),
        (["pitch=nan"], "semitones"),
        (["speed=0.9-1.1"], "times as fast and as high"),
        (["gsm=13"], "gsm takes no value"),
        (["recorded_noise=5..20"], "needs a folder of recordings, as in recorded_noise=FOLDER:-30..60"),
        (["recorded_noise=nowhere:5..20"], "there is no folder nowhere"),
        (["impulse_responses"], "as in impulse_responses=FOLDER$"),
        (["specaugment=27x40"], "not of the form 2x27x40"),
        (["mixup=0"], "above 0 and at most 100, such as mixup=0.2"),
        (["cutmix"], "above 0 and at most 100, such as cutmix=0.2"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(words, sentence):
    with pytest.raises(ValueError, match=sentence):
        Augmentation.parse(words)


def test_a_folder_without_sound_is_refused(tmp_path):
    with pytest.raises(ValueError, match="contains no recording"):
        Augmentation.parse([f"impulse_responses={tmp_path}"])
    soundfile.write(tmp_path / "silence.wav", np.zeros(100), SAMPLING_RATE)
    with pytest.raises(ValueError, match=r"silence\.wav is silent: remove it"):
        always(f"recorded_noise={tmp_path}:0").alter_waveform(TONE, row())


def test_no_word_is_no_augmentation_and_every_effect_is_documented():
    from conftest import ROOT

    assert Augmentation.parse([]) is None
    page = (ROOT / "docs/augmentation.md").read_text(encoding="utf-8")
    for name in EFFECTS:
        assert f"`{name}" in page, name
