"""Training of the `svm` family: scikit-learn finds the support vectors and calibrates, the model keeps the tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.metrics import recall_score
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight

from ...inference.abstention import HELD_OUT
from ...inference.evaluate import thresholds_on
from ...models.family import class_names
from ...models.pretrained import build_classifier
from ...models.speech.configuration_svm import INPUTS, KERNELS
from ...options import OptionError
from .arguments import FittedArguments, split_name
from .held_out import inner_folds

if TYPE_CHECKING:
    from datasets import Dataset

    from ...features.feature_extraction_functionals import FunctionalsFeatureExtractor
    from ...models.speech.modeling_svm import SVMForAudioClassification

SVM = "svm"  # the model, or "svm:<encoder>"
LEAST_FACTOR = 1e-3  # of margins in the score of a class; an informative machine has about 0.1 to 1
# The grid of `--tune`.
COSTS, GAMMAS = (1.0, 10.0, 100.0), (0.03, 0.1, 0.3, 1.0)


@dataclass(kw_only=True)
class SVMArguments(FittedArguments):
    """Options of a support vector machine: its inputs and its settings."""

    inputs: str = field(
        default="functionals",
        metadata={"help": "Inputs: functionals, embeddings of a frozen encoder, or both.", "choices": tuple(INPUTS)},
    )
    feature_set: str = field(
        default="functionals",
        metadata={"help": "Functionals: those of ser_hf, or egemaps (openSMILE's eGeMAPSv02; extra opensmile)."},
    )
    kernel: str = field(default="rbf", metadata={"help": "Kernel.", "choices": tuple(KERNELS)})
    cost: float = field(default=10.0, metadata={"help": "C: penalty for a training utterance on the wrong side."})
    gamma: float = field(default=0.1, metadata={"help": "Gamma of the RBF kernel; 1 is scikit-learn's `scale`."})
    tune: bool = field(
        default=False,
        metadata={"help": "Choose C and gamma in each fold, by cross-validation over its training speakers."},
    )
    class_weight: str = field(
        default="balanced",
        metadata={
            "help": "balanced: cost by inverse class frequency; none: equal cost.",
            "choices": ("balanced", "none"),
        },
    )

    RANGES: ClassVar = {"cost": "(0, inf)", "gamma": "(0, inf)"}

    def __post_init__(self):
        if self.model_name_or_path != (encoder := split_name(SVM, self.model_name_or_path)):  # svm, or svm:<encoder>
            self.model_name_or_path = encoder
            if encoder is not None and self.inputs == "functionals":
                self.inputs = "embeddings"
        super().__post_init__()
        if self.inputs != "functionals" and self.model_name_or_path is None:
            raise OptionError(f"--inputs {self.inputs} needs --model_name_or_path")
        if self.inputs == "functionals" and self.model_name_or_path is not None:
            raise OptionError("--model_name_or_path needs --inputs embeddings or --inputs both")
        if self.tune and (self.cost, self.gamma) != (SVMArguments.cost, SVMArguments.gamma):
            raise OptionError("--tune true chooses C and gamma: leave out --cost and --gamma, or pass --tune false")

    def build(self, labels: Sequence[str]) -> tuple[SVMForAudioClassification, FunctionalsFeatureExtractor]:
        settings = {"inputs": self.inputs, "encoder_outputs": self.encoder_outputs, "kernel": self.kernel}
        settings |= {"cost": self.cost, "gamma": self.gamma, "class_weight": self.class_weight}
        settings |= {"feature_set": self.feature_set, "ssl": self.model_name_or_path}
        return build_classifier(SVM, labels, settings=settings)

    def fit(self, model: SVMForAudioClassification, rows: Dataset, *, where: str) -> None:
        fit_svm(model, np.stack(rows["vectors"]), rows["label"], rows["speaker"], tune=self.tune, where=where)

    @property
    def model_name(self) -> str:
        name = self.encoder_name
        inputs = {"functionals": self.feature_set, "embeddings": name, "both": f"{self.feature_set} + {name}"}
        return f"SVM on {inputs[self.inputs]}"


def fit_svm(
    model: SVMForAudioClassification,
    vectors: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    speakers: Sequence[str | None] | np.ndarray,
    *,
    tune: bool = False,
    where: str = "",
) -> None:
    """Fit standardisation, support vectors and calibration to a training part, in place.

    C and gamma may be chosen on margins of held-out training speakers, in five folds of whole speakers. The
    probabilities are calibrated on these margins. So are thresholds for abstaining, which a validation part replaces.

    Args:
        vectors: the output of `embed`, (utterances, width).
        labels: class ids, (utterances,).
        speakers: names of the speakers, (utterances,); utterances without one are fitted, and serve for nothing else,
            unless all are without one: then single utterances are held out instead of speakers.
        tune: True to choose C and gamma; the model's configuration then has the chosen ones.
        where: the training part in error messages, such as "fold 2 of urdu/kfold5".

    Raises:
        ValueError: if a class has fewer than two known speakers.
    """
    vectors, labels, speakers = np.asarray(vectors, np.float32), np.asarray(labels), np.asarray(speakers, dtype=object)
    config, head = model.config, model.head
    known, fold_of = inner_folds(labels, speakers, class_names(config), where)
    device = head.mean.device
    head.cpu()
    head.fit_standardisation(torch.from_numpy(vectors))
    standardised = head.standardise(torch.from_numpy(vectors))

    def kernel(gamma: float) -> np.ndarray:
        # Computed once for all machines, and many times faster than in LIBSVM, which does not use BLAS.
        head.gamma = gamma
        return head.similarities(standardised, standardised).numpy()

    class_weight = None if config.class_weight == "none" else config.class_weight
    among_known = np.ix_(known, known)
    if tune:
        gammas = GAMMAS if config.kernel == "rbf" else [config.gamma]  # a linear kernel has none
        kernels = ((gamma, kernel(gamma)[among_known]) for gamma in gammas)
        config.cost, config.gamma = choose(kernels, labels[known], fold_of, class_weight)
    similarities = kernel(config.gamma)
    machine = _machine(config.cost, class_weight).fit(similarities, labels)
    margins = held_out_margins(similarities[among_known], labels[known], fold_of, config.cost, class_weight)
    weight, bias = calibrate(margins, labels[known], class_weight)
    probabilities = softmax(margins @ weight.T + bias, axis=1)
    thresholds_on(probabilities, labels[known], speakers[known], HELD_OUT).write_to(model)

    config.support_vectors = len(machine.support_)
    config.head_is_trained = True
    head.support_vectors = standardised[machine.support_]
    head.coefficients = _tensor(pair_coefficients(machine))
    head.intercepts = _tensor(_signed(machine.intercept_, config.num_labels))
    head.calibration_weight, head.calibration_bias = _tensor(weight), _tensor(bias)
    head.to(device)


# --- what held-out training speakers decide: C, gamma, and the probabilities ---


def held_out_margins(
    kernel: np.ndarray, labels: np.ndarray, fold_of: np.ndarray, cost: float, class_weight: str | None
) -> np.ndarray:
    """Return the margins of all utterances, each by a machine trained on the other folds, (utterances, pairs)."""
    classes = len(np.unique(labels))
    margins = np.empty((len(labels), classes * (classes - 1) // 2))
    for fold in np.unique(fold_of):
        rest, held_out = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        machine = _machine(cost, class_weight).fit(kernel[np.ix_(rest, rest)], labels[rest])
        margins[held_out] = pair_decisions(machine, kernel[np.ix_(held_out, rest)])
    return margins


def choose(
    kernels: Iterable[tuple[float, np.ndarray]], labels: np.ndarray, fold_of: np.ndarray, class_weight: str | None
) -> tuple[float, float]:
    """Return the C of `COSTS` and the gamma with the best UAR on held-out speakers; of equal ones, the first.

    Args:
        kernels: pairs of a gamma and its kernel, (utterances, utterances).
        fold_of: the inner fold of each utterance.
    """
    rates = {}
    for gamma, kernel in kernels:
        for cost in COSTS:
            margins = held_out_margins(kernel, labels, fold_of, cost, class_weight)
            weight, bias = calibrate(margins, labels, class_weight)
            winners = (margins @ weight.T + bias).argmax(axis=1)
            rates[cost, gamma] = recall_score(labels, winners, average="macro")
    return max(rates, key=rates.__getitem__)


def calibrate(margins: np.ndarray, labels: np.ndarray, class_weight: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (classes, pairs) and biases (classes,) that map margins of held-out speakers to log probabilities.

    The score of a class is the sum of its margins times a factor, plus a bias. Factor and biases are the most likely
    ones. A weight for each class and pair would need a penalty, and then few utterances get too low probabilities.

    If the machines weight all classes equally ("balanced"), so does the likelihood: a prior would favour the frequent
    class again. One imagined misrecognised utterance is added, as in Platt (1999), which keeps the factor finite.
    """
    signs = _signs(len(np.unique(labels)))
    sums = margins @ signs.T
    shares = compute_sample_weight(class_weight, labels)[:, None] / len(labels)
    imagined = 1 / (len(labels) + 1)
    wanted = np.where(np.eye(len(signs), dtype=bool)[labels], 1 - imagined, imagined / (len(signs) - 1))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scores = parameters[0] * sums + parameters[1:]
        error = shares * (softmax(scores, axis=1) - wanted)
        slope = np.concatenate([[(error * sums).sum()], error.sum(axis=0)])
        return float(-(shares * wanted * log_softmax(scores, axis=1)).sum()), slope

    # Where held-out speakers are recognised worse than by chance, the probabilities are those of the biases, and the
    # margins only say which class is the first.
    bounds = [(0, None), *[(None, None)] * len(signs)]
    found = minimize(loss, np.zeros(1 + len(signs)), jac=True, method="L-BFGS-B", bounds=bounds)
    return max(found.x[0], LEAST_FACTOR) * signs, found.x[1:]


