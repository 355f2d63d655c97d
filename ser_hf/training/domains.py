"""Two domains under label schemes of their own: a source whose labels are learned, a target whose labels are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

import numpy as np

from ..data.arguments import DataArguments
from ..emotions import EvaluationMap
from ..splits.split import Protocol, check_disjoint, chosen_folds, count_folds, split_each

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


@dataclass(kw_only=True)
class DomainArguments(DataArguments):
    """Which corpora teach, and which are only heard and judged.

    A fold is one of the target, whose test speakers a report pools; the source takes the fold of that number, counted
    round where its protocol has fewer: with ravdess/si6 as target and emodb/pairs5 as source, fold 5 and fold 0.
    """

    adapt_from: list[str] = field(metadata={"help": "Corpora of the source domain, whose labels are learned."})
    adapt_to: list[str] = field(metadata={"help": "Corpora of the target domain, whose labels are never looked at."})
    target_scheme: Optional[str] = field(  # noqa: UP045 - HfArgumentParser needs it
        default=None,
        metadata={"help": "Label scheme that the target is judged by, where it is not that of the source."},
    )
    evaluation_map: list[str] = field(
        default_factory=list,
        metadata={
            "help": "What an emotion of the source counts as in the target besides itself: boredom=neutral|calm."
        },
    )

    own_statistics: bool = field(
        default=False,
        metadata={
            "help": "Standardise what a frozen encoder hears of each domain by its own training part, the target's "
            "without labels, in place of the source's for both."
        },
    )

    def __post_init__(self):
        super().__post_init__()
        if sorted(self.corpora) != sorted([*self.adapt_from, *self.adapt_to]):
            raise ValueError(
                f"adapt_from, adapt_to: each of the corpora {', '.join(self.corpora)} belongs in exactly one of them"
            )
        if sorted(name.partition("/")[0] for name in self.protocols) != sorted(self.corpora):
            raise ValueError(
                f"protocols: {', '.join(self.protocols)}, wanted one for each of the corpora {', '.join(self.corpora)}"
            )
        if self.target_scheme == self.scheme:
            self.target_scheme = None
        if self.target_scheme is not None and self.precomputed is not None:
            raise ValueError("precomputed: such a folder has one label scheme; leave it out, or target_scheme")
        self.judged_as = EvaluationMap.parse(self.evaluation_map)

    def load_domains(self) -> tuple[Dataset, Dataset]:
        """The source and the target, each labelled by its scheme, with the fingerprints of their recordings."""
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
        return DataArguments(
            corpora=corpora, roots=roots, label_sources=label_sources, scheme=scheme,
            protocols=self._protocols_of(corpora), allow_partial=self.allow_partial,
        ).load()  # fmt: skip

    def chosen_folds(self, target: Dataset) -> list[int]:
        """The folds to run, after a check that the protocols of the target have them; as `splits.chosen_folds`."""
        names = self._protocols_of(self.adapt_to)
        return chosen_folds(target, names, self.folds, emobox_root=self.emobox_root)

    def source_fold(self, source: Dataset, fold: int) -> int:
        """The fold of the source that goes with a fold of the target."""
        corpus, names = np.asarray(source["corpus"]), self._protocols_of(self.adapt_from)
        rows_of = {name: np.flatnonzero(corpus == name.partition("/")[0]) for name in names}
        counts = [
            count_folds(source.select(rows), name, emobox_root=self.emobox_root) for name, rows in rows_of.items()
        ]
        return fold % min(counts)

    def split_domains(self, source: Dataset, target: Dataset, fold: int) -> tuple[DatasetDict, DatasetDict, Protocol]:
        """The parts of the source and those of the target in one fold, and what to call it in a report.

        Raises:
            SplitError: as `split_each` for either domain, and if one recording is in both of them, or in two parts.
        """
        ours, theirs = self._protocols_of(self.adapt_from), self._protocols_of(self.adapt_to)
        number = self.source_fold(source, fold)
        of_source, learned = split_each(source, ours, number, emobox_root=self.emobox_root)
        of_target, judged = split_each(target, theirs, fold, emobox_root=self.emobox_root)
        domains = {"source": of_source, "target": of_target}
        check_disjoint(
            {f"{part} part of the {domain}": rows for domain, parts in domains.items() for part, rows in parts.items()},
            speakers=(),
        )
        both = sorted((learned, judged), key=lambda protocol: self.protocols.index(protocol.name.split(" + ")[0]))
        return (
            of_source,
            of_target,
            Protocol(
                " + ".join(protocol.name for protocol in both),
                "; ".join(protocol.rule for protocol in both),
                is_speaker_independent=all(protocol.is_speaker_independent for protocol in both),
                validation_shares_speakers=any(protocol.validation_shares_speakers for protocol in both),
            ),
        )

    def _protocols_of(self, corpora: Sequence[str]) -> list[str]:
        return [name for name in self.protocols if name.partition("/")[0] in corpora]
