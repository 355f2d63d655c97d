"""Fitting of the `lda` family: two linear discriminants in closed form, and the rule for the offsets of speakers.

Everything that is chosen here (shrinkage, frames, temperature, the rule) is chosen on training speakers who are held
out in turn. No validation or test speaker takes part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...inference.offsets import OffsetRule
from ...models.family import class_names
from ...models.pretrained import build_classifier
from ...models.speech.configuration_lda import FRAMES
from ...options import OptionError
from .arguments import FittedArguments, split_name
from .discriminant import Found, Part, discriminant, held_out, log_loss, mean_of_group
from .held_out import inner_folds
from .voices import fit_voices

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import nn
    from transformers import FeatureExtractionMixin

    from ...models.speech.modeling_lda import LDAForAudioClassification

LDA = "lda"  # the model is "lda:<encoder>"
# Candidates for the rule of offsets, and the enrolments on which they are compared.
PRIOR_UTTERANCES, TRUST_UTTERANCES, EVEN_SHARES = (1.0, 3.0), (1.0, 3.0, 6.0), (0.0, 0.15, 0.3, 0.6, 1.0)
ENROLLED, ENROLLED_OF_ONE_EMOTION = (1, 2, 3, 5, 10, 20), (1, 3, 5, 10)
DRAWS = 3
LEAST_UTTERANCES = 5  # of a speaker: the mean of fewer is mostly that of their emotions
LEAST_SPEAKERS = 3  # to hold out some and fit to several


@dataclass(kw_only=True)
class LDAArguments(FittedArguments):
    """Options of a linear discriminant on a frozen encoder."""

    frames: str = field(
        default="chosen",
        metadata={
            "help": "Frames to pool: all, active (within 40 dB of the loudest one), or both; chosen: the best of the "
            "three in each fold, on its training speakers.",
            "choices": ("chosen", *FRAMES),
        },
    )

    def __post_init__(self):
        self.model_name_or_path = split_name(LDA, self.model_name_or_path)
        super().__post_init__()
        if not self.model_name_or_path:
            raise OptionError(
                "a linear discriminant needs an encoder: --model_name_or_path openai/whisper-base (or lda:<encoder>)"
            )

    def build(self, labels: Sequence[str]) -> tuple[LDAForAudioClassification, FeatureExtractionMixin]:
        settings = {"ssl": self.model_name_or_path, "encoder_outputs": self.encoder_outputs}
        if self.frames != "chosen":
            settings["frames"] = self.frames
        return build_classifier(LDA, labels, settings=settings)

    def fit(self, model: LDAForAudioClassification, rows: Dataset, *, where: str) -> None:
        statistics, choose = np.stack(rows["layer_statistics"]), self.frames == "chosen"
        fit_lda(model, statistics, rows["label"], rows["speaker"], choose_frames=choose, where=where)

    @property
    def model_name(self) -> str:
        return f"LDA on {self.encoder_name}"


def fit_lda(
    model: LDAForAudioClassification,
    statistics: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    speakers: Sequence[str | None] | np.ndarray,
    *,
    choose_frames: bool = True,
    where: str = "",
) -> None:
    """Fit standardisation, both heads, the rule of offsets and the vectors of voices to a training part, in place.

    Args:
        statistics: the output of `embed`, (utterances, 2, layers + 1, 2 hidden).
        labels: class ids, (utterances,).
        speakers: names of the speakers, (utterances,), None if unknown. There is no centred head unless three known
            speakers have five utterances each.
        choose_frames: True to choose the frames with the smallest log loss; False to keep those of the configuration.
        where: the training part in error messages, such as "fold 2 of urdu/kfold5".

    Raises:
        ValueError: if a class has fewer than two known speakers.
    """
    statistics = torch.from_numpy(np.asarray(statistics, np.float32))
    labels, speakers = np.asarray(labels), np.asarray(speakers, dtype=object)
    config = model.config
    known, fold_of = inner_folds(labels, speakers, class_names(config), where)
    of_many = _of_many(speakers[known])
    config.has_centred_head = len(set(speakers[known][of_many])) >= LEAST_SPEAKERS

    def fit(frames: str) -> Fit:
        model.pool(frames)
        part = Part.standardised(model.select(statistics).double().numpy())
        rows = part.rows[known]
        first = held_out(rows, labels[known], fold_of, part.width)
        if not config.has_centred_head:
            return Fit(frames, part, first)
        rows = rows[of_many]
        centred = rows - mean_of_group(rows, speakers[known][of_many])
        second = held_out(centred, labels[known][of_many], fold_of[of_many], part.width, uncentred=rows)
        return Fit(frames, part, first, centred, second)

    # The smallest one is kept while the next one is fitted.
    best = min(map(fit, FRAMES if choose_frames else [config.frames]), key=lambda one: one.loss)
    model.pool(best.frames)
    model.mean.copy_(torch.from_numpy(best.part.mean))
    model.scale.copy_(torch.from_numpy(best.part.scale))
    config.shrinkage = best.first.shrinkage
    _fill(model.classifier, best.part, best.part.rows, labels, best.first)
    if config.has_centred_head:
        labels, speakers = labels[known][of_many], speakers[known][of_many]
        config.centred_shrinkage = best.second.shrinkage
        _fill(model.centred, best.part, best.centred, labels, best.second)
        rule = choose_rule(best.first.logits[of_many], best.second.uncentred_logits, labels, speakers)
        model.class_logits.copy_(torch.from_numpy(rule.class_logits))
        config.prior_utterances, config.trust_utterances = rule.prior_utterances, rule.trust_utterances
        config.even_share = rule.even_share
        fit_voices(model.voices, statistics[torch.from_numpy(known[of_many])], speakers, fold_of[of_many])
    config.head_is_trained = True


@dataclass(frozen=True)
class Fit:
    """What held-out training speakers choose for the statistics of some frames.

    Attributes:
        frames: one of `FRAMES`.
        part: the statistics of the training part.
        first: of the first head.
        centred: utterances of speakers with many, without the offsets of these; None if there is no second head.
        second: of the centred head.
    """

    frames: str
    part: Part
    first: Found
    centred: np.ndarray | None = None
    second: Found | None = None

    @property
    def loss(self) -> float:
        """Return the sum of the log losses of the heads, so that frames serve strangers and known voices alike."""
        return self.first.loss + (self.second.loss if self.second else 0.0)


def _fill(layer: nn.Linear, part: Part, rows: np.ndarray, labels: np.ndarray, found: Found) -> None:
    """Fit a discriminant with the shrinkage that was found, and write it into a layer, divided by the temperature."""
    weight, bias = next(discriminant(rows, labels, [found.shrinkage], part.width))
    layer.weight.copy_(torch.from_numpy((part.basis @ weight).T / found.temperature))
    layer.bias.copy_(torch.from_numpy(bias / found.temperature))


def _of_many(speakers: np.ndarray) -> np.ndarray:
    """Return True for each utterance whose speaker has at least `LEAST_UTTERANCES`."""
    counts = Counter(speakers)
    return np.array([name is not None and counts[name] >= LEAST_UTTERANCES for name in speakers])


def choose_rule(logits: np.ndarray, centred: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> OffsetRule:
    """Return the rule with the smallest log loss on the utterances of a speaker that are not enrolled.

    Enrolments of utterances at random, and of utterances of one emotion, count the same.

    Args:
        logits: of the first head, for held-out utterances, (utterances, classes).
        centred: of the centred head, with the offset of the speaker, likewise.
        labels: class ids, (utterances,).
        speakers: names, (utterances,).
    """
    without_offset = centred - mean_of_group(centred - mean_of_group(centred, labels), speakers)
    class_logits = np.stack([without_offset[labels == label].mean(axis=0) for label in range(logits.shape[1])])
    random = np.random.default_rng(0)
    rows_of = [np.flatnonzero(speakers == speaker) for speaker in np.unique(speakers)]
    trials = [(rows, *_enrolments(labels[rows], random)) for rows in rows_of]

    def loss(rule: OffsetRule) -> float:
        """Return the mean over the two kinds of enrolments."""
        of_kinds = [[], []]
        for rows, enrolled, known, is_scored, of_one_emotion in trials:
            offsets = rule.offset(logits[rows][enrolled], centred[rows][enrolled], known)
            counts = known.sum(axis=1)[:, None, None]
            losses = log_loss(rule.adapted(logits[rows], centred[rows], offsets[:, None], counts), labels[rows])
            means = (losses * is_scored).sum(axis=1) / is_scored.sum(axis=1)
            for kind in (0, 1):
                of_kinds[kind].extend(means[of_one_emotion == kind])
        return float(np.mean([np.mean(means) for means in of_kinds if means]))

    rules = [OffsetRule(class_logits, *numbers) for numbers in product(PRIOR_UTTERANCES, TRUST_UTTERANCES, EVEN_SHARES)]
    return min(rules, key=loss)


def _enrolments(labels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw the utterances of a speaker that are known beforehand, several times.

    Returns:
        Their positions, (enrolments, most utterances); False where a position is only padding, likewise; False where an
        utterance is enrolled, (enrolments, utterances); True where all are of one emotion, (enrolments,).
    """
    drawn = []
    for _ in range(DRAWS):
        order = random.permutation(len(labels))
        of_one = order[labels[order] == random.choice(labels)]
        drawn += [(order[:count], False) for count in ENROLLED if count < len(labels)]
        drawn += [
            (of_one[:count], True) for count in ENROLLED_OF_ONE_EMOTION if count <= len(of_one) and count < len(labels)
        ]
    positions = np.zeros((len(drawn), max(ENROLLED)), int)
    known, is_scored = np.zeros(positions.shape, bool), np.ones((len(drawn), len(labels)), bool)
    for row, (enrolled, _) in enumerate(drawn):
        positions[row, : len(enrolled)], known[row, : len(enrolled)] = enrolled, True
        is_scored[row, enrolled] = False
    return positions, known, is_scored, np.asarray([is_one for _, is_one in drawn])
