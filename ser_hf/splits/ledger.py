"""The ledger of a model: which corpora, speakers and recordings it was trained and validated on.

It is written beside the weights of every checkpoint and published with them; models trained from it inherit it. So a
model is never tested on its own training data, even years later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..corpora import known_corpus
from ..data.columns import AUDIO_HASH_COLUMN, AUDIO_MARK_COLUMN
from ..files import LEDGER, write_whole
from ..fingerprint import fingerprint
from ..fingerprint_mark import ALIKE, Marks
from .protocol import Protocol, join
from .pseudonyms import also_under_pseudonyms, pseudonym
from .relation import Relation

if TYPE_CHECKING:
    from datasets import Dataset


NOTED_COLUMNS = ("utterance_id", "corpus", "speaker", AUDIO_HASH_COLUMN, AUDIO_MARK_COLUMN)
TRAINING_PARTS = ("train", "validation")  # the parts that a training uses


class LedgerError(ValueError):
    """The error for a test part that a model was trained on, or a ledger that cannot be read."""


@dataclass(frozen=True)
class Training:
    """One training: its protocols, and its speakers and recordings.

    Attributes:
        protocols: one per corpus, such as "ravdess/si6", or one for all ("loco").
        scheme: the label scheme.
        speakers: speakers of the training and the validation part, prefixed by their corpus: {"train": [...], ...}.
        audio: `sample_hash` of every recording of these parts.
        marks: `fingerprint_mark.mark_of` of these recordings, by which their copies are known; empty if they were not
            at hand.
        salt: of the pseudonyms that stand for names of speakers in a published ledger; empty: the names are true.
    """

    protocols: tuple[str, ...]
    fold: int
    seed: int
    scheme: str
    corpora: tuple[str, ...]
    speakers: Mapping[str, Sequence[str]]
    audio: Mapping[str, Sequence[str]]
    marks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    salt: str = ""

    @property
    def name(self) -> str:
        return f"{join(map(Protocol.parse, self.protocols))}, fold {self.fold}"

    @property
    def is_refitted(self) -> bool:
        """True if the validation part was trained on too."""
        return not set(self.audio["train"]).isdisjoint(self.audio["validation"])


@dataclass(frozen=True)
class Ledger:
    """All training data of a model, in the order of its trainings.

    Attributes:
        unknown: names of its teachers whose training data is unknown.
    """

    trainings: tuple[Training, ...] = ()
    unknown: tuple[str, ...] = ()

    def continued(
        self, parts: Mapping[str, Dataset], protocol: Protocol, *, fold: int, seed: int, scheme: str
    ) -> Ledger:
        """Return this ledger with one more training.

        Args:
            parts: parts of `split`, with the column `audio_hash` of `precompute.hash_audio` and perhaps `audio_mark`
                of `precompute.mark_audio`; `NOTED_COLUMNS` are enough.

        Raises:
            LedgerError: if the test part was used in an earlier training.
        """
        self.refuse_seen(parts["test"], speakers=protocol.is_speaker_independent)
        known = {part: parts[part] for part in TRAINING_PARTS}
        training = Training(
            protocols=tuple(one.name for one in protocol.each()),
            fold=fold,
            seed=seed,
            scheme=scheme,
            corpora=tuple(sorted({corpus for rows in known.values() for corpus in rows["corpus"][:]})),
            speakers={part: sorted(_known(rows["speaker"][:])) for part, rows in known.items()},
            audio={part: sorted(_known(rows[AUDIO_HASH_COLUMN][:])) for part, rows in known.items()},
            marks={
                part: sorted(_known(rows[AUDIO_MARK_COLUMN][:]))
                for part, rows in known.items()
                if AUDIO_MARK_COLUMN in rows.column_names
            },
        )
        return replace(self, trainings=(*self.trainings, training))

    def taught_by(self, teacher: Ledger | None, name: str) -> Ledger:
        """Return this ledger with the training data of a teacher, which reaches a student through its answers.

        Args:
            teacher: ledger of the teacher; None if unknown.
            name: name of the teacher.
        """
        if teacher is None:
            teacher = Ledger(unknown=(name,))
        new = [training for training in teacher.trainings if training not in self.trainings]
        return Ledger((*self.trainings, *new), tuple(dict.fromkeys((*self.unknown, *teacher.unknown))))

    def refuse_seen(
        self, rows: Dataset, *, speakers: bool = True, part: str = "test", seen_in: Sequence[str] = TRAINING_PARTS
    ) -> None:
        """Raise a `LedgerError` if the model was trained on a speaker or a recording of these rows, and name it.

        Args:
            speakers: True if other recordings of a known speaker count; False if the protocol shares speakers.
            part: name of the part of these rows, for the message.
            seen_in: the parts of earlier trainings that count.
        """
        for training in self.trainings:
            for earlier in seen_in:
                known = []
                if speakers:
                    names = also_under_pseudonyms(_known(rows["speaker"][:]), training.salt)
                    known = sorted({names[one] for one in training.speakers[earlier] if one in names})
                if known:
                    raise LedgerError(
                        f"speaker {known[0]} of this {part} part was in the {earlier} part of {training.name} "
                        f"({len(known)} such speakers): use a fold that the model was not trained on"
                    )
                trained_on = set(training.audio[earlier])
                for name, digest in zip(rows["utterance_id"][:], rows[AUDIO_HASH_COLUMN][:], strict=True):
                    if digest in trained_on:
                        raise LedgerError(
                            f"the recording {name} of this {part} part was in the {earlier} part of {training.name}: "
                            "use a fold that the model was not trained on"
                        )

    def refuse_copies(self, rows: Dataset) -> None:
        """Raise a `LedgerError` if a recording of these rows is a copy of one that the model was trained on.

        Copies may be re-encoded, resampled, trimmed or louder. All speakers may be new by their names, and yet not be.

        Args:
            rows: with a column `audio`.
        """
        trained_on = [
            (one, part, mark) for one in self.trainings for part in TRAINING_PARTS for mark in one.marks.get(part, ())
        ]
        if not trained_on:
            return
        marks = Marks([mark for *_, mark in trained_on])
        copies = []
        for name, audio in zip(rows["utterance_id"], rows["audio"], strict=True):
            similarities = marks.similarities(fingerprint(audio))
            if similarities.max() >= ALIKE:
                copies.append((name, int(similarities.argmax()), float(similarities.max())))
        if copies:
            name, known, similarity = copies[0]
            training, part, _ = trained_on[known]
            raise LedgerError(
                f"{len(copies)} of {len(rows)} recordings, such as {name}, are copies of recordings in the {part} part "
                f"of {training.name} (similarity {similarity:.2f}): evaluate on recordings that the model does not know"
            )

    def relation(self, protocol: Protocol) -> Relation:
        """Return the part that the test speakers of this protocol had in the training.

        If the training data of a teacher is unknown, test speakers may have been used: for the model that it taught,
        and for all models trained from that one. The same name in two corpora may be one person, unless one of the
        corpora has speakers of its own.
        """
        if self.unknown:
            return Relation.UNKNOWN
        tested = protocol.corpora or self.corpora
        apart = all(_have_other_speakers(one, other) for one in tested for other in self.corpora)
        return protocol.relation if apart or protocol.relation != Relation.HELD_OUT else Relation.UNKNOWN

    @property
    def corpora(self) -> list[str]:
        """Every corpus that the model was trained on."""
        return sorted({corpus for training in self.trainings for corpus in training.corpora})

    def protocol_of(self, corpus: str) -> tuple[str, int] | None:
        """Return the protocol that divided a corpus, and the fold; None if no training used the corpus."""
        for training in reversed(self.trainings):
            for name in training.protocols:
                divided = Protocol.parse(name).corpora or training.corpora  # one rule divides all of them
                if corpus in divided:
                    return name, training.fold
        return None

    def under_pseudonyms(self, salt: str) -> Ledger:
        """Return the ledger for others: without true names of speakers, except for those of published corpora.

        Args:
            salt: hexadecimal digits, another one for each model.
        """
        return replace(self, trainings=tuple(_for_others(one, salt) for one in self.trainings))

    def to_json(self) -> str:
        content: dict = {"trainings": [asdict(training) for training in self.trainings]}
        if self.unknown:
            content["unknown"] = self.unknown
        return json.dumps(content, indent=1) + "\n"

    def write(self, folder: str | Path) -> None:
        """Write the ledger beside the weights in a folder."""
        write_whole(Path(folder, LEDGER), self.to_json())

    @classmethod
    def read(cls, file: str | Path) -> Ledger:
        """Return the ledger of a file.

        Raises:
            LedgerError: if it cannot be read.
        """
        try:
            content = json.loads(Path(file).read_text(encoding="utf-8"))
            trainings = tuple(_training(row) for row in content["trainings"])
            return cls(trainings, tuple(content.get("unknown", ())))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LedgerError(f"{file} cannot be read ({error}), so its model cannot be evaluated") from error

    @classmethod
    def of_model(cls, name_or_path: str) -> Ledger | None:
        """Return the ledger of a model in a folder or on the Hub; None if it has none.

        Raises:
            LedgerError: for a ledger that cannot be read.
        """
        from huggingface_hub.errors import RepositoryNotFoundError
        from transformers.utils import cached_file

        try:
            file = cached_file(
                str(name_or_path), LEDGER,
                _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False,
                _raise_exceptions_for_gated_repo=False,
            )  # fmt: skip
        except OSError as error:
            if isinstance(error.__cause__, RepositoryNotFoundError):
                return None  # for names of architectures, such as tiny-hubert or timm's resnet18
            raise
        return None if file is None else cls.read(file)


def _have_other_speakers(one: str, other: str) -> bool:
    """True if a protocol divides the speakers of one corpus, or if those of one of two were recorded for it alone."""
    specs = known_corpus(one), known_corpus(other)
    return one == other or any(spec is not None and spec.own_speakers for spec in specs)


def _for_others(training: Training, salt: str) -> Training:
    if training.salt:  # published before
        return training
    hidden = {part: [pseudonym(name, salt) for name in names] for part, names in training.speakers.items()}
    return training if hidden == dict(training.speakers) else replace(training, speakers=hidden, salt=salt)


def _training(row: Mapping[str, Any]) -> Training:
    """Return a training of a ledger's JSON. Earlier ones have no marks and no salt."""
    row = {"marks": {}, "salt": "", **row}
    return Training(**{one.name: row[one.name] for one in fields(Training)})


def _known(values: Iterable[str | None]) -> set[str]:
    return set(values) - {None}  # not `Dataset.unique`, which copies every column of a part first
