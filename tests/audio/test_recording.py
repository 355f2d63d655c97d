"""Limits of what a file may claim, and one line for everything that a decoder may raise."""

from io import BytesIO

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ser_hf.audio import AudioError, Recording, audio_info, read_audio, read_windows, sample_hash
from ser_hf.audio.recording import LOUDEST, SAMPLES_OF_ANY_FILE, SAMPLING_RATES

RATE = 16_000


def wave(samples, rate=RATE, **options) -> bytes:
    file = BytesIO()
    soundfile.write(file, np.asarray(samples), rate, format="WAV", **options)
    return file.getvalue()


def with_rate(rate: int) -> bytes:
    content = wave(np.zeros(16_000))
    return content[:24] + rate.to_bytes(4, "little") + content[28:]


@pytest.mark.parametrize("rate", [1, 10, 1_999, 768_001, 2**31 - 1])
@pytest.mark.parametrize("read", [read_audio, audio_info, sample_hash])
def test_a_rate_that_no_speech_has_is_refused_by_its_number(tmp_path, rate, read):
    (tmp_path / "odd.wav").write_bytes(with_rate(rate))
    with pytest.raises(AudioError, match=f"odd.wav has a sampling rate of {rate:,} Hz, but .* 2,000 to 768,000 Hz"):
        read(tmp_path / "odd.wav")
    with pytest.raises(AudioError, match=f"a sampling rate of {rate:,} Hz"):
        read({"array": np.zeros(100), "sampling_rate": rate})


@pytest.mark.parametrize("rate", SAMPLING_RATES)
def test_the_lowest_and_the_highest_rate_are_read(rate):
    content = with_rate(rate)
    assert len(read_audio(content)) == pytest.approx(16_000 * RATE / rate, abs=1)


