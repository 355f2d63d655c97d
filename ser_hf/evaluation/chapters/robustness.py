"""Robustness: the loss of a model on the same test set under worse conditions, one prediction table per condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..intervals import METHOD as OF_RATES
from ..intervals import caution_of_all, confusion_by_speaker, paired_difference
from ..metrics import uar_of
from ..tables import PredictionTable, TableError
from ..words import markdown_table, shown

METHOD = f"UAR: {OF_RATES}; loss: symmetric jackknife of the difference, paired over speakers"


def section(clean: PredictionTable, disturbed: Sequence[PredictionTable]) -> dict[str, Any] | None:
    """Return the UAR under each condition, and the loss against the clean recordings of the same utterances.

    Args:
        clean: the table of the undisturbed recordings.
        disturbed: tables of the same utterances, each with a different `condition` in its metadata. They may hold only
            a part of the utterances, such as one fold; the clean table is then cut to the same part.

    Returns:
        `{"interval_method", "conditions": [{"condition", "n", "speakers", "uar", "uar_interval", "clean_uar", "loss",
        "loss_interval", "kept"}, ...]}`, sorted by kind and value. `loss` is clean UAR minus UAR, its interval paired
        over speakers; `kept` is the share of predictions that stay the same, right or wrong. None without a disturbed
        table.

    Raises:
        TableError: if a table has another test set, or two have the same condition.
    """
    if not disturbed:
        return None
    conditions = [table.metadata.condition for table in disturbed]
    if "clean" in conditions:
        raise TableError("a disturbed table has the condition 'clean' in its metadata: pass only disturbed tables")
    if twice := [name for name in conditions if conditions.count(name) > 1]:
        raise TableError(f"two tables have the condition {twice[0]}: pool them, or keep one")
    found = [_condition(clean, table) for table in sorted(disturbed, key=_kind_and_value)]
    return {"interval_method": METHOD, "conditions": found}


def _kind_and_value(table: PredictionTable) -> tuple[str, float]:
    """Return a sort key: noise:0 before noise:10 before noise:20."""
    kind, _, value = table.metadata.condition.partition(":")
    return kind, float(value or 0)


def _condition(clean: PredictionTable, table: PredictionTable) -> dict[str, Any]:
    before, after = _paired(clean, table)
    (clean_uar, _), (uar, uar_interval) = before.rate(uar_of), after.rate(uar_of)
    interval = None
    if after.speakers is not None:
        speakers = after.rows["speaker"]
        both = (confusion_by_speaker(one.references, one.predictions, speakers) for one in (before, after))
        _, interval = paired_difference(uar_of, *both)
    return {
        "condition": table.metadata.condition,
        "n": after.n,
        "speakers": after.speakers,
        "uar": uar,
        "uar_interval": uar_interval,
        "clean_uar": clean_uar,
        "loss": clean_uar - uar,
        "loss_interval": interval,
        "kept": float(np.mean(before.predictions == after.predictions)),
    }


def _paired(clean: PredictionTable, table: PredictionTable) -> tuple[PredictionTable, PredictionTable]:
    """Return both tables with the same utterances in the same order."""
    for name in ("protocol", "scheme", "classes", "model", "evaluation_map", "part"):
        first, second = (getattr(one.metadata, name) for one in (clean, table))
        if first != second:
            raise TableError(
                f"the table under {table.metadata.condition} has the {name} {second!r}, but the clean table has "
                f"{first!r}: disturb the same test set"
            )
    keys = ["utterance_id", "seed"]
    index = clean.rows.set_index(keys).index.get_indexer(table.rows.set_index(keys).index)
    if (index < 0).any():
        stranger = table.rows["utterance_id"].iloc[int(np.argmin(index))]
        raise TableError(
            f"the table under {table.metadata.condition} holds {stranger}, which is not in the clean table: disturb "
            "the same test set"
        )
    before = PredictionTable(clean.rows.iloc[index].reset_index(drop=True), clean.metadata)
    for name in ("label", "speaker", "fold"):
        differs = (before.rows[name] != table.rows[name].reset_index(drop=True)).to_numpy()
        if (differs & before.rows[name].notna().to_numpy()).any():
            raise TableError(
                f"the table under {table.metadata.condition} has another {name} for "
                f"{table.rows['utterance_id'].iloc[int(differs.argmax())]} than the clean table"
            )
    return before, table


def to_markdown(section: dict[str, Any]) -> list[str]:
    """Return a Markdown table of the conditions."""
    lines = markdown_table(
        ["condition", "n", "UAR", "loss against clean", "same prediction"],
        [
            [
                row["condition"], row["n"], shown(row["uar"], row["uar_interval"]),
                shown(row["loss"], row["loss_interval"]), shown(row["kept"], None),
            ]
            for row in section["conditions"]
        ],
    )  # fmt: skip
    if careful := caution_of_all((row["speakers"], row["uar"]) for row in section["conditions"]):
        lines += ["", careful]
    if alike := [row["condition"] for row in section["conditions"] if row["uar_interval"] and not row["loss_interval"]]:
        lines += ["", f"No interval of the loss under {', '.join(alike)}: it is the same for every speaker."]
    return lines
