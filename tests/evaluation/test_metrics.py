import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_recall_fscore_support

from ser_hf.evaluation.evaluate_metrics import UAR, WAR
from ser_hf.evaluation.intervals import speaker_interval
from ser_hf.evaluation.metrics import METRICS as ALL
from ser_hf.evaluation.metrics import (
    IntervalKind,
    confusion_matrix,
    macro_f1,
    per_class,
    uar_of,
    unweighted_average_recall,
    weighted_average_recall,
)
from ser_hf.evaluation.metrics import metric as enter


def share(confusion):
    return np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum(axis=(-2, -1))


FACTS = {"title": "Share", "meaning": "a share", "interval": IntervalKind.SYMMETRIC}


@pytest.mark.parametrize(
    ("name", "facts", "function", "message"),
    [
        ("uar", {}, share, "there is a metric 'uar' already: choose another name"),
        ("G-mean", {}, share, "'G-mean' cannot be the name of a metric: use lower snake case"),
        ("share", {"title": ""}, share, "the metric 'share' needs title"),
        ("share", {"meaning": None}, share, "the metric 'share' needs meaning"),
        ("share", {"interval": "symmetric"}, share, "has interval='symmetric': use .* or IntervalKind.SYMMETRIC"),
        (
            "share",
            {},
            lambda one: np.trace(one) / one.sum(),
            r"'share' cannot take two .* shape \(2,\). It gives",
        ),
        ("share", {}, lambda one: one[3], "'share' cannot take two .* It fails: IndexError"),
        ("share", {}, lambda one: 2 * share(one) - 2, r"gives \[0.0, -1.3\d*\], outside its range \(0.0, 1.0\): pass"),
    ],
)
def test_a_metric_that_is_not_whole_is_refused_by_name_and_does_not_enter_the_table(name, facts, function, message):
    before = dict(ALL)
    with pytest.raises(ValueError, match=message):
        enter(name, **{**FACTS, **facts})(function)
    assert before == ALL


PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=80)
METRICS = (unweighted_average_recall, weighted_average_recall, macro_f1)


@given(PAIRS)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
def test_rates_agree_with_scikit_learn(pairs):
    references, predictions = map(list, zip(*pairs, strict=True))
    present = sorted(set(references))
    assert unweighted_average_recall(references, predictions) == pytest.approx(
        balanced_accuracy_score(references, predictions)
    )
    assert weighted_average_recall(references, predictions) == pytest.approx(accuracy_score(references, predictions))
    assert macro_f1(references, predictions) == pytest.approx(
        f1_score(references, predictions, labels=present, average="macro", zero_division=0)
    )


@given(PAIRS)
def test_class_rows_agree_with_scikit_learn(pairs):
    references, predictions = map(list, zip(*pairs, strict=True))
    rows = per_class(confusion_matrix(references, predictions, 6))
    oracle = precision_recall_fscore_support(references, predictions, labels=range(6), zero_division=0)
    for row, precision, recall, f1, support in zip(rows, *oracle, strict=True):
        assert row["support"] == support
        if support:
            assert (row["recall"], row["f1"]) == pytest.approx((recall, f1))
        assert (row["precision"] or 0) == pytest.approx(precision)


@pytest.mark.parametrize("metric", ALL.values(), ids=list(ALL))
@given(pairs=PAIRS)
def test_a_metric_of_the_table_is_in_its_range_alike_in_batches_and_best_for_perfect_answers(metric, pairs):
    references, predictions = map(list, zip(*pairs, strict=True))
    confusion, perfect = (confusion_matrix(references, answers, 6) for answers in (predictions, references))
    least, most = metric.range
    one, best = metric(np.stack([confusion, perfect]))
    assert one == metric(confusion)
    assert least <= one <= most
    assert best == pytest.approx(most if metric.higher_is_better else least)


@given(PAIRS, st.randoms(), st.permutations(range(6)))
def test_rates_know_neither_the_order_of_utterances_nor_the_numbers_of_classes(pairs, random, renamed):
    shuffled = random.sample(pairs, len(pairs))
    for metric in METRICS:
        value = metric(*zip(*pairs, strict=True))
        assert metric(*zip(*shuffled, strict=True)) == pytest.approx(value)
        assert metric(*np.asarray(renamed)[np.asarray(pairs)].T) == pytest.approx(value)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("references", "predictions", "message"),
    [
        ([], [], "no utterance"),
        ([0, 1], [0], "of shape"),
        ([[0]], [[0]], "of shape"),
        ([0.5], [0.0], "whole numbers"),
        ([-1, 0], [0, 0], "references contain the class id -1; class ids are 0 to 0"),
    ],
)
def test_what_is_no_classification_is_refused(metric, references, predictions, message):
    with pytest.raises(ValueError, match=message):
        metric(references, predictions)


def test_an_id_beyond_the_classes_is_refused():
    with pytest.raises(ValueError, match="predictions contain the class id 3; class ids are 0 to 2"):
        confusion_matrix([0, 1], [0, 3], 3)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_narrow_ids_do_not_overflow(dtype):
    ids = np.arange(20, dtype=dtype)
    assert (confusion_matrix(ids, ids) == np.eye(20)).all()
    assert speaker_interval(uar_of, ids, ids, np.arange(20) % 2)[1] == 1


def test_the_doors_to_evaluate_work_without_a_network():
    references, predictions = [0, 0, 0, 1, 2], [0, 0, 1, 1, 0]
    assert UAR().compute(references=references, predictions=predictions)["uar"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert WAR().compute(references=references, predictions=predictions) == {"war": 0.6}


def test_judging_brings_no_torch():
    script = (
        "import sys; from ser_hf import EvaluationReport, PredictionTable, compare; "
        "sys.exit(' '.join({'torch', 'transformers', 'matplotlib', 'evaluate', 'datasets'} & set(sys.modules)) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
