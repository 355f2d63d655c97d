"""Every distance is compared, in value and gradient, with its definition written out as loops in float64."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from differences import slopes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from ser_hf.training.losses import coral, lmmd, mmd, reverse_gradient

pytestmark = pytest.mark.slow


def kernel(x, y, bandwidth):
    distance = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
    return sum(math.exp(-distance / (bandwidth * 2.0**power)) for power in (-2, -1, 0, 1, 2)) / 5


def median_distance(rows):
    distances = [sum((rows[i] - rows[j]) ** 2) for i in range(len(rows)) for j in range(i)]
    return sorted(distances)[(len(distances) - 1) // 2]


def of_means(source, target, bandwidth):
    """Gretton's equation 5."""
    within = [
        sum(kernel(x, y, bandwidth) for x, y in product(rows, rows)) / len(rows) ** 2 for rows in (source, target)
    ]
    across = sum(kernel(x, y, bandwidth) for x, y in product(source, target)) / (len(source) * len(target))
    return sum(within) - 2 * across


def of_classes(source, labels, target, probabilities, floor, bandwidth):
    """Zhu's distance, class after class."""
    confident = [row.max() >= floor for row in probabilities]
    distances = []
    for number in range(probabilities.shape[1]):
        ours = [float(label == number) for label in labels]
        theirs = [row[number] * sure for row, sure in zip(probabilities, confident, strict=True)]
        named = any(sure and row.argmax() == number for row, sure in zip(probabilities, confident, strict=True))
        if not (any(ours) and named):
            continue
        # One sum over all pairs: what is of the source weighs more than 0, what is of the target less.
        weighted = [(x, weight / sum(ours)) for x, weight in zip(source, ours, strict=True)]
        weighted += [(x, -weight / sum(theirs)) for x, weight in zip(target, theirs, strict=True)]
        distance = sum(v * w * kernel(x, y, bandwidth) for (x, v), (y, w) in product(weighted, repeat=2))
        distances.append(distance)
    return sum(distances) / len(distances) if distances else 0.0


def of_covariances(source, target):
    width, total = source.shape[1], 0.0
    for i, j in product(range(width), repeat=2):
        entries = [
            sum((x[i] - rows[:, i].mean()) * (x[j] - rows[:, j].mean()) for x in rows) / (len(rows) - 1)
            for rows in (source, target)
        ]
        total += (entries[0] - entries[1]) ** 2
    return total / (4 * width**2)


def drawn(seed, classes=4):
    random = np.random.default_rng(seed)
    ours, theirs, width = random.integers(2, 6), random.integers(2, 6), random.integers(1, 4)
    source, target = random.normal(0, 1, (ours, width)), random.normal(0.7, 1.5, (theirs, width))
    return source, random.integers(0, classes, ours), target, random.dirichlet(np.full(classes, 0.5), theirs)


cases = {
    "mmd": lambda labels, probabilities: (mmd, of_means),
    "lmmd": lambda labels, probabilities: (
        lambda source, target, bandwidth: lmmd(
            source, torch.tensor(labels), target, torch.tensor(probabilities), confidence_floor=0.5,
            bandwidth=bandwidth,
        ),
        lambda source, target, bandwidth: of_classes(source, labels, target, probabilities, 0.5, bandwidth),
    ),
    "coral": lambda labels, probabilities: (
        lambda source, target, bandwidth: coral(source, target),
        lambda source, target, bandwidth: of_covariances(source, target),
    ),
}  # fmt: skip


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**31))
@pytest.mark.parametrize("name", cases)
def test_values_and_gradients_are_those_of_the_definition(name, seed):
    source, labels, target, probabilities = drawn(seed)
    ours, definition = cases[name](labels, probabilities)
    bandwidth = median_distance(np.concatenate([source, target]))
    x, y = (torch.tensor(rows, dtype=torch.float32, requires_grad=True) for rows in (source, target))
    value = ours(x, y, bandwidth=None)
    assert value.item() == pytest.approx(definition(source, target, bandwidth), rel=1e-4, abs=1e-6)
    value.backward()
    for given_rows, numeric in (
        (x, slopes(lambda moved: definition(moved, target, bandwidth), source, step=1e-5)),
        (y, slopes(lambda moved: definition(source, moved, bandwidth), target, step=1e-5)),
    ):
        np.testing.assert_allclose(given_rows.grad, numeric, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", cases)
@pytest.mark.parametrize("seed", range(5))
def test_gradients_pass_pytorchs_own_check_in_float64(name, seed):
    source, labels, target, probabilities = drawn(seed)
    ours, _ = cases[name](labels, probabilities)
    rows = [torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in (source, target)]
    assert gradcheck(lambda x, y: ours(x, y, bandwidth=1.7), rows)


def test_classes_that_one_side_lacks_leave_sum_and_divisor():
    """Class 2 is the source's alone, class 3 the target's; the divisor is 2, not 4."""
    torch.manual_seed(0)
    source, target = torch.randn(6, 3), torch.randn(6, 3)
    labels, winners = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 1, 1, 3, 3])
    certain = torch.eye(4)[winners]
    expected = (mmd(source[:2], target[:2], bandwidth=2) + mmd(source[2:4], target[2:4], bandwidth=2)) / 2
    torch.testing.assert_close(lmmd(source, labels, target, certain, bandwidth=2), expected)
    nothing = lmmd(source.requires_grad_(), torch.full((6,), 2), target, certain, bandwidth=2)
    nothing.backward()
    assert nothing.item() == 0
    assert (source.grad == 0).all()


