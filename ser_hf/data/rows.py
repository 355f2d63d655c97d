"""Utterances -> the unified columns, in one Arrow file of the cache: a million need no more memory than a thousand."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow

from ..audio import AudioError, audio_info
from ..corpora import CorpusError, CorpusSpec, Utterance
from ..emotions import LabelScheme
from ..extras import naming_extra
from ..sources.reading import tell
from .columns import unified_features

if TYPE_CHECKING:
    from datasets import Dataset

CHUNK = 5_000  # utterances: no more are held as objects at any time
UNUSABLE = "unusable"  # the reason under which recordings are counted that `skip_unusable` leaves out
SHOWN = 5  # recordings left out that are named; all are counted


class UtteranceFile:
    """A file that takes the utterances of corpora one after another and becomes a memory-mapped dataset.

    What names and tables say is written first, so that whatever is wrong with them is told before any file is opened;
    `finish` then reads the durations. Left without `finish`, nothing remains on the disk.
    """

    def __init__(self, labels: LabelScheme, *, allow_truncated: bool = False, skip_unusable: bool = False):
        with naming_extra("a dataset"):
            from datasets import config

        self.allow_truncated, self.skip_unusable = allow_truncated, skip_unusable
        self.labels, self.schema = labels, unified_features(labels.classes).arrow_schema
        self.cache = Path(config.HF_DATASETS_CACHE, "ser_hf")
        self.cache.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> UtteranceFile:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.cache)))
            self.without = self.schema.remove(self.schema.get_field_index("duration"))
            self.stream = stack.enter_context(pyarrow.ipc.new_stream(str(self.folder / "names"), self.without))
            self.open = stack.pop_all()
        return self

    def __exit__(self, *error) -> None:
        self.open.close()

    def add(self, spec: CorpusSpec, root: Path, utterances: Iterable[Utterance]) -> tuple[Counter, Counter]:
        """Write the utterances of a corpus that the scheme keeps.

        Returns:
            The number of utterances per speaker, and the number of dropped ones per reason.
        """
        counts, lost, utterances = Counter(), Counter(), iter(utterances)
        folder = root.parent if root.is_file() else root
        while chunk := list(islice(utterances, CHUNK)):
            rows = []
            for utterance in chunk:
                counts[utterance.speaker] += 1
                # The place below the root without its suffix: the same on every machine, for .wav and for .flac, and
                # whether its file system composes accents or not.
                place = Path(spec.name, os.path.relpath(utterance.path, folder)).with_suffix("").as_posix()
                identity = unicodedata.normalize("NFC", place)
                if (reason := spec.why_excluded(identity)) is not None:
                    lost[reason] += 1
                elif self.labels.to_class(utterance.emotion) is None:
                    lost[utterance.emotion] += 1
                else:
                    rows.append(self._row(spec, identity, utterance))
            self.stream.write_batch(pyarrow.RecordBatch.from_pylist(rows, schema=self.without))
        return counts, lost

    def _row(self, spec: CorpusSpec, identity: str, utterance: Utterance) -> dict:
        return {
            "utterance_id": identity,
            "corpus": spec.name,
            "language": utterance.language or spec.language,
            "speaker": None if utterance.speaker is None else f"{spec.name}-{utterance.speaker}",
            "gender": utterance.gender,
            "age": utterance.age,
            "session": utterance.session,
            "statement": utterance.statement,
            "intensity": utterance.intensity,
            "part": utterance.part,
            "native_label": utterance.native_label,
            "emotion": utterance.emotion,
            "label": self.labels.classes.index(self.labels.to_class(utterance.emotion)),
            "label_source": utterance.label_source,
            "votes": None if utterance.votes is None else json.dumps(dict(utterance.votes), sort_keys=True),
            "arousal": utterance.arousal,
            "valence": utterance.valence,
            "dominance": utterance.dominance,
            "audio": {"bytes": None, "path": str(utterance.path)},
        }

    def finish(self) -> tuple[Dataset, dict[str, list[AudioError]]]:
        """Return the dataset, with durations from the headers of the recordings, and what was left out of each corpus.

        Raises:
            CorpusError: if two recordings have one name.
            AudioError: if a recording is none, or if its end is missing (unless this is allowed), and `skip_unusable`
                is False.
        """
        from datasets import Dataset

        self.stream.close()
        _refuse_doubles(self.folder / "names")
        finished, refused = self.folder / "rows", {}
        with (
            ThreadPoolExecutor() as pool,  # headers only, but one file each: the disk's latency adds up
            pyarrow.ipc.open_stream(str(self.folder / "names")) as names,
            pyarrow.ipc.new_stream(str(finished), self.schema) as stream,
        ):
            for batch in names:
                seconds = list(pool.map(self._seconds, batch.column("audio").field("path").to_pylist()))
                for corpus, error in zip(batch.column("corpus").to_pylist(), seconds, strict=True):
                    if isinstance(error, AudioError):
                        refused.setdefault(corpus, []).append(error)
                usable = [not isinstance(one, AudioError) for one in seconds]
                kept = batch.filter(pyarrow.array(usable, pyarrow.bool_()))
                columns = dict(zip(kept.schema.names, kept.columns, strict=True))
                columns["duration"] = [one for one, is_kept in zip(seconds, usable, strict=True) if is_kept]
                stream.write_batch(pyarrow.RecordBatch.from_pydict(columns, schema=self.schema))
        # Named after its content: the same corpora are one file, whoever builds them how often.
        path = self.cache / f"corpora-{_hash(finished)}.arrow"
        os.replace(finished, path)
        return Dataset.from_file(str(path)), refused

    def _seconds(self, path: str) -> float | AudioError:
        try:
            return audio_info(path, allow_truncated=self.allow_truncated).duration_seconds
        except AudioError as error:
            if not self.skip_unusable:
                raise
            return error


def tell_unusable(corpus: str, sentences: Sequence[str]) -> None:
    """Say how many recordings of a corpus are left out, and why some of them are."""
    more = f"\n  ... and {len(sentences) - SHOWN} more" if len(sentences) > SHOWN else ""
    shown = "".join(f"\n  {sentence}" for sentence in sentences[:SHOWN])
    tell(f"{corpus}: {len(sentences)} unusable recordings are left out:{shown}{more}")


def _refuse_doubles(names: Path) -> None:
    # Hashes first: those of a million names are 8 MB, a set of the names would be 150.
    hashes = [np.fromiter(map(hash, chunk), np.int64, len(chunk)) for chunk in _identities(names)]
    unique, counts = np.unique(np.concatenate(hashes), return_counts=True)
    doubtful = set(unique[counts > 1].tolist())
    seen = Counter(one for chunk in _identities(names) for one in chunk if hash(one) in doubtful) if doubtful else {}
    if twice := [one for one, count in seen.items() if count > 1]:
        raise CorpusError(f"two recordings have the name {twice[0]}: give them different names, or keep one")


def _identities(names: Path) -> Iterator[list[str]]:
    with pyarrow.ipc.open_stream(str(names)) as stream:
        for batch in stream:
            yield batch.column("utterance_id").to_pylist()


def _hash(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
