"""The recordings themselves: how many there are of each class, speaker and gender, how long and how loud they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas

from ..words import markdown_table

QUANTILES = {"minimum": 0.0, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75, "maximum": 1.0}
GENDERS = ("female", "male")


def section(rows: pandas.DataFrame) -> dict[str, Any]:
    """Return what there is in a table of utterances.

    Args:
        rows: columns label, speaker, gender, language and duration (seconds), and perhaps level (dB of full scale); the
            rows of one utterance under several seeds count once.

    Returns:
        `n`; `hours`; `classes`: [{class, n, speakers, female, male, unknown, seconds (median)}]; `speakers`: [{gender,
        n, classes (how many of them the speaker has)}], the most frequent first, without names; `unknown_speakers`:
        utterances without one; `languages`: {language: n}; `seconds` and `level`: {name of `QUANTILES`: value}, `level`
        None if it was not measured; `notes`: sentences on what makes a result doubtful.
    """
    if "utterance_id" in rows:
        rows = rows.drop_duplicates("utterance_id")
    rows = rows.assign(duration=rows["duration"].astype(np.float64))  # of tables of others it may be unknown
    gender = rows["gender"].where(rows["gender"].isin(GENDERS), "unknown")
    classes = []
    for name, group in rows.groupby("label"):
        of_gender = gender[group.index].value_counts()
        classes.append(
            {
                "class": str(name),
                "n": len(group),
                "speakers": int(group["speaker"].nunique()),
                **{one: int(of_gender.get(one, 0)) for one in (*GENDERS, "unknown")},
                "seconds": _quantiles(group["duration"])["median"],
            }
        )
    speakers = [
        {"gender": _only(group["gender"]), "n": len(group), "classes": int(group["label"].nunique())}
        for _, group in rows.groupby("speaker")
    ]
    return {
        "n": len(rows),
        "hours": round(float(rows["duration"].sum()) / 3600, 3),
        "classes": classes,
        "speakers": sorted(speakers, key=lambda one: -one["n"]),
        "unknown_speakers": int(rows["speaker"].isna().sum()),
        "languages": {str(name): int(count) for name, count in rows["language"].value_counts().items()},
        "seconds": _quantiles(rows["duration"]),
        "level": _quantiles(rows["level"]) if "level" in rows else None,
        "notes": _notes(classes, speakers),
    }


def _notes(classes: list[dict[str, Any]], speakers: list[dict[str, Any]]) -> list[str]:
    notes = []
    if lonely := [one["class"] for one in classes if one["speakers"] == 1]:
        notes.append(f"Only one speaker has utterances of {', '.join(lonely)}.")
    single = sum(one["classes"] == 1 for one in speakers)
    if single and len(classes) > 1:
        notes.append(
            f"{single} of {len(speakers)} speakers have utterances of one class only: a model that recognises voices "
            "seems to recognise classes."
        )
    counts = [one["n"] for one in classes]
    if counts and max(counts) >= 3 * min(counts):
        notes.append(
            f"The largest class has {max(counts)} utterances, the smallest {min(counts)}: report UAR, and consider "
            "--weight_classes true."
        )
    return notes


def _only(values: pandas.Series) -> str | None:
    known = values.dropna().unique()
    return str(known[0]) if len(known) == 1 else None


def _quantiles(values: pandas.Series) -> dict[str, float | None]:
    known = values.dropna().to_numpy(np.float64)
    return {
        name: round(float(np.quantile(known, share)), 2) if known.size else None for name, share in QUANTILES.items()
    }


def to_markdown(section: dict[str, Any]) -> list[str]:
    """Return a table of the classes, and sentences on speakers, durations and levels."""
    names = ("class", "n", "speakers", *GENDERS, "unknown", "seconds")
    return [
        *in_brief(section),
        "",
        *markdown_table(
            ["class", "n", "speakers", *GENDERS, "gender unknown", "median, s"],
            [[one[name] for name in names] for one in section["classes"]],
        ),
    ]


def in_brief(section: dict[str, Any]) -> list[str]:
    """Return one paragraph, for a report that has a table of the classes already."""
    counts = [one["n"] for one in section["speakers"]]
    people = f"{len(counts)} speakers, {min(counts)} to {max(counts)} utterances each" if counts else "no known speaker"
    unknown = f", {section['unknown_speakers']} utterances without a speaker" if section["unknown_speakers"] else ""
    genders = {name: sum(one[name] for one in section["classes"]) for name in (*GENDERS, "unknown")}
    of_genders = ", ".join(f"{count} {name}" for name, count in genders.items() if count)
    sentences = [f"{section['n']} utterances, {section['hours']:.2f} h; {people}{unknown}; gender: {of_genders}."]
    for name, quantiles in (("Duration in seconds", section["seconds"]), ("Level (RMS) in dB", section["level"])):
        if quantiles and quantiles["median"] is not None:
            sentences.append(f"{name}: {_in_words(quantiles)}.")
    return [" ".join([*sentences, *section["notes"]])]


def _in_words(quantiles: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in quantiles.items())
