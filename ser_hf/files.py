"""The files of a run folder, each named once; writing that leaves the whole file or none; errors in one line."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import shorten
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

# Prediction tables: of the test speakers, of the validation speakers, and a folder of one per worse condition.
TEST, VALIDATION, CONDITIONS, ADAPTATIONS = "predictions.parquet", "validation.parquet", "conditions", "adaptations"
# The report of these tables in its forms.
REPORT, REPORT_MARKDOWN, REPORT_HTML = "report.json", "report.md", "report.html"
METRICS_CSV, CONFUSION = "metrics.csv", "confusion.png"
# How the model came about: options, data it was trained on, curves, cost.
OPTIONS, LEDGER = "run.yaml", "ledger.json"
HISTORY, TRAINING_CURVES = "history.json", "training.png"
COST = "cost.json"
# Of a curriculum.
FORGETTING, FORGETTING_MARKDOWN = "forgetting.json", "forgetting.md"
# The lock of a folder that a process writes into.
LOCK = ".lock"
# The saved model itself, and its card.
CONFIG, PREPROCESSOR, CARD = "config.json", "preprocessor_config.json", "README.md"

_FULL = re.compile(r"No space left|os error 28\b|code: (28|122|27)\b|File too large|Disk quota")
_LITTLE_SPACE = 64 * 2**20  # bytes: less is left after a large file failed for lack of space


def fold_folder(run: str | os.PathLike, fold: int) -> Path:
    """Return the folder of one fold of a run over several."""
    return Path(run, f"fold{fold}")


def fold_of(folder: str | os.PathLike) -> int | None:
    """Return the number of the fold that a folder is of; None for any other folder.

    >>> fold_of("runs/ravdess/fold10"), fold_of("runs/folded_wavlm")
    (10, None)
    """
    number = re.fullmatch(r"fold(\d+)", Path(folder).name)
    return int(number[1]) if number else None


def fold_folders(run: str | os.PathLike, file: str) -> list[Path]:
    """Return the folders of a run's folds that have a file of this name, in the order of the folds."""
    folders = [found.parent for found in Path(run).glob(f"fold*/{file}")]
    return sorted((one for one in folders if fold_of(one) is not None), key=fold_of)


class DiskFullError(OSError):
    """The error for a disk without space; the message names the folder and the file."""


class FolderInUseError(ValueError):
    """The error for a folder that another process writes into."""


def read_json(path: str | os.PathLike, *, remedy: str) -> Any:
    """Return the content of a JSON file.

    Args:
        remedy: the advice if it is damaged.

    Raises:
        ValueError: naming the file, if it is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({one_line(error)}): {remedy}") from error


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Write a file so that it is there whole or not at all; text as UTF-8.

    An interrupted run or a full disk leaves the earlier file as it was.

    Raises:
        DiskFullError: if the disk has no space for it.
    """
    with whole(path) as unfinished:
        unfinished.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
    """Give the path to write to instead of `path`; the file gets its name at the end, if nothing failed.

    Raises:
        DiskFullError: if the disk has no space for it.
    """
    path = Path(path)
    unfinished = path.with_name(f".{uuid4().hex}.{path.name}")  # writers go by the suffix
    try:
        with naming_full_disk(path.parent, path.name):
            yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def whole_files(folder: str | os.PathLike) -> Iterator[Path]:
    """Give a folder to write files to; they move to `folder` at the end, if nothing failed.

    Raises:
        DiskFullError: if the disk has no space for them.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{uuid4().hex}"
    unfinished.mkdir()
    try:
        with naming_full_disk(folder, "its files"):
            yield unfinished
        share_like_folder(unfinished)
        for file in sorted(unfinished.iterdir()):
            os.replace(file, folder / file.name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def share_like_folder(folder: str | os.PathLike) -> None:
    """Give the weights in a new folder the permissions that umask gave the folder; safetensors lets only you read."""
    permissions = stat.S_IMODE(os.stat(folder).st_mode) & 0o666
    for file in Path(folder).glob("*.safetensors"):
        if not file.is_symlink():
            file.chmod(permissions)


@contextmanager
def naming_full_disk(folder: str | os.PathLike, what: str) -> Iterator[None]:
    """Turn any error that comes of a full disk into a `DiskFullError`.

    PyTorch and safetensors raise errors of their own without the number of the system's error.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        if not _is_of_full_disk(error, Path(folder)):
            raise
        raise DiskFullError(
            f"the disk of {folder} is full, and {what} could not be written: free some space, then run the same "
            "command again"
        ) from error


