"""A file is written whole or not at all; a full disk is one line; a folder has one writer."""

import os
import resource
import signal
import stat
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
    naming_full_disk,
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
        save_file({"a": torch.rand(100_000)}, unfinished / path.name)


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
    assert not folder.exists(), "nothing was written"


def test_a_process_may_hold_a_lock_several_times_and_others_wait_for_the_last(tmp_path):
    first, second = FolderLock(tmp_path / "run"), FolderLock(tmp_path / "run")
    (tmp_path / "run/file").touch()
    first.release()
    assert (tmp_path / "run" / LOCK).exists()
    second.release()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]
    with held_elsewhere(tmp_path / "run"):
        pass
