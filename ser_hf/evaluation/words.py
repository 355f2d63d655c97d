"""Figures and tables as people read them, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def shown(value: float | None, interval: Sequence[float] | None, sign: str = "") -> str:
    """Return a figure and its interval as text; "-" stands for a missing figure. `sign` "+" shows the sign.

    >>> shown(0.7312, (0.7, 0.76)), shown(0.05, None, "+"), shown(None, None)
    ('0.731 [0.700, 0.760]', '+0.050', '-')
    """
    if value is None:
        return "-"
    span = "" if interval is None else f" [{interval[0]:{sign}.3f}, {interval[1]:{sign}.3f}]"
    return f"{value:{sign}.3f}{span}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table.

    >>> markdown_table(["class", "n"], [["anger", 3]])
    ['| class | n |', '|---|---|', '| anger | 3 |']
    """
    lines = [header, *rows]
    cells = [f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines]
    return [cells[0], "|---" * len(header) + "|", *cells[1:]]


def _cell(value: object) -> str:
    """Return a value on one line, in which a bar divides no columns."""
    return " ".join(str(value).split("\n")).replace("|", "\\|")


def without_html(text: str) -> str:
    """Return Markdown in which no name of a class, a model or a group can be a tag, a comment or an entity of HTML.

    >>> without_html("share < 0.05 of <script>alert(1)</script> & <!-- x -->")
    'share < 0.05 of &lt;script>alert(1)&lt;/script> & &lt;!-- x -->'
    """
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    # Neither pictures of other sites, nor links that run code.
    return re.sub(r"(?i)!\[|\]\(\s*(?=(?:javascript|vbscript|data):)", lambda found: f"\\{found[0]}", text)


def of_speakers(section: dict) -> str:
    """Return the n of a section and its number of speakers as text, if all speakers are known.

    >>> of_speakers({"n": 8, "speakers": 2}), of_speakers({"n": 8, "speakers": None})
    ('n = 8 utterances of 2 speakers', 'n = 8 utterances; some speakers are unknown')
    """
    known = f" of {section['speakers']} speakers" if section["speakers"] else "; some speakers are unknown"
    return f"n = {section['n']} utterances{known}"
