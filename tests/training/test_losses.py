import numpy as np
import pytest
import torch
from differences import slopes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from ser_hf.training.losses import ccc_loss, classification_loss, distillation_loss, multi_label_loss


def softmax(row):
    return np.exp(row - row.max()) / np.exp(row - row.max()).sum()


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def of_classes(logits, shares, weights, smoothing, gamma):
    """The definition of `classification_loss`, utterance by utterance and class by class, in float64."""
    losses = np.zeros(len(logits))
    for row, (scores, wanted) in enumerate(zip(logits, shares, strict=True)):
        for number, probability in enumerate(softmax(scores)):
            target = (1 - smoothing) * wanted[number] + smoothing / len(scores)
            losses[row] -= weights[number] * target * (1 - probability) ** gamma * np.log(probability)
    return losses


def of_many(logits, present, weights, smoothing, gamma):
    """The definition of `multi_label_loss`."""
    losses, present = np.zeros(len(logits)), present * (1 - smoothing) + smoothing / 2
    for row, column in np.ndindex(logits.shape):
        yes = sigmoid(logits[row, column])
        loss = -(present[row, column] * (1 - yes) ** gamma * np.log(yes))
        loss -= (1 - present[row, column]) * yes**gamma * np.log(1 - yes)
        losses[row] += weights[column] * loss / logits.shape[1]
    return losses


def of_dimensions(predictions, references):
    """The definition of `ccc_loss`: Lin's formula for each column, over its known rows."""
    losses = []
    for x, y in zip(predictions.T, references.T, strict=True):
        x, y = x[~np.isnan(y)], y[~np.isnan(y)]
        covariance = ((x - x.mean()) * (y - y.mean())).mean()
        losses.append(1 - 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))
    return np.mean(losses)


def of_teacher(student, teacher, temperature):
    """The definition of `distillation_loss`."""
    losses = np.zeros(len(student))
    for row, (ours, theirs) in enumerate(zip(student / temperature, teacher / temperature, strict=True)):
        for q, p in zip(softmax(ours), softmax(theirs), strict=True):
            losses[row] += temperature**2 * p * np.log(p / q)
    return losses


cases = st.tuples(
    st.integers(0, 2**31), st.integers(1, 6), st.integers(2, 8), st.sampled_from([0.0, 0.1, 0.5]),
    st.sampled_from([0.0, 0.5, 2.0, 5.0]), st.booleans(), st.booleans(),
)  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(cases)
def test_values_and_gradients_are_those_of_the_definition(case):
    """Of classes and of votes, weighted, smoothed and focal."""
    seed, batch, classes, smoothing, gamma, weighted, votes = case
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (batch, classes))
    labels = random.dirichlet(np.ones(classes), batch) if votes else random.integers(0, classes, batch)
    shares = labels if votes else np.eye(classes)[labels]
    weights = random.uniform(0.2, 3, classes) if weighted else np.ones(classes)

    given_logits = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    losses = classification_loss(
        given_logits, torch.as_tensor(labels), weights=torch.tensor(weights) if weighted else None,
        label_smoothing=smoothing, focal_gamma=gamma,
    )  # fmt: skip
    np.testing.assert_allclose(
        losses.detach(), of_classes(logits, shares, weights, smoothing, gamma), rtol=1e-4, atol=1e-6
    )
    losses.sum().backward()
    numeric = slopes(lambda moved: of_classes(moved, shares, weights, smoothing, gamma).sum(), logits)
    np.testing.assert_allclose(given_logits.grad, numeric, rtol=1e-3, atol=1e-5)


@settings(deadline=None, max_examples=100)
@given(cases)
def test_several_emotions_at_once_cost_what_the_definition_says(case):
    seed, batch, classes, smoothing, gamma, weighted, _ = case
    random = np.random.default_rng(seed)
    logits, present = random.normal(0, 2, (batch, classes)), random.integers(0, 2, (batch, classes)).astype(float)
    weights = random.uniform(0.2, 3, classes) if weighted else np.ones(classes)
    given_logits = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    losses = multi_label_loss(
        given_logits, torch.tensor(present), weights=torch.tensor(weights) if weighted else None,
        label_smoothing=smoothing, focal_gamma=gamma,
    )  # fmt: skip
    np.testing.assert_allclose(
        losses.detach(), of_many(logits, present, weights, smoothing, gamma), rtol=1e-4, atol=1e-6
    )
    losses.sum().backward()
    numeric = slopes(lambda moved: of_many(moved, present, weights, smoothing, gamma).sum(), logits)
    np.testing.assert_allclose(given_logits.grad, numeric, rtol=1e-3, atol=1e-5)


