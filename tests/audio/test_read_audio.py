"""Decoding: same sound whatever the container, and no recording is lost in silence."""

import numpy as np
import pytest
import soundfile
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import resample_poly

from ser_hf.audio import AudioError, AudioInfo, audio_info, read_audio, sample_hash

RATE = 16_000
WAVEFORMS = arrays(np.float32, st.integers(1, 2000), elements=st.floats(-1, 1, width=32))


def tone(frequency_hz: float, seconds: float, sampling_rate: int = RATE, peak: float = 0.5) -> np.ndarray:
    time = np.arange(int(seconds * sampling_rate)) / sampling_rate
    return (peak * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def level_db(waveform: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)))


@pytest.fixture
def write(tmp_path):
    """Writes samples to a file of this name, by soundfile, and gives its path."""

    def _write(name, samples, sampling_rate=RATE, **options):
        soundfile.write(tmp_path / name, samples, sampling_rate, **options)
        return tmp_path / name

    return _write


def test_a_path_its_bytes_and_every_form_of_an_audio_column_give_the_same_waveform(write):
    path = write("a.wav", tone(440, 0.2))
    expected, _ = soundfile.read(path, dtype="float32")
    forms = [
        path, str(path), path.read_bytes(),
        {"bytes": None, "path": str(path)}, {"bytes": path.read_bytes(), "path": "not/on/this/disk.wav"},
        {"bytes": path.read_bytes(), "path": None}, {"array": expected, "sampling_rate": RATE, "path": None},
        {"array": expected.astype(np.float64), "sampling_rate": RATE},
    ]  # fmt: skip
    for source in forms:
        waveform = read_audio(source)
        assert waveform.dtype == np.float32
        np.testing.assert_array_equal(waveform, expected)


def test_channels_are_averaged(write):
    left, right = tone(300, 0.1), tone(500, 0.1)
    stereo = write("stereo.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(read_audio(stereo), (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize("own_rate", [8_000, 22_050, 44_100, 48_000])
def test_a_stereo_tone_keeps_frequency_level_and_duration_when_resampled(write, own_rate):
    mono = tone(440, 1.0, own_rate)
    waveform = read_audio(write("a.wav", np.stack([mono, mono], axis=1), own_rate))
    assert waveform.shape == (RATE,)
    assert np.abs(np.fft.rfft(waveform)).argmax() == 440  # one second: bins are 1 Hz apart
    assert level_db(waveform) == pytest.approx(level_db(mono), abs=0.02)


def test_resampling_agrees_with_scipy_away_from_the_edges(write):
    mono = tone(440, 0.5, 48_000) + tone(3_000, 0.5, 48_000, peak=0.2)
    waveform = read_audio(write("a.wav", mono, 48_000, subtype="FLOAT"))
    np.testing.assert_allclose(waveform[500:-500], resample_poly(mono, 1, 3)[500:-500], atol=2e-3)


@pytest.mark.parametrize(
    ("name", "format"), [("a.flac", "FLAC"), ("aiff.wav", "AIFF"), ("wav.flac", "WAV"), ("wav", "WAV")]
)
def test_containers_are_told_by_content_and_sound_the_same(write, name, format):
    samples = np.random.default_rng(0).integers(-32768, 32768, 3000, dtype=np.int16)
    reference = write("reference.wav", samples)
    path = write(name, samples, format=format, subtype="PCM_16")
    np.testing.assert_array_equal(read_audio(path), read_audio(reference))
    assert sample_hash(path) == sample_hash(reference)


def test_the_hash_hears_samples_and_rate_but_neither_name_nor_doubled_channel(write):
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, 3000)
    changed = samples.copy()
    changed[1500] += 2 / 32768
    reference = sample_hash(write("a.wav", samples))
    assert sample_hash(write("b.wav", np.stack([samples, samples], axis=1))) == reference
    assert sample_hash({"bytes": write("c.wav", samples).read_bytes(), "path": None}) == reference
    assert sample_hash(write("d.wav", changed)) != reference
    assert sample_hash(write("e.wav", samples, 8_000)) != reference
    assert sample_hash(write("f.wav", samples[:-1])) != reference


