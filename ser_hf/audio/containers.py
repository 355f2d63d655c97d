"""What the header of a sound file announces, compared with what the file holds.

libsndfile reads a file that was cut off (a broken download, a full disk) without an error, and returns what is left.
Nothing here decodes sound: `shortfall` reads headers and last pages, and of an MP3 file the headers of its frames.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from struct import unpack
from typing import BinaryIO

# Sizes that programs write when they do not know the length yet, because they write to a pipe: 0, 2^32 - 1 (ffmpeg),
# about 2^31 (SoX, arecord). A file whose header was never completed has them too.
_UNKNOWN_32 = 0x7FFF_0000
# Bytes: some programs count the header, or a byte of padding, among the samples. It is 2 ms of 16-bit speech.
TOLERATED = 64
_MOST_CHUNKS = 10_000  # before the samples; real files have about ten
_OGG_PAGE = 65_307  # bytes, the longest

# MPEG audio: kbit/s by (version 1 or not, layer) and Hz by version. Layer 3 is MP3.
_KBITS = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_KBITS[False, 3] = _KBITS[False, 2]
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def shortfall(file: BinaryIO) -> str | None:
    """Say what is missing at the end of a sound file; None if nothing is, or if its format does not tell.

    WAV (RIFF, RIFX, RF64), W64, AIFF, AU, CAF, VOC, SVX and NIST SPHERE files announce the bytes of their samples; Ogg
    and MP3 are sequences of pages and frames, of which the last one must be whole. A length of 0 or of all ones, as in
    a file that was written to a pipe, is an unknown length. FLAC tells only its decoder (see `recording`).

    Args:
        file: an open file, read from its beginning; its position afterwards is undefined.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(1024)
    for magic, measure in _FORMATS:
        if magic.match(head):
            announced, present = measure(file, head, size) or (0, 0)
            tolerated = 0 if measure in (_ogg, _mpeg) else TOLERATED
            if present + tolerated < announced:
                return f"has only {present:,} of the {announced:,} bytes of sound that its header announces"
            return None
    return None


def with_length(file: BinaryIO) -> bytes | None:
    """Return a WAV file whose header was never completed, with its length filled in; None for any other file.

    Its samples announce 0 bytes and go on to the end of the file. libsndfile would find no samples.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if not re.match(rb"(?s)RIFF....WAVE", file.read(12)):
        return None
    places = [(name, length, at) for name, length, at in _chunks(file, 12, size, _riff_chunk, 8, 2)]
    begin = next((number for number, (name, length, _) in enumerate(places) if name == b"data" and length == 0), None)
    if begin is None or size - places[begin][2] < 1:
        return None
    _, length, end = places[-1]
    after, at = places[begin + 1 :], places[begin][2]
    if after and all(_is_name(name) for name, _, _ in after) and 0 <= end + length + length % 2 - size <= 1:
        return None  # other chunks follow to the end: it has no samples indeed
    file.seek(0)
    content = bytearray(file.read())
    content[4:8] = min(size - 8, 0xFFFF_FFFF).to_bytes(4, "little")
    content[at - 4 : at] = min(size - at, 0xFFFF_FFFF).to_bytes(4, "little")
    return bytes(content)


# --- formats that announce the bytes of their samples ---


def _is_name(chunk: bytes) -> bool:
    return chunk.isascii() and chunk.decode("ascii").isprintable()


def _riff_chunk(head: bytes, order: str = "<") -> tuple[bytes, int]:
    return head[:4], unpack(order + "I", head[4:])[0]


def _riff(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    order = ">" if head[:4] in (b"RIFX", b"FORM") else "<"
    long = None  # the size of RF64 and BW64 files, from their ds64 chunk
    for name, announced, at in _chunks(file, 12, size, partial(_riff_chunk, order=order), 8, 2):
        if name == b"ds64":
            file.seek(at)
            long = unpack("<Q", file.read(16).ljust(16, b"\0")[8:])[0]
        elif name in (b"data", b"SSND", b"BODY"):
            if announced == 0xFFFF_FFFF and long is not None:
                return long, min(long, size - at)
            if announced == 0 or announced >= _UNKNOWN_32:
                return None
            return announced, min(announced, size - at)
    return None


def _wave64(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    for name, announced, at in _chunks(file, 40, size, lambda head: (head[:4], unpack("<q", head[16:])[0] - 24), 24, 8):
        if name == b"data" and announced > 0:
            return announced, min(announced, size - at)
    return None


def _core_audio(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    for name, announced, at in _chunks(file, 8, size, lambda head: (head[:4], unpack(">q", head[4:])[0]), 12, 1):
        if name == b"data":  # -1: to the end of the file
            return (announced, min(announced, size - at)) if announced > 0 else None
    return None


def _chunks(
    file: BinaryIO, at: int, size: int, read: Callable[[bytes], tuple[bytes, int]], length: int, even: int
) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the announced bytes and the position of the content of each chunk.

    Args:
        at: position of the first chunk.
        size: bytes of the file.
        read: gives name and announced bytes from the head of a chunk.
        length: bytes of the head.
        even: chunks begin at multiples of it.
    """
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        head = file.read(length)
        if len(head) < length:
            return
        name, announced = read(head)
        yield name, announced, at + length
        if announced < 0:
            return
        at += length + announced + -announced % even
        if at >= size:
            return


