"""Archives that were made to do harm, and those that only look like it."""

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import warnings
import zipfile

import pytest

from ser_hf.corpora import CorpusError
from ser_hf.sources import unpack
from ser_hf.sources.unpack import unpack as unpack_archive


def zip_of(*members, content=b"sound", compression=zipfile.ZIP_STORED):
    """A zip of names, or of (name, mode of the file) for what is not a plain file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")  # zipfile warns of the names we write twice on purpose
        for member in members:
            name, mode = member if isinstance(member, tuple) else (member, 0)
            info = zipfile.ZipInfo()
            info.filename = name  # as it is: the constructor would tidy it up
            info.external_attr, info.compress_type = mode << 16, compression
            archive.writestr(info, content)
    return buffer.getvalue()


def with_zip_field(data, offset, layout, value):
    """A zip with a field of its (first) central directory entry overwritten."""
    start = data.index(b"PK\x01\x02") + offset
    return data[:start] + struct.pack(layout, value) + data[start + struct.calcsize(layout) :]


def tar_of(*members, content=b"sound"):
    """A tar of names, or of TarInfo fields for what is not a plain file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        for member in members:
            fields = member if isinstance(member, dict) else {"name": member}
            info = tarfile.TarInfo()
            for name, value in {"size": 0 if "type" in fields else len(content), **fields}.items():
                setattr(info, name, value)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_with_giant_header():
    """A pax header that claims 3 MB for itself; tarfile would hold all of it in memory."""
    info = tarfile.TarInfo("header")
    info.type, info.size = tarfile.XHDTYPE, 3 * 2**20
    return info.tobuf(tarfile.USTAR_FORMAT) + bytes(3 * 2**20) + tar_of("a.wav")


def tar_damaged_in_the_middle():
    data = bytearray(tar_of("a.wav", "b.wav"))
    data[1024] ^= 1  # the header of the second member
    return bytes(data)


