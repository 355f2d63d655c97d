"""How far apart two domains lie in the space of embeddings, as pure functions that gradients flow through.

All take embeddings as (source utterances, width) and (target utterances, width) and return one number, 0 or more.
"""

from __future__ import annotations

import torch
from torch.nn.functional import one_hot

# Factors of the bandwidth, one kernel each: a single width sees only differences of its own size.
# Source: the five kernels, each twice as wide as the one before it, of Long et al. (2015), arXiv:1502.02791.
WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
_TINY = torch.finfo(torch.float32).tiny


def mmd(source: torch.Tensor, target: torch.Tensor, *, bandwidth: float | None = None) -> torch.Tensor:
    """Squared maximum mean discrepancy: how far apart the means are in the feature space of a bank of Gaussian kernels.

    The biased estimate, which is never negative. Source: Gretton et al. (2012), JMLR 13, equation 5,
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
    """Local maximum mean discrepancy: `mmd` class by class, averaged over the classes that both domains have.

    Within a class the weights of the utterances sum to 1 in either domain: on the source side one utterance of the
    class counts like the other, on the target side as its pseudo-label says. A target utterance that is not confident
    has no weight at all. A class is there if a source utterance has it as its label and a confident target utterance
    as its most probable one; all others leave the sum and its divisor. Without any such class the distance is 0.

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
    """Distance of the covariances, their squared Frobenius norm over 4 width^2; 0 where a domain has one utterance.

    Source: Sun and Saenko (2016), Deep CORAL, arXiv:1607.01719, equations 1 to 3.

    >>> coral(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])).item()  # variances 2 and 8
    9.0
    """
    if min(len(source), len(target)) < 2:
        return (source.sum() + target.sum()) * 0
    difference = _covariance(source) - _covariance(target)
    return (difference**2).sum() / (4 * source.shape[1] ** 2)


def reverse_gradient(embeddings: torch.Tensor, scale: float) -> torch.Tensor:
    """The same embeddings; on the way back their gradient is multiplied with -scale.

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
    """Squared distance between weighted means in the kernels' feature space, for each column of weights, (classes,)."""
    both, signed = torch.cat([source, target]), torch.cat([source_weights, -target_weights])
    return torch.einsum("ic,ij,jc->c", signed, _kernels(both, bandwidth), signed)


def _kernels(embeddings: torch.Tensor, bandwidth: float | None) -> torch.Tensor:
    """The mean of the Gaussian kernels between all pairs, (utterances, utterances)."""
    centred = embeddings - embeddings.mean(dim=0)  # far from the origin the difference below would be all rounding
    squares = (centred**2).sum(dim=1)
    distances = (squares[:, None] + squares - 2 * centred @ centred.T).clamp_min(0)
    if bandwidth is None:
        pairs = torch.triu_indices(*distances.shape, offset=1, device=distances.device)
        bandwidth = distances.detach()[pairs[0], pairs[1]].median().clamp_min(_TINY)
    return torch.stack([torch.exp(-distances / (width * bandwidth)) for width in WIDTHS]).mean(dim=0)


def _covariance(embeddings: torch.Tensor) -> torch.Tensor:
    centred = embeddings - embeddings.mean(dim=0)
    return centred.T @ centred / (len(embeddings) - 1)
