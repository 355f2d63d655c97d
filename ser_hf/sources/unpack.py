"""Unpacking of archives from others: every member is checked before the first is written, and its bytes are counted.

`tarfile` has filters and `zipfile` strips some names, but neither refuses links, names that overwrite each other, or
archives that expand without limit. A corpus needs none of these.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .utterance import CorpusError

MOST_MEMBERS = 300_000  # the largest emotional corpora have some 150,000 recordings
MOST_BYTES = 200 * 2**30
MOST_RATIO = 100  # speech packs 2:1, tables 10:1; bombs begin at 1000:1
_CHUNK = 2**20
_FORBIDDEN = re.compile(r'[<>"|?*]')  # besides those that are refused by their own words
_DEVICES = re.compile(r"con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]", re.IGNORECASE)
_JOINERS = "\u200c\u200d"  # between letters of Persian, and in emoji
_LONGEST_NAME, _LONGEST_PATH = 255, 1_000  # bytes, characters
_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError, NotImplementedError,
    UnicodeDecodeError, ValueError, OverflowError, MemoryError, struct.error, IndexError, AssertionError,
)  # fmt: skip
_DECOMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


@dataclass(frozen=True)
class _Member:
    name: str  # as the archive has it
    size: int  # bytes, as the archive says
    open: Callable[[], BinaryIO] | None  # None for a folder


def unpack(archive: Path, folder: Path, *, top: str = "") -> None:
    """Unpack a zip or a tar (plain, gz, bz2, xz) into a new folder, which appears only when it is complete.

    Names are checked as on the strictest file system: links, devices, absolute paths, `..`, backslashes, colons and
    control characters are refused, and also names that differ only in case or in the composition of accents. Files of
    macOS (`__MACOSX`, `._*`, `.DS_Store`) and empty folders are left out. Names without a declared encoding are read
    as UTF-8 if they are valid, else as the format's old code page.

    Args:
        archive: the file; its format is recognised by its first bytes, not by its name.
        folder: must not exist.
        top: the folder inside the archive that is unpacked; a member outside of it is refused.

    Raises:
        CorpusError: for a refused member, which the message names. Nothing is left on the disk.
        OSError: if the disk has less space than the archive declares.
    """
    if folder.exists():
        raise CorpusError(f"{folder} exists already: {archive.name} can only be unpacked into a new folder")
    unfinished = folder.with_name(f"{folder.name}.unpacking")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
    try:
        with archive.open("rb") as file:
            planned = list(_planned(_members(file), archive, top))
            if not planned:
                raise CorpusError(f"{archive.name} has no files: remove it and download it again")
            require_space(folder.parent, sum(member.size for member, _ in planned))
            for member, parts in planned:
                _write(member, unfinished.joinpath(*parts), archive)
        unfinished.rename(folder)
    except CorpusError:
        raise
    except RecursionError as error:  # headers that announce further headers without end
        raise CorpusError(f"{archive.name} is not unpacked: its headers are nested too deeply; remove it") from error
    except _DAMAGED as error:
        raise CorpusError(f"{archive.name} cannot be unpacked: {error}; remove it and download it again") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def require_space(folder: Path, size: int) -> None:
    """Raise an OSError if the disk of an existing folder has less than `size` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(f"{folder} needs {size:,} bytes, but its disk has {free:,} left: free some space and run again")


def _members(file: BinaryIO) -> Iterator[_Member]:
    start = file.read(8)
    file.seek(0)
    if start.startswith(b"PK"):
        yield from _zip_members(zipfile.ZipFile(file))
        return
    decompress = next((opened for magic, opened in _DECOMPRESSED.items() if start.startswith(magic)), None)
    stream = _ShortReads(file if decompress is None else decompress(file))
    try:
        archive = tarfile.TarFile(fileobj=stream, encoding="utf-8", errors="surrogateescape")
    except tarfile.ReadError:
        raise CorpusError(
            f"{file.name} is neither a zip nor a tar archive; it begins with {start!r}: if this is a web page, open "
            "its address in a browser"
        ) from None
    yield from _tar_members(archive)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        name = info.orig_filename  # `filename` is cut at a NUL and loses backslashes on Windows
        if not info.flag_bits & 0x800:  # the flag of UTF-8: without it zipfile reads code page 437
            raw = name.encode("cp437")
            name = raw.decode("utf-8") if _is_utf8(raw) else name
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refusal(name, "is a link or a device, not a file")
        if info.flag_bits & 0x1:
            raise _refusal(name, "is encrypted")
        is_folder = name.endswith("/") or kind == stat.S_IFDIR
        yield _Member(name, info.file_size, None if is_folder else lambda info=info: archive.open(info))


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        name = info.name
        if not _is_utf8(raw := name.encode("utf-8", "surrogateescape")):
            name = raw.decode("latin-1")
        if not (info.isdir() or info.isreg()) or info.issparse():
            raise _refusal(name, "is a link, a device or a sparse file, not a file")
        yield _Member(name, info.size, None if info.isdir() else lambda info=info: archive.extractfile(info))
    # tarfile treats a damaged header, or the end of the file, as the end of the archive; the real end is a zero block
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"it ends after {len(archive.members)} members")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class _ShortReads:
    """A stream that refuses huge reads: tarfile reads the header of a member at once, whatever length it claims."""

    def __init__(self, stream: BinaryIO):
        self.stream, self.seek, self.tell = stream, stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > 2 * _CHUNK:
            raise CorpusError(f"the archive is not unpacked: a header in it claims {size:,} bytes")
        return self.stream.read(size)


