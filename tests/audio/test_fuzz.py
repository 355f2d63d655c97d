"""A few hundred damaged, cut and hostile files through every door; `benchmarks/fuzz.py` tries thousands."""

import sys

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow


def test_no_mutant_ends_more_than_its_own_line(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import fuzz

    facts = fuzz.fuzz(300, seed=1, work=tmp_path)
    assert facts["broken"] == []
    kinds = {kind for counts in facts["outcomes"].values() for kind in counts}
    assert {"read", "truncated", "undecodable"} <= kinds, "some are read, some are refused"
    assert "crash" not in kinds
    sys.modules.pop("fuzz")
