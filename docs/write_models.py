"""Writes the table of models in README.md from the records of the families.

python docs/write_models.py
"""

from pathlib import Path

from ser_hf.evaluation.words import markdown_table
from ser_hf.models.records import RECORDS

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
MARKERS = "<!-- models -->\n", "\n<!-- end models -->"


def to_table() -> str:
    """One row for each family that is trained; families with the same page and summary share a row.

    Ends with a sentence if a family has no page, since its link would lead nowhere.
    """
    rows = {}
    for family in RECORDS:
        if family.usage:
            page = f"docs/models/{family.page or family.name}.md"
            if not family.page or not (ROOT / page).is_file():
                raise SystemExit(
                    f"the family {family.name} has no page: write {page}, and name it in `page` of its record"
                )
            rows.setdefault((family.page, family.summary), []).append(family)
    cells = [
        [
            f"[{', '.join(family.name for family in families)}](docs/models/{page}.md)",
            summary,
            ", ".join(dict.fromkeys(family.usage for family in families)),
        ]
        for (page, summary), families in rows.items()
    ]
    return "\n".join(markdown_table(["model", "how it works", "`--model_name_or_path`"], cells))


def main() -> None:
    before, rest = README.read_text(encoding="utf-8").split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    README.write_text(f"{before}{MARKERS[0]}{to_table()}{MARKERS[1]}{after}", encoding="utf-8")
    print(f"{README.name}: {sum(bool(family.usage) for family in RECORDS)} families")


if __name__ == "__main__":
    main()
