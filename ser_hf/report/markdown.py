"""A report as Markdown, from the facts of its JSON."""

from __future__ import annotations

from typing import Any

from ..evaluation.chapters import CHAPTERS
from ..evaluation.metrics import METRICS
from ..evaluation.words import markdown_table, shown
from ..splits.relation import in_words

CROSS_VALIDATED = "cross-validated for a final model"
UNUSABLE = "unusable"  # as `data.rows` counts recordings that could not be used
# Of the corpora; others are shown by their codes.
LANGUAGES = {
    "bn": "Bengali", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fa": "Persian", "fr": "French",
    "it": "Italian", "pl": "Polish", "ur": "Urdu", "zh": "Chinese",
}  # fmt: skip


def rate(facts: dict[str, Any], metric: str) -> str:
    """Return a rate and its interval as text, such as `0.731 [0.702, 0.760]`."""
    return shown(*facts["rates"][metric].values())


def circumstances(facts: dict[str, Any]) -> str:
    """Return the facts that a reader needs to compare the rates with others."""
    condition = "" if facts["condition"] == "clean" else f" under {facts['condition']}"
    words = [
        f"95 %, jackknife over {facts['speakers']} speakers" if facts["rates"]["uar"]["interval"] else "no interval",
        f"n = {facts['n']}",
        f"{facts['protocol']}{condition}",
        speakers_in_words(facts),
    ]
    if facts.get("cross_validated"):
        words.append(CROSS_VALIDATED)
    if facts["synthetic"]:
        words.append("SYNTHETIC speech")
    return ", ".join(words)


def speakers_in_words(facts: dict[str, Any]) -> str:
    """Return what the model knew of the test speakers; "by declaration" if its user says that they are new."""
    return in_words(facts["relation"], facts["adaptation"]) + (" by declaration" if facts.get("declared_new") else "")


def headline(facts: dict[str, Any]) -> str:
    """Return the result in one line."""
    return f"UAR {rate(facts, 'uar')} ({circumstances(facts)})"


def dropped_sentence(facts: dict[str, Any]) -> str:
    """Return a sentence about the utterances that the label scheme left out."""
    dropped = {corpus: {**counts} for corpus, counts in facts["dropped"].items()}
    unusable = {corpus: count for corpus, counts in dropped.items() if (count := counts.pop(UNUSABLE, 0))}
    parts = [
        f"{corpus} {', '.join(f'{count} {emotion}' for emotion, count in counts.items())}"
        for corpus, counts in dropped.items()
        if counts
    ]
    by_scheme = f"Dropped by the scheme: {'; '.join(parts)}." if parts else "The scheme dropped no utterance."
    lost = ", ".join(f"{count} of {corpus}" for corpus, count in unusable.items())
    return f"{by_scheme} Unusable and left out: {lost}." if lost else by_scheme


def trained_and_evaluated(facts: dict[str, Any]) -> str:
    """Return a sentence about the corpora and their languages: Trained on emodb (German), evaluated on ravdess."""
    languages = facts.get("languages", {})

    def named(corpora: list[str]) -> str:
        spoken = {name: LANGUAGES.get(code, code) for name in corpora if (code := languages.get(name))}
        return ", ".join(f"{name} ({spoken[name]})" if name in spoken else name for name in corpora)

    return f"Trained on {named(facts['trained_on']) or 'unknown data'}, evaluated on {named(facts['corpora'])}."


def scored_with(facts: dict[str, Any]) -> str:
    """Return a sentence about the device, number format and library versions of the scoring."""
    scoring = facts["scoring"]
    if not scoring:
        return "Device, number format and library versions of the scoring were not recorded."
    return f"Scored with {', '.join(f'{name} {value}' for name, value in scoring.items())}."


def terms(facts: dict[str, Any]) -> list[str]:
    """Return the terms of a report with explanations for a first reader: [(term, meaning)]."""
    return [
        *((metric.title, metric.meaning) for metric in METRICS.values() if metric.name in facts["rates"]),
        ("Chance", "the UAR of the best model that always gives the same answer"),
        ("Protocol", f"the rule that divides the recordings into training and test; here `{facts['protocol']}`"),
        ("Scheme", f"the list of emotion classes; here `{facts['scheme']}`"),
        ("Blind", "no recording of a test speaker was used to train or to adapt the model"),
    ]


def to_markdown(facts: dict[str, Any]) -> str:
    """Return the report as Markdown, on one screen."""
    others = [
        f"{metric.title} {rate(facts, name)}."
        for name, metric in METRICS.items()
        if name != "uar" and name in facts["rates"]
    ]
    labels, seeds = ", ".join(facts["label_source"]) or "of unknown source", len(facts["per_seed"])
    lines = [
        f"**{headline(facts)}**",
        "",
        f"{' '.join(others)} Chance {facts['chance']:.3f}. Model: {facts['model']}. Scheme: {facts['scheme']}. "
        f"Labels: {labels}.",
        "",
        f"{'. '.join(f'{term}: {meaning}' for term, meaning in terms(facts))}.",
        "",
        *([f"Below, each utterance is counted once for each of {seeds} seeds.", ""] if seeds > 1 else []),
        *markdown_table(
            ["class", "n", "recall", "precision", "F1"],
            [
                [row["class"], row["support"], *(shown(row[name], None) for name in ("recall", "precision", "f1"))]
                for row in facts["per_class"]
            ],
        ),
        "",
        *markdown_table(
            ["true \\ predicted", *facts["classes"]],
            [[name, *counts] for name, counts in zip(facts["classes"], facts["confusion"], strict=True)],
        ),
    ]
    if len(facts["per_fold"]) > 1:
        folds = ", ".join(f"{row['fold']}: {row['uar']:.3f} (n = {row['n']})" for row in facts["per_fold"])
        lines += ["", f"UAR by fold: {folds}."]
    if seeds > 1:
        by_seed = ", ".join(f"{row['seed']}: {row['uar']:.3f}" for row in facts["per_seed"])
        lines += ["", f"UAR by seed: {by_seed}."]
    origin = f"{trained_and_evaluated(facts)} {dropped_sentence(facts)} {scored_with(facts)}"
    for sentence in (origin, *facts["notes"]):
        lines += ["", sentence]
    for chapter in CHAPTERS:
        if (section := facts["chapters"].get(chapter.name)) is not None:
            lines += ["", f"**{chapter.heading}**", "", *chapter.to_markdown(section)]
    return "\n".join(lines)
