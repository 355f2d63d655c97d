"""Evaluation of a model that adapts to each test speaker: which utterances of the speaker are known when one is scored.

The emotions of the known utterances are never used. An utterance is scored with others of the same speaker only, and
only `Adaptation.TRANSDUCTIVE` and `PSEUDO_SPEAKERS` count the utterance itself among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from ..splits.relation import Adaptation
from .heads import SpeakerLogits
from .offsets import MOST_KNOWN, OffsetRule
from .predict import predict
from .pseudo_speakers import pseudo_speakers

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin, PreTrainedModel

DRAWS = 10  # of enrolled utterances, or of orders
CHUNK = 20_000  # pairs of a scored and a known utterance whose logits are in memory at once


@dataclass(frozen=True)
class Scored:
    """Probabilities of utterances, several times with different known ones.

    Attributes:
        positions: rows of the dataset, (scored,).
        draws: number of the draw of each, (scored,).
        probabilities: (scored, classes).
    """

    positions: np.ndarray
    draws: np.ndarray
    probabilities: np.ndarray


def adapt(
    model: PreTrainedModel, extractor: FeatureExtractionMixin, dataset: Dataset, adaptation: str, draws: int = DRAWS
) -> Scored:
    """Return the probabilities of every utterance, adapted to its speaker without labels.

    Args:
        dataset: rows of `build_dataset`, with or without the columns of `precompute`; their order does not matter.
        adaptation: an `Adaptation` other than "none".
        draws: how often enrolled utterances or orders are drawn, with fixed seeds.

    Raises:
        ModelError: if the model cannot be adapted.
        ValueError: if a speaker is unknown, or has a single utterance although some must be enrolled.
    """
    if adaptation == Adaptation.PSEUDO_SPEAKERS:
        speakers = pseudo_speakers(model, extractor, dataset).astype(str).astype(object)
    else:
        speakers = np.asarray(dataset["speaker"], dtype=object)
        _refuse_nameless(dataset, speakers, adaptation)
    classifier = SpeakerLogits(model, extractor)
    logits, centred = np.split(predict(classifier, dataset), 2, axis=1)
    names, scored = np.asarray(dataset["utterance_id"]), []
    for number, speaker in enumerate(np.unique(speakers.astype(str))):
        rows = np.flatnonzero(speakers == speaker)
        rows = rows[np.argsort(names[rows])]
        if len(rows) < 2 and adaptation.startswith(Adaptation.ENROLLED):
            raise ValueError(f"{speaker} has one utterance only, and none to enrol: leave this speaker out")
        for draw, targets, known in _trials(adaptation, len(rows), draws, seed=number):
            steps = -(-known.size // CHUNK) if len(known) > 1 else 1
            for own, others in zip(np.array_split(targets, steps), np.array_split(known, steps), strict=True):
                adapted = _score(classifier.rule, logits[rows], centred[rows], own, others)
                scored.append(Scored(rows[own], np.full(len(own), draw), adapted))
    return Scored(*(np.concatenate([getattr(one, name) for one in scored]) for name in Scored.__dataclass_fields__))


def _refuse_nameless(dataset: Dataset, speakers: np.ndarray, adaptation: str) -> None:
    nameless = np.flatnonzero([speaker is None for speaker in speakers])
    if len(nameless):
        raise ValueError(
            f"{dataset['utterance_id'][int(nameless[0])]} has no speaker, but the adaptation {adaptation} needs one: "
            f"add a column `speaker`, or use --adaptation {Adaptation.PSEUDO_SPEAKERS}, which groups who sounds alike"
        )


def _trials(adaptation: str, count: int, draws: int, seed: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield the number of a draw, the utterances that are scored, and the known ones: for each, or once for all.

    A known one is -1 where there is none.

    Args:
        count: utterances of the speaker, who are numbered in the order of their names.
    """
    everything = np.arange(count)
    if adaptation in (Adaptation.TRANSDUCTIVE, Adaptation.PSEUDO_SPEAKERS):
        yield 0, everything, everything[None]
        return
    is_online = adaptation in (Adaptation.ONLINE, Adaptation.ONLINE_SORTED)
    for draw in range(1 if adaptation == Adaptation.ONLINE_SORTED else draws):
        order = np.random.default_rng([seed, draw]).permutation(count)
        if adaptation == Adaptation.ONLINE_SORTED:
            order = everything
        if is_online:
            steps = everything[:, None] - np.arange(1, min(count, MOST_KNOWN) + 1)
            yield draw, order, np.where(steps >= 0, order[steps], -1)
        else:
            enrolled = min(int(adaptation.rpartition("-")[2]), count - 1)
            yield draw, order[enrolled:], order[None, :enrolled]


def _score(
    rule: OffsetRule, logits: np.ndarray, centred: np.ndarray, targets: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """Return the probabilities of some utterances of a speaker.  (scored,), (scored, known) -> (scored, classes)"""
    is_known = known >= 0
    offsets = rule.offset(logits[known], centred[known], is_known)
    adapted = rule.adapted(logits[targets], centred[targets], offsets, is_known.sum(axis=1, keepdims=True))
    return softmax(adapted, axis=1)
