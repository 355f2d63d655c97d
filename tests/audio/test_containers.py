"""A recording that lost its end is told by its container; one that is whole, or of unknown length, never is."""

from io import BytesIO

import numpy as np
import pytest
import soundfile

from ser_hf.audio import AudioError, TruncatedAudioError, audio_info, read_audio
from ser_hf.audio.containers import TOLERATED, shortfall

RATE = 16_000
FORMATS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"),
    ("WAV", "GSM610"), ("WAV", "G721_32"), ("WAV", "NMS_ADPCM_32"), ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"), ("W64", "PCM_16"), ("W64", "GSM610"), ("AIFF", "PCM_16"), ("AIFF", "ALAW"), ("AIFF", "DWVW_16"),
     ("AU", "PCM_16"), ("AU", "ULAW"), ("AU", "G723_40"), ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"), ("VOC", "PCM_16"), ("VOC", "ULAW"), ("SVX", "PCM_16"), ("NIST", "PCM_16"), ("NIST", "ULAW"),
    ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
]  # fmt: skip


def encoded(format: str, subtype: str, seconds: float = 1.5, **options) -> bytes:
    time = np.arange(round(seconds * RATE)) / RATE
    tone = 0.3 * np.sin(2 * np.pi * 220 * time) + 0.01 * np.random.default_rng(0).standard_normal(len(time))
    file = BytesIO()
    soundfile.write(file, tone.astype(np.float32), RATE, format=format, subtype=subtype, **options)
    return file.getvalue()


def samples_of(content: bytes) -> int:
    return len(read_audio(content, allow_truncated=True))


@pytest.mark.parametrize(("format", "subtype"), FORMATS)
def test_a_whole_file_lacks_nothing_and_any_cut_is_told_or_takes_no_sound(format, subtype):
    content = encoded(format, subtype)
    whole = samples_of(content)
    assert shortfall(BytesIO(content)) is None
    assert audio_info(content).truncated is None
    for length in np.random.default_rng(1).integers(16, len(content) - 1, 25):
        cut = content[:length]
        try:
            info = audio_info(cut)
        except AudioError:
            continue  # its header is gone, and it is no sound any more
        try:
            assert samples_of(cut) <= whole
        except AudioError:
            assert info.truncated is not None
            continue
        if info.truncated is None:
            assert len(read_audio(cut)) >= whole - TOLERATED or len(content) - length <= TOLERATED, f"cut to {length}"
        else:
            with pytest.raises(TruncatedAudioError, match=r"a recording without a path has .*allow_truncated"):
                read_audio(cut)


@pytest.mark.parametrize("order", ["LITTLE", "BIG"])
@pytest.mark.parametrize("format", ["WAV", "AU", "CAF", "AIFF"])
def test_the_order_of_bytes_does_not_matter(format, order):
    content = encoded(format, "PCM_16", endian=order)
    assert shortfall(BytesIO(content)) is None
    assert shortfall(BytesIO(content[: len(content) // 2])) is not None


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_F000, 0x8000_0000])
def test_a_wave_file_from_a_pipe_is_of_unknown_length(size):
    content = encoded("WAV", "PCM_16")
    at = content.index(b"data") + 4
    piped = content[:4] + size.to_bytes(4, "little") + content[8:at] + size.to_bytes(4, "little") + content[at + 4 :]
    for cut in (piped, piped[:-1000]):
        assert audio_info(cut).truncated is None
        assert len(read_audio(cut)) == (len(cut) - at - 4) // 2


def test_a_sun_file_from_a_pipe_is_of_unknown_length():
    content = encoded("AU", "PCM_16")
    piped = content[:8] + b"\xff" * 4 + content[12:-1000]
    assert audio_info(piped).truncated is None
    assert len(read_audio(piped)) == (len(piped) - 24) // 2


def test_a_flac_stream_that_does_not_tell_its_length_is_read_to_its_end():
    content = bytearray(encoded("FLAC", "PCM_16"))
    content[21] &= 0xF0  # the number of samples: 36 bits of the first block
    content[22:26] = bytes(4)
    assert audio_info(bytes(content)).duration_seconds == pytest.approx(1.5)
    assert samples_of(bytes(content)) == 1.5 * RATE


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10)])
def test_an_mp3_file_is_cut_inside_a_frame_or_against_its_own_count(mode, tag):
    content = encoded("MP3", "MPEG_LAYER_III", bitrate_mode=mode)
    assert shortfall(BytesIO(tag + content)) is None
    assert shortfall(BytesIO(tag + content + b"TAG" + bytes(125))) is None, "an ID3 tag at the end is no sound"
    assert "bytes of sound that its header announces" in shortfall(BytesIO(tag + content[:-700]))
    frames_alone = content.replace(b"Xing", b"    ").replace(b"Info", b"    ")
    assert shortfall(BytesIO(tag + frames_alone)) is None
    assert shortfall(BytesIO(tag + frames_alone[:-3])) is not None


def test_what_is_no_sound_has_no_shortfall():
    rng = np.random.default_rng(2)
    for magic in (
        b"", b"RIFF0000WAVE", b"RF640000WAVE", b"riff\x2e\x91\xcf\x11", b"caff", b".snd", b"OggS", b"ID3", b"\xff\xfb",
        b"Creative Voice File\x1a", b"NIST_1A\n", b"FORM0000AIFF",
    ):  # fmt: skip
        for size in (0, 1, 7, 40, 3000):
            shortfall(BytesIO(magic + rng.bytes(size)))  # raises nothing


@pytest.mark.parametrize("more", [1, 8, 44])
def test_a_header_that_counts_itself_among_the_samples_is_no_missing_end(more):
    content = encoded("WAV", "PCM_16")
    at = content.index(b"data") + 4
    size = int.from_bytes(content[at : at + 4], "little") + more
    assert shortfall(BytesIO(content[:at] + size.to_bytes(4, "little") + content[at + 4 :])) is None


def test_an_empty_wave_file_with_a_chunk_behind_it_has_no_samples_and_a_silent_pipe_has():
    head = encoded("WAV", "PCM_16")[:44]
    empty = head[:40] + bytes(4) + b"LIST" + (25).to_bytes(4, "little") + b"x" * 26
    with pytest.raises(AudioError, match="no samples"):
        read_audio(empty)
    assert len(read_audio(head[:40] + bytes(4) + bytes(32_000))) == 16_000


def test_a_text_in_utf_16_and_a_stray_sync_word_are_no_cut_mp3():
    assert shortfall(BytesIO("This is a text, and no sound.".encode("utf-16"))) is None
    assert shortfall(BytesIO(encoded("MP3", "MPEG_LAYER_III") + b"\xff\xfb\x90\x00")) is None
