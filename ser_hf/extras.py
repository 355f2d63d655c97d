"""The packages of the extra `train`: `pip install ser_hf` leaves them out, and what needs one says how to get them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

# As they are imported; `train` in pyproject.toml names what is installed.
MODULES = (
    "accelerate", "datasets", "evaluate", "librosa", "matplotlib", "openpyxl", "pandas", "peft", "psutil", "pyarrow",
    "sklearn",
)  # fmt: skip


class MissingPackageError(ImportError):
    """The error for a package of the extra that is not installed; the message says how to install it."""

    exit_code = 2  # of a command: nothing is wrong with its data

    def __init__(self, what: str, module: str):
        super().__init__(f'{what} needs more packages ({module} is missing): pip install "ser_hf[train]"', name=module)


@contextmanager
def naming_extra(what: str) -> Iterator[None]:
    """Replace the error for an import of a package that the extra would install.

    Args:
        what: what needs the package, as the subject of the message.

    Raises:
        MissingPackageError: if a package of the extra is missing; other errors stay as they are.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or (module := error.name.partition(".")[0]) not in MODULES:
            raise
        raise MissingPackageError(what, module) from error


def require_extra(what: str) -> None:
    """Raise a `MissingPackageError` if a package of the extra is missing. Imports none of them, which takes seconds."""
    for module in MODULES:
        if find_spec(module) is None:
            raise MissingPackageError(what, module)
