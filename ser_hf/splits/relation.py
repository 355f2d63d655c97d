"""Two facts about the test speakers of a prediction table: their part in the training, and adaptation to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Relation(StrEnum):
    """The part that the test speakers had in the training of a model."""

    HELD_OUT = "held_out"
    """No test speaker was trained or validated on, and this is known."""
    SHARED = "shared"
    """Test speakers were trained on, or the model, its epoch or its temperature was chosen on them."""
    UNKNOWN = "unknown"


class Adaptation(StrEnum):
    """The use of unlabelled recordings of the test speakers at test time."""

    NONE = "none"
    ONLINE = "online"
    """The earlier recordings of the same speaker."""
    ONLINE_SORTED = "online-sorted"
    """The same in the order of the names of the recordings, which often has one emotion after another."""
    ENROLLED = "enrolled"
    """A fixed number of recordings, as in `enrolled-10`."""
    PSEUDO_SPEAKERS = "pseudo-speakers"
    """Recordings that sound like one speaker; the true speakers are not used."""
    TRANSDUCTIVE = "transductive"
    """All recordings of the same speaker."""

    @classmethod
    def check(cls, text: str) -> str:
        """Return `text` if it names an adaptation.

        Raises:
            ValueError: for any other text.

        >>> Adaptation.check("enrolled-10")
        'enrolled-10'
        """
        names = [name for name in cls if name is not cls.ENROLLED]
        if text not in names and not re.fullmatch(rf"{cls.ENROLLED}-[1-9]\d*", text):
            raise ValueError(f"unknown adaptation {text!r}: use {', '.join(names)} or {cls.ENROLLED}-<number>")
        return text


def in_words(relation: str, adaptation: str) -> str:
    """Return both facts for a headline; "blind" means that the test speakers are held out and not adapted to.

    >>> in_words("held_out", "none"), in_words("shared", "none"), in_words("held_out", "enrolled-10")
    ('blind', 'NOT speaker-independent', 'held-out speakers, enrolled-10 adaptation')
    """
    if (relation, adaptation) == (Relation.HELD_OUT, Adaptation.NONE):
        return "blind"
    words = {
        Relation.HELD_OUT: "held-out speakers",
        Relation.SHARED: "NOT speaker-independent",
        Relation.UNKNOWN: "training data UNKNOWN",
    }[Relation(relation)]
    return words if adaptation == Adaptation.NONE else f"{words}, {adaptation} adaptation"


def from_older_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a table or report with `relation` and `adaptation` in place of a free text and a yes or no.

    >>> from_older_facts({"n": 8, "speaker_knowledge": "blind", "speaker_independent": False})
    {'n': 8, 'relation': 'shared', 'adaptation': 'none'}
    """
    facts = dict(facts)
    known = facts.pop("speaker_knowledge", "")
    relation = Relation.HELD_OUT if facts.pop("speaker_independent", True) else Relation.SHARED
    return {
        **facts,
        "relation": (Relation.UNKNOWN if known == "unknown" else relation).value,
        "adaptation": (Adaptation.TRANSDUCTIVE if "transductive" in known else Adaptation.NONE).value,
    }
