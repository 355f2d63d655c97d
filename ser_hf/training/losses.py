"""Losses of this field, as pure functions on logits."""

from __future__ import annotations

import torch
from torch.nn.functional import kl_div, log_softmax, logsigmoid, one_hot

# A power below 1 has no slope at 0, where a share of certainty arrives by rounding.
_TINY = torch.finfo(torch.float32).tiny


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
        labels: class ids, (batch,), or how probable each class is, such as shares of votes, (batch, classes).
        weights: of each class, (classes,); None is 1 for all.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
        focal_gamma: 0 is plain cross-entropy; 2 is the paper's.

    >>> classification_loss(torch.zeros(1, 4), torch.tensor([2])).exp().round(decimals=3).tolist()
    [4.0]
    """
    log_probabilities = log_softmax(logits.float(), dim=-1)
    targets = _shares(labels, logits) * (1 - label_smoothing) + label_smoothing / logits.shape[-1]
    if weights is not None:
        targets = targets * weights
    if focal_gamma:
        targets = targets * (-torch.expm1(log_probabilities)).clamp_min(_TINY) ** focal_gamma
    return -(targets * log_probabilities).sum(dim=-1)


def multi_label_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
) -> torch.Tensor:
    """Loss of each utterance, (batch,), where every class may be present: binary cross-entropy, averaged over classes.

    Args:
        logits: (batch, classes), of one yes or no each.
        labels: 1 or 0 for each class, (batch, classes), or ids of the only class present, (batch,).
        weights: of each class, (classes,); None is 1 for all.
        label_smoothing: share of each target that is replaced by 1/2, in [0, 1).
        focal_gamma: 0 is plain binary cross-entropy; see `classification_loss`.

    >>> multi_label_loss(torch.zeros(1, 4), torch.tensor([[1.0, 0.0, 1.0, 0.0]])).exp().round(decimals=3).tolist()
    [2.0]
    """
    targets, logits = _shares(labels, logits) * (1 - label_smoothing) + label_smoothing / 2, logits.float()
    yes, no = -logsigmoid(logits), -logsigmoid(-logits)
    if focal_gamma:
        yes = yes * logits.neg().sigmoid().clamp_min(_TINY) ** focal_gamma
        no = no * logits.sigmoid().clamp_min(_TINY) ** focal_gamma
    losses = targets * yes + (1 - targets) * no
    return (losses if weights is None else losses * weights).mean(dim=-1)


def distillation_loss(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """How far the student is from what the teacher believes, for each utterance, (batch,): 0 where they agree.

    The Kullback-Leibler divergence of the student's probabilities from the teacher's, both softened by the temperature,
    times its square: so the gradients keep their size whatever the temperature. A high one lets the classes that the
    teacher holds improbable teach as well. Hinton, Vinyals and Dean (2015), arXiv:1503.02531, sections 2 and 2.1.

    Args:
        student_logits: (batch, classes).
        teacher_logits: logits or log-probabilities of the same classes in the same order, (batch, classes); they are
            constants, and send no gradient back.
        temperature: above 0; 1 compares the probabilities as they are; towards infinity this is the squared distance of
            the centred logits over 2 x classes, from which rounding adds up to 1e-7 x temperature^2.

    >>> student, teacher = torch.zeros(1, 2), torch.tensor([[0.75, 0.25]]).log()
    >>> [round(distillation_loss(student, teacher, temperature=t).item(), 3) for t in (1, 2, 10)]
    [0.131, 0.145, 0.151]
    """
    student = log_softmax(student_logits.float() / temperature, dim=-1)
    teacher = log_softmax(teacher_logits.detach().float() / temperature, dim=-1)
    return kl_div(student, teacher, reduction="none", log_target=True).sum(dim=-1) * temperature**2


def ccc_loss(predictions: torch.Tensor, references: torch.Tensor) -> torch.Tensor:
    """1 - concordance correlation coefficient, averaged over the columns: 0 for perfect agreement, at most 2.

    Lin (1989), doi:10.2307/2532051; as a loss: Trigeorgis et al. (2016), doi:10.1109/ICASSP.2016.7472669. It compares
    whole batches, the larger the better: the mean over batches is not that of all utterances. Unknown references (NaN)
    are left out; a column with fewer than two known ones, or of one value on both sides, teaches nothing.

    Args:
        predictions, references: (batch, dimensions), on one scale.

    >>> references = torch.tensor([[0.1], [0.4], [0.9]])
    >>> ccc_loss(references, references).item(), ccc_loss(1 - references, references).item() > 1
    (0.0, True)
    """
    known = ~references.isnan()
    count = known.sum(dim=0)
    predictions, references = predictions.float() * known, references.float().nan_to_num() * known

    def centred(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = values.sum(dim=0) / count.clamp_min(1)
        return mean, (values - mean) * known

    mean, x = centred(predictions)
    reference_mean, y = centred(references)
    spread = (x**2).sum(dim=0) + (y**2).sum(dim=0) + count * (mean - reference_mean) ** 2
    teaches = (count > 1) & (spread > 0)
    losses = 1 - 2 * (x * y).sum(dim=0) / torch.where(teaches, spread, 1)
    return torch.where(teaches, losses, 0).sum() / teaches.sum().clamp_min(1)


def _shares(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return one_hot(labels, logits.shape[-1]).to(torch.float32) if labels.dim() == 1 else labels.float()