def _signs(classes: int) -> np.ndarray:
    """Return 1 for the first class of a pair, -1 for its second, 0 for the others, (classes, pairs)."""
    first, second = np.triu_indices(classes, 1)
    return np.eye(classes)[:, first] - np.eye(classes)[:, second]


# --- scikit-learn's machines, with margins that are positive for the first class of a pair ---


def pair_coefficients(machine: SVC) -> np.ndarray:
    """Return the coefficient of each support vector for each pair of classes, (support vectors, pairs).

    scikit-learn keeps the coefficients of a vector against all other classes: row j - 1 against a later class j, row i
    against an earlier class i.
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
    """Return the margins of the pairs (0, 1), (0, 2), ..., positive for the first class, (utterances, pairs).

    Args:
        similarities: to the utterances that the machine was fitted to, (utterances, training utterances).
    """
    decisions = machine.decision_function(similarities)
    return _signed(decisions.reshape(len(similarities), -1), len(machine.classes_))


def _machine(cost: float, class_weight: str | None) -> SVC:
    return SVC(C=cost, kernel="precomputed", decision_function_shape="ovo", class_weight=class_weight)


def _signed(values: np.ndarray, classes: int) -> np.ndarray:
    """Return values positive for the first class. For two classes scikit-learn's are positive for the second."""
    return -values if classes == 2 else values


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
