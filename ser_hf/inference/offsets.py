"""Adaptation to a voice without labels: the offset of a speaker, from recordings of which only the speaker is known.

The embeddings of one person are shifted together: by the voice, the microphone, the room. A model of the family `lda`
has two heads. The first classifies an utterance of an unknown speaker. The second, the *centred* head, was fitted to
embeddings from which the mean of their speaker was subtracted. Both are linear. So the offset of a speaker needs no
embedding: it is a number for each class, subtracted from the logits of the centred head.

The mean over a few utterances is also the mean of their emotions: of six calm utterances, calm would be subtracted. For
this reason the emotions that the model hears are removed first, by expectation-maximisation (Dempster et al., 1977).
What it hears may be wrong. The more kinds of emotions it hears, the more the plain mean is trusted instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import entr, softmax

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DIVERSITY_POWER = 4  # two of six emotions, equally often, have a diversity of 0.39; its power of 0.02 hardly counts
ROUNDS = 10  # of expectation-maximisation; after them offsets move by less than a hundredth


@dataclass(frozen=True)
class OffsetRule:
    """The estimate of a speaker's offset, and its use. `fit_lda` chooses the three numbers on training speakers.

    Attributes:
        class_logits: mean centred logits of each class, (classes, classes): row c is what class c contributes.
        prior_utterances, trust_utterances, even_share: as in `LDAConfig`.
    """

    class_logits: np.ndarray
    prior_utterances: float
    trust_utterances: float
    even_share: float

    @classmethod
    def of(cls, model: PreTrainedModel) -> OffsetRule:
        """Return the rule of a fitted model with a centred head."""
        config = model.config
        return cls(
            model.class_logits.double().cpu().numpy(),
            config.prior_utterances,
            config.trust_utterances,
            config.even_share,
        )

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
