"""Emotional speech corpora, one file each, found by module name."""

import pkgutil
from importlib import import_module

from ..emotions import unknown_name
from ..sources.completeness import check_complete, missing, read_corpus
from ..sources.roots import find_root
from ..sources.spec import CorpusSpec, read_utterances
from ..sources.utterance import CorpusError, Utterance

__all__ = [
    "CorpusError",
    "CorpusSpec",
    "Utterance",
    "check_complete",
    "find_root",
    "get_corpus",
    "list_corpora",
    "missing",
    "read_corpus",
    "read_utterances",
]


def list_corpora() -> list[str]:
    """Return the names of all corpora: the modules of this folder, each of which has a `SPEC`."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get_corpus(name: str) -> CorpusSpec:
    """Return the spec of a corpus.

    Raises:
        CorpusError: if there is no corpus of that name, or if its file has no `SPEC` of that name.

    >>> get_corpus("ravdess").utterances
    1440
    """
    if name not in list_corpora():
        raise CorpusError(unknown_name("corpus", name, list_corpora()))
    spec = vars(import_module(f"{__name__}.{name}")).get("SPEC")
    if not isinstance(spec, CorpusSpec) or spec.name != name:
        raise CorpusError(f"ser_hf/corpora/{name}.py must define SPEC, a CorpusSpec with the name {name!r}")
    return spec
