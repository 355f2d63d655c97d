"""A file is written whole or not at all."""

import os

import pytest

from ser_hf.files import CONFIG, fold_folder, fold_folders, fold_of, write_whole


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