def test_an_unconfident_target_utterance_has_no_say():
    torch.manual_seed(0)
    source, target = torch.randn(6, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    probabilities = torch.tensor([[0.9, 0.1, 0], [0.8, 0.1, 0.1], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]])
    without = lmmd(source, labels, target[:4], probabilities[:4], bandwidth=2)
    with_it = lmmd(source, labels, target.requires_grad_(), probabilities, confidence_floor=0.5, bandwidth=2)
    torch.testing.assert_close(with_it, without)
    with_it.backward()
    assert target.grad[4].abs().max() < 1e-15  # what the rounding leaves
    assert target.grad[:4].abs().min() > 1e-4


@pytest.mark.parametrize("name", cases)
def test_equal_domains_are_no_distance_apart_and_a_shift_or_scale_is(name):
    torch.manual_seed(0)
    rows, labels = torch.randn(8, 3), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    ours, _ = cases[name](labels.tolist(), np.eye(4)[labels])
    assert ours(rows, rows.clone(), bandwidth=None).item() == pytest.approx(0, abs=1e-6)
    assert ours(rows, 3 * rows + 2, bandwidth=None).item() > 0.1
    assert ours(rows + 1000, rows + 1000, bandwidth=None).item() == pytest.approx(0, abs=1e-6)


def test_labels_of_one_class_make_lmmd_mmd():
    torch.manual_seed(0)
    source, target = torch.randn(5, 3), torch.randn(4, 3)
    local = lmmd(source, torch.zeros(5, dtype=torch.long), target, torch.tensor([[1.0, 0.0]] * 4))
    torch.testing.assert_close(local, mmd(source, target))


def test_the_confusion_of_classes_is_seen_by_lmmd_alone():
    """Two domains with equal distributions, in which the classes have changed places."""
    rows = torch.tensor([[0.0], [0.1], [5.0], [5.1]])
    labels = torch.tensor([0, 0, 1, 1])
    assert mmd(rows, rows).item() == pytest.approx(0, abs=1e-6)
    assert lmmd(rows, labels, rows, torch.eye(2)[1 - labels]).item() > 0.5


def test_collapsed_embeddings_and_single_utterances_teach_nothing_and_break_nothing():
    one, same = torch.ones(1, 3, requires_grad=True), torch.ones(4, 3)
    for distance in (mmd(one, same), coral(one, same), lmmd(one, torch.tensor([1]), same, torch.eye(2)[[1] * 4])):
        assert distance.item() == 0
        (gradient,) = torch.autograd.grad(distance, one)
        assert (gradient == 0).all()


def test_the_gradient_is_reversed_and_scaled_and_the_value_is_not():
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    (plain,) = torch.autograd.grad((x**3).sum(), x)
    reversed_x = reverse_gradient(x, 0.3)
    assert torch.equal(reversed_x, x)
    (backwards,) = torch.autograd.grad((reversed_x**3).sum(), x)
    torch.testing.assert_close(backwards, -0.3 * plain)
