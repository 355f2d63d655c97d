"""The fine emotion vocabulary and the label schemes that merge it into classes.

A corpus maps its own codes to *fine* emotions, once. A `LabelScheme` merges fine emotions into the classes of one
experiment. Neither knows the other: a new corpus touches no scheme, a new scheme touches no corpus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

EMOTIONS = (
    "anger", "anxiety", "apology", "assertiveness", "boredom", "calm", "concern", "contempt", "disgust",
    "encouragement", "excitement", "fear", "frustration", "happiness", "neutral", "sadness", "surprise", "other",
)  # fmt: skip


@dataclass(frozen=True)
class LabelScheme:
    """Which fine emotions are kept, and which class each becomes; everything else is dropped and counted.

    >>> SCHEMES["four"].classes
    ('anger', 'happiness', 'neutral', 'sadness')
    >>> SCHEMES["four"].to_class("calm"), SCHEMES["four"].to_class("disgust")
    ('neutral', None)
    """

    name: str
    classes: tuple[str, ...]
    merges: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        unknown = (set(self.classes) | set(self.merges)) - set(EMOTIONS)
        if unknown or not set(self.merges.values()) <= set(self.classes):
            raise ValueError(f"scheme {self.name!r}: unknown emotions {sorted(unknown)} or merges into no class")

    def to_class(self, emotion: str) -> str | None:
        """The class of a fine emotion, or None if this scheme drops it."""
        merged = self.merges.get(emotion, emotion)
        return merged if merged in self.classes else None


_SIX = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
_JL_PRIMARY = ("anger", "excitement", "happiness", "neutral", "sadness")
_JL_SECONDARY = ("anxiety", "apology", "assertiveness", "concern", "encouragement")
SCHEMES = {
    scheme.name: scheme
    for scheme in (
        LabelScheme("ravdess8", ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")),
        LabelScheme("emodb7", ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")),
        LabelScheme("nemo6", ("anger", "fear", "happiness", "neutral", "sadness", "surprise")),
        LabelScheme("crema6", _SIX),
        LabelScheme("crema6_merged", _SIX, {"calm": "neutral"}),
        # Ekman's six and neutral: TESS, SAVEE, MELD, EMOVO, CaFE, SUBESCO.
        LabelScheme("seven", (*_SIX, "surprise")),
        LabelScheme("msp8", ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")),
        LabelScheme("aesdd5", ("anger", "disgust", "fear", "happiness", "sadness")),
        LabelScheme("esd5", ("anger", "happiness", "neutral", "sadness", "surprise")),
        LabelScheme("jl5", _JL_PRIMARY),
        LabelScheme("jl10", tuple(sorted((*_JL_PRIMARY, *_JL_SECONDARY)))),
        LabelScheme("five", ("anger", "fear", "happiness", "neutral", "sadness")),
        # Excitement counts as happiness: the usual 5531 utterances of IEMOCAP.
        LabelScheme(
            "four", ("anger", "happiness", "neutral", "sadness"), {"excitement": "happiness", "calm": "neutral"}
        ),
    )
}


def get_scheme(name: str) -> LabelScheme:
    """The label scheme of that name.

    Raises:
        ValueError: naming the nearest scheme, if there is none of that name.
    """
    if name not in SCHEMES:
        raise ValueError(unknown_name("label scheme", name, SCHEMES))
    return SCHEMES[name]


def unknown_name(kind: str, name: str, known) -> str:
    """One sentence for a misspelt name: what it was, the nearest known name, all known names.

    >>> unknown_name("corpus", "ravdes", ["emodb", "ravdess"])
    "unknown corpus 'ravdes'; did you mean 'ravdess'? (known: emodb, ravdess)"
    """
    nearest = get_close_matches(str(name), list(known), n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {kind} {name!r}{hint} (known: {', '.join(sorted(known))})"