def endless_headers() -> bytes:
    """Thousands of headers, each of which says that the next has a long name; tarfile reads them by recursion."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 5
    return (header.tobuf(tarfile.GNU_FORMAT) + b"a.wav".ljust(512, b"\0")) * 3_000 + bytes(1024)


HOSTILE = {
    "zip absolute": (zip_of("/evil.wav"), "'/evil.wav' is an absolute path"),
    "zip upwards": (zip_of("../evil.wav"), "'../evil.wav' is outside of the folder"),
    "zip down and upwards": (zip_of("a/../../evil.wav"), "is outside of the folder"),
    "zip upwards on Windows": (zip_of(".. /evil.wav"), "is outside of the folder"),
    "zip backslash": (zip_of("..\\evil.wav"), r"backslash"),
    "zip drive": (zip_of("C:/evil.wav"), "'C:/evil.wav' has a backslash or a colon"),
    "zip control character": (zip_of("a\x07.wav"), "control character"),
    "zip NUL": (with_zip_field(zip_of("a?.wav"), 47, "c", b"\0").replace(b"a?.wav", b"a\0.wav"), "control character"),
    "zip direction of writing": (zip_of("a\u202egpj.wav"), "has a character that cannot be seen"),
    "zip zero width": (zip_of("a\u200b.wav"), "has a character that cannot be seen"),
    "zip device of Windows": (zip_of("con.wav"), "has the name of a device on Windows, con.wav"),
    "zip device in a folder": (zip_of("a/LPT1 .tar.gz"), "has the name of a device on Windows"),
    "zip superscript device": (zip_of("com\u00b9/a.wav"), "has the name of a device on Windows"),
    "zip question mark": (zip_of("a?.wav"), r"has the character \?, which no name on Windows may have"),
    "zip final space": (zip_of("a /b.wav"), "ends with a dot or a space, which Windows drops"),
    "zip long name": (zip_of("\u00e4" * 128 + ".wav"), "has a name of more than 255 bytes"),
    "zip long path": (zip_of("a/" * 600 + "b.wav"), "has a path of more than 1000 characters"),
    "tar of headers without end": (endless_headers(), "its headers are nested too deeply|cannot be unpacked|claims"),
    "zip nameless": (zip_of("./"), "is outside of the folder"),
    "zip link": (zip_of(("link", stat.S_IFLNK | 0o777), content=b"/etc/passwd"), "'link' is a link or a device"),
    "zip device": (zip_of(("disk", stat.S_IFBLK | 0o600)), "'disk' is a link or a device"),
    "zip encrypted": (with_zip_field(zip_of("a.wav"), 8, "<H", 1), "'a.wav' is encrypted"),
    "zip twice": (zip_of("a.wav", "b.wav", "a.wav"), "'a.wav' overwrites"),
    "zip twice but for case": (zip_of("A/a.wav", "a/A.WAV"), "'a/A.WAV' overwrites"),
    "zip twice but for accents": (zip_of("col\u00e8re.wav", "cole\u0300re.wav"), "overwrites"),
    "zip twice but for a dot": (zip_of("a.wav", "a.wav."), "ends with a dot or a space, which Windows drops"),
    "zip file and folder": (zip_of("a", "a/b.wav"), "'a/b.wav' is below a, which is a file"),
    "zip folder and file": (zip_of("a/b.wav", "A"), "'A' overwrites"),
    "zip bomb": (
        zip_of("a", content=bytes(10**6), compression=zipfile.ZIP_DEFLATED),
        "'a' brings the total to 1,000,000",
    ),
    "zip of many": (zip_of(*"abcd"), "'d' is one of more than 3 members"),
    "zip lying about a size": (with_zip_field(zip_of("a.wav"), 24, "<L", 3), "cannot be unpacked"),
    "zip promising more": (with_zip_field(zip_of("a.wav"), 24, "<L", 9), "'a.wav' does not have the 9 bytes"),
    "zip damaged": (zip_of("a.wav", "b.wav").replace(b"sound", b"noise", 1), "cannot be unpacked"),
    "zip cut": (zip_of("a.wav", "b.wav")[:-30], "cannot be unpacked"),
    "zip of nothing": (zip_of(), "has no files"),
    "zip of folders": (zip_of("a/", content=b""), "has no files"),
    "tar absolute": (tar_of("/evil.wav"), "absolute"),
    "tar upwards": (tar_of("../evil.wav"), "is outside of the folder"),
    "tar drive": (tar_of("C:evil.wav"), "colon"),
    "tar link": (tar_of({"name": "link", "type": tarfile.SYMTYPE, "linkname": "a.wav"}), "'link' is a link"),
    "tar link outside": (
        tar_of({"name": "l", "type": tarfile.SYMTYPE, "linkname": "/etc"}, "l/a.wav"),
        "'l' is a link",
    ),
    "tar hard link": (tar_of("a.wav", {"name": "b", "type": tarfile.LNKTYPE, "linkname": "a.wav"}), "'b' is a link"),
    "tar pipe": (tar_of({"name": "pipe", "type": tarfile.FIFOTYPE}), "'pipe' is a link, a device"),
    "tar device": (tar_of({"name": "disk", "type": tarfile.BLKTYPE}), "'disk' is a link, a device"),
    "tar sparse": (tar_of({"name": "a", "type": tarfile.GNUTYPE_SPARSE}), "'a' is .* a sparse file"),
    "tar twice": (tar_of("a.wav", "A.wav"), "'A.wav' overwrites"),
    "tar bomb": (gzip.compress(tar_of("a.wav", content=bytes(10**7))), "'a.wav' brings the total to 10,000,000"),
    "tar giant header": (gzip.compress(tar_with_giant_header()), "a header in it claims 3,145,728 bytes"),
    "tar damaged": (tar_damaged_in_the_middle(), "cannot be unpacked: it ends after 1"),
    "tar cut": (tar_of("a.wav", "b.wav")[:1536], "cannot be unpacked: it ends after 1|cannot be unpacked: unexp"),
    "tar.gz cut": (gzip.compress(tar_of("a.wav", content=bytes(range(256)) * 99))[:-200], "cannot be unpacked"),
    "web page": (b"<!DOCTYPE html><p>Please log in" + b" " * 1000, "neither a zip nor a tar .* b'<!DOCTYP'"),
    "nothing": (b"", "neither a zip nor a tar"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_archive_that_could_do_harm_is_refused_and_nothing_is_written(tmp_path, monkeypatch, kind):
    data, reason = HOSTILE[kind]
    monkeypatch.setattr(unpack, "MOST_MEMBERS", 3)
    inner = tmp_path / "one" / "two"
    inner.mkdir(parents=True)
    archive = inner / "archive"
    archive.write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CorpusError, match=reason):
        unpack_archive(archive, inner / "corpus")
    assert sorted(tmp_path.rglob("*")) == before


def unpacked(tmp_path, data, **options):
    (tmp_path / "archive").write_bytes(data)
    unpack_archive(tmp_path / "archive", tmp_path / "corpus", **options)
    return {
        path.relative_to(tmp_path / "corpus").as_posix(): path.read_bytes()
        for path in (tmp_path / "corpus").rglob("*")
        if path.is_file()
    }


PACKED = {
    "zip": zip_of("a/", "a/1.wav", "b/2.wav"),
    "deflated": zip_of("a/1.wav", "b/2.wav", compression=zipfile.ZIP_DEFLATED),
    "tar": tar_of({"name": "a", "type": tarfile.DIRTYPE}, "a/1.wav", "./b/2.wav"),
    "gz": gzip.compress(tar_of("a/1.wav", "b/2.wav")),
    "bz2": bz2.compress(tar_of("a/1.wav", "b/2.wav")),
    "xz": lzma.compress(tar_of("a/1.wav", "b/2.wav")),
}


@pytest.mark.parametrize("kind", PACKED)
def test_every_kind_of_archive_is_told_from_its_content(tmp_path, kind):
    assert unpacked(tmp_path, PACKED[kind]) == {"a/1.wav": b"sound", "b/2.wav": b"sound"}


def test_what_macos_adds_is_left_out(tmp_path):
    data = zip_of("a/1.wav", "__MACOSX/a/._1.wav", "a/.DS_Store", "a/._1.wav")
    assert unpacked(tmp_path, data) == {"a/1.wav": b"sound"}


def test_the_folder_around_the_release_is_taken_off_and_nothing_may_lie_beside_it(tmp_path):
    assert unpacked(tmp_path, zip_of("nEMO-1/", "nEMO-1/data.tsv"), top="nEMO-1") == {"data.tsv": b"sound"}
    for name in ("nEMO-2/data.tsv", "nEMO-1"):
        (tmp_path / "archive").write_bytes(zip_of(name))
        with pytest.raises(CorpusError, match="is outside of nEMO-1/"):
            unpack_archive(tmp_path / "archive", tmp_path / "other", top="nEMO-1")


@pytest.mark.parametrize(
    "data",
    [
        zip_of("Col\u00e8re/1.wav"),
        zip_of("Cole\u0300re/1.wav"),
        zip_of("Col__re/1.wav").replace(b"Col__re", "Col\u00e8re".encode()),
        zip_of("Col_re/1.wav").replace(b"Col_re", "Col\u00e8re".encode("cp437")),
        tar_of("Col\u00e8re/1.wav"),
    ],
    ids=["flagged", "decomposed", "UTF-8 without the flag", "code page 437", "Latin-1 in a tar"],
)
def test_accents_are_the_same_however_they_were_packed(tmp_path, data):
    assert list(unpacked(tmp_path, data)) == ["Col\u00e8re/1.wav"]


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "corpus").mkdir()
    with pytest.raises(CorpusError, match="exists already"):
        unpacked(tmp_path, zip_of("a.wav"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_unpacking_leaves_nothing(tmp_path, monkeypatch, error):
    write = unpack._write

    def interrupted(member, path, archive):
        if member.name == "b/2.wav":
            raise error
        write(member, path, archive)

    monkeypatch.setattr(unpack, "_write", interrupted)
    with pytest.raises(error):
        unpacked(tmp_path, PACKED["zip"])
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_disk_too_small_for_what_the_archive_declares_is_told_first(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 9}))
    with pytest.raises(OSError, match="needs 10 bytes"):
        unpacked(tmp_path, PACKED["tar"])
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
