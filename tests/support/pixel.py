"""A picture of one grey pixel, for whatever is drawn: drawing takes longer than a small training."""

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.image import imsave

_FILE = BytesIO()
imsave(_FILE, np.zeros((1, 1)), cmap="gray")


def save_pixel(figure, file, **_):
    """Stands for `Figure.savefig`."""
    if hasattr(file, "write"):
        file.write(_FILE.getvalue())
    else:
        Path(file).write_bytes(_FILE.getvalue())
