"""Options of the data: corpora, labels and protocols, and the two domains of an adaptation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..corpora import is_published, name_and_place
from ..data.cache_files import load_cache
from ..data.dataset import build_dataset
from ..data.precompute import hash_audio, mark_audio
from ..emotions import EvaluationMap
from ..options import OptionError
from ..sources.reading import Translation
from ..splits.disjoint import check_disjoint
from ..splits.protocol import Protocol, join
from ..splits.split import chosen_folds, count_folds, split_each
from .parser import check_each_once, check_pairs

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


@dataclass(kw_only=True)
class DataArguments:
    """Options of the data: the corpora, their labels, and their division."""

    corpora: list[str] = field(
        metadata={
            "help": "Names of the corpora to use (`ser-hf corpora` lists them all); your own recordings as name=place, "
            "such as callcenter=recordings/labels.csv."
        }
    )
    roots: list[str] = field(
        default_factory=list,
        metadata={"help": "Folder of each corpus, as corpus=folder. Default: below $SER_HF_CORPORA."},
    )
    label_sources: list[str] = field(
        default_factory=list,
        metadata={"help": "Labels of a corpus that has several kinds, as corpus=source, such as crema_d=voice."},
    )
    columns: list[str] = field(
        default_factory=list,
        metadata={"help": "Columns of the table of own recordings, as name=column, such as path=Datei."},
    )
    labels: list[str] = field(
        default_factory=list,
        metadata={"help": "Emotions of its words, as word=emotion, such as Freude=happiness; other for no emotion."},
    )
    encoding: str | None = field(
        default=None, metadata={"help": "Encoding of its text, such as cp1252. Default: UTF-8 or UTF-16."}
    )
    votes: bool = field(
        default=False,
        metadata={"help": "Its rows about one recording are votes of raters; the label is the word of most."},
    )
    scheme: str = field(
        metadata={
            "help": "Label scheme: the classes, and the emotions that are merged or dropped. own: the words of your "
            "own recordings are the classes."
        }
    )
    protocols: list[str] = field(
        metadata={"help": "Evaluation protocol of each corpus, such as ravdess/si6; or loco for several at once."}
    )
    folds: list[int] = field(
        default_factory=list,
        metadata={
            "help": "Folds to run, from 0; -1: all folds, pooled into one report. Default: 0, or all if there are "
            "fewer than ten speakers."
        },
    )
    cross_validated: str | None = field(
        default=None,
        metadata={
            "help": "For the protocol all (the final model, trained on every utterance): folder of the cross-validated "
            "run with the same options. Its figures go into the card; its best epochs and temperatures are taken."
        },
    )
    allow_partial: bool = field(default=False, metadata={"help": "Accept incomplete corpora."})
    allow_truncated: bool = field(
        default=False, metadata={"help": "Use what is there of recordings whose end is missing."}
    )
    skip_unusable: bool = field(
        default=False,
        metadata={"help": "Leave out and count recordings and rows that would be refused: damaged, silent, unknown."},
    )
    precomputed: str | None = field(
        default=None, metadata={"help": "Folder of `ser-hf precompute`, used instead of the recordings."}
    )
    emobox_root: str | None = field(
        default=None,
        metadata={"help": "Checkout of https://github.com/emo-box/EmoBox; the protocols <corpus>/emobox need it."},
    )

    def __post_init__(self):
        check_pairs("roots", self.roots, "corpus=folder")
        check_pairs("label_sources", self.label_sources, "corpus=source")
        self.columns, self.labels = (  # path=Datei,speaker=Person, as `ser-hf evaluate` takes them, too
            [pair for word in words for pair in word.split(",")] for words in (self.columns, self.labels)
        )
        check_pairs("columns", self.columns, "name=column")
        check_pairs("labels", self.labels, "word=emotion")
        self.names = [name_and_place(word)[0] for word in self.corpora]
        is_final = [Protocol.parse(name).is_final for name in self.protocols]
        if any(is_final) and self.cross_validated is None:
            raise OptionError(
                "the protocol all leaves nothing to test on: pass --cross_validated RUN, the folder of a run over all "
                "folds of another protocol with the same options, whose figures then go into the card"
            )
        if self.cross_validated is not None and not all(is_final):
            raise OptionError(f"--cross_validated is for the protocol all, not for {', '.join(self.protocols)}")
        if any(fold < -1 for fold in self.folds) or (-1 in self.folds and len(self.folds) > 1):
            raise OptionError(f"--folds needs numbers from 0, or only -1 for all folds, not {self.folds}")
        if self.folds:
            check_each_once("folds", self.folds)

    def load(self) -> Dataset:
        """Return the dataset that these options describe, with hashes of its recordings."""
        label_sources = check_pairs("label_sources", self.label_sources, "corpus=source")
        if self.precomputed is not None:
            return load_cache(
                self.precomputed, self.names, self.scheme, label_sources, allow_partial=self.allow_partial,
                allow_truncated=self.allow_truncated,
            )  # fmt: skip
        dataset = build_dataset(
            self.corpora,
            check_pairs("roots", self.roots, "corpus=folder"),
            self.scheme,
            label_sources=label_sources,
            allow_partial=self.allow_partial,
            allow_truncated=self.allow_truncated,
            skip_unusable=self.skip_unusable,
            translation=Translation(
                check_pairs("columns", self.columns, "name=column"),
                check_pairs("labels", self.labels, "word=emotion"),
                self.encoding,
                self.votes,
            ),
        )
        return mark_audio(hash_audio(dataset))

    def refuse_final(self) -> None:
        """Raise an `OptionError` for the protocol all, where no final model can be trained."""
        if self.cross_validated is not None:
            raise OptionError(
                "this recipe trains no final model: leave out --cross_validated, and use another protocol than all"
            )

    def chosen_folds(self, dataset: Dataset) -> list[int]:
        """Return the folds to run, after a check that every protocol has them."""
        return chosen_folds(dataset, self.protocols, self.folds, emobox_root=self.emobox_root)

    def split(self, dataset: Dataset, fold: int) -> tuple[DatasetDict, Protocol]:
        """Return the parts of a fold and the protocol that divides them."""
        return split_each(dataset, self.protocols, fold, emobox_root=self.emobox_root)


@dataclass(kw_only=True)
class DomainArguments(DataArguments):
    """Options of an adaptation: the corpora of the source domain and of the target domain.

    Folds are those of the target. The source takes the fold of the same number, modulo its own number of folds: with
    ravdess/si6 as target and emodb/pairs5 as source, fold 5 goes with fold 0.
    """

    adapt_from: list[str] = field(metadata={"help": "Corpora of the source domain, with labels."})
    adapt_to: list[str] = field(
        metadata={"help": "Corpora of the target domain; its labels are used for evaluation only."}
    )
    target_scheme: str | None = field(
        default=None,
        metadata={"help": "Label scheme of the target, if it is not that of the source."},
    )
    evaluation_map: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Other target classes that count as correct for a source class, such as boredom=neutral|calm."
        },
    )
    own_statistics: bool = field(
        default=False,
        metadata={
            "help": "Standardise the embeddings of each domain by its own training part, instead of both by that of "
            "the source. Needs a frozen encoder; uses no labels."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        if sorted(self.names) != sorted([*self.adapt_from, *self.adapt_to]):
            raise OptionError(
                f"--adapt_from and --adapt_to must name each of the corpora {', '.join(self.names)} once in all"
            )
        if sorted(Protocol.parse(name).corpora for name in self.protocols) != [(one,) for one in sorted(self.names)]:
            raise OptionError(
                f"--protocols needs one for each of the corpora {', '.join(self.names)}, not "
                f"{', '.join(self.protocols)}"
            )
        if self.target_scheme == self.scheme:
            self.target_scheme = None
        if self.target_scheme is not None and self.precomputed is not None:
            raise OptionError("use --precomputed or --target_scheme, not both: a precomputed folder has one scheme")
        self.judged_as = EvaluationMap.parse(self.evaluation_map)

    def load_domains(self) -> tuple[Dataset, Dataset]:
        """Return the source and the target, each with its scheme, and with hashes of the recordings."""
        if self.target_scheme is not None:
            return self._load(self.adapt_from, self.scheme), self._load(self.adapt_to, self.target_scheme)
        both = self.load()
        corpus = np.asarray(both["corpus"])
        source, target = (np.flatnonzero(np.isin(corpus, names)) for names in (self.adapt_from, self.adapt_to))
        return both.select(source), both.select(target)

    def _load(self, corpora: Sequence[str], scheme: str) -> Dataset:
        roots, label_sources = (
            [word for word in words if word.partition("=")[0] in corpora] for words in (self.roots, self.label_sources)
        )
        about_own = ("columns", "labels", "encoding", "votes")
        own = not all(map(is_published, corpora))
        return DataArguments(
            corpora=[word for word, name in zip(self.corpora, self.names, strict=True) if name in corpora],
            roots=roots, label_sources=label_sources, scheme=scheme, protocols=self._protocols_of(corpora),
            allow_partial=self.allow_partial, allow_truncated=self.allow_truncated, skip_unusable=self.skip_unusable,
            **({name: getattr(self, name) for name in about_own} if own else {}),
        ).load()  # fmt: skip

    def chosen_folds(self, target: Dataset) -> list[int]:
        """Return the folds to run, after a check that the protocols of the target have them."""
        names = self._protocols_of(self.adapt_to)
        return chosen_folds(target, names, self.folds, emobox_root=self.emobox_root)

    def source_fold(self, source: Dataset, fold: int) -> int:
        """Return the fold of the source that goes with a fold of the target."""
        corpus, names = np.asarray(source["corpus"]), self._protocols_of(self.adapt_from)
        rows_of = {name: np.flatnonzero(corpus == Protocol.parse(name).corpora[0]) for name in names}
        counts = [
            count_folds(source.select(rows), name, emobox_root=self.emobox_root) for name, rows in rows_of.items()
        ]
        return fold % min(counts)

    def split_domains(self, source: Dataset, target: Dataset, fold: int) -> tuple[DatasetDict, DatasetDict, Protocol]:
        """Return the parts of the source, those of the target, and the protocol of both.

        Raises:
            SplitError: as `split_each` for either domain, and if a recording is in both domains or in two parts.
        """
        ours, theirs = self._protocols_of(self.adapt_from), self._protocols_of(self.adapt_to)
        number = self.source_fold(source, fold)
        of_source, learned = split_each(source, ours, number, emobox_root=self.emobox_root)
        of_target, judged = split_each(target, theirs, fold, emobox_root=self.emobox_root)
        domains = {"source": of_source, "target": of_target}
        check_disjoint(
            {f"{part} part of the {domain}": rows for domain, parts in domains.items() for part, rows in parts.items()}
        )
        both = sorted((learned, judged), key=lambda protocol: self.protocols.index(protocol.each()[0].name))
        return of_source, of_target, join(both)

    def _protocols_of(self, corpora: Sequence[str]) -> list[str]:
        return [name for name in self.protocols if Protocol.parse(name).corpora[0] in corpora]
