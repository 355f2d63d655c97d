"""Emotional speech corpora, one file each, found by module name."""

import os
import pkgutil
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from ..emotions import unknown_name
from ..sources.completeness import check_complete, missing, read_corpus
from ..sources.roots import find_root
from ..sources.sheets import SUFFIXES
from ..sources.spec import CorpusSpec, read_utterances
from ..sources.utterance import CorpusError, Utterance

__all__ = [
    "OWN",
    "CorpusError",
    "CorpusSpec",
    "Utterance",
    "check_complete",
    "find_root",
    "get_corpus",
    "is_published",
    "known_corpus",
    "list_corpora",
    "missing",
    "name_and_place",
    "named_corpus",
    "read_corpus",
    "read_utterances",
]

OWN = "folder"  # the corpus of own recordings


def list_corpora() -> list[str]:
    """Return the names of all corpora: the modules of this folder, each of which has a `SPEC`."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get_corpus(name: str) -> CorpusSpec:
    """Return the spec of a corpus.

    Raises:
        CorpusError: if there is no corpus of that name, or if its file is broken or has no `SPEC` of that name.

    >>> get_corpus("ravdess").utterances
    1440
    """
    if name not in list_corpora():
        raise CorpusError(
            f"{unknown_name('corpus', name, list_corpora())}; for recordings of your own write {name}=FOLDER or TABLE"
        )
    try:
        spec = vars(import_module(f"{__name__}.{name}")).get("SPEC")
    except Exception as error:  # whatever is wrong in the file
        raise CorpusError(
            f"ser_hf/corpora/{name}.py cannot be imported; correct it: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(spec, CorpusSpec) or spec.name != name:
        raise CorpusError(f"ser_hf/corpora/{name}.py must define SPEC, a CorpusSpec with the name {name!r}")
    return spec


def known_corpus(name: str) -> CorpusSpec | None:
    """Return the spec of a corpus; None for a corpus of a table, or of own recordings with a name of their own."""
    return get_corpus(name) if name in list_corpora() else None


def is_published(name: str) -> bool:
    """True for a corpus of the package; False for own recordings, whatever their name, and for corpora of tables.

    >>> is_published("ravdess"), is_published("folder"), is_published("callcenter")
    (True, False, False)
    """
    spec = known_corpus(name)
    return spec is not None and not spec.is_own


def name_and_place(word: str | os.PathLike) -> tuple[str, str | None]:
    """Return the name of a corpus, and its place, if that is said too.

    A word is the name of a corpus, the place of own recordings, or both.

    >>> [name_and_place(word) for word in ("ravdess", "callcenter=labels.csv", "sounds/labels.csv")]
    [('ravdess', None), ('callcenter', 'labels.csv'), ('folder', 'sounds/labels.csv')]
    """
    word = os.fspath(word)
    name, is_pair, place = word.partition("=")
    if is_pair and "/" not in name and os.sep not in name:
        return name, place
    if "/" in word or os.sep in word or Path(word).suffix.lower() in SUFFIXES:
        return OWN, word
    return word, None


def named_corpus(word: str | os.PathLike) -> tuple[CorpusSpec, str | None]:
    """Return the corpus that a word names, as `name_and_place` reads it, and its place.

    A place with an unknown name makes own recordings of this name; a corpus of the package may be given its place, too.

    Raises:
        CorpusError: if there is no such corpus, or if a name has other characters than letters, digits, `_` and `.`.
    """
    name, place = name_and_place(word)
    if place is None or name in list_corpora():
        return get_corpus(name), place
    if not re.fullmatch(r"[\w.]+", name):  # a hyphen separates it from names of speakers
        raise CorpusError(f"{name!r} cannot be the name of a corpus: use letters, digits, _ and .")
    return replace(get_corpus(OWN), name=name, title=f"{name}: your own recordings"), place
