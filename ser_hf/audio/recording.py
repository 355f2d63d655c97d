"""An open sound file: its facts and its samples, whatever is wrong with it.

A decoder may fail in any way on a damaged file, and a small file may announce years of sound. Whatever happens, the
error is an `AudioError`: one line that names the recording and says what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from .containers import shortfall, with_length

# A path, the bytes of a sound file, or what a `datasets` audio column holds: {"bytes": ..., "path": ...}, one of
# which may be None, or {"array": ..., "sampling_rate": ...}.
Source = str | os.PathLike | bytes | bytearray | memoryview | dict

# Of a recording, in Hz. Below the lowest nothing of speech is left but the pitch.
SAMPLING_RATES = (2_000, 768_000)
SILENT_PEAK = 10 ** (-60 / 20)  # RAVDESS's softest recording peaks at -47 dB relative to full scale
# Largest sample, where full scale is 1. Floating-point files may exceed full scale a little; samples in the scale of
# integers would be 32,768.
LOUDEST = 100.0
# Most samples at 16 kHz that a small file may hold (an hour), and most per byte of any file. The strongest codec for
# speech, Opus at 6 kbit/s, has 21; digital silence in a FLAC file has thousands.
SAMPLES_OF_ANY_FILE, SAMPLES_PER_BYTE = 60_000_000, 100

NAMELESS = "a recording without a path"

_BLOCK = 1 << 22  # samples that are decoded at once: 16 MB
_FLAC_BLOCK = 4_096  # samples; of a FLAC file that was cut off, libsndfile returns whole blocks only
_UNKNOWN_FRAMES = 1 << 62  # a decoder that cannot tell the length says 2^63 - 1
_MP3_SLACK_SECONDS = 0.25  # libsndfile estimates the length of an MP3 file if the header does not give it
_ANNEX = ("is a git-annex pointer, not sound", "run `git annex get` (DataLad: `datalad get`)", "missing-content")
_POINTERS = {
    b"version https://git-lfs": (
        "is a git-LFS pointer, not sound",
        "run `git lfs pull` in its repository",
        "lfs-pointer",
    ),
    b"/annex/objects/": _ANNEX,
    b"\\annex\\objects\\": _ANNEX,
}


class AudioError(ValueError):
    """A recording cannot be read; the message names it and says what to do.

    Attributes:
        says: names the recording and says what is wrong.
        remedy: what to do.
        kind: one of the kinds of `inspection.faults`.
    """

    def __init__(self, says: str, remedy: str, kind: str = "undecodable"):
        super().__init__(says, remedy, kind)
        self.says, self.remedy, self.kind = says, remedy, kind

    def __str__(self) -> str:
        return f"{self.says}: {self.remedy}"


class TruncatedAudioError(AudioError):
    """The end of a recording is missing."""


class Recording:
    """An open sound file: first the facts of its header, then its samples in blocks, so that memory stays small.

    Attributes:
        name: for messages.
        container: libsndfile's name of the format, such as "WAV".
        sampling_rate: in Hz.
        channels: their number.
        frames: number of samples of each channel.
        truncated: says what is missing at the end; None if nothing is known to be missing.

    Raises:
        AudioError: if it is no sound file, or if its header cannot be true.
    """

    def __init__(self, source: Source):
        self.name, self.truncated, self._file = name_of(source), None, _opened(source)
        try:
            with self._in_one_line():
                self.bytes = self._file.seek(0, os.SEEK_END)
                self.truncated = shortfall(self._file)
                if (completed := with_length(self._file)) is not None:
                    self._file.close()
                    self._file = _Memory(completed)
                self._sound = _decoder(self._file)
                self.container, self.channels = self._sound.format, self._sound.channels
                self.sampling_rate = checked_rate(self._sound.samplerate, self.name)
                self._announced = self.frames = self._sound.frames
                self._refuse_more_than_it_can_hold(self.frames)
                self._ends_early = self.container == "FLAC" and not self._has_its_last_sample()
                if self._ends_early and self.truncated is None:
                    self.truncated = "has lost its end: its last samples cannot be decoded"
                if self.frames >= _UNKNOWN_FRAMES:
                    self.frames = sum(map(len, self.blocks(allow_truncated=True)))
                    self._sound = _decoder(self._file)
            if self.frames == 0:
                raise self._lost() or empty(self.name)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *error) -> None:
        self._sound.close()
        self._file.close()

    def refuse_truncated(self, allowed: bool) -> None:
        """Raise a `TruncatedAudioError` if the end is known to be missing, unless this is allowed."""
        if self.truncated is not None and not allowed:
            raise TruncatedAudioError(
                f"{self.name} {self.truncated}",
                "fetch it again, or use what is there with allow_truncated",
                "truncated",
            )

    def blocks(self, allow_truncated: bool = False) -> Iterator[np.ndarray]:
        """Yield the samples once, float32 (frames, channels), a few megabytes at a time.

        Raises:
            AudioError: if the file is damaged, or if samples are not finite or too large.
            TruncatedAudioError: if the end is missing and `allow_truncated` is False.
        """
        self.refuse_truncated(allow_truncated)
        done, size = 0, _FLAC_BLOCK if self._ends_early else max(1, _BLOCK // self.channels)
        while True:
            try:
                with self._in_one_line():
                    left = max(1, self._announced - done)
                    block = self._sound.read(min(size, left), dtype="float32", always_2d=True)
            except AudioError:
                if done and self._ends_early:
                    break
                raise
            if len(block) == 0:
                break
            self._check(block, done)
            done += len(block)
            self._refuse_more_than_it_can_hold(done)
            yield block
        if done == 0:
            raise empty(self.name)
        slack = round(_MP3_SLACK_SECONDS * self.sampling_rate) if self.container == "MP3" else 0
        if self.truncated is None and done + slack < self._announced < _UNKNOWN_FRAMES:
            seconds = (count / self.sampling_rate for count in (done, self._announced))
            self.truncated = "has only {:.1f} of the {:.1f} s that its header announces".format(*seconds)
            self.refuse_truncated(allow_truncated)

    def _check(self, block: np.ndarray, done: int) -> None:
        if np.abs(block).max() <= LOUDEST:  # False for NaN, too
            return
        frame, channel = np.argwhere(~(np.abs(block) <= LOUDEST))[0]
        raise too_large(self.name, block[frame, channel], (done + frame) / self.sampling_rate)

    def _refuse_more_than_it_can_hold(self, frames: int) -> None:
        """Raise an `AudioError` for sound that would take the memory of the machine: before and while it is decoded."""
        most = max(SAMPLES_OF_ANY_FILE, SAMPLES_PER_BYTE * self.bytes)
        kept = frames * 16_000 // self.sampling_rate  # one channel at the rate of the models
        if kept > most and frames < _UNKNOWN_FRAMES:
            hours = frames / self.sampling_rate / 3600
            raise AudioError(
                f"{self.name} announces {hours:,.1f} hours of sound ({self.channels} channels at "
                f"{self.sampling_rate:,} Hz), more than its {self.bytes:,} bytes can hold",
                "fetch it again",
            )

    def _has_its_last_sample(self) -> bool:
        if self.frames >= _UNKNOWN_FRAMES or self.frames == 0:
            return True
        try:
            self._sound.seek(self.frames - 1)
            there = len(self._sound.read(1)) == 1
            self._sound.seek(0)
        except soundfile.SoundFileError:
            self._sound = _decoder(self._file)
            return False
        return there

    @contextmanager
    def _in_one_line(self) -> Iterator[None]:
        """Turn whatever a decoder raises, out of memory included, into an `AudioError`."""
        try:
            yield
        except AudioError:
            raise
        except OSError as error:
            raise AudioError(f"{self.name} cannot be read ({error.strerror or error})", "check its disk") from error
        except Exception as error:
            self._file.seek(0)
            raise self._lost() or _not_sound(self.name, self._file.read(64)) from error

    def _lost(self) -> TruncatedAudioError | None:
        """Return the error for a file of which nothing can be decoded because its end is missing."""
        if self.truncated is None:
            return None
        says = f"{self.name} {self.truncated}, and nothing of it can be decoded"
        return TruncatedAudioError(says, "fetch it again", "truncated")


class _Memory(BytesIO):
    """The bytes of a sound file. A decoder may seek anywhere; an exception in its callback would be printed."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