def _planned(members: Iterable[_Member], archive: Path, top: str) -> Iterator[tuple[_Member, tuple[str, ...]]]:
    """Yield the files to write, and the parts of their names below the new folder."""
    most = min(MOST_BYTES, MOST_RATIO * archive.stat().st_size)
    total, seen = 0, {}
    for number, member in enumerate(members, 1):
        total += member.size
        if number > MOST_MEMBERS:
            raise _refusal(member.name, f"is one of more than {MOST_MEMBERS:,} members")
        if total > most:
            raise _refusal(member.name, f"brings the total to {total:,} bytes, more than the allowed {most:,}")
        parts = _safe_parts(member.name)
        _refuse_overwriting(seen, parts, member)
        if parts[0] == "__MACOSX" or parts[-1] == ".DS_Store" or parts[-1].startswith("._"):
            continue
        if member.open is None:
            continue
        inside = parts[1:] if top else parts
        if not inside or (top and parts[0] != top):
            raise _refusal(member.name, f"is outside of {top}/, the folder of the release")
        yield member, inside


def _safe_parts(name: str) -> tuple[str, ...]:
    if name.startswith("/"):
        raise _refusal(name, "is an absolute path")
    if "\\" in name or ":" in name:
        raise _refusal(name, "has a backslash or a colon, which is a folder or a drive on some systems")
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise _refusal(name, "has a control character")
    if any(unicodedata.category(one) in ("Cf", "Cs", "Co", "Zl", "Zp") and one not in _JOINERS for one in name):
        raise _refusal(name, "has a character that cannot be seen, such as one that turns the direction of writing")
    if found := _FORBIDDEN.search(name):
        raise _refusal(name, f"has the character {found[0]}, which no name on Windows may have")
    parts = tuple(unicodedata.normalize("NFC", part) for part in name.split("/") if part not in ("", "."))
    if not parts or not all(part.strip(" .") for part in parts):  # Windows drops final dots and spaces: ".. " is ".."
        raise _refusal(name, "is outside of the folder")
    for part in parts:
        if _DEVICES.fullmatch(part.partition(".")[0].rstrip(" ")):
            raise _refusal(name, f"has the name of a device on Windows, {part}")
        if part != part.rstrip(" ."):
            raise _refusal(name, "ends with a dot or a space, which Windows drops")
        if len(part.encode("utf-8", "surrogatepass")) > _LONGEST_NAME:
            raise _refusal(name[:60], f"has a name of more than {_LONGEST_NAME} bytes")
    if len(name) > _LONGEST_PATH:
        raise _refusal(name[:60], f"has a path of more than {_LONGEST_PATH} characters")
    return parts


def _refuse_overwriting(seen: dict[tuple[str, ...], str], parts: tuple[str, ...], member: _Member) -> None:
    """Add a name to those `seen`, without case and final dots, and raise if it overwrites another."""
    key = tuple(part.rstrip(" .").casefold() for part in parts)
    for length in range(1, len(key)):
        if seen.setdefault(key[:length], "folder") == "file":
            raise _refusal(member.name, f"is below {'/'.join(parts[:length])}, which is a file")
    kind = "folder" if member.open is None else "file"
    if key in seen and "file" in (kind, seen[key]):
        raise _refusal(member.name, "overwrites another member")
    seen[key] = kind


def _write(member: _Member, path: Path, archive: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with member.open() as source, path.open("xb") as file:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > member.size:
                break
            file.write(chunk)
    if written != member.size:
        raise _refusal(member.name, f"does not have the {member.size:,} bytes that {archive.name} declares")


def _refusal(name: str, reason: str) -> CorpusError:
    return CorpusError(f"the archive is not unpacked: its member {name!r} {reason}")
