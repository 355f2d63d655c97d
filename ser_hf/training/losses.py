"""Losses on logits, and distances between the embeddings of two domains, as pure functions."""

from __future__ import annotations

import torch
from torch.nn.functional import kl_div, log_softmax, logsigmoid, one_hot

# A power below 1 has no slope at 0, which rounding can reach.
_TINY = torch.finfo(torch.float32).tiny
# Factors of the bandwidth, one kernel each: a single width sees only differences of its own size.
# Source: the five kernels, each twice as wide as the one before it, of Long et al. (2015), arXiv:1502.02791.
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def classification_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    *,
    weights: torch.Tensor | None = None,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
) -> torch.Tensor:
    """Return the cross-entropy of each utterance, (batch,); weighted, smoothed, focal, or all of these.

    Focal loss (Lin et al. 2017, arXiv:1708.02002) multiplies the cross-entropy with each class by (1 - p)^gamma, p
    being that class's probability: easy utterances count less.

    Args:
        logits: (batch, classes).
        labels: class ids, (batch,), or probabilities, such as shares of votes, (batch, classes).
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
    """Return the binary cross-entropy of each utterance, (batch,), averaged over classes, any of which may be present.

    Args:
        logits: (batch, classes), one decision each.
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
    """Return the divergence of the student from the teacher for each utterance, (batch,): 0 if they agree.

    The Kullback-Leibler divergence of the student's probabilities from the teacher's, both softened by the temperature,
    times its square, which keeps the size of the gradients. A high temperature gives improbable classes more weight.
    Hinton, Vinyals and Dean (2015), arXiv:1503.02531, sections 2 and 2.1.

    Args:
        student_logits: (batch, classes).
        teacher_logits: logits or log-probabilities of the same classes in the same order, (batch, classes); constants,
            without a gradient.
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
    """Return 1 - concordance correlation coefficient, averaged over the columns: 0 for perfect agreement, at most 2.

    Lin (1989), doi:10.2307/2532051; as a loss: Trigeorgis et al. (2016), doi:10.1109/ICASSP.2016.7472669. It compares
    whole batches, the larger the better: the mean over batches is not that of all utterances. Unknown references (NaN)
    are left out; columns with fewer than two known ones, or with one value on both sides, do not count.

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


# --- distances: (source utterances, width), (target utterances, width) -> one number, 0 or more -----------------------


def mmd(source: torch.Tensor, target: torch.Tensor, *, bandwidth: float | None = None) -> torch.Tensor:
    """Return the squared maximum mean discrepancy: the distance of the means in the feature space of Gaussian kernels.

    It is the biased estimate, which is never negative. Source: Gretton et al. (2012), JMLR 13, equation 5,
    https://jmlr.org/papers/v13/gretton12a.html; with several kernels at once Long et al. (2015), arXiv:1502.02791.

    Args:
        bandwidth: squared distance at which the middle kernel has fallen to 1/e; None takes the median of both domains
            together, as a constant.

    >>> mmd(torch.zeros(3, 2), torch.zeros(4, 2)).item()
    0.0
    """
    even = [embeddings.new_full((len(embeddings), 1), 1 / len(embeddings)) for embeddings in (source, target)]
    return _discrepancies(source, even[0], target, even[1], bandwidth).squeeze()