def _sun(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    offset, announced = unpack((">" if head[:1] == b"." else "<") + "II", head[4:12].ljust(8, b"\0"))
    known = 0 < announced < _UNKNOWN_32
    return (announced, min(announced, max(0, size - offset))) if known else None


def _creative(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    """Blocks of sound (types 1, 2 and 9) of a VOC file: one byte of type, three of length."""
    at, announced, present = unpack("<H", head[20:22].ljust(2, b"\0"))[0], 0, 0
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        block = file.read(4)
        if len(block) < 4 or block[0] == 0:
            break
        length = int.from_bytes(block[1:], "little")
        if block[0] in (1, 2, 9):
            announced, present = announced + length, present + min(length, max(0, size - at - 4))
        at += 4 + length
    return announced, present


def _sphere(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    """A text header: the samples of each channel, the channels, and the bytes of one sample."""
    facts = {name: int(value) for name, value in re.findall(rb"(?m)^(sample_\w+|channel_count) -i (\d{1,18})\s", head)}
    begin = re.match(rb"NIST_1A\n\s*(\d{1,6})\n", head)
    if begin is None or b"sample_count" not in facts or b"shorten" in head or b"wavpack" in head:
        return None
    announced = facts[b"sample_count"] * facts.get(b"channel_count", 1) * facts.get(b"sample_n_bytes", 1)
    return announced, min(announced, max(0, size - int(begin[1])))


# --- formats that are sequences of pages or frames ---


def _ogg(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    """The last page, which says how long it is. A stream that ends with a whole page is taken for complete."""
    begin = max(0, size - _OGG_PAGE)
    file.seek(begin)
    tail = file.read(_OGG_PAGE)
    at = tail.rfind(b"OggS\0")
    if at < 0:
        return None
    segments = tail[at + 27 : at + 27 + (tail[at + 26] if at + 26 < len(tail) else 255)]
    whole = len(tail) > at + 26 and len(segments) == tail[at + 26]
    end = begin + at + 27 + len(segments) + sum(segments) if whole else size + 1
    return end, min(end, size)


def _mpeg(file: BinaryIO, head: bytes, size: int) -> tuple[int, int] | None:
    """The bytes that a Xing or Info frame announces; without one, all frames up to the last, which must be whole."""
    file.seek(0)
    content = file.read()
    begin = 0
    if content.startswith(b"ID3") and len(content) > 10:  # each byte of the length has seven bits
        begin = 10 + sum((byte & 127) << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))
    first = _frame(content, begin)
    if first is None:
        return None
    xing = re.search(rb"(?s)(?:Xing|Info)...(.)(.{8})", content[begin : begin + 64])
    if xing and xing[1][0] & 2:
        announced = unpack(">II", xing[2])[xing[1][0] & 1]  # after the number of frames, if there is one
        return announced, min(announced, size - begin)
    at = begin
    while (length := _frame(content, at)) is not None and _is_alike(content, begin, at):
        at += length
    return at - begin, min(at, size) - begin


def _is_alike(content: bytes, first: int, at: int) -> bool:
    """True if two frames have the same version, layer and sampling rate; what follows the last frame has others."""
    return content[first + 1] & 0xFE == content[at + 1] & 0xFE and content[first + 2] & 0x0C == content[at + 2] & 0x0C


def _frame(content: bytes, at: int) -> int | None:
    """Return the bytes of the MPEG audio frame that begins here; None if none does."""
    if at + 4 > len(content) or content[at] != 0xFF or content[at + 1] & 0xE0 != 0xE0:
        return None
    version, layer = content[at + 1] >> 3 & 3, 4 - (content[at + 1] >> 1 & 3)
    kbits, rate, padding = content[at + 2] >> 4, content[at + 2] >> 2 & 3, content[at + 2] >> 1 & 1
    if version == 1 or layer == 4 or kbits in (0, 15) or rate == 3:
        return None
    bits, hertz = 1000 * _KBITS[version == 3, layer][kbits], _RATES[version][rate]
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // hertz + padding


_FORMATS: tuple[tuple[re.Pattern, Callable], ...] = tuple(
    (re.compile(magic, re.DOTALL), measure)
    for magic, measure in (
        (rb"(RIFF|RIFX|RF64|BW64)....WAVE", _riff),
        (rb"FORM....(AIFF|AIFC|8SVX|16SV)", _riff),
        (rb"riff\x2e\x91\xcf\x11", _wave64),
        (rb"caff", _core_audio),
        (rb"\.snd|dns\.", _sun),
        (rb"Creative Voice File\x1a", _creative),
        (rb"NIST_1A\n", _sphere),
        (rb"OggS", _ogg),
        (rb"ID3|\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd]", _mpeg),  # layers 2 and 3; a UTF-16 text begins like layer 1
    )
)
