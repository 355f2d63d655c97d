"""Fitting of the `lda` family: two linear discriminants in closed form, and the rule for the offsets of speakers.

Everything that is chosen here (shrinkage, frames, temperature, the rule, thresholds) is chosen on training speakers who
are held out in turn. No validation or test speaker takes part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.special import softmax

from ...inference.abstention import HELD_OUT
from ...inference.evaluate import thresholds_on
from ...inference.offsets import OffsetRule, choose_rule, mean_of_group, of_many
from ...models.family import class_names
from ...models.pretrained import build_classifier
from ...models.speech.configuration_lda import FRAMES
from ...options import OptionError
from .arguments import FittedArguments, split_name
from .discriminant import Found, Part, discriminant, held_out
from .held_out import inner_folds
from .voices import fit_voices

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import nn
    from transformers import FeatureExtractionMixin

    from ...models.speech.modeling_lda import LDAForAudioClassification

LDA = "lda"  # the model is "lda:<encoder>"
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

    Thresholds for abstaining are those of held-out training speakers; a validation part replaces them.

    Args:
        statistics: the output of `embed`, (utterances, 2, layers + 1, 2 hidden).
        labels: class ids, (utterances,).
        speakers: names of the speakers, (utterances,), None if unknown. There is no centred head unless three known
            speakers have five utterances each, and all classes among them.
        choose_frames: True to choose the frames with the smallest log loss; False to keep those of the configuration.
        where: the training part in error messages, such as "fold 2 of urdu/kfold5".

    Raises:
        ValueError: if a class has fewer than two known speakers.
    """
    statistics = torch.from_numpy(np.asarray(statistics, np.float32))
    labels, speakers = np.asarray(labels), np.asarray(speakers, dtype=object)
    config = model.config
    OffsetRule.forget(model)
    known, fold_of = inner_folds(labels, speakers, class_names(config), where)
    many = of_many(speakers[known])
    of_voices = labels[known][many], speakers[known][many], fold_of[many]
    config.has_centred_head = _can_be_centred(*of_voices, config.num_labels)

    def fit(frames: str) -> Fit:
        model.pool(frames)
        part = Part.standardised(model.select(statistics).double().numpy())
        rows = part.rows[known]
        first = held_out(rows, labels[known], fold_of, part.width)
        if not config.has_centred_head:
            return Fit(frames, part, first)
        rows = rows[many]
        centred = rows - mean_of_group(rows, speakers[known][many])
        second = held_out(centred, labels[known][many], fold_of[many], part.width, uncentred=rows)
        return Fit(frames, part, first, centred, second)

    # The smallest one is kept while the next one is fitted.
    best = min(map(fit, FRAMES if choose_frames else [config.frames]), key=lambda one: one.loss)
    model.pool(best.frames)
    model.mean.copy_(torch.from_numpy(best.part.mean))
    model.scale.copy_(torch.from_numpy(best.part.scale))
    config.shrinkage = best.first.shrinkage
    thresholds_on(softmax(best.first.logits, axis=1), labels[known], speakers[known], HELD_OUT).write_to(model)
    _fill(model.classifier, best.part, best.part.rows, labels, best.first)
    if config.has_centred_head:
        labels, speakers = labels[known][many], speakers[known][many]
        config.centred_shrinkage = best.second.shrinkage
        _fill(model.centred, best.part, best.centred, labels, best.second)
        rule = choose_rule(best.first.logits[many], best.second.uncentred_logits, labels, speakers)
        if rule is None:
            config.has_centred_head = False
        else:
            rule.write_to(model)
        fit_voices(model.voices, statistics[torch.from_numpy(known[many])], speakers, fold_of[many])
    config.head_is_trained = True


@dataclass(frozen=True)
class Fit:
    """The choice of held-out training speakers for the statistics of some frames.

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


def _can_be_centred(labels: np.ndarray, speakers: np.ndarray, fold_of: np.ndarray, classes: int) -> bool:
    """True if speakers and classes are enough for a head of centred embeddings, also without each inner fold."""
    rests = [fold_of != fold for fold in np.unique(fold_of)]
    enough = [len(set(labels[rest])) == classes and len(set(speakers[rest])) > 1 for rest in rests]
    return len(set(speakers)) >= LEAST_SPEAKERS and len(rests) > 1 and all(enough)


def _fill(layer: nn.Linear, part: Part, rows: np.ndarray, labels: np.ndarray, found: Found) -> None:
    """Fit a discriminant with the shrinkage that was found, and write it into a layer, divided by the temperature."""
    weight, bias = next(discriminant(rows, labels, [found.shrinkage], part.width))
    layer.weight.copy_(torch.from_numpy((part.basis @ weight).T / found.temperature))
    layer.bias.copy_(torch.from_numpy(bias / found.temperature))
