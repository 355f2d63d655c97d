"""An evaluation protocol as a value: the one place that parses its name and prints it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import combinations

from .relation import Relation

PARTS = ("train", "validation", "test")
Pairs = tuple[tuple[str, str], ...]
ALL_PAIRS: Pairs = tuple(combinations(PARTS, 2))
WITH_TEST: Pairs = (("train", "test"), ("validation", "test"))
REFIT, SELECTED = "refit", "selected"
TRAINED_ON_VALIDATION = "trained on the validation part too"  # what "refit" means, in a description
GIVEN, ALL = "given", "all"  # rules: the parts that the data names; everything for training


class SplitError(ValueError):
    """The error for a protocol that does not exist, does not fit the data, or would leak."""


@dataclass(frozen=True)
class Protocol:
    """The rules that divide a dataset: `ravdess/si6`, `ravdess/si6 + emodb/pairs5`, `loco`, `ravdess/si6+refit`, ...

    Attributes:
        corpora: the corpora with a rule each; empty if one rule divides all of them (`loco`).
        rules: the rule of each corpus, such as "si6", or the one rule.
        suffixes: departures from the protocol: "refit" (trained on the validation part too), "selected" (the epoch was
            chosen on the test part).
        description: the rule in words that a report can quote.
        is_speaker_independent: no test speaker is in the training or validation part.
        validation_shares_speakers: validation speakers are in the training part too; the description says what is new.

    >>> protocol = Protocol.parse("ravdess/si6 + emodb/pairs5+refit")
    >>> protocol.corpora, protocol.rules, protocol.suffixes
    (('ravdess', 'emodb'), ('si6', 'pairs5'), ('refit',))
    """

    corpora: tuple[str, ...]
    rules: tuple[str, ...]
    suffixes: tuple[str, ...] = ()
    description: str = ""
    is_speaker_independent: bool = True
    validation_shares_speakers: bool = False

    @classmethod
    def parse(cls, name: str, description: str = "", **facts: bool) -> Protocol:
        """Return the protocol of a name; `facts` are `is_speaker_independent` and `validation_shares_speakers`."""
        whole, *suffixes = re.split(r"(?<! )\+(?! )", name)
        pairs = [one.partition("/") for one in whole.split(" + ")]
        divided = all(slash for _, slash, _ in pairs)
        return cls(
            tuple(corpus for corpus, _, _ in pairs) if divided else (),
            tuple(rule for _, _, rule in pairs) if divided else (whole,),
            tuple(suffixes),
            description,
            **facts,
        )

    @property
    def name(self) -> str:
        pairs = zip(self.corpora, self.rules, strict=True) if self.corpora else ()
        whole = " + ".join(f"{corpus}/{rule}" for corpus, rule in pairs) or self.rules[0]
        return "+".join((whole, *self.suffixes))

    def __str__(self) -> str:
        return self.name

    @property
    def relation(self) -> Relation:
        """The part that the test speakers have in the training of a model that follows the protocol."""
        return Relation.HELD_OUT if self.is_speaker_independent else Relation.SHARED

    @property
    def disjoint_speakers(self) -> Pairs:
        """The pairs of parts that share no speaker."""
        if not self.is_speaker_independent:
            return ()
        return WITH_TEST if self.validation_shares_speakers else ALL_PAIRS

    @property
    def is_final(self) -> bool:
        """True if every utterance is for training, and none is left for a test."""
        return set(self.rules) == {ALL}

    @property
    def finally_all(self) -> str:
        """The words for --protocols that train a final model on the same corpora.

        >>> Protocol.parse("ravdess/si6 + emodb/pairs5").finally_all
        'ravdess/all emodb/all'
        """
        return " ".join(f"{corpus}/{ALL}" for corpus in self.corpora)

    @property
    def general_rule(self) -> tuple[str, int] | None:
        """Kind and number of a rule that fits any corpus, such as ("kfold", 5) of `kfold5`; None for another rule."""
        found = re.fullmatch(r"(kfold|statements|random)([2-9]|[1-9]\d+)", self.rules[0])
        return (found[1], int(found[2])) if found and len(self.rules) == 1 else None

    def each(self) -> list[Protocol]:
        """Return the protocol of each corpus by itself, without suffixes."""
        if not self.corpora:
            return [replace(self, suffixes=())]
        pairs = zip(self.corpora, self.rules, strict=True)
        return [replace(self, corpora=(corpus,), rules=(rule,), suffixes=()) for corpus, rule in pairs]

    def of_corpora(self, corpora: Collection[str]) -> Protocol:
        """Return the part of a joined protocol that divides these corpora; the whole if it divides none of them.

        >>> str(Protocol.parse("ravdess/si6 + emodb/pairs5+refit").of_corpora(["emodb"]))
        'emodb/pairs5+refit'
        """
        kept = [one for one in self.each() if set(one.corpora) & set(corpora)]
        return self if not kept else replace(join(kept), suffixes=self.suffixes, description=self.description)

    def changed(self, suffix: str, description: str) -> Protocol:
        """Return the protocol with a departure, such as "refit", and add a description of it."""
        words = "; ".join(filter(None, (self.description, description)))
        return replace(self, suffixes=(*self.suffixes, suffix), description=words)


def join(protocols: Iterable[Protocol]) -> Protocol:
    """Return several protocols, each of other corpora, as one.

    >>> join([Protocol.parse("ravdess/kfold5"), Protocol.parse("emodb/loso", "leave one speaker out")]).description
    'leave one speaker out'
    """
    protocols = list(protocols)
    if len(protocols) == 1:
        return protocols[0]
    return Protocol(
        sum((one.corpora for one in protocols), ()),
        sum((one.rules for one in protocols), ()),
        description="; ".join(one.description for one in protocols if one.description),
        is_speaker_independent=all(one.is_speaker_independent for one in protocols),
        validation_shares_speakers=any(one.validation_shares_speakers for one in protocols),
    )
