"""Writes what commands print into the pages that show it: `python docs/write_outputs.py FOLDER docs/judging.md ...`

A page names a command in a comment, and its output stands from there to the next `<!-- end -->`:

    <!-- ser-hf compare whisper fusion -->
    <!-- end -->

Commands run in FOLDER, which holds the runs and corpora that they name. What a command prints is Markdown, or stands in
a code block where the comment begins with `text: `. A command that fails stops everything, unless it exits with 1, as
audits and doctors do that found something.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

PLACE = re.compile(r"<!-- (?P<kind>text: )?(?P<command>ser-hf [^\n]*) -->\n.*?<!-- end -->", re.DOTALL)


def output_of(command: str, folder: Path) -> str:
    words = shlex.split(command)[1:]
    ended = subprocess.run(
        [sys.executable, "-m", "ser_hf.cli.main", *words], cwd=folder, capture_output=True, text=True
    )
    if ended.returncode not in (0, 1) or not ended.stdout.strip():
        raise SystemExit(f"`{command}` ended with {ended.returncode}: {ended.stderr.strip()[-500:]}")
    return ended.stdout.strip()


def write(page: Path, folder: Path) -> int:
    """Number of outputs that a page shows."""

    def shown(place: re.Match) -> str:
        output = output_of(place["command"], folder)
        if place["kind"]:
            output = f"```text\n$ {place['command']}\n{output}\n```"
        return f"<!-- {place['kind'] or ''}{place['command']} -->\n{output}\n<!-- end -->"

    text, count = PLACE.subn(shown, page.read_text(encoding="utf-8"))
    page.write_text(text, encoding="utf-8")
    return count


def main() -> None:
    folder, *pages = map(Path, sys.argv[1:])
    for page in pages:
        print(f"{page}: {write(page, folder)} outputs")


if __name__ == "__main__":
    main()
