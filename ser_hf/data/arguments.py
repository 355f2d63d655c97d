"""Options of the data of a recipe; in a module of their own, since not every recipe has a Trainer to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Optional

from .dataset import build_dataset
from .precompute import hash_audio, load_cache

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(kw_only=True)
class DataArguments:
    """Which recordings, under which labels, divided how."""

    corpora: list[str] = field(metadata={"help": "Names of corpora (`ser-hf corpora` lists them)."})
    roots: list[str] = field(
        default_factory=list,
        metadata={"help": "Folder of each corpus, as name=folder; others are looked for under $SER_HF_CORPORA."},
    )
    label_sources: list[str] = field(
        default_factory=list,
        metadata={"help": "Which labels of a corpus with several kinds, as name=source, such as crema_d=voice."},
    )
    scheme: str = field(metadata={"help": "Label scheme: which emotions are kept and merged."})
    protocols: list[str] = field(
        metadata={"help": "Evaluation protocol of each corpus, such as ravdess/si6; or loco for several at once."}
    )
    folds: list[int] = field(
        default_factory=lambda: [0],
        metadata={"help": "Folds to run, from 0; -1 means all folds of the protocol, pooled into one report."},
    )
    allow_partial: bool = field(default=False, metadata={"help": "Accept corpora that are not complete."})
    precomputed: Optional[str] = field(  # noqa: UP045
        default=None, metadata={"help": "Folder that `ser-hf precompute` wrote: takes the place of all recordings."}
    )
    emobox_root: Optional[str] = field(  # noqa: UP045 - HfArgumentParser needs it
        default=None,
        metadata={"help": "A checkout of https://github.com/emo-box/EmoBox, for the protocols <corpus>/emobox."},
    )

    def __post_init__(self):
        for option, form in (("roots", "name=folder"), ("label_sources", "name=source")):
            if malformed := [word for word in getattr(self, option) if "=" not in word]:
                raise ValueError(f"{option}: {malformed[0]!r} is not of the form {form}")
        if any(fold < -1 for fold in self.folds) or (-1 in self.folds and len(self.folds) > 1):
            raise ValueError(f"folds: {self.folds}, wanted numbers from 0, or -1 alone for all")

    def load(self) -> Dataset:
        """The dataset that these options describe, with the fingerprints of its recordings."""
        label_sources = dict(word.split("=", 1) for word in self.label_sources)
        if self.precomputed is not None:
            return load_cache(
                self.precomputed, self.corpora, self.scheme, label_sources, allow_partial=self.allow_partial
            )
        dataset = build_dataset(
            self.corpora,
            dict(root.split("=", 1) for root in self.roots),
            self.scheme,
            label_sources=label_sources,
            allow_partial=self.allow_partial,
        )
        return hash_audio(dataset)
