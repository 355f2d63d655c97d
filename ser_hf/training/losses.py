"""Losses of this field, as pure functions on logits."""

from __future__ import annotations

import torch
from torch.nn.functional import log_softmax


def classification_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
) -> torch.Tensor:
    """Loss of each utterance, (batch,): cross-entropy, weighted, smoothed, focal, or all of these.

    Focal loss (Lin et al. 2017, arXiv:1708.02002) multiplies the cross-entropy with each class by (1 - p)^gamma, p
    being that class's probability: what is recognised already teaches less.

    Args:
        logits: (batch, classes).
        labels: class ids, (batch,).
        weights: of each class, (classes,); None is 1 for all.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        focal_gamma: 0 is plain cross-entropy; 2 is the paper's.

    >>> classification_loss(torch.zeros(1, 4), torch.tensor([2])).exp().round(decimals=3).tolist()
    [4.0]
    """
    log_probabilities = log_softmax(logits.float(), dim=-1)
    targets = torch.full_like(log_probabilities, label_smoothing / logits.shape[-1])
    targets.scatter_(1, labels[:, None], 1 - label_smoothing + label_smoothing / logits.shape[-1])
    if weights is not None:
        targets = targets * weights
    if focal_gamma:
        targets = targets * (1 - log_probabilities.exp()).clamp_min(0) ** focal_gamma
    return -(targets * log_probabilities).sum(dim=-1)
