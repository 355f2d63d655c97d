"""The cross-corpus matrix: models trained on one corpus and tested on another, from prediction tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...emotions import EvaluationMap
from ...splits.protocol import Protocol
from ...splits.relation import Relation
from ..metrics import uar_of, war_of
from ..tables import PredictionTable, TableError
from ..words import markdown_table, shown


def cross_corpus(
    tables: Sequence[PredictionTable], *, evaluation_map: EvaluationMap | None = None, model: str | None = None
) -> dict[str, Any]:
    """Return the matrix of one kind of model: a row for each training set, a column for each test corpus.

    Within a corpus the figures are from speaker-independent folds; across corpora, from one model on all utterances of
    the other corpus. Tables of one cell (folds, seeds) are pooled; a table of several test corpora fills several cells.
    A cell is marked and left out of the means if the model was trained on its test speakers, or may have been, or if
    the model was trained on its corpus, but perhaps without labels (`is_adapted`).

    Args:
        evaluation_map: other classes for which an answer counts as correct. It is used in all cells except those within
            a corpus, restricted to the classes of the cell; default: the map of each table. Within a corpus no map is
            used.
        model: the name of the models; default: the names in the tables.

    Returns:
        `train`, `test`: names of rows and columns; `model`; `caption`: the facts needed to read the figures; `cells`:
        [{train, test, kind ("within", "across", "adapted"), n, speakers, uar, uar_interval, war, war_interval, chance
        (UAR of the best constant answer), scheme, protocol, folds, label_source, model, evaluation_map (in words, ""
        for none), seen_speakers (True if trained on, or perhaps)}]; `mean_within`, `mean_across`: mean
        UAR of the cells whose test speakers are unseen, None without such cells, or if the cells have several schemes.

    Raises:
        TableError: if a table does not name the training data of its model or is of validation speakers, if tables of
            one cell cannot be pooled, or if one corpus is tested under two schemes or label sources.
    """
    if not tables:
        raise TableError("there are no prediction tables for a matrix")
    by_cell: dict[tuple[str, str], list[PredictionTable]] = {}
    adapted: set[tuple[str, str]] = set()
    for table in tables:
        trained_on = table.metadata.trained_on
        if table.metadata.part != "test":
            raise TableError(
                f"the predictions of {table.metadata.model} on {table.metadata.protocol} are of the "
                f"{table.metadata.part} speakers, on whom the model was chosen: use those of test speakers"
            )
        if not trained_on:
            raise TableError(
                f"the predictions of {table.metadata.model} on {table.metadata.protocol} do not name the training "
                "corpora: evaluate a model that has a ledger, or name the corpora in the metadata `trained_on`"
            )
        for corpus, rows in table.rows.groupby("corpus"):
            part, place = PredictionTable(rows, table.metadata), (" + ".join(trained_on), corpus)
            if corpus in trained_on and is_adapted(table):
                adapted.add(place)
            elif corpus in trained_on:
                part = judged_by(part, EvaluationMap({}))
            if evaluation_map is not None and (corpus not in trained_on or place in adapted):
                part = judged_by(part, evaluation_map)
            by_cell.setdefault(place, []).append(part)
    cells = [_cell(*place, parts, adapted=place in adapted) for place, parts in sorted(by_cell.items())]
    _refuse_mixed(cells)
    is_one_scheme = len({cell["scheme"] for cell in cells}) == 1
    unseen = {
        kind: [cell["uar"] for cell in cells if cell["kind"] == kind and not cell["seen_speakers"] and is_one_scheme]
        for kind in ("within", "across")
    }
    names = sorted({table.metadata.model for table in tables})
    facts = {
        "train": sorted({train for train, _ in by_cell}),
        "test": sorted({test for _, test in by_cell}),
        "model": model or ", ".join(names),
        "cells": cells,
        **{f"mean_{kind}": float(np.mean(rates)) if rates else None for kind, rates in unseen.items()},
    }
    return {**facts, "caption": _caption(facts)}


def is_adapted(table: PredictionTable) -> bool:
    """True if a table tests only some of the corpora that its protocol divides and its model was trained on.

    Tables of `adapt.py` are such: they name all corpora of the training, also the target, whose labels were not used.
    The table does not say which corpus was the target.
    """
    tested, trained_on = set(table.rows["corpus"]), set(table.metadata.trained_on)
    divided = set(Protocol.parse(table.metadata.protocol).corpora)
    return bool(tested & trained_on) and bool((divided & trained_on) - tested)


def judged_by(table: PredictionTable, evaluation_map: EvaluationMap) -> PredictionTable:
    """Return the same predictions with another evaluation map, restricted to the classes of the table."""
    counts_as = evaluation_map.within(table.metadata.classes).counts_as
    return PredictionTable(table.rows, dataclasses.replace(table.metadata, evaluation_map=counts_as))


def map_note(table: PredictionTable) -> str | None:
    """Return sentences for the reader about a table's evaluation map; None without one."""
    facts = table.metadata
    if not facts.evaluation_map:
        return None
    present = set(table.rows["label"])
    never = [
        name
        for name in facts.classes
        if name in present and not table.rows[f"p_{name}"].any()
        and not any(name in true for true in facts.evaluation_map.values())
    ]  # fmt: skip
    lost = f" The model cannot answer {', '.join(never)}: every such utterance is wrong." if never else ""
    return (
        f"With an evaluation map: {EvaluationMap(facts.evaluation_map)}. The best constant answer reaches a UAR "
        f"of {table.chance:.3f}.{lost}"
    )