class _Decoder(soundfile.SoundFile):
    """A decoder that reads on. After each read, `SoundFile` seeks in what is seekable, and fails in some formats."""

    def seekable(self) -> bool:
        return False


def _decoder(file: BinaryIO) -> soundfile.SoundFile:
    # By file descriptor or from memory: given a name, libsndfile falls back to its suffix (.vox, .gsm), and any file
    # becomes noise. A descriptor is quicker: from memory, libsndfile calls Python for every piece.
    if isinstance(file, _Memory):
        file.seek(0)
        return _Decoder(file)
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # `file.seek` may stay within what Python has read ahead
    return _Decoder(file.fileno(), closefd=False)


def checked_rate(sampling_rate: int | float, name: str) -> int:
    """Return a sampling rate in Hz; raise an `AudioError` for one outside `SAMPLING_RATES`."""
    lowest, highest = SAMPLING_RATES
    if not lowest <= sampling_rate <= highest:
        raise AudioError(
            f"{name} has a sampling rate of {sampling_rate:,} Hz, but speech is recorded at {lowest:,} to "
            f"{highest:,} Hz",
            "correct its header, or fetch it again",
        )
    return int(sampling_rate)


def too_large(name: str, sample: float, seconds: float) -> AudioError:
    """Return the error for a sample that is not finite or is larger than `LOUDEST`."""
    if not np.isfinite(sample):
        return AudioError(
            f"{name} has a NaN or infinite sample at {seconds:.3f} s", "convert it again from its original"
        )
    return AudioError(
        f"{name} has a sample of {sample:.3g} at {seconds:.3f} s, but full scale is 1",
        "divide its samples by their full scale (32768 for 16 bits), or convert it again from its original",
    )


