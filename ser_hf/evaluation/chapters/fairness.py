"""Fairness across groups of speakers: rates by group, their gap, and the gap to expect by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas

from ..intervals import METHOD as OF_RATES
from ..intervals import Interval, caution_of_all, mean_interval, paired_difference
from ..metrics import uar_of, war_of
from ..tables import PredictionTable, TableError
from ..words import markdown_table, shown

METHOD = (
    f"rates: {OF_RATES}; gap of two groups: symmetric jackknife, Welch's if no speaker is in both; gap of more "
    "groups: none"
)
COLUMNS = ("gender", "age_band", "language")
# Years, upper end included. Wide bands, because a corpus of a dozen speakers has only one or two in each decade.
AGE_BANDS = ((17, "under 18"), (30, "18 to 30"), (50, "31 to 50"), (math.inf, "over 50"))
LEVEL = 0.95
DRAWS = 1000
SEED = 0
MIN_SPEAKERS = 2  # one speaker does not represent a group


def section(table: PredictionTable, columns: Sequence[str] = COLUMNS) -> dict[str, Any] | None:
    """Return the rates by group for each column, and the gap between groups beside the gap of a random model.

    A group is evaluated if every test class has utterances of at least two of its speakers; otherwise rates over
    different classes would be compared. For two groups the gap is signed, first minus second. For more groups it is the
    greatest rate minus the least; this is above 0 for any model, so it has no interval, only a comparison with chance.

    The random model of the same accuracy has the same answers with permuted group labels. If each speaker belongs to
    one group, labels are permuted over speakers: some people are recognised worse than others, and a permutation over
    utterances would hide that. If a speaker is in several groups, such as loud and soft speech, labels are permuted
    within each speaker and class.

    Args:
        table: its rows have the columns; `age_band` is computed from `age`. A column of `COLUMNS` that is missing,
            unknown or the same everywhere is left out; any other such column is an error.

    Returns:
        {column: facts}, or None if no column divides the speakers or some speaker is unknown. The facts:
        `interval_method`; `unknown` (utterances without a value); `groups`: [{group, n, speakers, uar, uar_interval,
        war, war_interval, reason}], rates None if not evaluated, for the `reason`; `gap`: None for fewer than two
        evaluated groups, else {groups, signed, uar, uar_interval, war, random_median, random_95 (quantiles of the
        absolute UAR gap of the random model), random_share (of its gaps that are at least as large), beyond_random
        (share < 0.05; None if too few permutations are possible), verdict}.

    Raises:
        TableError: for a column that the table lacks, or that does not divide its rows.

    Source: permutation of group labels: DiCiccio et al. (2020), Evaluating Fairness Using Permutation Tests.
    """
    if table.rows["speaker"].isna().any():
        return None
    found = {}
    for column in columns:
        groups = _groups(table, column)
        if groups is not None and groups.nunique() > 1:
            found[column] = _by_group(table, groups)
        elif column not in COLUMNS:
            why = "has no such column" if groups is None else "has only one value in this column"
            raise TableError(f"cannot compare groups by {column!r}: the table {why}; columns: {', '.join(table.rows)}")
    return found or None


def age_band(age: float | None) -> str | None:
    """Return the band of an age in years; None for None and NaN.

    >>> age_band(30), age_band(31), age_band(None)
    ('18 to 30', '31 to 50', None)
    """
    return None if age is None or pandas.isna(age) else next(name for top, name in AGE_BANDS if age <= top)


def to_markdown(facts: dict[str, Any]) -> list[str]:
    """Return the Markdown lines of a `section`."""
    lines = []
    for column, found in facts.items():
        lines += markdown_table(
            [column.replace("_", " "), "n", "speakers", "UAR [95 %]", "WAR [95 %]"],
            [
                [row["group"], row["n"], row["speakers"]]
                + [shown(row[rate], row[f"{rate}_interval"]) for rate in ("uar", "war")]
                for row in found["groups"]
            ],
        )
        lines.append("")
        judged = [(row["speakers"], row["uar"]) for row in found["groups"] if row["uar"] is not None]
        if careful := caution_of_all(judged):
            lines.append(careful)
        if reasons := [f"{row['group']}: {row['reason']}" for row in found["groups"] if row["reason"]]:
            lines.append(f"Not evaluated: {'; '.join(reasons)}.")
        if found["unknown"]:
            lines.append(f"The {column.replace('_', ' ')} is unknown for {found['unknown']} utterances.")
        lines += [found["gap"]["verdict"] if found["gap"] else "There are fewer than two groups to compare.", ""]
    return lines[:-1]


def _groups(table: PredictionTable, column: str) -> pandas.Series | None:
    """Return the group of each row as text, None where unknown; None if the table has no such column."""
    if column == "age_band":
        ages = pandas.to_numeric(table.rows["age"], errors="coerce").astype(float)
        return ages.map(age_band).astype(object).where(ages.notna(), None)
    if column not in table.rows:
        return None
    values = table.rows[column]
    return values.map(str).astype(object).where(values.notna(), None)


def _by_group(table: PredictionTable, groups: pandas.Series) -> dict[str, Any]:
    known = groups.notna().to_numpy()
    unknown = table.rows["utterance_id"][~known].nunique()
    table, group = table.part(known), groups[known].to_numpy()
    classes = set(table.rows["label"])
    described = []
    for name in sorted(set(group), key=_by_age):
        part = table.part(group == name)
        reason = _reason(part, classes)
        row = {"group": name, "n": part.n, "speakers": part.speakers, "reason": reason}
        for metric in (uar_of, war_of):
            row[metric.name], row[f"{metric.name}_interval"] = (None, None) if reason else part.rate(metric)
        described.append(row)
    judged = [row for row in described if not row["reason"]]
    gap = None
    if len(judged) > 1:
        names = [row["group"] for row in judged]
        chosen = np.isin(group, names)
        gap = _gap(table.part(chosen), group[chosen], names)
        gap["war"] = _spread([row["war"] for row in judged])
    return {"interval_method": METHOD, "unknown": unknown, "groups": described, "gap": gap}


def _reason(part: PredictionTable, classes: set[str]) -> str | None:
    """Return the reason why a group is not evaluated; None if it is."""
    if part.speakers < MIN_SPEAKERS:
        return "only one speaker"
    voices = part.rows.groupby("label")["speaker"].nunique()
    if absent := sorted(classes - set(voices.index)):
        return f"no utterance of {', '.join(absent)}"
    lonely = sorted(voices.index[voices < MIN_SPEAKERS])
    return f"only one speaker of {', '.join(lonely)}" if lonely else None


def _by_age(name: str) -> tuple[int, str]:
    bands = [band for _, band in AGE_BANDS]
    return (bands.index(name) if name in bands else len(bands)), name


def _spread(rates: Sequence[float]) -> float:
    """Return first minus second of two rates, greatest minus least of more."""
    return rates[0] - rates[1] if len(rates) == 2 else max(rates) - min(rates)


def _gap(table: PredictionTable, group: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Return the UAR gap of evaluated groups with its interval, and that of the random model."""
    rows, references, predictions = table.rows, table.references, table.predictions
    speaker, speakers = pandas.factorize(rows["speaker"], sort=True)
    number = pandas.Index(names).get_indexer(group)
    size = 1 + max(references.max(), predictions.max())

    def confusions(numbers: np.ndarray) -> np.ndarray:
        """Return confusion matrices, (groups, speakers, true, predicted)."""
        cell = ((numbers * len(speakers) + speaker) * size + references) * size + predictions
        return np.bincount(cell, minlength=len(names) * len(speakers) * size**2).reshape(len(names), -1, size, size)

    observed = confusions(number)
    own = np.zeros(len(speakers), dtype=np.int64)
    own[speaker] = number
    is_nested = bool((own[speaker] == number).all())
    if is_nested:
        random, deals = _deal_over_speakers(observed.sum(axis=0), own, len(names))
    else:
        random, deals = _deal_within_speakers(rows, speaker, number, confusions), math.inf
    value = _spread(list(uar_of(observed.sum(axis=1))))
    interval = None
    if len(names) == 2:
        interval = _welch(observed) if is_nested else paired_difference(uar_of, *observed)[1]
    # The observed labels are one of the possible permutations: without them, the share could be 0.
    share = float((1 + np.sum(np.abs(random) >= abs(value) - 1e-9)) / (1 + len(random)))
    facts = {
        "groups": names,
        "signed": len(names) == 2,
        "uar": float(value),
        "uar_interval": interval,
        "random_median": float(np.median(np.abs(random))),
        "random_95": float(np.quantile(np.abs(random), LEVEL)),
        "random_share": share,
        "beyond_random": None if deals < 1 / (1 - LEVEL) else share < 1 - LEVEL,
    }
    return {**facts, "verdict": _verdict(facts)}


