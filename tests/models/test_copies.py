"""A family's folder travels alone, so what several families need lies in each of them: in equal copies."""

from pathlib import Path

import pytest

import ser_hf

FOLDERS = sorted(Path(ser_hf.__file__).parent.glob("models/*/"))
SHARED = ("ssl_encoder.py",)


@pytest.mark.parametrize("name", SHARED)
def test_copies_of_a_shared_file_are_equal(name):
    copies = {folder.name: (folder / name).read_bytes() for folder in FOLDERS if (folder / name).exists()}
    assert copies
    assert len(set(copies.values())) == 1, f"change {name} in all of {', '.join(copies)}"
