"""The page of corpora is what its script writes today."""

import runpy

from conftest import ROOT

from ser_hf import list_corpora
from ser_hf.corpora import get_corpus


def test_the_page_of_corpora_agrees_with_the_specs():
    page = runpy.run_path(str(ROOT / "docs/write_corpora.py"))["to_page"]()
    assert (ROOT / "docs/corpora.md").read_text(encoding="utf-8") == page, "run python docs/write_corpora.py"
    for name in list_corpora():
        spec = get_corpus(name)
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for protocol in (*spec.folds, *spec.divisions):
            assert f"`{name}/{protocol}`" in section
        assert all(identity in section and reason in section for identity, reason in spec.excluded.items())
        assert all(
            ("shared or unknown" in line) == (protocol in spec.sharing)
            for protocol in spec.divisions
            for line in section.splitlines()
            if f"`{name}/{protocol}`" in line
        )
