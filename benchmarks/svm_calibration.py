"""Compares ways to make probabilities of a support vector machine's margins, on training speakers of fold 0 alone.

    python benchmarks/svm_calibration.py --corpora emodb --scheme emodb7 --protocols emodb/loso

The training and validation speakers of fold 0 are divided into five folds. The machine and its probabilities are fitted
to four of them, and the log loss of the fifth is counted. No test speaker of fold 0 is read.
"""

import numpy as np
import torch
from datasets import concatenate_datasets
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score

from ser_hf.evaluation.chapters.calibration import expected_calibration_error, fit_temperature
from ser_hf.splits.stratified import speaker_folds
from ser_hf.training.data_arguments import DataArguments
from ser_hf.training.fitted.held_out import INNER_FOLDS
from ser_hf.training.fitted.svm import SVMArguments, calibrate, fit_svm, held_out_margins
from ser_hf.training.parser import parse, run_recipe
from ser_hf.training.run_folds import Experiment


def penalised(margins, labels):
    """Return a weight for each class and pair, fitted with a penalty: C is 1 / pairs."""
    regression = LogisticRegression(C=1 / margins.shape[1], class_weight="balanced", max_iter=1000)
    regression.fit(margins, labels)
    return regression.coef_, regression.intercept_


def unpenalised(margins, labels):
    """Return a factor and a bias for each class, as `fit_svm` does."""
    return calibrate(margins, labels, "balanced")


def temperature_of(fit, margins, labels, folds):
    """Return the temperature of scores of speakers to whom `fit` was not fitted."""
    scores = np.empty((len(labels), labels.max() + 1))
    for fold in np.unique(folds):
        rest = folds != fold
        weight, bias = fit(margins[rest], labels[rest])
        scores[~rest] = margins[~rest] @ weight.T + bias
    return fit_temperature(softmax(scores, axis=1), labels)


def scores_of_new(model, vectors, labels, speakers, new):
    """Return the scores of new utterances by the name of the form, (new utterances, classes)."""
    fit_svm(model, vectors, labels, speakers)
    head, folds = model.head, speaker_folds(labels, speakers, INNER_FOLDS)
    standardised = head.standardise(torch.from_numpy(vectors))
    kernel = head.similarities(standardised, standardised).numpy()
    margins = held_out_margins(kernel, labels, folds, model.config.cost, "balanced")
    of_new = head.decisions(head.standardise(torch.from_numpy(new))).numpy()
    scores = {}
    for name, fit in (("penalised weights", penalised), ("factor and biases", unpenalised)):
        weight, bias = fit(margins, labels)
        scores[name] = of_new @ weight.T + bias
        scores[f"{name}, temperature"] = scores[name] / temperature_of(fit, margins, labels, folds)
    return scores


def main():
    data, options = parse(DataArguments, SVMArguments)
    experiment = Experiment(data, options, options, folds=[0], batch_size=32)
    parts, _ = experiment.split(0)
    rows = concatenate_datasets([parts["train"], parts["validation"]])
    vectors, labels, speakers = np.stack(rows["vectors"]), np.array(rows["label"]), np.array(rows["speaker"])
    folds, scores = speaker_folds(labels, speakers, INNER_FOLDS), {}
    for fold in range(INNER_FOLDS):
        rest, held_out = folds != fold, folds == fold
        model, _ = options.build(experiment.labels)
        for name, some in scores_of_new(model, vectors[rest], labels[rest], speakers[rest], vectors[held_out]).items():
            scores.setdefault(name, np.empty((len(labels), len(experiment.labels))))[held_out] = some
    print(f"{len(set(speakers))} speakers, n = {len(labels)}, {options.model_name}")
    print("| form | log loss | ECE | mean confidence | accuracy | UAR |\n|---|---|---|---|---|---|")
    for name, some in scores.items():
        found, winners = softmax(some, axis=1), some.argmax(axis=1)
        figures = [-log_softmax(some, axis=1)[np.arange(len(labels)), labels].mean()]
        figures += [expected_calibration_error(found, labels), found.max(axis=1).mean()]
        figures += [(winners == labels).mean(), recall_score(labels, winners, average="macro")]
        print(f"| {name} | {' | '.join(f'{figure:.3f}' for figure in figures)} |")


if __name__ == "__main__":
    run_recipe(main)
