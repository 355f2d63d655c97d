"""Comparison of models by their predictions on the same utterances, paired over speakers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ...emotions import unknown_name
from ...files import write_whole
from ...splits.relation import Relation
from ..intervals import confusion_by_speaker, paired_difference, utterance_weights
from ..metrics import METRICS, Metric
from ..tables import PredictionTable, TableError
from ..words import markdown_table, shown, without_html

METHOD = "sign-flip permutation over speakers; interval: delete-one-speaker jackknife of the difference, Student-t"
LEVEL = 0.95
EXACT_SPEAKERS = 12  # up to this number, all 2^speakers exchanges are tried: 4096
DRAWS = 9999  # random exchanges for more speakers; with the observed one there are 10000
SEED = 0


def p_value(metric: Metric, first: np.ndarray, second: np.ndarray) -> float | None:
    """Return the share of exchanges of two models' answers, by whole speakers, with at least as large a difference.

    Args:
        first, second: confusion matrices of the same speakers, (speakers, true, predicted).

    Returns:
        None for fewer than two speakers.
    """
    speakers = len(first)
    if speakers < 2:
        return None
    if speakers <= EXACT_SPEAKERS:
        exchanged = np.arange(2**speakers)[:, None] >> np.arange(speakers) & 1
    else:
        exchanged = np.random.default_rng(SEED).integers(0, 2, (DRAWS + 1, speakers))
        exchanged[0] = 0  # the observed outcome is one of the possible ones
    shift = np.tensordot(exchanged, second - first, axes=1)
    differences = metric(first.sum(axis=0) + shift) - metric(second.sum(axis=0) - shift)
    # Sums in another order differ in the last digits; equal differences must count as at least as large.
    return float(np.mean(np.abs(differences) >= abs(differences[0]) - 1e-9))


def compare(tables: Mapping[str, PredictionTable], *, metric: str = "uar") -> dict[str, Any]:
    """Compare every pair of models on one test set, paired over speakers.

    The test exchanges the two models' answers for whole speakers, and counts how often the difference is at least as
    large as observed: if the models are equally good, either model could have given either answers. Unlike a t-test it
    assumes no distribution, and up to 12 speakers it is exact; n speakers cannot give a p below 2 / 2^n. The rows of an
    utterance under several seeds share its weight, so that every utterance counts once.

    Args:
        tables: {name of a model: its predictions}, two or more; folds and seeds pooled.
        metric: a name of `metrics.METRICS`.

    Returns:
        `metric`, `n` (utterances), `speakers`, `protocol`, `scheme`, `method`; `models`: [{name, model, seeds, value}];
        `pairs`: [{first, second, difference (first minus second), interval, p, p_holm (corrected for the number of
        pairs), significant (p_holm < 0.05; None if there are too few speakers for that), verdict}]; `notes`:
        sentences.

    Raises:
        TableError: if test set or way of evaluation differ (the message names the difference), if a speaker is unknown,
            or for a table of validation speakers.
        ValueError: for fewer than two tables, or an unknown metric.

    Source: Good (2005), Permutation, Parametric and Bootstrap Tests of Hypotheses, chapter 3; Holm (1979).
    """
    if len(tables) < 2:
        raise ValueError("a comparison needs two or more models: pass another run")
    if metric not in METRICS:
        raise ValueError(unknown_name("metric", metric, METRICS))
    names, rate = list(tables), METRICS[metric]
    first = tables[names[0]]
    for name in names:
        _refuse_different(names[0], first, name, tables[name])
    confusions = {name: weighted_confusions(table, first.metadata.classes) for name, table in tables.items()}

    pairs = []
    for one, other in combinations(names, 2):
        both = rate, confusions[one], confusions[other]
        difference, interval = paired_difference(*both, level=LEVEL)
        pairs.append(
            {"first": one, "second": other, "difference": difference, "interval": interval, "p": p_value(*both)}
        )
    for pair, corrected in zip(pairs, _holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = corrected
        least = 2.0 ** (1 - first.speakers) * len(pairs)
        pair["significant"] = None if corrected is None or least >= 1 - LEVEL else corrected < 1 - LEVEL
        pair["verdict"] = _verdict(pair, rate, first.speakers, least)
    return {
        "metric": metric,
        "n": first.n,
        "speakers": first.speakers,
        "protocol": first.metadata.protocol,
        "scheme": first.metadata.scheme,
        "method": METHOD,
        "models": [
            {
                "name": name,
                "model": table.metadata.model,
                "seeds": int(table.rows["seed"].nunique()),
                "value": float(rate(confusions[name].sum(axis=0))),
            }
            for name, table in tables.items()
        ],
        "pairs": pairs,
        "notes": _notes(tables),
    }


def to_markdown(section: dict[str, Any]) -> list[str]:
    """Return the Markdown lines of a result of `compare`."""
    metric, pairs = METRICS[section["metric"]].title, section["pairs"]
    chances = {"p": "p", "p_holm": f"p, Holm over {len(pairs)} pairs"}
    if len(pairs) == 1:
        del chances["p_holm"]  # the same
    return [
        f"{metric} on the same {section['n']} utterances of {section['speakers']} speakers, `{section['protocol']}`, "
        f"scheme `{section['scheme']}`.",
        "",
        *markdown_table(
            ["model", "seeds", metric],
            [[model["name"], model["seeds"], shown(model["value"], None)] for model in section["models"]],
        ),
        "",
        *markdown_table(
            ["first", "second", f"{metric} first - second [95 %]", *chances.values()],
            [
                [pair["first"], pair["second"], shown(pair["difference"], pair["interval"], "+")]
                + ["-" if pair[name] is None else f"{pair[name]:.4f}" for name in chances]
                for pair in pairs
            ],
        ),
        "",
        *(pair["verdict"] for pair in pairs),
        *section["notes"],
        f"({section['method']}.)",
    ]


def write_comparison(folder: str | Path, section: dict[str, Any]) -> str:
    """Write a result of `compare` as `comparison.json` and `comparison.md`; return the Markdown."""
    write_whole(Path(folder, "comparison.json"), json.dumps(section, indent=2) + "\n")
    markdown = without_html("\n".join(to_markdown(section)))
    write_whole(Path(folder, "comparison.md"), markdown + "\n")
    return markdown


def _refuse_different(name: str, table: PredictionTable, other_name: str, other: PredictionTable) -> None:
    """Raise if two tables differ in test set or way of evaluation, or if speakers are unknown."""
    what = f"{name} and {other_name} cannot be compared"
    if other.metadata.part != "test":
        raise TableError(
            f"{what}: {other_name} has predictions for the {other.metadata.part} speakers, on whom its model was "
            "chosen; use the predictions for test speakers"
        )
    for field in ("protocol", "scheme", "evaluation_map", "relation", "adaptation"):
        one, two = getattr(table.metadata, field), getattr(other.metadata, field)
        if one != two:
            raise TableError(
                f"{what}: they differ in {field.replace('_', ' ')}, {_shown(one)} and {_shown(two)}; "
                "evaluate both in the same way"
            )
    if set(table.metadata.classes) != set(other.metadata.classes):
        only = sorted(set(table.metadata.classes) ^ set(other.metadata.classes))
        raise TableError(f"{what}: only one of them has the class {', '.join(only)}")
    if other.rows["speaker"].isna().any():
        raise TableError(
            f"{what}: some speakers of {other_name} are unknown, but the comparison is over speakers; "
            "add them in the column `speaker`"
        )
    facts = ["label_source", "speaker", "label"]
    one, two = (table.rows.drop_duplicates("utterance_id").set_index("utterance_id")[facts] for table in (table, other))
    if strangers := sorted(set(one.index) ^ set(two.index)):
        raise TableError(
            f"{what}: {len(strangers)} utterances are in only one of them, such as {strangers[0]}; "
            f"{_folds(name, table)}, {_folds(other_name, other)}"
        )
    two = two.loc[one.index]
    for fact in facts:
        differs = (one[fact] != two[fact]) & ~(one[fact].isna() & two[fact].isna())
        if differs.any():
            where = one.index[differs][0]
            raise TableError(
                f"{what}: the {fact.replace('_', ' ')} of {where} is {one[fact][where]!r} in one and "
                f"{two[fact][where]!r} in the other [{int(differs.sum())} of {len(one)} utterances]"
            )


def _folds(name: str, table: PredictionTable) -> str:
    return f"{name} has the folds {' '.join(map(str, sorted(table.rows['fold'].unique())))}"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} as {' or '.join(true)}" for name, true in value.items()) or "none"
    return repr(value)


def weighted_confusions(table: PredictionTable, classes: tuple[str, ...]) -> np.ndarray:
    """Return one confusion matrix per speaker, (speakers, true, predicted), in which every utterance has weight 1.

    All speakers must be known. The rows of an utterance under several seeds share its weight.
    """
    order = np.array([classes.index(name) for name in table.metadata.classes])
    return confusion_by_speaker(
        order[table.references], order[table.predictions], table.rows["speaker"],
        weights=utterance_weights(table.rows["utterance_id"], len(table.rows)), num_classes=len(classes),
    )  # fmt: skip


def _holm(chances: list[float | None]) -> list[float | None]:
    """Return p-values corrected for their number (Holm, 1979); None stays None, where no test was possible."""
    if None in chances:
        return chances
    order = np.argsort(chances, kind="stable")
    stepped = np.asarray(chances)[order] * np.arange(len(chances), 0, -1)
    corrected = np.empty(len(chances))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(stepped))
    return corrected.tolist()


def _verdict(pair: dict[str, Any], metric: Metric, speakers: int, least: float) -> str:
    names = f"{pair['first']} and {pair['second']}"
    if pair["significant"] is None:
        why = f"with {speakers} speakers, p cannot be below {min(least, 1):.3f}"
        if speakers < 2:
            why = "there is only one speaker"
        return f"Too few speakers to compare {names}: {why}."
    if not pair["significant"]:
        apart = "see the interval of the difference"
        if pair["interval"] is None:
            apart = "there is no interval, because the difference is the same for every speaker"
        return (
            f"No significant difference between {names}: {abs(pair['difference']):.3f} in {metric.title} may be "
            f"chance. This does not show that they are equal; {apart}."
        )
    better, worse = pair["first"], pair["second"]
    if (pair["difference"] > 0) != metric.higher_is_better:
        better, worse = worse, better
    return f"{better} is better than {worse} (p = {pair['p_holm']:.4f})."


def _notes(tables: Mapping[str, PredictionTable]) -> list[str]:
    notes = []
    conditions = {name: table.metadata.condition for name, table in tables.items()}
    if len(set(conditions.values())) > 1:
        told = ", ".join(f"{name}: {condition}" for name, condition in conditions.items())
        notes.append(f"The models were evaluated under different conditions: {told}.")
    if any(table.metadata.relation != Relation.HELD_OUT for table in tables.values()):
        notes.append(
            "The models were trained on test speakers, or may have been: this says nothing about unseen speakers."
        )
    return notes
