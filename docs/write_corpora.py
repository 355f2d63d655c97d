"""Writes docs/corpora.md from the specs of all corpora, so that the page and the code cannot disagree.

python docs/write_corpora.py
"""

from importlib import import_module
from pathlib import Path

from ser_hf.corpora import CorpusSpec, get_corpus, list_corpora
from ser_hf.emotions import get_scheme
from ser_hf.splits.split import protocols

PAGE = Path(__file__).resolve().parent / "corpora.md"
HEADER = ("corpus", "language", "utterances", "speakers", "scheme", "label sources", "licence", "protocols", "source")
INTRODUCTION = """\
# Corpora

Written by `docs/write_corpora.py` from the specs in `ser_hf/corpora/`; nothing is typed here.

The scheme is the default one of a corpus; wherever it can, it keeps every utterance. A corpus with several label
sources asks you to choose one, since their figures cannot be compared. The protocols are those of a corpus itself;
the general ones (`loso`, `kfold5`, `statements2`, `random5`, and `emobox` from a checkout of EmoBox) fit whatever
corpus has speakers or statements enough. What is marked *speakers shared or unknown* says nothing about new voices.
"""


def to_page() -> str:
    specs = [get_corpus(name) for name in list_corpora()]
    table = [_row(HEADER), _row("---" for _ in HEADER), *(_row(_cells(spec)) for spec in specs)]
    return "\n".join([INTRODUCTION, *table, *(_section(spec) for spec in specs)]) + "\n"


def _row(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(spec: CorpusSpec) -> tuple[str, ...]:
    return (
        f"[{spec.name}](#{spec.name})",
        spec.language or "differs",
        f"{spec.utterances:,}" if spec.utterances else "differs",
        str(len(spec.speakers) or "not listed"),
        f"`{spec.scheme}`: {', '.join(get_scheme(spec.scheme).classes)}",
        ", ".join(spec.label_sources) or "one",
        spec.license,
        "<br>".join(_marked(spec, name) for name in (*spec.folds, *spec.divisions)) or "the general ones",
        spec.source,
    )


def _marked(spec: CorpusSpec, protocol: str) -> str:
    return f"`{spec.name}/{protocol}`{' (speakers shared or unknown)' if protocol in spec.sharing else ''}"


def _section(spec: CorpusSpec) -> str:
    """What the module says of its corpus, then what every protocol and exclusion is about."""
    lines = [
        "",
        f"## {spec.name}",
        "",
        f"{spec.title}.",
        "",
        import_module(f"ser_hf.corpora.{spec.name}").__doc__.strip(),
    ]
    if spec.notes:
        lines += ["", "Protocols:", ""]
        rules = protocols(spec.name)
        lines += [
            f"- {_marked(spec, name)}: {rules[f'{spec.name}/{name}'].description}{_parts(spec, name)}."
            for name in spec.notes
        ]
    if spec.excluded:
        lines += ["", "Left out and counted:", ""]
        lines += [f"- `{identity}`: {reason}" for identity, reason in spec.excluded.items()]
    return "\n".join(lines)


def _parts(spec: CorpusSpec, protocol: str) -> str:
    if protocol not in spec.divisions:
        return f" ({len(spec.folds[protocol])} folds)"
    train, validation, test = spec.divisions[protocol]
    return f" (trains on {train}, validates on {validation}, tests on {test})"


if __name__ == "__main__":
    PAGE.write_text(to_page(), encoding="utf-8")
    print(f"{PAGE.name}: {len(list_corpora())} corpora")
