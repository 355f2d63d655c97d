"""`ser-hf leaderboard`: a folder of reports as ranked tables."""

from __future__ import annotations

import json
from pathlib import Path

from ..report.leaderboard import leaderboard, to_markdown


def rank_folder(folder: Path, out: Path | None = None) -> dict:
    """Return `report.leaderboard.leaderboard` of a folder; write `leaderboard.json` and `leaderboard.md` into `out`."""
    facts = leaderboard(folder)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "leaderboard.json").write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        (out / "leaderboard.md").write_text("\n".join(to_markdown(facts)) + "\n", encoding="utf-8")
    return facts