def _opened(source: Source) -> BinaryIO:
    """Return the encoded file that a source names or holds, open for reading.

    Raises:
        AudioError: if there is none.
    """
    name = name_of(source)
    if isinstance(source, dict):
        source = source.get("path") if source.get("bytes") is None else source["bytes"]
        if source is None:
            raise AudioError(
                f"{name} has no sound", 'give it "bytes", a "path", or an "array" with its "sampling_rate"'
            )
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _Memory(source)
    if not isinstance(source, (str, os.PathLike)):
        raise AudioError(
            f"{name} is of the type {type(source).__name__}, which holds no sound",
            'pass a path, the bytes of a sound file, or {"array": ..., "sampling_rate": ...}',
        )
    path = Path(source)
    try:
        if path.is_dir():
            raise AudioError(f"{name} is a folder", "pass one sound file")
        if path.is_symlink() and not path.exists():
            says = f"{name} is a link to {name_of(path.readlink())}, which does not exist"
            raise AudioError(says, "fetch its content", "missing-content")
        if not path.is_file():
            raise AudioError(f"there is no file {name}", "check the name, or mount its disk")
        return path.open("rb")
    except OSError as error:
        raise AudioError(
            f"{name} cannot be opened ({error.strerror or error})", "check its name and its permissions"
        ) from error


def name_of(source: Source) -> str:
    """Return the name of a recording for messages."""
    path = source.get("path") if isinstance(source, dict) else source
    if not isinstance(path, (str, os.PathLike)):
        return NAMELESS
    # A name may hold line ends, or codes that a terminal obeys.
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in os.fspath(path))


def _not_sound(name: str, head: bytes) -> AudioError:
    if not head:
        return AudioError(f"{name} is empty (0 bytes)", "fetch it again", "zero-length")
    for pointer, (says, remedy, kind) in _POINTERS.items():
        if head.startswith(pointer):
            return AudioError(f"{name} {says}", remedy, kind)
    return AudioError(
        f"{name} is not a sound file that libsndfile can read (WAV, FLAC, Ogg, MP3, AIFF and others), or it is damaged",
        "fetch it again, or convert it with `ffmpeg -i FILE FILE.wav`",
    )


def empty(name: str) -> AudioError:
    """Return the error for a recording without samples."""
    return AudioError(f"{name} has no samples", "remove it, or fetch it again", "zero-length")
