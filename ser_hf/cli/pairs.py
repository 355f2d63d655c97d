"""Words of a command line that stand for pairs, such as `path=Datei,speaker=Person`."""

from __future__ import annotations

from collections.abc import Sequence


def pairs(option: str, arguments: Sequence[str], example: str) -> dict[str, str]:
    """Return the pairs of an option; an argument may hold several, separated by commas.

    Raises:
        ValueError: for a word without "=", and for a name that is given two values.

    >>> pairs("columns", ["path=Datei,emotion=Gefühl"], "path=Datei")
    {'path': 'Datei', 'emotion': 'Gefühl'}
    """
    words = [word for argument in arguments for word in argument.split(",")]
    if malformed := [word for word in words if "=" not in word]:
        raise ValueError(f"--{option}: {malformed[0]!r} is not of the form {example}")
    found: dict[str, str] = {}
    for name, value in (word.split("=", 1) for word in words):
        if found.setdefault(name, value) != value:
            raise ValueError(f"--{option}: {name} is given as {found[name]!r} and as {value!r}; keep one")
    return found
