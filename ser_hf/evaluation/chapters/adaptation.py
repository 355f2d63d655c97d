"""Adaptation: what other recordings of a test speaker are worth, without labels; one prediction table for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...splits.relation import Adaptation
from ..comparisons.compare import weighted_confusions
from ..intervals import METHOD as OF_RATES
from ..intervals import caution_of_all, paired_difference
from ..metrics import uar_of
from ..tables import PredictionTable, TableError
from ..words import markdown_table, shown
from .calibration import expected_calibration_error

METHOD = f"UAR: {OF_RATES}; gain: jackknife of the difference, paired over speakers"


def section(adapted: Sequence[PredictionTable]) -> dict[str, Any] | None:
    """Return the UAR with each adaptation, and its gain on the same utterances.

    Args:
        adapted: tables of the same test set, each with another `adaptation` in its metadata, one of them "none".

    Returns:
        `{"interval_method", "adaptations": [{"adaptation", "n", "draws", "speakers", "uar", "uar_interval", "gain",
        "gain_interval", "ece", "uar_by_gender", "worst_speaker", "worst_uar"}, ...]}`. `gain` is the UAR minus that
        without adaptation, on the utterances that were scored, paired over speakers. None without a table.

    Raises:
        TableError: without a table of "none", if two tables have the same adaptation, or another test set.
    """
    if not adapted:
        return None
    by_name = {table.metadata.adaptation: table for table in adapted}
    if len(by_name) < len(adapted) or Adaptation.NONE not in by_name:
        raise TableError(
            f"the adaptations are {', '.join(table.metadata.adaptation for table in adapted)}: pass one table of each, "
            f"and one of {Adaptation.NONE.value}"
        )
    none = by_name[Adaptation.NONE]
    return {"interval_method": METHOD, "adaptations": [_adaptation(none, table) for table in adapted]}


def _adaptation(none: PredictionTable, table: PredictionTable) -> dict[str, Any]:
    before = _on_the_rows_of(table, none)
    uar, interval = table.rate(uar_of)
    classes = table.metadata.classes
    both = [weighted_confusions(one, classes) for one in (table, before)]
    gain, gain_interval = paired_difference(uar_of, *both)
    of_speakers = _uar_by(table, "speaker")
    worst = min(of_speakers, key=of_speakers.__getitem__)
    return {
        "adaptation": table.metadata.adaptation,
        "n": table.n,
        "draws": int(table.rows["seed"].nunique()),
        "speakers": table.speakers,
        "uar": uar,
        "uar_interval": interval,
        "gain": gain,
        "gain_interval": gain_interval,
        "ece": expected_calibration_error(table.probabilities, table.references),
        "uar_by_gender": _uar_by(table, "gender"),
        "worst_speaker": worst,
        "worst_uar": of_speakers[worst],
    }


def _uar_by(table: PredictionTable, column: str) -> dict[str, float]:
    """Return the UAR of each value of a column."""
    groups = sorted(table.rows.groupby(column).indices.items())
    return {str(name): table.part(rows).rate(uar_of)[0] for name, rows in groups}


def _on_the_rows_of(table: PredictionTable, none: PredictionTable) -> PredictionTable:
    """Return the answers without adaptation for every row of an adapted table."""
    known = none.rows.drop_duplicates("utterance_id").set_index("utterance_id")
    if strangers := sorted(set(table.rows["utterance_id"]) - set(known.index)):
        raise TableError(
            f"the table with {table.metadata.adaptation} adaptation has {strangers[0]}, which the one without lacks: "
            "evaluate the same test set"
        )
    rows = known.loc[table.rows["utterance_id"]].reset_index()
    return PredictionTable(rows.assign(seed=np.asarray(table.rows["seed"])), none.metadata)


def to_markdown(section: dict[str, Any]) -> list[str]:
    """Return a Markdown table of the adaptations."""
    rows = section["adaptations"]
    genders = sorted({gender for row in rows for gender in row["uar_by_gender"]})
    of_genders = [f"UAR, {one}" for one in genders]
    lines = markdown_table(
        ["adaptation", "n", "draws", "UAR", "gain over none", "ECE", *of_genders, "worst speaker"],
        [
            [
                row["adaptation"], row["n"], row["draws"], shown(row["uar"], row["uar_interval"]),
                shown(row["gain"], row["gain_interval"], "+") if row["adaptation"] != Adaptation.NONE else "",
                shown(row["ece"], None), *(shown(row["uar_by_gender"].get(one), None) for one in genders),
                f"{shown(row['worst_uar'], None)} ({row['worst_speaker']})",
            ]
            for row in rows
        ],
    )  # fmt: skip
    if careful := caution_of_all((row["speakers"], row["uar"]) for row in rows):
        lines += ["", careful]
    return lines
