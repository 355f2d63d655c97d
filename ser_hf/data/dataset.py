"""Corpora -> one `datasets.Dataset` with the unified columns, labelled by one scheme."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from ..audio import audio_info
from ..corpora import CorpusError, Utterance, find_root, get_corpus, missing, read_corpus
from ..emotions import LabelScheme, get_scheme

if TYPE_CHECKING:
    from datasets import Dataset

Root = str | os.PathLike


def load_corpus(
    name: str,
    root: Root | None = None,
    scheme: str | None = None,
    *,
    label_source: str | None = None,
    allow_partial: bool = False,
) -> Dataset:
    """One corpus as a `Dataset`, labelled by a scheme (default: the one that keeps every utterance).

    >>> dataset = load_corpus("synthetic")
    >>> dataset.features["label"].names
    ['anger', 'fear', 'happiness', 'neutral', 'sadness']
    """
    return build_dataset(
        [name],
        roots={} if root is None else {name: root},
        scheme=scheme,
        label_sources={} if label_source is None else {name: label_source},
        allow_partial=allow_partial,
    )


def build_dataset(
    corpora: Sequence[str],
    roots: Mapping[str, Root] | None = None,
    scheme: str | None = None,
    *,
    label_sources: Mapping[str, str] | None = None,
    allow_partial: bool = False,
) -> Dataset:
    """Several corpora as one `Dataset` with the unified columns; `label` is a `ClassLabel` of the scheme.

    Args:
        corpora: names of `list_corpora()`.
        roots: folder of each corpus; a corpus without one is looked for under `$SER_HF_CORPORA`.
        scheme: label scheme; the default of a single corpus keeps all of it, several corpora need one named.
        label_sources: which labels to take of a corpus that has several kinds, such as {"crema_d": "voice"}.
        allow_partial: accept a corpus that is not complete.

    Returns:
        One row per utterance that the scheme keeps; `provenance(dataset)` counts those it drops. Speakers are prefixed
        with their corpus, `audio` is undecoded (`Audio(decode=False)`), `duration` is in seconds, unknown facts are
        None.

    Raises:
        CorpusError: if a corpus is unknown, missing, damaged or incomplete, or if the scheme keeps nothing of it.
    """
    if not corpora:
        raise CorpusError("no corpus named")
    if len(set(corpora)) < len(corpora):
        raise CorpusError(f"a corpus is named twice in {list(corpora)}")
    roots, label_sources = dict(roots or {}), dict(label_sources or {})
    for kind, given in (("roots", roots), ("label sources", label_sources)):
        if strangers := set(given) - set(corpora):
            raise CorpusError(
                f"{kind} are given for {sorted(strangers)}, which are not among the corpora {list(corpora)}"
            )
    if scheme is None:
        if len(corpora) > 1:
            raise CorpusError(f"name a label scheme: {', '.join(corpora)} have different emotions")
        scheme = get_corpus(corpora[0]).scheme
    labels = get_scheme(scheme)

    rows, dropped, partial = [], {}, {}
    for name in corpora:
        spec = get_corpus(name)
        root = find_root(spec, roots.get(name))
        utterances = read_corpus(spec, root, label_source=label_sources.get(name), allow_partial=allow_partial)
        if shortfall := missing(spec, utterances):
            partial[name] = shortfall
        kept, lost = {}, Counter()
        for utterance in utterances:
            # The place below the root without its suffix: the same on every machine, for .wav and for .flac.
            identity = Path(name, os.path.relpath(utterance.path, root)).with_suffix("").as_posix()
            if identity in kept:
                raise CorpusError(f"two recordings are called {identity}: give them different names, or keep one")
            if identity in spec.excluded:
                lost[spec.excluded[identity]] += 1
            elif labels.to_class(utterance.emotion) is None:
                lost[utterance.emotion] += 1
            else:
                kept[identity] = utterance
        if not kept:
            raise CorpusError(f"scheme {scheme!r} ({', '.join(labels.classes)}) keeps no utterance of {name}")
        dropped[name] = dict(sorted(lost.items()))
        rows += _rows(name, kept, labels)
    facts = {"scheme": scheme, "label_sources": label_sources, "dropped": dropped, "partial": partial}
    return _to_dataset(rows, labels.classes, facts)


def provenance(dataset: Dataset) -> dict:
    """What `build_dataset` did: the `scheme`, the `label_sources` that were chosen, how many utterances of each emotion
    were `dropped` per corpus, and what `partial` corpora lack."""
    return json.loads(dataset.info.description)


def _rows(corpus: str, utterances: Mapping[str, Utterance], labels: LabelScheme) -> list[dict]:
    with ThreadPoolExecutor() as pool:  # headers only, but one file each: the disk's latency adds up
        durations = list(pool.map(lambda utterance: audio_info(utterance.path).duration_seconds, utterances.values()))
    return [
        {
            "utterance_id": identity,
            "corpus": corpus,
            "language": utterance.language,
            "speaker": None if utterance.speaker is None else f"{corpus}-{utterance.speaker}",
            "gender": utterance.gender,
            "age": utterance.age,
            "session": utterance.session,
            "statement": utterance.statement,
            "intensity": utterance.intensity,
            "part": utterance.part,
            "native_label": utterance.native_label,
            "emotion": utterance.emotion,
            "label": labels.classes.index(labels.to_class(utterance.emotion)),
            "label_source": utterance.label_source,
            "votes": None if utterance.votes is None else json.dumps(dict(utterance.votes), sort_keys=True),
            "arousal": utterance.arousal,
            "valence": utterance.valence,
            "dominance": utterance.dominance,
            "duration": duration,
            "audio": str(utterance.path),
        }
        for (identity, utterance), duration in zip(utterances.items(), durations, strict=True)
    ]


def _to_dataset(rows: list[dict], classes: Sequence[str], description: dict) -> Dataset:
    from datasets import Audio, ClassLabel, Dataset, DatasetInfo, Features, Value

    text, number = Value("string"), Value("float32")
    features = Features(
        {
            "utterance_id": text, "corpus": text, "language": text, "speaker": text, "gender": text,
            "age": Value("int32"), "session": text, "statement": text, "intensity": text, "part": text,
            "native_label": text, "emotion": text, "label": ClassLabel(names=list(classes)), "label_source": text,
            "votes": text, "arousal": number, "valence": number, "dominance": number, "duration": number, "audio": text,
        }
    )  # fmt: skip
    info = DatasetInfo(description=json.dumps(description), features=features)
    dataset = Dataset.from_list(rows, features=features, info=info)
    # Cast, not built: encoding an Audio column imports torchcodec, casting a column of paths does not.
    return dataset.cast_column("audio", Audio(decode=False))
