"""Runs without pictures: drawing them takes longer than the small trainings. `tests/report` draws them all."""

from io import BytesIO

import matplotlib.image
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch, request):
    """Figures are made, and saved as one grey pixel; tests about pictures are marked `draws`."""
    if request.node.get_closest_marker("draws"):
        return
    file = BytesIO()
    matplotlib.image.imsave(file, np.zeros((1, 1)), cmap="gray")

    def save(figure, path, **_):
        path.write(file.getvalue()) if hasattr(path, "write") else open(path, "wb").write(file.getvalue())

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", save)
