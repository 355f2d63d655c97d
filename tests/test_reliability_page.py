"""The page on reliability says what the results of the benchmarks say, and these hold no broken promise."""

import json
import runpy

import pytest
from conftest import ROOT


def test_the_page_is_written_from_the_results():
    page = runpy.run_path(str(ROOT / "docs/write_reliability.py"))["to_page"]()
    assert (ROOT / "docs/reliability.md").read_text(encoding="utf-8") == page, "run python docs/write_reliability.py"


@pytest.mark.parametrize("name", ["kills", "two_at_once", "full_disk"])
def test_no_command_broke_its_promise(name):
    verbs = json.loads((ROOT / f"docs/reliability/{name}.json").read_text())["verbs"]
    assert {verb: found["wrong"] for verb, found in verbs.items() if found["wrong"]} == {}


def test_no_mutant_broke_a_promise():
    facts = json.loads((ROOT / "docs/reliability/fuzz.json").read_text())
    assert facts["broken"] == []
    assert facts["mutants"] == sum(sum(counts.values()) for counts in facts["outcomes"].values()) >= 10_000
