"""Fits the `svm` family: scikit-learn finds the support vectors and calibrates, the model keeps tensors alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import SVC

from ..models.support_vectors import build_svm_classifier
from ..models.svm.configuration_svm import INPUTS, KERNELS
from ..splits.ledger import Ledger

if TYPE_CHECKING:
    from ..features.feature_extraction_functionals import FunctionalsFeatureExtractor
    from ..models.svm import SVMConfig, SVMForAudioClassification

CALIBRATION_FOLDS = 5
# C of the logistic regression on margins, shared out among the pairs. In cross-validation over RAVDESS's actors 1 to 20
# this one is as sure as it is right and recognises as well as the votes of the pairs; those above recognise worse.
CALIBRATION_COST = 1.0


@dataclass(kw_only=True)
class SVMArguments:
    """What a support vector machine looks at, and how it is fitted."""

    inputs: str = field(
        default="functionals", metadata={"help": "functionals, embeddings of a frozen encoder, or both joined."}
    )
    feature_set: str = field(
        default="functionals",
        metadata={"help": "functionals, or egemaps: eGeMAPSv02 by openSMILE (needs the extra opensmile)."},
    )
    model_name_or_path: Optional[str] = field(  # noqa: UP045 - HfArgumentParser needs it
        default=None,
        metadata={"help": "The encoder that embeds: Hub name or folder, as for train_classifier.py; none by default."},
    )
    encoder_outputs: list[int] = field(
        default_factory=list,
        metadata={"help": "Outputs of the encoder to embed: 0 enters its first layer, 1 leaves it; none means all."},
    )
    kernel: str = field(default="rbf", metadata={"help": "rbf or linear."})
    cost: float = field(default=10.0, metadata={"help": "C: the price of a training utterance on the wrong side."})
    gamma: float = field(default=0.1, metadata={"help": "Of the RBF kernel; 1 is what scikit-learn calls scale."})
    class_weight: str = field(
        default="balanced",
        metadata={"help": "balanced: the cost inversely to class frequency; none: the same for all."},
    )
    refit: bool = field(
        default=False,
        metadata={
            "help": "Train on the validation part too, of which a machine with fixed options has no other use; the "
            "protocol is then called <protocol>+refit."
        },
    )
    output_dir: str = field(default="runs/latest", metadata={"help": "Folder of the trained model."})
    seed: int = field(default=42, metadata={"help": "Of an encoder with random weights."})

    def __post_init__(self):
        if self.inputs not in INPUTS or self.kernel not in KERNELS or self.class_weight not in ("balanced", "none"):
            raise ValueError(
                f"inputs: {self.inputs!r}, kernel: {self.kernel!r}, class_weight: {self.class_weight!r}, wanted one of "
                f"{', '.join(INPUTS)}; of {', '.join(KERNELS)}; of balanced, none"
            )
        if (self.inputs == "functionals") != (self.model_name_or_path is None):
            raise ValueError(
                f"inputs: {self.inputs}, model_name_or_path: {self.model_name_or_path}: an encoder is what embeddings "
                "need, and functionals do without"
            )
        if self.cost <= 0 or self.gamma <= 0:
            raise ValueError(f"cost: {self.cost}, gamma: {self.gamma}, wanted positive numbers")

    def build(self, labels: Sequence[str]) -> tuple[SVMForAudioClassification, FunctionalsFeatureExtractor]:
        """The machine that these options describe, before fitting, and its extractor."""
        settings = {"inputs": self.inputs, "encoder_outputs": self.encoder_outputs, "kernel": self.kernel}
        settings |= {"cost": self.cost, "gamma": self.gamma, "class_weight": self.class_weight}
        return build_svm_classifier(self.model_name_or_path, labels, feature_set=self.feature_set, settings=settings)

    def earlier_ledger(self) -> Ledger:
        """What the encoder has heard before."""
        return Ledger.of_model(self.model_name_or_path) or Ledger() if self.model_name_or_path else Ledger()

    @property
    def model_name(self) -> str:
        """What reports and cards call the model."""
        name = "" if self.model_name_or_path is None else Path(self.model_name_or_path).name
        heard = {"functionals": self.feature_set, "embeddings": name, "both": f"{self.feature_set} + {name}"}
        return f"SVM on {heard[self.inputs]}"


def fit_svm(
    model: SVMForAudioClassification,
    vectors: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    speakers: Sequence[str] | np.ndarray,
) -> None:
    """Fits standardisation, support vectors and calibration to a training part, in place.

    The margins that calibrate are those of training speakers whom a machine has not heard: five folds of whole
    speakers. A multinomial logistic regression makes them probabilities, as Platt (1999) did for two classes.

    Args:
        vectors: what `embed` returns, (utterances, width).
        labels: class ids, (utterances,).
        speakers: who speaks, (utterances,).

    Raises:
        ValueError: if a class is without an utterance, or known from one speaker alone.
    """
    vectors, labels = np.asarray(vectors, np.float32), np.asarray(labels)
    if any(speaker is None for speaker in speakers):
        raise ValueError(
            "some speakers of the training part are unknown, and calibration needs margins of unheard ones: leave "
            "those utterances out, or name their speakers"
        )
    speakers = np.asarray(speakers)
    classes = model.config.num_labels
    for label in range(classes):
        if len(np.unique(speakers[labels == label])) < 2:
            raise ValueError(
                f"class {model.config.id2label[label]} needs training utterances of two speakers or more: leave it "
                "out of the scheme, or train on more"
            )
    head = model.head
    device = head.mean.device
    head.cpu()
    head.fit_standardisation(torch.from_numpy(vectors))
    standardised = head.standardise(torch.from_numpy(vectors))
    # Once for all machines, and many times faster than LIBSVM, which knows no BLAS.
    kernel = head.similarities(standardised, standardised).numpy()
    machine = _machine(model.config).fit(kernel, labels)

    heard_by = min(CALIBRATION_FOLDS, len(np.unique(speakers)))
    folds = StratifiedGroupKFold(n_splits=heard_by, shuffle=True, random_state=0)
    margins = np.empty((len(labels), classes * (classes - 1) // 2))
    for rest, unheard in folds.split(kernel, labels, speakers):
        if len(np.unique(labels[rest])) < classes:
            raise ValueError(
                "a class is spoken by so few speakers that it cannot be calibrated: train on more speakers"
            )
        other = _machine(model.config).fit(kernel[np.ix_(rest, rest)], labels[rest])
        margins[unheard] = pair_decisions(other, kernel[np.ix_(unheard, rest)])
    weight, bias = calibrate(margins, labels, _class_weight(model.config))

    model.config.support_vectors = len(machine.support_)
    model.config.head_is_trained = True
    head.support_vectors = standardised[machine.support_]
    head.coefficients = _tensor(pair_coefficients(machine))
    head.intercepts = _tensor(_signed(machine.intercept_, classes))
    head.calibration_weight, head.calibration_bias = _tensor(weight), _tensor(bias)
    head.to(device)


def pair_coefficients(machine: SVC) -> np.ndarray:
    """What each support vector adds to the decision of each pair of classes, (support vectors, pairs).

    scikit-learn keeps of each vector its coefficients against all other classes: row j - 1 against a later class j, row
    i against an earlier class i.
    """
    ends = np.cumsum(machine.n_support_)
    of_class = [slice(end - count, end) for end, count in zip(ends, machine.n_support_, strict=True)]
    columns = []
    for first in range(len(of_class)):
        for second in range(first + 1, len(of_class)):
            column = np.zeros(len(machine.support_))
            column[of_class[first]] = machine.dual_coef_[second - 1, of_class[first]]
            column[of_class[second]] = machine.dual_coef_[first, of_class[second]]
            columns.append(column)
    return _signed(np.stack(columns, axis=1), len(of_class))


def pair_decisions(machine: SVC, similarities: np.ndarray) -> np.ndarray:
    """Margins of the pairs (0, 1), (0, 2), ..., positive for the first of both, (utterances, pairs).

    Args:
        similarities: to what the machine was fitted to, (utterances, training utterances).
    """
    decisions = machine.decision_function(similarities)
    return _signed(decisions.reshape(len(similarities), -1), len(machine.classes_))


def calibrate(margins: np.ndarray, labels: np.ndarray, class_weight: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Weights (classes, pairs) and biases (classes,) that make margins of unheard speakers log probabilities.

    Where the machines count every class equally ("balanced"), so do the probabilities: a prior would give back to the
    frequent class what the machines took from it.
    """
    cost = CALIBRATION_COST / margins.shape[1]
    regression = LogisticRegression(C=cost, class_weight=class_weight, max_iter=1000).fit(margins, labels)
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:  # two classes: one row, of the second
        weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
    return weight, bias


def _machine(config: SVMConfig) -> SVC:
    return SVC(
        C=config.cost, kernel="precomputed", decision_function_shape="ovo", class_weight=_class_weight(config)
    )  # fmt: skip


def _class_weight(config: SVMConfig) -> str | None:
    """The word of scikit-learn."""
    return None if config.class_weight == "none" else config.class_weight


def _signed(values: np.ndarray, classes: int) -> np.ndarray:
    """For two classes scikit-learn turns the sign of the decision around, so that positive means the second."""
    return -values if classes == 2 else values


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
