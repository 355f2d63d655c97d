"""Download of a corpus from its publisher: resumed after interruptions, verified, and moved into place when complete.

Beside the corpus's folder `NAME`, a folder `NAME.download` holds unfinished files; it is removed at the end. The HTTP
client is that of the standard library, because no other one is a dependency of all versions of huggingface_hub.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout
from tqdm import tqdm

from .completeness import missing
from .roots import how_to_get
from .spec import CorpusSpec, Download, read_utterances
from .unpack import require_space, unpack
from .utterance import CorpusError

ATTEMPTS = 6
FIRST_WAIT_SECONDS = 1.0  # doubled after every attempt: half a minute in all
LONGEST_WAIT_SECONDS = 60.0  # even if a server asks for more
TIMEOUT_SECONDS = 60.0  # without a byte
CONNECTIONS = 4  # for a corpus of many files
_CHUNK = 2**16
_PASSING = (408, 429, 500, 502, 503, 504)
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid (?P<checksum>sha256:[0-9a-f]{64})\nsize (?P<size>\d+)\n"
)
Progress = Callable[[int, "int | None"], None]  # (bytes received, bytes of the whole file if known)


class _PassingError(Exception):
    """A failure that may be temporary; the next attempt should `wait` so many seconds."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


def download_corpus(spec: CorpusSpec, root: str | os.PathLike) -> Path:
    """Download a corpus into the folder `root`; a complete corpus there is left unchanged.

    An interrupted download is resumed. Nothing is written into a folder with other files.

    Returns:
        The folder, to be read with `read_corpus`.

    Raises:
        CorpusError: if the corpus must be requested from its publisher, if the folder has other files, if the server
            fails or sends something else than the release, or if the archive is unsafe.
        OSError: if the disk is too small or cannot be written.
    """
    root = Path(root).expanduser().absolute()
    if not spec.downloads:
        raise CorpusError(f"{spec.name} cannot be downloaded. {how_to_get(spec)}")
    if is_there(spec, root):
        return root
    under_way = root.with_name(f"{root.name}.download")
    under_way.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(under_way / "lock", timeout=0):
            release = _assemble(spec.downloads, under_way)
            if root.is_dir():
                root.rmdir()  # it is empty
            release.rename(root)
    except Timeout:
        raise CorpusError(f"another process is downloading {spec.name} into {under_way}: wait until it ends") from None
    shutil.rmtree(under_way)
    return root


def is_there(spec: CorpusSpec, root: Path) -> bool:
    """True if a folder holds the complete corpus.

    Raises:
        CorpusError: if the folder holds a part of it or other files, which a download must not overwrite.
    """
    if not root.is_dir() or not any(root.iterdir()):
        return False
    advice = f"The folder {root} is not empty, so nothing is downloaded into it: move it away, or use another folder"
    try:
        shortfall = missing(spec, read_utterances(spec, root, next(iter(spec.label_sources), None)))
    except CorpusError as error:
        raise CorpusError(f"{error}. {advice}") from error
    if shortfall is not None:
        raise CorpusError(f"{shortfall}. {advice}")
    return True


def _assemble(downloads: tuple[Download, ...], under_way: Path) -> Path:
    """Download the release into a temporary folder. Existing files in it are complete: each is moved in as a whole."""
    release = under_way / "release"
    for download in downloads:
        target = release / download.folder / ("" if download.archive else download.file)
        file = under_way / download.file
        if not target.exists():
            if file.exists():
                _verify(file, download.url, size=download.size, checksum=download.checksum)
            else:
                with tqdm(desc=download.file, unit="B", unit_scale=True, disable=None) as bar:
                    fetch(
                        download.url,
                        file,
                        size=download.size,
                        checksum=download.checksum,
                        progress=lambda here, whole, bar=bar: _show(bar, here, whole),
                    )
            target.parent.mkdir(parents=True, exist_ok=True)
            if download.archive:
                try:
                    unpack(file, target, top=download.top)
                except CorpusError:
                    file.unlink()  # else the next run would use it again
                    raise
                file.unlink()
            else:
                file.replace(target)
        if download.pointers:
            _replace_pointers(target, download.pointers, download.media)
    return release


def _show(bar: tqdm, here: int, whole: int | None) -> None:
    bar.total = whole
    bar.update(here - bar.n)  # negative if a server starts again