def lmmd(
    source: torch.Tensor,
    labels: torch.Tensor,
    target: torch.Tensor,
    target_probabilities: torch.Tensor,
    *,
    confidence_floor: float = 0.0,
    bandwidth: float | None = None,
) -> torch.Tensor:
    """Return the local maximum mean discrepancy: `mmd` by class, averaged over the classes of both domains.

    Within a class the weights of the utterances sum to 1 in each domain. Source utterances have equal weights, target
    utterances those of their pseudo-labels; target utterances below the confidence floor have none. Only classes count
    that are the label of a source utterance and the most probable class of a confident target utterance. Without any
    such class the distance is 0.

    Source: Zhu et al. (2020), Deep Subdomain Adaptation Network, doi:10.1109/TNNLS.2020.2988928;
    arXiv:2106.09388.

    Args:
        labels: class ids of the source, (source utterances,).
        target_probabilities: (target utterances, classes); constants, no gradient flows through them.
        confidence_floor: the highest probability that a target utterance needs, in [0, 1].
        bandwidth: as in `mmd`.
    """
    probabilities = target_probabilities.detach().to(target)
    classes = probabilities.shape[1]
    highest, winners = probabilities.max(dim=1)
    confident = (highest >= confidence_floor).to(target)
    source_weights = one_hot(labels, classes).to(source)
    target_weights = probabilities * confident[:, None]
    named = one_hot(winners, classes).to(target) * confident[:, None]
    shared = (source_weights.sum(dim=0) > 0) & (named.sum(dim=0) > 0)
    if not shared.any():
        return (source.sum() + target.sum()) * 0
    source_weights, target_weights = (
        weights[:, shared] / weights[:, shared].sum(dim=0) for weights in (source_weights, target_weights)
    )
    return _discrepancies(source, source_weights, target, target_weights, bandwidth).mean()


def coral(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the distance of the covariances, squared Frobenius norm over 4 width^2; 0 for one utterance.

    Source: Sun and Saenko (2016), Deep CORAL, arXiv:1607.01719, equations 1 to 3.

    >>> coral(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])).item()  # variances 2 and 8
    9.0
    """
    if min(len(source), len(target)) < 2:
        return (source.sum() + target.sum()) * 0
    difference = _covariance(source) - _covariance(target)
    return (difference**2).sum() / (4 * source.shape[1] ** 2)


def reverse_gradient(embeddings: torch.Tensor, scale: float) -> torch.Tensor:
    """Return the same embeddings, whose gradient is multiplied by -scale.

    Source: Ganin et al. (2016), Domain-Adversarial Training of Neural Networks, JMLR 17,
    https://jmlr.org/papers/v17/15-239.html, section 4.2.
    """
    return _ReversedGradient.apply(embeddings, scale)


class _ReversedGradient(torch.autograd.Function):
    @staticmethod
    def forward(context, embeddings, scale):
        context.scale = scale
        return embeddings.view_as(embeddings)

    @staticmethod
    def backward(context, gradient):
        return -context.scale * gradient, None


def _discrepancies(
    source: torch.Tensor,
    source_weights: torch.Tensor,
    target: torch.Tensor,
    target_weights: torch.Tensor,
    bandwidth: float | None,
) -> torch.Tensor:
    """Return the squared distance of weighted means in the kernels' feature space, for each column of weights."""
    both, signed = torch.cat([source, target]), torch.cat([source_weights, -target_weights])
    return torch.einsum("ic,ij,jc->c", signed, _kernels(both, bandwidth), signed)


def _kernels(embeddings: torch.Tensor, bandwidth: float | None) -> torch.Tensor:
    """Return the mean of the Gaussian kernels between all pairs, (utterances, utterances)."""
    centred = embeddings - embeddings.mean(dim=0)  # else the difference below loses precision far from the origin
    squares = (centred**2).sum(dim=1)
    distances = (squares[:, None] + squares - 2 * centred @ centred.T).clamp_min(0)
    if bandwidth is None:
        pairs = torch.triu_indices(*distances.shape, offset=1, device=distances.device)
        bandwidth = distances.detach()[pairs[0], pairs[1]].median().clamp_min(_TINY)
    return torch.stack([torch.exp(-distances / (width * bandwidth)) for width in WIDTHS]).mean(dim=0)


def _covariance(embeddings: torch.Tensor) -> torch.Tensor:
    centred = embeddings - embeddings.mean(dim=0)
    return centred.T @ centred / (len(embeddings) - 1)


def _shares(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    return one_hot(labels, logits.shape[-1]).to(torch.float32) if labels.dim() == 1 else labels.float()
