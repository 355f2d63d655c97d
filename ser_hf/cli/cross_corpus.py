"""`ser-hf cross-corpus`: the matrix of training corpus and test corpus, from the predictions of several runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..emotions import EvaluationMap
from ..evaluation.comparisons.cross_corpus import cross_corpus, to_markdown
from ..evaluation.words import without_html
from ..files import write_whole
from ..report.figures import cross_corpus_figure, save_figure
from ..report.runs import read_test_table


def cross_runs(
    runs: Sequence[Path], *, evaluation_map: Sequence[str] = (), model: str | None = None, out: Path | None = None
) -> dict:
    """Return the result of `evaluation.comparisons.cross_corpus.cross_corpus` for run folders or prediction tables.

    Args:
        evaluation_map: words such as "boredom=neutral|calm", instead of the maps of the tables.
        out: a folder for `cross_corpus.json`, `cross_corpus.md` and `cross_corpus.png`.
    """
    judged = EvaluationMap.parse(evaluation_map) if evaluation_map else None
    facts = cross_corpus([read_test_table(run) for run in runs], evaluation_map=judged, model=model)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "cross_corpus.json", json.dumps(facts, indent=2, allow_nan=False) + "\n")
        write_whole(out / "cross_corpus.md", without_html("\n".join(to_markdown(facts))) + "\n")
        save_figure(cross_corpus_figure(facts), out / "cross_corpus.png")
    return facts