def _replace_pointers(folder: Path, pattern: str, media: str) -> None:
    """Replace every git-LFS pointer by its file, checked against the size and the SHA-256 in the pointer."""
    texts = {path: path.read_bytes() for path in sorted(folder.glob(pattern)) if path.stat().st_size < 1024}
    pointers = {path: match for path, text in texts.items() if (match := _POINTER.match(text))}
    require_space(folder, sum(int(match["size"]) for match in pointers.values()))
    with ThreadPoolExecutor(CONNECTIONS) as pool, tqdm(total=len(pointers), unit="files", disable=None) as bar:
        tasks = [
            pool.submit(
                fetch,
                media + quote(path.relative_to(folder).as_posix()),
                path,
                size=int(match["size"]),
                checksum=match["checksum"].decode(),
            )
            for path, match in pointers.items()
        ]
        try:
            for task in as_completed(tasks):
                task.result()
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def fetch(
    url: str,
    path: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    progress: Progress = lambda here, whole: None,
) -> None:
    """Fetch one file. It appears, or replaces an existing one, only when it is complete and verified.

    Until then its bytes are in `*.part`, and their version on the server in `*.part.json`. Another call requests only
    the rest. If the server has another version by then, or does not support ranges, the download starts again.

    Args:
        size: in bytes.
        checksum: "md5:..." or "sha256:...".

    Raises:
        CorpusError: if the server refuses, fails `ATTEMPTS` times, or sends something else.
        OSError: if the disk is too small or cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    for attempt in range(ATTEMPTS):
        try:
            _receive(url, part, size=size, resumable=checksum is not None, progress=progress)
            break
        except _PassingError as error:
            if attempt == ATTEMPTS - 1:
                raise CorpusError(
                    f"{url} failed {ATTEMPTS} times, the last time with: {error}. The bytes received are kept: run the "
                    "same command again later"
                ) from error
            time.sleep(max(FIRST_WAIT_SECONDS * 2**attempt, min(error.wait, LONGEST_WAIT_SECONDS)))
    _verify(part, url, size=size, checksum=checksum)
    part.replace(path)
    _version_file(part).unlink(missing_ok=True)


def _receive(url: str, part: Path, *, size: int | None, resumable: bool, progress: Progress) -> None:
    """Make one attempt: request the missing bytes of a `.part` file and append them."""
    here, version = _kept(url, part, resumable=resumable)
    if here and here == size:
        return
    headers = {"User-Agent": "ser_hf"}
    if here:
        headers |= {"Range": f"bytes={here}-"} | ({"If-Range": version} if version else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        with error:
            if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{here}":
                return  # the file is complete
            if error.code == 416:
                part.unlink()
                raise _PassingError("the file on the server has become shorter") from error
            if error.code in _PASSING:
                wait = error.headers.get("Retry-After", "")
                raise _PassingError(
                    f"HTTP {error.code} {error.reason}", float(wait) if wait.isdigit() else 0
                ) from error
            raise CorpusError(
                f"{url} answers HTTP {error.code} {error.reason}: check if its publisher has moved or closed it"
            ) from error
    except (OSError, HTTPException) as error:
        raise _PassingError(str(error) or type(error).__name__) from error
    with response:
        if response.status == 206:
            if not _continues(response, here, version):
                part.unlink(missing_ok=True)
                raise _PassingError("the file on the server has changed")
        else:
            here = 0  # the server does not support ranges, or has another version
        length = response.headers.get("Content-Length", "")
        whole = here + int(length) if length.isdigit() else size
        if size is not None and whole != size:
            raise CorpusError(f"{url} announces {whole:,} bytes, but the release has {size:,}: the file was replaced")
        require_space(part.parent, (whole or here) - here)
        with part.open("ab" if here else "wb", buffering=0) as file:
            if not here:  # written after the old bytes are gone: a version never belongs to bytes of another one
                _version_file(part).write_text(json.dumps({"url": url, "version": _version(response)}))
            while True:
                progress(here, whole)
                try:
                    chunk = response.read1(_CHUNK)
                except (OSError, HTTPException) as error:
                    raise _PassingError(str(error) or type(error).__name__) from error
                if not chunk:
                    break
                rest = memoryview(chunk)
                while rest:  # without a buffer a disk may write only a part; the next write continues, or raises
                    rest = rest[file.write(rest) :]
                here += len(chunk)
                if size is not None and here > size:
                    break
    if whole is not None and here < whole:
        raise _PassingError(f"the connection ended after {here:,} of {whole:,} bytes")


def _kept(url: str, part: Path, *, resumable: bool) -> tuple[int, str | None]:
    """Return the number of bytes of an earlier attempt that can be used, and the version of the file.

    Without a version, only a checksum could detect a file made of two versions.
    """
    try:
        state = json.loads(_version_file(part).read_text())
        here = part.stat().st_size
    except (OSError, ValueError):
        return 0, None
    if state["url"] != url or not (state["version"] or resumable):
        return 0, None
    return here, state["version"]


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _version(response: HTTPResponse) -> str | None:
    """Return the version of a file for `If-Range`: a strong ETag, else its date."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _continues(response: HTTPResponse, here: int, version: str | None) -> bool:
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return start is not None and int(start[1]) == here and _version(response) in (version, None)


def _verify(file: Path, url: str, *, size: int | None, checksum: str | None) -> None:
    """Remove a file whose size or checksum is wrong, and raise a `CorpusError`."""
    found = file.stat().st_size
    complaint = None
    if size is not None and found != size:
        complaint = f"{url} sent {found:,} bytes, but the release has {size:,}"
    elif checksum is not None:
        algorithm, wanted = checksum.split(":")
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, algorithm).hexdigest()
        if digest != wanted:
            complaint = f"{url} sent a file with the {algorithm} {digest}, but the release has {wanted}"
    if complaint is not None:
        file.unlink()
        _version_file(file).unlink(missing_ok=True)
        raise CorpusError(
            f"{complaint}: the file is removed. Run the same command again; if the error recurs, the file on the "
            "server was replaced"
        )
