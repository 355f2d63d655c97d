"""Corpora -> one `datasets.Dataset` with the unified columns, labelled by one scheme."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..corpora import OWN, CorpusError, CorpusSpec, check_complete, find_root, name_and_place, named_corpus
from ..emotions import OWN_SCHEME, LabelScheme, get_scheme
from ..files import one_line
from ..sources.own_recordings import TIE
from ..sources.reading import Reading, Translation, tell
from ..sources.sheets import SUFFIXES
from ..sources.spec import reading_of, utterances_of
from .columns import SKIPPED, TRUNCATED, note_provenance
from .rows import UNUSABLE, UtteranceFile, tell_unusable

if TYPE_CHECKING:
    from datasets import Dataset

Root = str | os.PathLike


def load_corpus(
    corpus: Root,
    root: Root | None = None,
    scheme: str | None = None,
    *,
    name: str | None = None,
    label_source: str | None = None,
    allow_partial: bool = False,
    allow_truncated: bool = False,
    skip_unusable: bool = False,
    columns: Mapping[str, str | None] | None = None,
    labels: Mapping[str, str] | None = None,
    encoding: str | None = None,
    votes: bool = False,
    own_classes: Sequence[str] = (),
) -> Dataset:
    """Return one corpus as a `Dataset`, labelled by a scheme (default: the one that keeps every utterance).

        load_corpus("ravdess", "corpora/ravdess")
        load_corpus("recordings/labels.csv", scheme="own", name="callcenter")  # your own recordings and classes
        load_corpus("amu-cai/CAMEO", scheme="five")  # a dataset of the Hub

    Args:
        corpus: name of a corpus; or the place of your own recordings: a table (CSV, Excel, JSON Lines), or a folder
            with one, or with a sub-folder per emotion; or a table with the recordings in it: a dataset of the Hub, a
            Parquet file, or a folder of Parquet files, as in `hub_tables.load_table`.
        root: folder of a corpus that is called by its name. Default: below `$SER_HF_CORPORA`.
        name: name of your own recordings in protocols and reports. Default: "folder".
        columns, labels, encoding, votes: of tables and own recordings, as in `sources.reading.Translation`, such as
            `columns={"path": "Datei"}, labels={"Freude": "happiness"}`.
        label_source, allow_partial, allow_truncated, skip_unusable, own_classes: as in `build_dataset`.

    >>> dataset = load_corpus("synthetic")
    >>> dataset.features["label"].names
    ['anger', 'fear', 'happiness', 'neutral', 'sadness']
    """
    from .hub_tables import is_table, load_table

    says_name = name is not None or name_and_place(corpus)[0] != OWN
    if is_table(corpus) and not says_name and not _is_own(Path(corpus).expanduser()):
        options = {
            "root": root, "label_source": label_source, "allow_partial": allow_partial or None, "encoding": encoding,
            "votes": votes or None, "skip_unusable": skip_unusable or None,
        }  # fmt: skip
        if given := [option for option, value in options.items() if value is not None]:
            raise CorpusError(f"{corpus} is a table, which takes only columns and labels: leave {given[0]} out")
        if scheme is None:
            raise CorpusError(f"{corpus} is a table and has no default label scheme: name one")
        return load_table(corpus, scheme, columns=columns, labels=labels, allow_truncated=allow_truncated)
    word = os.fspath(corpus) if name is None else f"{name}={os.fspath(corpus)}"
    spec, _ = named_corpus(word)
    return build_dataset(
        [word],
        roots={} if root is None else {spec.name: root},
        scheme=scheme,
        label_sources={} if label_source is None else {spec.name: label_source},
        allow_partial=allow_partial,
        allow_truncated=allow_truncated,
        skip_unusable=skip_unusable,
        translation=Translation(dict(columns or {}), dict(labels or {}), encoding, votes),
        own_classes=own_classes,
    )


def _is_own(place: Path) -> bool:
    """True for a table of own recordings, or a folder of them; Parquet files may hold the recordings themselves."""
    if place.is_file():
        return place.suffix.lower() in SUFFIXES and place.suffix.lower() != ".parquet"
    card = place / "README.md"
    is_repository = card.is_file() and card.read_bytes()[:3] == b"---"
    return place.is_dir() and not is_repository and next(place.rglob("*.parquet"), None) is None


def build_dataset(
    corpora: Sequence[str],
    roots: Mapping[str, Root] | None = None,
    scheme: str | None = None,
    *,
    label_sources: Mapping[str, str] | None = None,
    allow_partial: bool = False,
    allow_truncated: bool = False,
    skip_unusable: bool = False,
    translation: Translation | None = None,
    own_classes: Sequence[str] = (),
) -> Dataset:
    """Return corpora as one `Dataset` with the unified columns; `label` is a `ClassLabel` of the scheme.

    Args:
        corpora: names of `list_corpora()`; own recordings as `name=place`, such as "callcenter=recordings/labels.csv".
        roots: folder of each corpus; a corpus without one is searched under `$SER_HF_CORPORA`.
        scheme: label scheme; the default of a single corpus keeps all of it, several corpora need one named. "own":
            the words of own recordings are the classes.
        label_sources: the kind of labels of each corpus that has several, such as {"crema_d": "voice"}.
        allow_partial: accept a corpus that is not complete.
        allow_truncated: use what is there of recordings whose end is missing.
        skip_unusable: leave out and count what would be refused: recordings that cannot be read, rows of a table that
            are not understood. `precompute.hash_audio` leaves out those that prove damaged or silent when decoded.
        translation: names of columns, words of labels and encoding of own recordings.
        own_classes: further classes of the scheme "own", such as those of a model, which a table may lack.

    Returns:
        One row per utterance that the scheme keeps; `columns.provenance(dataset)` counts those it drops. Speakers are
        prefixed with their corpus, `audio` is undecoded (`Audio(decode=False)`), `duration` is in seconds, unknown
        facts are None. The rows are memory-mapped from a file in the cache of `datasets`, so that millions of them fit;
        `dataset.to_iterable_dataset()` streams them.

    Raises:
        CorpusError: if a corpus is unknown, missing, damaged or incomplete, or if the scheme keeps nothing of it.
        AudioError: if a file is no recording, or if its end is missing.
    """
    roots, label_sources = dict(roots or {}), dict(label_sources or {})
    named = _named(corpora, roots, label_sources, translation)
    scheme = _chosen_scheme([spec for spec, _ in named], scheme)
    places = [(spec, find_root(spec, roots.get(spec.name, place))) for spec, place in named]

    def start_reading(spec: CorpusSpec, root: Path, *, quiet: bool = False) -> Reading:
        own = replace(translation or Translation(), own_classes=scheme == OWN_SCHEME) if spec.is_own else None
        return reading_of(spec, root, label_sources.get(spec.name), own, to_the_end=skip_unusable, quiet=quiet)

    if scheme == OWN_SCHEME:
        readings = ((spec, start_reading(spec, root, quiet=True)) for spec, root in places)
        labels = _own_scheme(readings, own_classes)
    else:
        labels = get_scheme(scheme)

    dropped, partial = {}, {}
    with UtteranceFile(labels, allow_truncated=allow_truncated, skip_unusable=skip_unusable) as file:
        for spec, root in places:
            reading = start_reading(spec, root)
            counts, lost = file.add(spec, root, utterances_of(spec, reading))
            if reading.refusals and not counts:
                raise CorpusError(f"all of {spec.name} is unusable; the first: {reading.refusals[0][1]}")
            if shortfall := check_complete(spec, root, counts, allow_partial=allow_partial):
                partial[spec.name] = shortfall
            if counts.total() == lost.total():
                raise CorpusError(
                    f"scheme {scheme!r} ({', '.join(labels.classes)}) keeps no utterance of {spec.name}: use another"
                )
            _tell_dropped(spec.name, scheme, counts.total(), lost)
            unusable = [error for _, error in reading.refusals]
            dropped[spec.name] = dict(sorted(lost.items()))
            _count_unusable(dropped, spec.name, unusable)
        dataset, refused = file.finish()
    for name, errors in refused.items():
        _count_unusable(dropped, name, errors)
    if len(dataset) == 0:
        raise CorpusError(f"no recording of {', '.join(dropped)} is usable: see `ser-hf doctor`")
    facts = ({TRUNCATED: True} if allow_truncated else {}) | ({SKIPPED: True} if skip_unusable else {})
    return note_provenance(
        dataset, scheme=scheme, label_sources=label_sources, dropped=dropped, partial=partial, **facts
    )


def _named(
    corpora: Sequence[str],
    roots: Mapping[str, Root],
    label_sources: Mapping[str, str],
    translation: Translation | None,
) -> list[tuple[CorpusSpec, str | None]]:
    """Return each corpus with the place that is said with its name, after a check that everything fits them."""
    if not corpora:
        raise CorpusError("name at least one corpus; `ser-hf corpora` lists them")
    named = [named_corpus(word) for word in corpora]
    names = [spec.name for spec, _ in named]
    if len(set(names)) < len(names):
        raise CorpusError(f"a corpus is named twice in {list(corpora)}: name it once")
    for kind, given in (("roots", roots), ("label sources", label_sources)):
        if strangers := set(given) - set(names):
            raise CorpusError(
                f"{kind} are given for {', '.join(sorted(strangers))}, but the corpora are only {', '.join(names)}: "
                "leave them out, or name their corpora"
            )
    if translation and not any(spec.is_own for spec, _ in named):
        raise CorpusError(
            f"columns, labels, encoding and votes are for own recordings, not for {', '.join(names)}: leave them out"
        )
    return named


def _chosen_scheme(specs: Sequence[CorpusSpec], scheme: str | None) -> str:
    if scheme is None and len(specs) > 1:
        raise CorpusError(f"name a label scheme: {', '.join(spec.name for spec in specs)} have different emotions")
    if scheme == OWN_SCHEME and (others := [spec for spec in specs if not spec.is_own]):
        raise CorpusError(
            f"the label scheme own takes the words of your own recordings, but {others[0].name} is a corpus of the "
            f"package: use another scheme, such as {others[0].scheme}"
        )
    return specs[0].scheme if scheme is None else scheme


def _own_scheme(readings: Iterable[tuple[CorpusSpec, Reading]], more: Sequence[str]) -> LabelScheme:
    """Return the words of own recordings, and more, as a label scheme."""
    words = {utterance.emotion for spec, reading in readings for utterance in utterances_of(spec, reading)}
    words = (words | set(more)) - {TIE}
    if len(words) < 2:
        told = ", ".join(words) or "missing"
        raise CorpusError(f"a classifier needs two classes, but all labels are {told}: add utterances of another one")
    return LabelScheme(OWN_SCHEME, tuple(sorted(words)))


def _tell_dropped(corpus: str, scheme: str, total: int, lost: Counter) -> None:
    if lost:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(lost.items()))
        tell(f"{corpus}: scheme {scheme} keeps {total - lost.total()} of {total} utterances; dropped: {reasons}")


def _count_unusable(dropped: dict[str, dict[str, int]], corpus: str, refused: Sequence[Exception]) -> None:
    """Enter recordings that are left out among those that are dropped, and name some of them."""
    if refused:
        dropped[corpus][UNUSABLE] = dropped[corpus].get(UNUSABLE, 0) + len(refused)
        tell_unusable(corpus, list(map(one_line, refused)))