def _deal_over_speakers(confusions: np.ndarray, own: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """Return gaps under random permutations of the labels over speakers, (draws,), and the number of permutations.

    Args:
        confusions: (speakers, true, predicted).
        own: the group number of each speaker.
    """
    cells, gaps = confusions.reshape(len(own), -1).astype(np.float64), np.empty(DRAWS)
    for draw, dealt in enumerate(np.random.default_rng(SEED).permuted(np.tile(own, (DRAWS, 1)), axis=1)):
        of_groups = (np.arange(count)[:, None] == dealt).astype(np.float64) @ cells
        gaps[draw] = _spread(list(uar_of(of_groups.reshape(count, *confusions.shape[1:]))))
    sizes = np.bincount(own, minlength=count)
    # Whole numbers: of a thousand speakers they are beyond any float. Groups of one size may swap their names, which
    # changes no absolute gap.
    deals = math.factorial(len(own)) // math.prod(math.factorial(size) for size in sizes)
    return gaps, deals // math.prod(math.factorial(alike) for alike in np.bincount(sizes))


def _deal_within_speakers(rows: pandas.DataFrame, speaker: np.ndarray, number: np.ndarray, confusions) -> np.ndarray:
    """Return gaps under random permutations of the labels over utterances of one speaker and class, (draws,)."""
    utterance, first = np.unique(rows["utterance_id"].to_numpy(dtype=str), return_index=True)
    row_of = np.searchsorted(utterance, rows["utterance_id"].to_numpy(dtype=str))
    stratum = pandas.factorize(pandas.Series(list(zip(speaker[first], rows["label"].iloc[first], strict=True))))[0]
    dealt, random = number[first], np.random.default_rng(SEED)
    stable, gaps = np.argsort(stratum, kind="stable"), np.empty(DRAWS)
    for draw in range(DRAWS):
        shuffled = np.empty_like(dealt)
        shuffled[stable] = dealt[np.lexsort((random.random(len(stratum)), stratum))]
        gaps[draw] = _spread(list(uar_of(confusions(shuffled[row_of]).sum(axis=1))))
    return gaps


def _welch(observed: np.ndarray) -> Interval:
    """Return the interval of the difference of two groups without common speakers, (groups, speakers, true, predicted).

    The variances of their jackknives are added; degrees of freedom as in Welch (1947).
    """
    totals, without_each = [], []
    for sign, confusions in zip((2, -2), observed, strict=True):  # a - b is the mean of 2a and -2b
        own = confusions[confusions.sum(axis=(1, 2)) > 0]
        totals.append(sign * uar_of(own.sum(axis=0)))
        without_each.append(sign * uar_of(own.sum(axis=0) - own))
    return mean_interval(totals, without_each, (-1.0, 1.0), LEVEL)


def _verdict(gap: dict[str, Any]) -> str:
    if gap["signed"] and gap["uar_interval"] is None:
        return f"{_comparison(gap)} There is no interval, because no single speaker changes the UAR of a group."
    return _comparison(gap)


def _comparison(gap: dict[str, Any]) -> str:
    names = " - ".join(gap["groups"]) if gap["signed"] else "best - worst group"
    words = (
        f"UAR gap, {names}: {shown(gap['uar'], gap['uar_interval'], '+')}. With random groups the gap is "
        f"{gap['random_median']:.3f} (median) and up to {gap['random_95']:.3f} (95 %)"
    )
    if gap["beyond_random"] is None:
        return f"{words}; there are too few speakers to tell a gap from chance."
    if gap["beyond_random"]:
        return f"{words}: this gap is larger than by chance (p = {gap['random_share']:.3f})."
    return f"{words}: this gap may be chance (p = {gap['random_share']:.2f})."