def to_markdown(facts: dict[str, Any]) -> list[str]:
    """Return the Markdown lines of a result of `cross_corpus`."""
    cells = {(cell["train"], cell["test"]): cell for cell in facts["cells"]}
    lines = markdown_table(
        ["trained on \\ tested on", *facts["test"]],
        [[train, *(_shown(cells.get((train, test))) for test in facts["test"])] for train in facts["train"]],
    )
    means = [
        f"mean {words} {facts[f'mean_{kind}']:.3f}"
        for kind, words in (("within", "within a corpus"), ("across", "across corpora"))
        if facts[f"mean_{kind}"] is not None
    ]
    return [*lines, "", facts["caption"], *([f"UAR, {', '.join(means)}."] if means else [])]


def _cell(train: str, test: str, parts: Sequence[PredictionTable], *, adapted: bool) -> dict[str, Any]:
    try:
        table = PredictionTable.pool(parts)
    except TableError as error:
        raise TableError(f"trained on {train}, tested on {test}: {error}") from error
    rows, facts = table.rows, table.metadata
    kind = "within" if test in facts.trained_on else "across"
    cell = {
        "train": train,
        "test": test,
        "kind": "adapted" if adapted else kind,
        "n": table.n,
        "speakers": table.speakers,
    }
    for metric in (uar_of, war_of):
        cell[metric.name], cell[f"{metric.name}_interval"] = table.rate(metric)
    return {
        **cell,
        "chance": table.chance,
        "scheme": facts.scheme,
        "protocol": facts.protocol,
        "folds": sorted(int(fold) for fold in rows["fold"].unique()),
        "label_source": sorted(rows["label_source"].dropna().unique()),
        "model": facts.model,
        "evaluation_map": str(EvaluationMap(facts.evaluation_map)),
        # Speakers of another corpus are unseen. Those of the training corpus are unseen only if the protocol says so
        # and all speakers are known.
        "seen_speakers": facts.relation != Relation.HELD_OUT or (test in facts.trained_on and table.speakers is None),
    }


def _refuse_mixed(cells: Sequence[dict[str, Any]]) -> None:
    for name in ("scheme", "label_source"):
        of_corpus: dict[str, Any] = {}
        for cell in cells:
            if of_corpus.setdefault(cell["test"], cell[name]) != cell[name]:
                raise TableError(
                    f"{cell['test']} is tested with two different values of {name.replace('_', ' ')}, "
                    f"{of_corpus[cell['test']]!r} and {cell[name]!r}: make one matrix for each"
                )


def _caption(facts: dict[str, Any]) -> str:
    cells = facts["cells"]
    schemes = {cell["test"]: cell["scheme"] for cell in cells}
    if len(set(schemes.values())) == 1:
        words = [f"Scheme {cells[0]['scheme']}"]
    else:
        words = [f"Schemes {', '.join(f'{scheme} on {test}' for test, scheme in schemes.items())}"]
    words.append(f"Models: {facts['model']}")
    words.append(f"Protocols: {'; '.join(sorted({_protocol(cell) for cell in cells}))}")
    chances = sorted({f"{cell['chance']:.3f}" for cell in cells})
    words.append(f"Chance {' or '.join(chances)}")
    text = f"UAR with 95 % intervals over test speakers. {'. '.join(words)}."
    for judged in sorted({cell["evaluation_map"] for cell in cells} - {""}):
        where = ", ".join(f"{cell['train']} to {cell['test']}" for cell in cells if cell["evaluation_map"] == judged)
        text += f" Evaluation map ({where}): {judged}."
    if any(cell["seen_speakers"] for cell in cells):
        text += " *Seen speakers*: the model was trained on test speakers, or may have been; left out of the means."
    if any(cell["kind"] == "adapted" for cell in cells):
        text += (
            " *Adapted*: the model was trained on the test corpus, too, perhaps without its labels, as in domain "
            "adaptation; left out of the means."
        )
    return text


def _protocol(cell: dict[str, Any]) -> str:
    if cell["kind"] == "across":
        return cell["protocol"]
    return f"{cell['protocol']}, fold{'s' * (len(cell['folds']) > 1)} {' '.join(map(str, cell['folds']))}"


def _shown(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return "-"
    marks = f"{', *seen speakers*' * cell['seen_speakers']}{', *adapted*' * (cell['kind'] == 'adapted')}"
    return f"{shown(cell['uar'], cell['uar_interval'])}, n = {cell['n']}{marks}"
