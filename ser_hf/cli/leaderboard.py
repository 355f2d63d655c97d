"""`ser-hf leaderboard`: a folder of reports as ranked tables."""

from __future__ import annotations

import json
from pathlib import Path

from ..evaluation.words import without_html
from ..files import write_whole
from ..report.leaderboard import leaderboard, to_markdown


def rank_folder(folder: Path, out: Path | None = None) -> dict:
    """Return `report.leaderboard.leaderboard` of a folder; write `leaderboard.json` and `leaderboard.md` into `out`."""
    facts = leaderboard(folder)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "leaderboard.json", json.dumps(facts, indent=2, allow_nan=False) + "\n")
        write_whole(out / "leaderboard.md", without_html("\n".join(to_markdown(facts))) + "\n")
    return facts
