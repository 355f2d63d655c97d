"""Adaptation to a voice without labels: the offset of a speaker, from recordings of which only the speaker is known.

The embeddings of one person are shifted together: by the voice, the microphone, the room. The last layer of a
classifier is linear. So the offset of a speaker needs no embedding: it is a number for each class, subtracted from the
logits. A model of the family `lda` has a second, *centred* head for this, which was fitted to embeddings from which the
mean of their speaker was subtracted; of other models the centred logits are the logits.

The mean over a few utterances is also the mean of their emotions: of six calm utterances, calm would be subtracted. For
this reason the emotions that the model hears are removed first, by expectation-maximisation (Dempster et al., 1977).
What it hears may be wrong. The more kinds of emotions it hears, the more the plain mean is trusted instead.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import entr, log_softmax, softmax

from ..models.family import ModelError, mark

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DIVERSITY_POWER = 4  # two of six emotions, equally often, have a diversity of 0.39; its power of 0.02 hardly counts
SETTING = "speaker_offsets"  # in the configuration
# Candidates for the rule, and the enrolments on which they are compared.
PRIOR_UTTERANCES, TRUST_UTTERANCES, EVEN_SHARES = (1.0, 3.0), (1.0, 3.0, 6.0), (0.0, 0.15, 0.3, 0.6, 1.0)
ENROLLED, ENROLLED_OF_ONE_EMOTION = (1, 2, 3, 5, 10, 20), (1, 3, 5, 10)
DRAWS = 3
LEAST_UTTERANCES = 5  # of a speaker: the mean of fewer is mostly that of their emotions
MOST_KNOWN = 200  # the latest utterances of a speaker; more do not move an offset, and a voice may change
ROUNDS = 10  # of expectation-maximisation; after them offsets move by less than a hundredth


@dataclass(frozen=True)
class OffsetRule:
    """The estimate of a speaker's offset, and its use; `choose_rule` chooses it on held-out speakers.

    Attributes:
        class_logits: mean centred logits of each class, (classes, classes): row c is what class c contributes.
        prior_utterances: an offset is shrunk as if this many more utterances without an offset were known.
        trust_utterances: of k known utterances, the centred logits have the weight k / (k + this number).
        even_share: least share of an offset, in [0, 1], that expects all emotions equally often among the known
            utterances; the rest expects what the model hears in them. The more kinds it hears, the greater the share.
    """

    class_logits: np.ndarray
    prior_utterances: float
    trust_utterances: float
    even_share: float

    def __post_init__(self):
        if not np.isfinite(self.class_logits).all():
            raise ValueError("class_logits are not finite")
        if not 0 <= self.even_share <= 1:
            raise ValueError(f"even_share must be from 0 to 1, not {self.even_share}")
        for name in ("prior_utterances", "trust_utterances"):
            if not (value := getattr(self, name)) >= 0:
                raise ValueError(f"{name} must be 0 or more, not {value}")

    @staticmethod
    def is_known(model: PreTrainedModel) -> bool:
        """True if the configuration of a model has a rule."""
        return mark(model.config, SETTING) is not None

    @classmethod
    def of(cls, model: PreTrainedModel) -> OffsetRule:
        """Return the rule that a training wrote into the configuration of a model.

        Raises:
            ModelError: if there is none, or if it is damaged.
        """
        name = model.config.name_or_path or type(model).__name__
        if (found := mark(model.config, SETTING)) is None:
            raise ModelError(
                f"{name} cannot be adapted to a speaker: train it again, with validation speakers of whom two have "
                f"{LEAST_UTTERANCES} utterances each; or train --model_name_or_path lda:openai/whisper-base"
            )
        try:
            rule = cls(**{**found, "class_logits": np.asarray(found["class_logits"], float)})
            if rule.class_logits.shape != (classes := model.config.num_labels, classes):
                raise ValueError(f"class_logits have the shape {rule.class_logits.shape}")
        except (TypeError, ValueError, KeyError) as error:
            raise ModelError(f"{SETTING} in the config.json of {name} cannot be true ({error}): train again") from error
        return rule

    def write_to(self, model: PreTrainedModel) -> None:
        """Write the rule into the configuration of a model, with which it is saved and published."""
        numbers = {name: float(getattr(self, name)) for name in ("prior_utterances", "trust_utterances", "even_share")}
        setattr(model.config, SETTING, {"class_logits": self.class_logits.round(6).tolist(), **numbers})

    @staticmethod
    def forget(model: PreTrainedModel) -> None:
        """Remove the rule from a configuration: it does not fit to weights that are trained further."""
        vars(model.config).pop(SETTING, None)

    def offset(self, logits: np.ndarray, centred: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
        """Return the offset of a speaker in the centred logits, (..., classes); zeros if nothing is known.

        Args:
            logits: of the first head, for the known utterances of the speaker, (..., utterances, classes).
            centred: of the centred head, likewise.
            known: False where an utterance is only padding, (..., utterances); default: all are known.
        """
        known = np.ones(logits.shape[:-1], bool) if known is None else known
        counts = known.sum(axis=-1)[..., None]
        even = self.class_logits.mean(axis=0)
        expected = softmax(logits, axis=-1)
        offset = np.zeros((*logits.shape[:-2], logits.shape[-1]))
        for _ in range(ROUNDS if self.even_share < 1 else 1):
            heard = (expected * known[..., None]).sum(axis=-2) / np.maximum(counts, 1)
            share = self._even_share_of(heard)[..., None, None]
            contributed = (1 - share) * (expected @ self.class_logits) + share * even
            offset = ((centred - contributed) * known[..., None]).sum(axis=-2) / np.maximum(
                counts + self.prior_utterances, 1e-9
            )
            expected = softmax(self.adapted(logits, centred, offset[..., None, :], counts[..., None]), axis=-1)
        return offset

    def _even_share_of(self, heard: np.ndarray) -> np.ndarray:
        """Return the share that expects all emotions equally often, from how often each is heard.  (..., c) -> (...)"""
        diversity = entr(heard).sum(axis=-1) / np.log(max(heard.shape[-1], 2))
        return self.even_share + (1 - self.even_share) * diversity**DIVERSITY_POWER

    def adapted(
        self, logits: np.ndarray, centred: np.ndarray, offset: np.ndarray, count: np.ndarray | int
    ) -> np.ndarray:
        """Return the logits of utterances of a speaker with this offset, (utterances, classes).

        They move from those of the first head to the centred ones as more utterances of the speaker are known.

        Args:
            count: utterances that the offset is estimated from; without any, the logits are those of the first head.
        """
        weight = count / np.maximum(count + self.trust_utterances, 1e-9)
        return (1 - weight) * logits + weight * (centred - offset)


# --- the choice of a rule ---


def choose_rule(logits: np.ndarray, centred: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> OffsetRule | None:
    """Return the rule with the smallest log loss on the utterances of a speaker that are not enrolled.

    None if none is better than no adaptation.

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
    best = min(rules, key=loss)
    return best if loss(best) < loss(replace(best, trust_utterances=np.inf)) else None


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


def of_many(speakers: np.ndarray) -> np.ndarray:
    """Return True for each utterance whose speaker has at least `LEAST_UTTERANCES`."""
    counts = Counter(speakers)
    return np.array([name is not None and counts[name] >= LEAST_UTTERANCES for name in speakers])


def log_loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the log loss of each utterance.  (..., utterances, classes), (utterances,) -> (..., utterances)"""
    return -log_softmax(logits, axis=-1)[..., np.arange(len(labels)), labels]


def mean_of_group(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return, for each row, the mean of the rows of its group.  (n, width), (n,) -> (n, width)"""
    _, numbers = np.unique(groups, return_inverse=True)
    means = np.stack([rows[numbers == number].mean(axis=0) for number in range(numbers.max() + 1)])
    return means[numbers]
