"""Emotional speech corpora, one file each, found by module name."""

from .base import (
    CorpusError,
    CorpusSpec,
    Utterance,
    find_root,
    get_corpus,
    list_corpora,
    missing,
    read_corpus,
    read_utterances,
)

__all__ = [
    "CorpusError",
    "CorpusSpec",
    "Utterance",
    "find_root",
    "get_corpus",
    "list_corpora",
    "missing",
    "read_corpus",
    "read_utterances",
]
