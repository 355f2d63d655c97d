"""The fine emotion vocabulary and the label schemes that merge it into classes.

A corpus maps its own codes to *fine* emotions, once. A `LabelScheme` merges fine emotions into the classes of one
experiment. Neither knows the other: a new corpus touches no scheme, a new scheme touches no corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True)
class EvaluationMap:
    """What a predicted emotion counts as besides itself, when a model is judged on emotions it was not trained for.

    A prediction that counts as the true emotion is right; any other stays the wrong prediction that it is. The model is
    left alone: its head answers with the emotions it knows.

    Attributes:
        counts_as: {predicted emotion: emotions that it is right for, besides itself}.

    >>> EvaluationMap.parse(["boredom=neutral|calm,surprise=fear"]).counts_as
    {'boredom': ('calm', 'neutral'), 'surprise': ('fear',)}
    """

    counts_as: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, words: Sequence[str]) -> EvaluationMap:
        """From words of a command line, such as `boredom=neutral|calm`, several in one word with commas between them.

        Raises:
            ValueError: for a word of another form, an unknown emotion, or one that is named twice.
        """
        counts_as = {}
        for word in (word for argument in words for word in argument.split(",")):
            predicted, is_pair, true = word.partition("=")
            if not is_pair:
                raise ValueError(f"evaluation_map: {word!r} is not of the form boredom=neutral|calm")
            for name in (predicted, *true.split("|")):
                if name not in EMOTIONS:
                    raise ValueError(f"evaluation_map: {unknown_name('emotion', name, EMOTIONS)}")
            if predicted in counts_as:
                raise ValueError(f"evaluation_map: {predicted} stands twice; join what it counts as with |")
            counts_as[predicted] = tuple(sorted({*true.split("|")} - {predicted}))
        return cls(dict(sorted(counts_as.items())))

    def within(self, classes: Sequence[str]) -> EvaluationMap:
        """What the map says of these classes alone.

        >>> EvaluationMap.parse(["boredom=neutral|calm", "calm=boredom"]).within(["boredom", "neutral"]).counts_as
        {'boredom': ('neutral',)}
        """
        kept = {
            predicted: tuple(name for name in true if name in classes)
            for predicted, true in self.counts_as.items()
            if predicted in classes
        }
        return EvaluationMap({predicted: true for predicted, true in kept.items() if true})

    def __str__(self) -> str:
        """As people read it.

        >>> print(EvaluationMap.parse(["boredom=neutral|calm"]))
        boredom counts as calm or neutral too
        """
        return "; ".join(f"{predicted} counts as {' or '.join(true)} too" for predicted, true in self.counts_as.items())


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