def one_line(error: Exception | str) -> str:
    """Return the beginning of an error's words on one line; its type if it has none.

    >>> one_line(ValueError("the first line\\nand the second"))
    'the first line and the second'
    """
    words = shorten(str(error), 200, placeholder=" ...")
    return (words if words.endswith(" ...") else words.rstrip(".")) or type(error).__name__


def in_words(error: Exception) -> str:
    """Return an error as one line; those of a full disk and of a lost folder say so, wherever they come from."""
    if isinstance(error, FileNotFoundError) and error.errno and not error.filename:  # as `os.getcwd` raises it
        return "the folder in which this command was started is gone: start it in another one"
    if not isinstance(error, DiskFullError) and _is_of_full_disk(error, Path()):
        what = getattr(error, "filename", None) or "a file"
        return f"a disk is full, and {what} could not be written: free some space, then run the same command again"
    return " ".join(str(error).split())


def _is_of_full_disk(error: BaseException, folder: Path) -> bool:
    seen: set[int] = set()
    while id(error) not in seen:  # an error may be its own cause
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        # Of libraries in other languages; an error of ours may quote any text.
        if not isinstance(error, ValueError) and _FULL.search(str(error)):
            return True
        if "PytorchStreamWriter" in str(error) or "unexpected pos" in str(error):
            there = next(one for one in (folder, *folder.parents) if one.exists())
            return shutil.disk_usage(there).free < _LITTLE_SPACE
        if error.__cause__ is None:
            return False
        error = error.__cause__
    return False


class FolderLock:
    """The right to write into a folder, until it is released or the process ends; a process may hold it several times.

    The system frees the lock of a process that was killed, so that no lock is left behind.

    Args:
        folder: is made if it is not there, and removed again if nothing was written into it.
        file: the lock; default: `.lock` in the folder.
        otherwise: what else to do than to wait, for the message.

    Raises:
        FolderInUseError: if another process holds it, or if the lock cannot be opened.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        file: str | os.PathLike | None = None,
        *,
        otherwise: str = "choose another folder",
    ):
        self.folder = Path(folder)
        file = self.folder / LOCK if file is None else Path(file)
        self._is_new = file.parent == self.folder and not self.folder.exists()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file.parent.resolve() / file.name  # a link as lock is not followed
        self._holder = self._file.with_name(f"{self._file.name}-holder")
        if self._file.is_symlink() or self._holder.is_symlink():
            raise FolderInUseError(f"{self._file} is a link, which may lead to somebody's file: remove it")
        self._lock = FileLock(self._file, timeout=0, is_singleton=True, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise FolderInUseError(
                f"another process ({self._held_by()}) is writing into {self.folder}: wait until it ends, or {otherwise}"
            ) from None
        except OSError as error:
            raise FolderInUseError(
                f"{self._file} cannot be opened ({error.strerror}): remove it if no process writes into {self.folder}"
            ) from error
        # Not into the lock itself, which Windows lets nobody else read.
        self._holder.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")

    @property
    def holders(self) -> int:
        """The number of times that this process holds the lock."""
        return self._lock.lock_counter

    def _held_by(self) -> str:
        with suppress(OSError, UnicodeDecodeError):
            return self._holder.read_text(encoding="utf-8")[:200] or "unknown"
        return "unknown"

    def release(self) -> None:
        if self._lock.lock_counter == 1:
            with suppress(OSError):
                self._holder.unlink(missing_ok=True)
                self._file.unlink()  # while it is held: filelock notices that a file is gone
            if self._is_new:
                with suppress(OSError):
                    self.folder.rmdir()  # a run that was refused leaves no empty folder
        self._lock.release()

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *error) -> None:
        self.release()
