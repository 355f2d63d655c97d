"""A file is written whole or not at all; a full disk is one line; a folder has one writer."""

import os
import resource
import signal
import stat
import threading
from contextlib import contextmanager

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from elsewhere import held_elsewhere
from safetensors.torch import save_file

from ser_hf.files import (
    CONFIG,
    LOCK,
    DiskFullError,
    FolderInUseError,
    FolderLock,
    fold_folder,
    fold_folders,
    fold_of,
    in_words,
    naming_full_disk,
    share_like_folder,
    whole,
    whole_files,
    write_whole,
)


@contextmanager
def small_disk(size):
    """No file grows beyond so many bytes; the system's error is that of a full disk but for its number."""
    earlier, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, earlier[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, earlier)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("content", ["two\nlines ś\n", b"\x00\xff"])
def test_what_is_written_is_read_again(content, tmp_path):
    write_whole(tmp_path / "file", content)
    found = (tmp_path / "file").read_bytes()
    assert found == (content if isinstance(content, bytes) else content.encode())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path, monkeypatch):
    write_whole(tmp_path / "file", "earlier")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "file", "later")
    assert (tmp_path / "file").read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folds_stand_in_the_order_of_their_numbers_and_nothing_else_is_one(tmp_path):
    for name in ("fold0", "fold10", "fold2", "folded_wavlm", "fold3"):
        fold = tmp_path / name
        fold.mkdir()
        if name != "fold3":
            (fold / CONFIG).write_text("{}")
    assert [one.name for one in fold_folders(tmp_path, CONFIG)] == ["fold0", "fold2", "fold10"]
    assert fold_of(fold_folder(tmp_path, 7)) == 7
    assert fold_of(tmp_path / "folded_wavlm") is None


def write_parquet(path):
    with whole(path) as unfinished:
        pyarrow.parquet.write_table(pyarrow.table({"a": np.random.default_rng(0).random(50_000)}), unfinished)


def write_picture(path):
    from matplotlib.figure import Figure

    from ser_hf.report.figures import save_figure

    figure = Figure()
    figure.subplots().imshow(np.random.default_rng(0).random((300, 300)))
    save_figure(figure, path.with_suffix(".png"))


def write_weights(path):
    with whole_files(path.parent) as unfinished:
        save_file({"a": torch.rand(100_000)}, unfinished / f"{path.name}.safetensors")


def write_checkpoint(path):
    with whole_files(path.parent) as unfinished:
        torch.save({"a": torch.rand(100_000)}, unfinished / path.name)


WRITERS = [lambda path: write_whole(path, "x" * 100_000), write_parquet, write_picture, write_weights, write_checkpoint]


@pytest.mark.parametrize("write", WRITERS, ids=["text", "parquet", "picture", "safetensors", "torch"])
@pytest.mark.parametrize("size", [0, 1, 5_000])
def test_a_full_disk_is_one_line_with_its_name_and_leaves_what_was_there(tmp_path, write, size, monkeypatch):
    for name in ("file", "file.png"):
        (tmp_path / name).write_text("earlier")
    monkeypatch.setattr("ser_hf.files._LITTLE_SPACE", 2**63)  # PyTorch does not tell why it failed
    with small_disk(size), pytest.raises(DiskFullError) as told:
        write(tmp_path / "file")
    assert f"the disk of {tmp_path} is full, and " in str(told.value)
    assert "\n" not in str(told.value)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "earlier", "file.png": "earlier"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(122, "Disk quota exceeded")])
def test_the_cause_of_another_error_counts(tmp_path, error):
    wrapped = RuntimeError("while writing")
    wrapped.__cause__ = error
    told = pytest.raises(DiskFullError, match="and the cache could not be written: free some space")
    with told, naming_full_disk(tmp_path, "the cache"):
        raise wrapped


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (ValueError("no"), OSError(13, "Permission denied"), KeyboardInterrupt()):
        with pytest.raises(type(error)), naming_full_disk(tmp_path, "it"):
            raise error


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_have_the_permissions_that_the_umask_gives(tmp_path, mask):
    earlier = os.umask(mask)
    try:
        for number, write in enumerate(WRITERS):
            write(tmp_path / f"file{number}")
    finally:
        os.umask(earlier)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o666 & ~mask}


def test_a_folder_has_one_writer_who_is_named_and_a_killed_one_leaves_it_free(tmp_path):
    folder = tmp_path / "run"
    with held_elsewhere(folder) as holder, pytest.raises(FolderInUseError) as refused:
        FolderLock(folder)
    assert f"another process (process {holder.pid} on " in str(refused.value)
    assert f") is writing into {folder}: wait until it ends" in str(refused.value)
    with FolderLock(folder):
        assert (folder / LOCK).exists(), "that of the killed process, taken over"
    assert list(folder.iterdir()) == []
    with FolderLock(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists(), "it was made for the lock, and nothing was written"


def test_a_lock_that_is_a_link_or_a_folder_is_refused_and_nothing_behind_it_is_touched(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(FolderInUseError, match="is a link, which may lead to somebody's file"):
        FolderLock(tmp_path / "run")
    assert (tmp_path / "precious").read_text() == "mine"
    (tmp_path / "other" / LOCK).mkdir(parents=True)
    with pytest.raises(FolderInUseError, match=r"cannot be opened \(.*\): remove it"):
        FolderLock(tmp_path / "other")


def test_a_folder_that_was_there_stays_and_another_thread_may_release(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    lock = FolderLock(folder)
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert list(folder.iterdir()) == []
    with held_elsewhere(folder):
        pass
    outside = FolderLock(tmp_path / "a/out", tmp_path / "a/.out.lock")
    outside.release()
    assert list((tmp_path / "a").iterdir()) == []


def test_private_files_beside_new_weights_stay_private(tmp_path):
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "secret")
    share_like_folder(tmp_path)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_an_error_of_ours_that_quotes_such_words_is_not_a_full_disk(tmp_path):
    assert "full" not in in_words(ValueError("there is no file 'No space left.wav'"))
    assert "a disk is full" in in_words(OSError(28, "No space left on device", "x.json"))


def test_a_folder_that_is_gone_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(FileNotFoundError) as gone:
        os.getcwd()
    monkeypatch.chdir("/")
    assert "this command was started is gone: start it in another one" in in_words(gone.value)
    assert in_words(FileNotFoundError("there is no folder x: check --root")) == "there is no folder x: check --root"


def test_a_process_may_hold_a_lock_several_times_and_others_wait_for_the_last(tmp_path):
    first, second = FolderLock(tmp_path / "run"), FolderLock(tmp_path / "run")
    (tmp_path / "run/file").touch()
    first.release()
    assert (tmp_path / "run" / LOCK).exists()
    second.release()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]
    with held_elsewhere(tmp_path / "run"):
        pass
