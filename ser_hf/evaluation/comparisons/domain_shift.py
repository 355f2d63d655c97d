"""Diagnosis of adapted models: the effect on the embeddings. It is computed after training and never used in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from ...files import read_json, whole, write_whole
from ..metrics import unweighted_average_recall
from ..tables import PredictionTable
from ..words import markdown_table

FOLDS = 5  # of whole speakers, for the classifier of domains; fewer if a domain has fewer speakers


@dataclass(frozen=True)
class Diagnosis:
    """The diagnosis of one trained model: its two domains and its pseudo-labels.

    Attributes:
        source_uar, target_uar: on the test speakers of each domain; for the target, under its evaluation map.
        domain_distance: `proxy_a_distance` of the embeddings of these test utterances; None with too few speakers.
        confident_share: share of the target's training utterances that reach the confidence floor.
        pseudo_label_accuracy: share of these whose pseudo-label is right; None without any. It uses labels of the
            target, after the training.
        target_train_uar: UAR of all pseudo-labels of the target's training part.
        alignment: distance of the domains in the first and in the last logged epoch, before its weight.
        explained: share of the variance that the picture shows.
        points: points of the picture, a row for each of these test utterances: `corpus`, `emotion`, `x`, `y`.
    """

    source_uar: float
    target_uar: float
    domain_distance: float | None
    confident_share: float
    pseudo_label_accuracy: float | None
    target_train_uar: float
    alignment: Sequence[float] | None
    explained: float
    points: pandas.DataFrame

    def write(self, folder: str | Path) -> None:
        """Write `diagnosis.json`, and the points as `embeddings.parquet`."""
        facts = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "points"}
        with whole(Path(folder, "embeddings.parquet")) as unfinished:
            self.points.to_parquet(unfinished)
        write_whole(Path(folder, "diagnosis.json"), json.dumps(facts, indent=2) + "\n")

    @classmethod
    def read(cls, folder: str | Path) -> Diagnosis:
        """Read the files of `write`."""
        facts = read_json(Path(folder, "diagnosis.json"), remedy="remove the folder, and run the recipe again")
        return cls(**facts, points=pandas.read_parquet(Path(folder, "embeddings.parquet")))


def diagnose(
    source: PredictionTable,
    target: PredictionTable,
    pseudo_labelled: PredictionTable,
    embeddings: np.ndarray,
    *,
    confidence_floor: float,
    log_history: Sequence[Mapping[str, float]],
) -> Diagnosis:
    """Return the diagnosis of a trained model.

    Args:
        source, target: predictions for test utterances.
        pseudo_labelled: predictions for the target's training utterances, before calibration, as for the pseudo-labels.
        embeddings: those of the utterances of `source`, then those of `target`, (utterances, width).
    """
    rows = pandas.concat([source.rows, target.rows], ignore_index=True)
    is_target = np.arange(len(rows)) >= len(source.rows)
    confident = pseudo_labelled.probabilities.max(axis=1) >= confidence_floor
    right = pseudo_labelled.predictions == pseudo_labelled.references
    distances = [entry["alignment"] for entry in log_history if "alignment" in entry]
    places, explained = principal_plane(embeddings)
    return Diagnosis(
        source_uar=unweighted_average_recall(source.references, source.predictions),
        target_uar=unweighted_average_recall(target.references, target.predictions),
        domain_distance=proxy_a_distance(embeddings, is_target, rows["speaker"]),
        confident_share=float(confident.mean()),
        pseudo_label_accuracy=float(right[confident].mean()) if confident.any() else None,
        target_train_uar=unweighted_average_recall(pseudo_labelled.references, pseudo_labelled.predictions),
        alignment=(distances[0], distances[-1]) if distances else None,
        explained=explained,
        points=pandas.DataFrame(
            {"corpus": rows["corpus"], "emotion": rows["label"], "x": places[:, 0], "y": places[:, 1]}
        ),
    )


def proxy_a_distance(embeddings: np.ndarray, is_target: Sequence[bool], speakers: Sequence[str]) -> float | None:
    """Return the distance of two domains: how well a classifier recognises the domain of unseen speakers.

    0: not at all, 2: always. It is 2 (1 - 2e), where e is the mean error rate over the two domains, at most 0.5. The
    classifier is a logistic regression on standardised embeddings, cross-validated over speakers, so that it cannot
    recognise a domain by a known voice.

    Args:
        embeddings: (utterances, width).
        is_target: domain of each utterance.
        speakers: speaker of each utterance; no speaker is in both domains.

    Returns:
        None if a domain has only one speaker, who cannot be held out.

    Source: Ben-David et al. (2010), A theory of learning from different domains, Machine Learning 79,
    doi:10.1007/s10994-009-5152-4.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    is_target, speakers = np.asarray(is_target, dtype=bool), np.asarray(speakers, dtype=object)
    voices = [np.unique(speakers[is_target == domain].astype(str)) for domain in (False, True)]
    folds = min(FOLDS, *map(len, voices))
    if folds < 2:
        return None
    fold_of = {voice: number % folds for names in voices for number, voice in enumerate(names)}
    fold = np.array([fold_of[str(speaker)] for speaker in speakers])
    told = np.empty_like(is_target)
    for number in range(folds):
        judge = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
        judge.fit(embeddings[fold != number], is_target[fold != number])
        told[fold == number] = judge.predict(embeddings[fold == number])
    error = 1 - unweighted_average_recall(is_target.astype(int), told.astype(int))
    return float(2 * (1 - 2 * min(error, 0.5)))