def test_without_focus_several_emotions_cost_pytorchs_binary_cross_entropy():
    logits, present = torch.randn(20, 5), torch.randint(0, 2, (20, 5)).float()
    theirs = binary_cross_entropy_with_logits(logits, present, reduction="none").mean(dim=-1)
    torch.testing.assert_close(multi_label_loss(logits, present), theirs)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**31), st.integers(3, 12), st.integers(1, 3), st.booleans())
def test_concordance_is_lins_with_unknown_references_left_out(seed, batch, columns, some_unknown):
    random = np.random.default_rng(seed)
    predictions, references = random.uniform(0, 1, (2, batch, columns))
    if some_unknown:
        references[2:][random.uniform(size=(batch - 2, columns)) < 0.5] = np.nan
    guesses = torch.tensor(predictions, dtype=torch.float32, requires_grad=True)
    loss = ccc_loss(guesses, torch.tensor(references, dtype=torch.float32))
    assert loss.item() == pytest.approx(of_dimensions(predictions, references), abs=1e-5)
    loss.backward()
    numeric = slopes(lambda moved: of_dimensions(moved, references), predictions)
    np.testing.assert_allclose(guesses.grad, numeric, rtol=1e-2, atol=1e-4)


def test_concordance_of_nothing_known_is_no_loss_and_no_nan():
    guesses = torch.rand(4, 3, requires_grad=True)
    references = torch.full((4, 3), torch.nan)
    references[0, 0] = 0.5  # a single value has no spread
    loss = ccc_loss(guesses, references)
    loss.backward()
    assert loss.item() == 0
    assert not guesses.grad.any()


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(2, 8), st.sampled_from([0.5, 1.0, 2.0, 8.0]))
def test_a_teacher_costs_the_divergence_of_softened_probabilities(seed, batch, classes, temperature):
    student, teacher = np.random.default_rng(seed).normal(0, 2, (2, batch, classes))
    ours, theirs = (torch.tensor(logits, dtype=torch.float32, requires_grad=True) for logits in (student, teacher))
    losses = distillation_loss(ours, theirs, temperature=temperature)
    expected = of_teacher(student, teacher, temperature)
    np.testing.assert_allclose(losses.detach(), expected, rtol=1e-3, atol=1e-5 * temperature**2)
    losses.sum().backward()
    numeric = slopes(lambda moved: of_teacher(moved, teacher, temperature).sum(), student)
    np.testing.assert_allclose(ours.grad, numeric, rtol=1e-3, atol=1e-4)
    assert theirs.grad is None
    probabilities = torch.as_tensor(teacher).log_softmax(dim=-1)  # as good as logits
    alike = distillation_loss(ours, probabilities, temperature=temperature)
    torch.testing.assert_close(alike, losses, rtol=1e-3, atol=1e-5 * temperature**2)


def test_at_high_temperature_a_teacher_costs_the_squared_distance_of_centred_logits():
    """Hinton et al. (2015), equation 4: matching logits is a special case of distillation."""
    student, teacher = torch.randn(2, 20, 6, generator=torch.Generator().manual_seed(0))
    difference = student - teacher
    expected = (difference - difference.mean(dim=1, keepdim=True)).square().sum(dim=1) / (2 * 6)
    torch.testing.assert_close(distillation_loss(student, teacher, temperature=100.0), expected, rtol=0.05, atol=2e-3)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_without_focus_it_is_pytorchs_cross_entropy(smoothing):
    logits, labels = torch.randn(20, 5), torch.randint(0, 5, (20,))
    weights = torch.rand(5)
    ours = classification_loss(logits, labels, weights=weights, label_smoothing=smoothing)
    theirs = cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("loss", [classification_loss, multi_label_loss])
def test_certainty_gives_a_finite_gradient(loss, gamma):
    for scale in (20.0, 80.0, 120.0):
        logits = torch.tensor([[scale, -scale], [-scale, scale]], requires_grad=True)
        loss(logits, torch.tensor([0, 0]), focal_gamma=gamma, label_smoothing=0.1).sum().backward()
        assert logits.grad.isfinite().all()