def silence(seconds: int) -> bytes:
    file = BytesIO()
    with soundfile.SoundFile(file, "w", RATE, 1, format="FLAC") as sound:
        for _ in range(seconds // 60):
            sound.write(np.zeros(60 * RATE, np.int16))
    return file.getvalue()


def test_a_small_file_of_hours_of_silence_is_refused_before_it_is_decoded():
    content = silence(2 * 3600)
    assert len(content) < 500_000
    with pytest.raises(AudioError, match=r"announces 2.0 hours of sound .*more than its [\d,]+ bytes can hold"):
        read_audio(content)


def test_minutes_of_silence_are_read(monkeypatch):
    monkeypatch.setattr("ser_hf.audio.recording._BLOCK", 100_000)  # in many blocks
    assert not read_audio(silence(300)).any()


def test_a_stream_of_unknown_length_stops_at_the_limit(monkeypatch):
    monkeypatch.setattr("ser_hf.audio.recording.SAMPLES_OF_ANY_FILE", 1_000_000)
    monkeypatch.setattr("ser_hf.audio.recording.SAMPLES_PER_BYTE", 1)
    content = bytearray(silence(120))
    content[21] &= 0xF0  # the number of samples: 36 bits of the first block
    content[22:26] = bytes(4)
    with pytest.raises(AudioError, match="more than its"):
        read_audio(bytes(content))


def test_a_long_recording_is_no_small_file():
    """Twice the limit of any file, at two bytes per sample."""
    content = wave(np.zeros(2 * SAMPLES_OF_ANY_FILE, np.int16), subtype="PCM_16")
    windows = read_windows(content, seconds=600)
    assert len(next(windows)) <= 600 * RATE


@pytest.mark.parametrize("sample", [1e37, -3e38, 101.0, -32_768.0, np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_a_sample_that_no_recorder_writes_is_named_with_its_time(tmp_path, sample, subtype):
    samples = np.full((8_000, 2), 0.1)
    samples[4_000, 1] = sample
    path = tmp_path / "odd.wav"
    path.write_bytes(wave(samples, subtype=subtype))
    says = f"a sample of {sample:.3g}" if abs(sample) < 3.4e38 else "a NaN or infinite sample"
    for read in (read_audio, sample_hash, lambda source: list(read_windows(source, seconds=0.1))):
        with pytest.raises(AudioError) as refused:
            read(path)
        assert f"odd.wav has {says} at 0.250 s" in str(refused.value)
    if np.isfinite(sample):
        with pytest.raises(AudioError, match=r"at 0.250 s, but full scale is 1"):
            read_audio({"array": samples[:, 1], "sampling_rate": RATE})


@given(st.integers(2_000, 96_000), st.integers(0, 2**31))
def test_whatever_is_within_the_limits_is_finite_after_resampling(rate, seed):
    samples = np.random.default_rng(seed).choice([-LOUDEST, LOUDEST], 500)
    waveform = read_audio({"array": samples, "sampling_rate": rate})
    assert np.isfinite(waveform).all()


@pytest.mark.parametrize(
    "error", [MemoryError(), ValueError("frames must be specified"), OverflowError(), AssertionError()]
)
def test_whatever_a_decoder_raises_is_one_line(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    path = tmp_path / "hard.wav"
    path.write_bytes(wave(np.zeros(100)))
    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(AudioError, match=r"hard.wav is not a sound file .*, or it is damaged: .*ffmpeg") as told:
        read_audio(path)
    assert "\n" not in str(told.value)


def test_a_disk_that_fails_is_one_line(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    path = tmp_path / "hard.wav"
    path.write_bytes(wave(np.zeros(100)))
    monkeypatch.setattr(soundfile.SoundFile, "read", fail)
    with pytest.raises(AudioError, match=r"hard.wav cannot be read \(Input/output error\): check its disk"):
        read_audio(path)


@pytest.mark.parametrize("name", ["x" * 400 + ".wav", "nul\0.wav"])
def test_a_name_that_no_disk_has_is_one_line(name):
    with pytest.raises(AudioError, match=r"there is no file|cannot be opened"):
        read_audio(name)


def test_a_link_to_nowhere_and_an_annex_pointer_ask_for_their_content(tmp_path):
    (tmp_path / "link.wav").symlink_to(tmp_path / "gone.wav")
    (tmp_path / "annex.wav").write_text("/annex/objects/SHA256E-s100--00.wav\n")
    for name, says in (
        ("link.wav", "is a link to .*gone.wav, which does not exist"),
        ("annex.wav", "is a git-annex pointer"),
    ):
        with pytest.raises(AudioError, match=f"{name} {says}.*") as told:
            read_audio(tmp_path / name)
        assert told.value.kind == "missing-content"


@pytest.mark.parametrize(("format", "subtype"), [("WAV", "GSM610"), ("AU", "G721_32"), ("WAV", "NMS_ADPCM_16")])
def test_codings_of_the_telephone_are_read(format, subtype):
    file = BytesIO()
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(8_000) / 8_000)
    soundfile.write(file, tone, 8_000, format=format, subtype=subtype)
    waveform = read_audio(file.getvalue(), sampling_rate=8_000)
    assert np.corrcoef(waveform[: len(tone)], tone)[0, 1] > 0.9


@pytest.mark.parametrize("seconds", [0.35, 1, 7, 100])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_windows_are_the_recording_in_equal_parts(monkeypatch, seconds, rate):
    monkeypatch.setattr("ser_hf.audio.recording._BLOCK", 10_000)
    content = wave(np.random.default_rng(0).uniform(-0.5, 0.5, round(9.87 * rate)), rate)
    windows = list(read_windows(content, seconds=seconds))
    np.testing.assert_array_equal(np.concatenate(windows), read_audio(content))
    sizes = [len(window) for window in windows]
    assert len(sizes) == max(1, np.ceil(9.87 / seconds))
    assert max(sizes) <= seconds * RATE + 1
    assert max(sizes) - min(sizes) <= len(sizes)


def test_a_recording_is_closed_after_use_and_after_an_error(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wave(np.zeros(100)))
    with Recording(path) as recording:
        assert (recording.container, recording.channels, recording.frames) == ("WAV", 1, 100)
    assert recording._file.closed