def test_audio_info_reads_the_header(write):
    path = write("a.wav", np.zeros((24_000, 2)), 48_000)
    for source in (path, path.read_bytes(), {"bytes": path.read_bytes(), "path": None}):
        assert audio_info(source) == AudioInfo(duration_seconds=0.5, sampling_rate=48_000, channels=2)
    assert audio_info({"array": np.zeros(8_000), "sampling_rate": RATE}) == AudioInfo(0.5, RATE, 1)


def missing(folder):
    return folder / "missing.wav", "there is no file .*missing.wav"


def a_folder(folder):
    return folder, "is a folder"


def zero_bytes(folder):
    (folder / "empty.wav").touch()
    return folder / "empty.wav", r"empty.wav is empty \(0 bytes\)"


def lfs_pointer(folder):
    (folder / "pointer.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    return folder / "pointer.wav", "pointer.wav is a git-LFS pointer.*git lfs pull"


def a_web_page(folder):
    (folder / "page.wav").write_text("<html>not found</html>" * 100)
    return folder / "page.wav", "page.wav is not a sound file.*ffmpeg -i"


def no_samples(folder):
    soundfile.write(folder / "none.wav", np.zeros(0), RATE)
    return folder / "none.wav", "none.wav has .*no samples"


@pytest.mark.parametrize("case", [missing, a_folder, zero_bytes, lfs_pointer, a_web_page, no_samples])
@pytest.mark.parametrize("function", [read_audio, audio_info, sample_hash])
def test_what_is_no_recording_is_named_with_a_way_out(tmp_path, case, function):
    path, message = case(tmp_path)
    with pytest.raises(AudioError, match=message):
        function(path)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"bytes": None, "path": None}, 'has no sound: give it "bytes"'),
        ({"bytes": b"", "path": "gone.wav"}, r"gone.wav is empty \(0 bytes\)"),
        ({"array": np.array([0.0, np.nan]), "sampling_rate": RATE, "path": "odd.wav"}, "odd.wav has a NaN"),
        ({"array": np.zeros(0), "sampling_rate": RATE}, "a recording without a path has no samples"),
        ({"array": np.zeros((2, 9)), "sampling_rate": RATE}, r"float64 of \(2, 9\).*average channels"),
        ({"array": np.zeros(9, np.int16), "sampling_rate": RATE}, "int16.*divide int16 by 32768"),
        ({"array": np.zeros(9)}, "at None Hz"),
        ({"array": np.zeros(1), "sampling_rate": 768_000, "path": "tick.wav"}, "tick.wav is too short"),
    ],
)
def test_bytes_and_arrays_are_refused_for_the_same_reasons(source, message):
    with pytest.raises(AudioError, match=message):
        read_audio(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"array": np.zeros((2, 99), np.float32), "sampling_rate": RATE}, r"float32 of \(2, 99\).*average channels"),
        ({"array": np.zeros(RATE, np.int16), "sampling_rate": RATE}, "int16.*divide int16 by 32768"),
        ({"array": np.zeros(RATE)}, "with a sampling_rate, not .* at None Hz"),
        ({"array": np.zeros(0), "sampling_rate": RATE, "path": "odd.wav"}, "odd.wav has no samples"),
    ],
)
def test_an_array_is_refused_before_its_duration_is_told(source, message):
    with pytest.raises(AudioError, match=message):
        audio_info(source)


def test_a_file_with_infinite_samples_is_refused(write):
    path = write("odd.wav", np.array([0.0, np.inf, 0.0]), subtype="FLOAT")
    with pytest.raises(AudioError, match=r"odd.wav has a NaN or infinite sample at 0.000 s"):
        read_audio(path)