def principal_plane(embeddings: np.ndarray) -> tuple[np.ndarray, float]:
    """Return coordinates on the first two principal axes, (utterances, 2), and their share of the variance.

    Unlike t-SNE, this plane is the same each time, keeps the distances of clusters, and does not create clusters.
    """
    centred = embeddings - embeddings.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(axis=1)])[:, None]  # the sign is arbitrary
    return centred @ axes.T, float((spread[:2] ** 2).sum() / (spread**2).sum())


def summary(diagnoses: Mapping[str, Sequence[Diagnosis]]) -> dict[str, dict[str, Any]]:
    """Return means over the folds of each method; `folds` is their number."""
    return {
        method: {"folds": len(each), **{name: _mean([getattr(one, name) for one in each]) for name in _MEASURES}}
        for method, each in diagnoses.items()
    }


_MEASURES = {
    "target_uar": "UAR target",
    "source_uar": "UAR source",
    "domain_distance": "domain distance",
    "alignment": "alignment, first to last",
    "confident_share": "confident",
    "pseudo_label_accuracy": "of these right",
    "target_train_uar": "UAR of all pseudo-labels",
}


def to_markdown(facts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a Markdown table of the result of `summary`."""
    lines = markdown_table(
        ["method", *_MEASURES.values()],
        [[method, *(shown_measure(measures[name]) for name in _MEASURES)] for method, measures in facts.items()],
    )
    folds = max(measures["folds"] for measures in facts.values())
    return "\n".join(
        [
            *lines,
            "",
            f"Means over {folds} fold{'s' * (folds > 1)}. UAR: on test speakers. Pseudo-labels: on the target's "
            "training part, computed after the training and not used in it. Domain distance: how well a linear "
            "classifier recognises the domain of unseen test speakers, from 0 (not at all) to 2 (always).",
        ]
    )


def _mean(values: Sequence[Any]) -> Any:
    known = [value for value in values if value is not None]
    return np.mean(known, axis=0).tolist() if known else None


def shown_measure(value: Any) -> str:
    """Return a measure, or its first and last value, as text; "-" for a missing one."""
    if value is None:
        return "-"
    # The distance of coral is divided by 4 width², so that three decimals would show 0.000.
    return " to ".join(f"{number:.1e}" if 0 < number < 0.001 else f"{number:.3f}" for number in np.atleast_1d(value))
