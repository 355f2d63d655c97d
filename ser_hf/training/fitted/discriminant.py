"""A shrinkage linear discriminant in closed form, and the choice of its shrinkage on held-out speakers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...evaluation.chapters.calibration import temperature_of_logits
from ...inference.offsets import log_loss

SHRINKAGES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Part:
    """Standardised vectors of a training part in as few coordinates as there are utterances or numbers.

    Attributes:
        rows: (utterances, coordinates), with the inner products of the standardised vectors.
        basis: (numbers of a vector, coordinates): a standardised vector times it gives the coordinates.
        mean, scale: of the vectors, (numbers of a vector,).
    """

    rows: np.ndarray
    basis: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def standardised(cls, vectors: np.ndarray) -> Part:
        mean, scale = vectors.mean(axis=0), vectors.std(axis=0)
        scale[scale <= 1e-6 * np.abs(vectors).max(axis=0)] = 1.0  # constant numbers must not be scaled up
        vectors = (vectors - mean) / scale
        if len(vectors) > vectors.shape[1]:
            return cls(vectors, np.eye(vectors.shape[1]), mean, scale)
        squares, directions = np.linalg.eigh(vectors @ vectors.T)
        kept = squares > 1e-10 * squares[-1]
        lengths = np.sqrt(squares[kept])
        rows = directions[:, kept] * lengths
        return cls(rows, vectors.T @ (directions[:, kept] / lengths), mean, scale)

    @property
    def width(self) -> int:
        return len(self.mean)


def discriminant(
    rows: np.ndarray, labels: np.ndarray, shrinkages: Sequence[float], width: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield weight (coordinates, classes) and bias (classes,) of the discriminant for each shrinkage.

    The logits are log probabilities, up to a constant, of Gaussian classes that are equally frequent and have the same
    covariance: (1 - shrinkage) times that within the classes, plus shrinkage times its mean variance in each direction.

    Args:
        rows: (utterances, coordinates); every class occurs.
        shrinkages: each above 0 and at most 1.
        width: the number of directions over which the mean variance is taken.
    """
    means = np.stack([rows[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    within = rows - means[labels]
    variances, directions = np.linalg.eigh(within.T @ within / len(rows))
    variances = np.maximum(variances, 0)
    projected = means @ directions
    for shrinkage in shrinkages:
        shrunk = (1 - shrinkage) * variances + shrinkage * variances.sum() / width
        weight = directions @ (projected / shrunk).T
        yield weight, -0.5 * (means * weight.T).sum(axis=1)


@dataclass(frozen=True)
class Found:
    """The choice of held-out training speakers for a head.

    Attributes:
        shrinkage: that with the smallest log loss.
        temperature: by which the logits are divided.
        loss: the log loss.
        logits: of held-out utterances, divided by the temperature, (utterances, classes).
        uncentred_logits: those of the same utterances with the offset of their speaker, likewise.
    """

    shrinkage: float
    temperature: float
    loss: float
    logits: np.ndarray
    uncentred_logits: np.ndarray


def held_out(
    rows: np.ndarray, labels: np.ndarray, fold_of: np.ndarray, width: int, *, uncentred: np.ndarray | None = None
) -> Found:
    """Return the shrinkage and the temperature with the smallest log loss on held-out speakers.

    Args:
        rows: (utterances, coordinates); in each fold, a discriminant is fitted to those of the other folds.
        fold_of: the inner fold of each utterance, (utterances,).
        uncentred: the rows with the offset of their speaker, which are scored too; default: the same.
    """
    pair = np.stack([rows, rows if uncentred is None else uncentred])
    logits = np.empty((len(SHRINKAGES), *pair.shape[:2], labels.max() + 1))
    for fold in np.unique(fold_of):
        rest, held = fold_of != fold, fold_of == fold
        for number, (weight, bias) in enumerate(discriminant(rows[rest], labels[rest], SHRINKAGES, width)):
            logits[number, :, held] = (pair[:, held] @ weight + bias).swapaxes(0, 1)
    found = []
    for shrinkage, own in zip(SHRINKAGES, logits, strict=True):
        temperature = temperature_of_logits(own[0], labels)
        scaled = own / temperature
        found.append(Found(shrinkage, temperature, log_loss(scaled[0], labels).mean(), *scaled))
    return min(found, key=lambda one: one.loss)
