"""Corpora -> one `datasets.Dataset` with the unified columns, labelled by one scheme."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..corpora import CorpusError, check_complete, find_root, get_corpus, read_utterances
from ..emotions import get_scheme
from ..sources.reading import Translation
from .columns import TRUNCATED, note_provenance
from .rows import UtteranceFile

if TYPE_CHECKING:
    from datasets import Dataset

Root = str | os.PathLike
OWN = "folder"  # the corpus of own recordings


def load_corpus(
    name: Root,
    root: Root | None = None,
    scheme: str | None = None,
    *,
    label_source: str | None = None,
    allow_partial: bool = False,
    allow_truncated: bool = False,
    columns: Mapping[str, str | None] | None = None,
    labels: Mapping[str, str] | None = None,
    encoding: str | None = None,
) -> Dataset:
    """Return one corpus as a `Dataset`, labelled by a scheme (default: the one that keeps every utterance).

    `name` may also be a table of recordings: a dataset of the Hub (`amu-cai/CAMEO`), a Parquet file, or a folder of
    Parquet files. `columns` and `labels` then translate its names, as in `hub_tables.load_table`. They do the same for
    own recordings: `load_corpus("folder", "mine", "five", columns={"path": "Datei"}, labels={"Freude": "happiness"})`.

    >>> dataset = load_corpus("synthetic")
    >>> dataset.features["label"].names
    ['anger', 'fear', 'happiness', 'neutral', 'sadness']
    """
    from .hub_tables import is_table, load_table

    if is_table(name):
        options = {"root": root, "label_source": label_source, "allow_partial": allow_partial or None}
        if given := [option for option, value in options.items() if value is not None]:
            raise CorpusError(f"{name} is a table, which takes only columns and labels: leave {given[0]} out")
        if scheme is None:
            raise CorpusError(f"{name} is a table and has no default label scheme: name one")
        return load_table(name, scheme, columns=columns, labels=labels, allow_truncated=allow_truncated)
    translation = Translation(dict(columns or {}), dict(labels or {}), encoding)
    return build_dataset(
        [name],
        roots={} if root is None else {name: root},
        scheme=scheme,
        label_sources={} if label_source is None else {name: label_source},
        allow_partial=allow_partial,
        allow_truncated=allow_truncated,
        translation=translation,
    )


def build_dataset(
    corpora: Sequence[str],
    roots: Mapping[str, Root] | None = None,
    scheme: str | None = None,
    *,
    label_sources: Mapping[str, str] | None = None,
    allow_partial: bool = False,
    allow_truncated: bool = False,
    translation: Translation | None = None,
) -> Dataset:
    """Return corpora as one `Dataset` with the unified columns; `label` is a `ClassLabel` of the scheme.

    Args:
        corpora: names of `list_corpora()`.
        roots: folder of each corpus; a corpus without one is searched under `$SER_HF_CORPORA`.
        scheme: label scheme; the default of a single corpus keeps all of it, several corpora need one named.
        label_sources: the kind of labels of each corpus that has several, such as {"crema_d": "voice"}.
        allow_partial: accept a corpus that is not complete.
        allow_truncated: use what is there of recordings whose end is missing.
        translation: names of columns, words of labels and encoding of the table of own recordings, the corpus `folder`.

    Returns:
        One row per utterance that the scheme keeps; `columns.provenance(dataset)` counts those it drops. Speakers are
        prefixed with their corpus, `audio` is undecoded (`Audio(decode=False)`), `duration` is in seconds, unknown
        facts are None. The rows are memory-mapped from a file in the cache of `datasets`, so that millions of them fit;
        `dataset.to_iterable_dataset()` streams them.

    Raises:
        CorpusError: if a corpus is unknown, missing, damaged or incomplete, or if the scheme keeps nothing of it.
        AudioError: if a file is no recording, or if its end is missing.
    """
    if not corpora:
        raise CorpusError("name at least one corpus; `ser-hf corpora` lists them")
    if len(set(corpora)) < len(corpora):
        raise CorpusError(f"a corpus is named twice in {list(corpora)}: name it once")
    roots, label_sources = dict(roots or {}), dict(label_sources or {})
    for kind, given in (("roots", roots), ("label sources", label_sources)):
        if strangers := set(given) - set(corpora):
            raise CorpusError(f"{kind} are given for {sorted(strangers)}, but the corpora are only {list(corpora)}")
    if translation and OWN not in corpora:
        raise CorpusError(
            f"columns, labels and encoding are for the table of own recordings (the corpus {OWN}), not for "
            f"{', '.join(corpora)}: leave them out"
        )
    if scheme is None:
        if len(corpora) > 1:
            raise CorpusError(f"name a label scheme: {', '.join(corpora)} have different emotions")
        scheme = get_corpus(corpora[0]).scheme
    labels = get_scheme(scheme)

    dropped, partial = {}, {}
    with UtteranceFile(labels, allow_truncated=allow_truncated) as file:
        for name in corpora:
            spec = get_corpus(name)
            root = find_root(spec, roots.get(name))
            own = translation if name == OWN else None
            counts, lost = file.add(spec, root, read_utterances(spec, root, label_sources.get(name), own))
            if shortfall := check_complete(spec, root, counts, allow_partial=allow_partial):
                partial[name] = shortfall
            if counts.total() == lost.total():
                raise CorpusError(f"scheme {scheme!r} ({', '.join(labels.classes)}) keeps no utterance of {name}")
            dropped[name] = dict(sorted(lost.items()))
        dataset = file.finish()
    facts = {TRUNCATED: True} if allow_truncated else {}
    return note_provenance(
        dataset, scheme=scheme, label_sources=label_sources, dropped=dropped, partial=partial, **facts
    )
