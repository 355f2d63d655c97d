"""The page on the engine shows what the results of the benchmarks say."""

import runpy

from conftest import ROOT


def test_the_tables_are_written_from_the_results():
    written = runpy.run_path(str(ROOT / "docs/write_engine.py"))
    page = (ROOT / "docs/engine.md").read_text(encoding="utf-8")
    for tables in (written["to_speeds"](), written["to_losses"]()):
        assert tables in page, "run python docs/write_engine.py"
