"""The metrics against three libraries that others use, on hundreds of random inputs; where they differ, by how much.

scikit-learn, audmetric and torchmetrics agree with us wherever every class that is predicted also occurs. A class that
is predicted but never true, they treat each in their own way; those ways are claims here, not exceptions.
"""

import audmetric
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torchmetrics.functional import classification as torchmetrics

from ser_hf.evaluation.metrics import (
    METRICS,
    confusion_matrix,
    macro_f1,
    per_class,
    unweighted_average_recall,
    weighted_average_recall,
)

CLASSES = 6
pytestmark = pytest.mark.filterwarnings(
    "ignore:y_pred contains classes not in y_true", "ignore:A single label was found"
)
often = settings(max_examples=250, deadline=None)


# Each metric from references and predictions, by another library or in another way. A new metric needs an entry.
ORACLES = {
    "uar": sklearn_metrics.balanced_accuracy_score,
    "war": sklearn_metrics.accuracy_score,
    "macro_f1": lambda references, predictions: sklearn_metrics.f1_score(
        references, predictions, labels=np.unique(references), average="macro", zero_division=0
    ),
}


@st.composite
def judged(draw):
    """References and predictions, each of some of the classes only: a class may lack in one, in the other, in both."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    some = st.lists(st.integers(0, CLASSES - 1), min_size=1, max_size=CLASSES)
    size = draw(st.integers(1, 60))
    return random.choice(draw(some), size), random.choice(draw(some), size)


def both(pairs):
    references, predictions = pairs
    return references, predictions, sorted(set(references.tolist())), sorted(set(np.ravel(pairs).tolist()))


def in_torch(metric, references, predictions, average):
    told = {"num_classes": CLASSES, "average": average}
    return metric(torch.tensor(predictions), torch.tensor(references), **told).numpy()


@often
@given(judged())
def test_the_confusion_is_that_of_all_three(pairs):
    references, predictions, _, _ = both(pairs)
    ours = confusion_matrix(references, predictions, CLASSES)
    labels = list(range(CLASSES))
    assert (ours == sklearn_metrics.confusion_matrix(references, predictions, labels=labels)).all()
    assert (ours == audmetric.confusion_matrix(references.tolist(), predictions.tolist(), labels)).all()
    heard = torch.tensor(predictions), torch.tensor(references)
    assert (ours == torchmetrics.multiclass_confusion_matrix(*heard, num_classes=CLASSES).numpy()).all()


@pytest.mark.parametrize("name", METRICS)
@often
@given(pairs=judged())
def test_a_metric_of_the_table_is_that_of_its_oracle(name, pairs):
    assert name in ORACLES, f"the metric {name} needs an entry in ORACLES: its value from another library or derivation"
    value = METRICS[name](confusion_matrix(*pairs, CLASSES))
    assert value == pytest.approx(ORACLES[name](*pairs)), f"{name} differs from its oracle"


@often
@given(judged())
def test_war_is_the_accuracy_of_all_three_on_any_input(pairs):
    references, predictions, _, _ = both(pairs)
    ours = weighted_average_recall(references, predictions)
    assert ours == pytest.approx(sklearn_metrics.accuracy_score(references, predictions))
    assert ours == pytest.approx(audmetric.accuracy(references.tolist(), predictions.tolist()))
    micro = in_torch(torchmetrics.multiclass_accuracy, references, predictions, "micro")
    assert ours == pytest.approx(float(micro), abs=1e-6)


@often
@given(judged())
def test_uar_is_that_of_all_three_but_for_classes_that_are_predicted_and_never_true(pairs):
    """scikit-learn leaves them out as we do; audmetric and torchmetrics count each as a recall of 0.

    So theirs is ours times the share of classes that are true among those that are true or predicted. audmetric with
    the true classes alone as labels is no way out: it drops the utterances that are predicted as others.
    """
    references, predictions, present, seen = both(pairs)
    ours = unweighted_average_recall(references, predictions)
    assert ours == pytest.approx(sklearn_metrics.balanced_accuracy_score(references, predictions))
    share = len(present) / len(seen)
    told = references.tolist(), predictions.tolist()
    by_class = audmetric.recall_per_class(*told)
    assert ours == pytest.approx(np.mean([by_class[name] for name in present]))
    assert ours * share == pytest.approx(audmetric.unweighted_average_recall(*told))
    macro = in_torch(torchmetrics.multiclass_recall, references, predictions, "macro")
    assert ours * share == pytest.approx(float(macro), abs=1e-6)


@often
@given(judged())
def test_macro_f1_is_that_of_all_three_but_for_classes_that_are_predicted_and_never_true(pairs):
    """Over the classes named, scikit-learn agrees; without names, all three count a stranger's F1 as 0.

    audmetric is asked for all classes, and its mean is taken over the true ones.
    """
    references, predictions, present, seen = both(pairs)
    ours, share = macro_f1(references, predictions), len(present) / len(seen)
    told = references.tolist(), predictions.tolist()
    over_present = {"labels": present, "average": "macro", "zero_division": 0}
    assert ours == pytest.approx(sklearn_metrics.f1_score(*told, **over_present))
    assert ours * share == pytest.approx(sklearn_metrics.f1_score(*told, average="macro", zero_division=0))
    by_class = audmetric.fscore_per_class(*told)
    assert ours == pytest.approx(np.mean([by_class[name] for name in present]))
    assert ours * share == pytest.approx(audmetric.unweighted_average_fscore(*told))
    macro = in_torch(torchmetrics.multiclass_f1_score, references, predictions, "macro")
    assert ours * share == pytest.approx(float(macro), abs=1e-6)


@often
@given(judged())
def test_class_rows_are_those_of_all_three_but_that_a_rate_without_a_denominator_is_none_and_theirs_0(pairs):
    references, predictions, _, _ = both(pairs)
    told, labels = (references.tolist(), predictions.tolist()), list(range(CLASSES))
    rows = per_class(confusion_matrix(references, predictions, CLASSES))
    by_sklearn = sklearn_metrics.precision_recall_fscore_support(*told, labels=labels, zero_division=0)
    by_audmetric = [
        list(rate(*told, labels).values())
        for rate in (audmetric.precision_per_class, audmetric.recall_per_class, audmetric.fscore_per_class)
    ]
    by_torch = [
        in_torch(rate, references, predictions, None)
        for rate in (
            torchmetrics.multiclass_precision,
            torchmetrics.multiclass_recall,
            torchmetrics.multiclass_f1_score,
        )
    ]
    assert [row["support"] for row in rows] == by_sklearn[3].tolist()
    for number, rate in enumerate(("precision", "recall", "f1")):
        ours = [row[rate] or 0.0 for row in rows]
        for theirs in (by_sklearn[number], by_audmetric[number], by_torch[number]):
            assert ours == pytest.approx(list(theirs), abs=1e-6)
        undefined = [row[rate] is None for row in rows]
        lacking = predictions if rate == "precision" else references
        assert undefined == [label not in lacking for label in labels]
