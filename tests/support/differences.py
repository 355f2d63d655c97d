"""What gradients must agree with."""

import numpy as np


def slopes(function, at, step=1e-6):
    """Central differences in float64."""
    numeric = np.empty_like(at)
    for index in np.ndindex(at.shape):
        moved = [at.copy(), at.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        numeric[index] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return numeric
