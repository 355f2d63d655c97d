import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from ser_hf.training.losses import classification_loss


def reference(logits, labels, weights, smoothing, gamma):
    """The definition, utterance by utterance and class by class, in float64."""
    losses = []
    for row, label in zip(np.asarray(logits, dtype=np.float64), labels, strict=True):
        probabilities = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        loss = 0.0
        for number, probability in enumerate(probabilities):
            target = (1 - smoothing) * (number == label) + smoothing / len(row)
            loss -= weights[number] * target * (1 - probability) ** gamma * np.log(probability)
        losses.append(loss)
    return np.asarray(losses)


cases = st.tuples(
    st.integers(0, 2**31), st.integers(1, 6), st.integers(2, 8), st.sampled_from([0.0, 0.1, 0.5]),
    st.sampled_from([0.0, 0.5, 2.0, 5.0]), st.booleans(),
)  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(cases)
def test_values_and_gradients_are_those_of_the_definition(case):
    seed, batch, classes, smoothing, gamma, weighted = case
    random = np.random.default_rng(seed)
    logits, labels = random.normal(0, 2, (batch, classes)), random.integers(0, classes, batch)
    weights = random.uniform(0.2, 3, classes) if weighted else np.ones(classes)

    given_logits = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    losses = classification_loss(
        given_logits, torch.as_tensor(labels), weights=torch.tensor(weights) if weighted else None,
        label_smoothing=smoothing, focal_gamma=gamma,
    )  # fmt: skip
    np.testing.assert_allclose(losses.detach(), reference(logits, labels, weights, smoothing, gamma), rtol=1e-4)

    losses.sum().backward()
    step, numeric = 1e-6, np.empty_like(logits)
    for row, column in np.ndindex(logits.shape):
        moved = [logits.copy(), logits.copy()]
        moved[0][row, column] += step
        moved[1][row, column] -= step
        up, down = (reference(one, labels, weights, smoothing, gamma).sum() for one in moved)
        numeric[row, column] = (up - down) / (2 * step)
    np.testing.assert_allclose(given_logits.grad, numeric, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_without_focus_it_is_pytorchs_cross_entropy(smoothing):
    logits, labels = torch.randn(20, 5), torch.randint(0, 5, (20,))
    weights = torch.rand(5)
    ours = classification_loss(logits, labels, weights=weights, label_smoothing=smoothing)
    theirs = cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(ours, theirs)


def test_certainty_gives_a_finite_gradient():
    logits = torch.tensor([[80.0, -80.0], [-80.0, 80.0]], requires_grad=True)
    classification_loss(logits, torch.tensor([0, 0]), focal_gamma=2.0).sum().backward()
    assert logits.grad.isfinite().all()
