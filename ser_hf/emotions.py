"""The fine emotion vocabulary and the label schemes that merge it into classes.

A corpus maps its own codes to *fine* emotions, once. A `LabelScheme` merges fine emotions into the classes of one
experiment. Neither knows the other: a new corpus touches no scheme, a new scheme touches no corpus.

A corpus file may add emotions and schemes as the literals `NEW_EMOTIONS` and `SCHEMES`; they are read here without
importing the file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

DIMENSIONS = ("valence", "arousal", "dominance")  # in the order of all arrays

# What a corpus file may declare, with an example.
_FORMS = {"NEW_EMOTIONS": '("awe",)', "SCHEMES": '{"made3": ("anger", "awe", "sadness")}'}
_DECLARATION = re.compile(rf"^({'|'.join(_FORMS)})\b", re.MULTILINE)


def _declared(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the literals NEW_EMOTIONS and SCHEMES of the corpus files in a folder, without importing these files.

    Raises:
        ValueError: naming the file, if one of them is no literal or has another form.
    """
    found = {}
    for file in sorted(folder.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        if not _DECLARATION.search(text):
            continue
        try:
            nodes = ast.parse(text).body
        except SyntaxError:  # `get_corpus` says so
            continue
        for node in nodes:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                name = getattr(node.targets[0] if isinstance(node, ast.Assign) else node.target, "id", None)
                if name in _FORMS:
                    found.setdefault(name, {})[file.stem] = _literal(file, name, node.value)
    return found


def _literal(file: Path, name: str, node: ast.expr | None) -> Any:
    """Return the value of NEW_EMOTIONS or SCHEMES."""
    text = "without a value" if node is None else ast.unparse(node)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise ValueError(
            f"{file}: {name} is {text}: write a plain literal, without names or calls, such as {name} = {_FORMS[name]}"
        ) from error
    if name == "NEW_EMOTIONS":
        groups, what = [value], "a tuple of words"
    else:
        groups, what = list(value.values()) if isinstance(value, dict) else [None], "a tuple of words for each scheme"
    # A set has no order, and the order of the classes is that of their ids.
    if not all(isinstance(words, tuple | list) and all(isinstance(word, str) for word in words) for words in groups):
        raise ValueError(f"{file}: {name} is {text}: write {what}, such as {name} = {_FORMS[name]}")
    return value


def _add_schemes(schemes: dict[str, LabelScheme], of_corpora: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """Add the SCHEMES of corpus files to those of the package.

    Raises:
        ValueError: naming the file, for a name that stands for other classes already.
    """
    for corpus, added in of_corpora.items():
        for name, classes in added.items():
            scheme = LabelScheme(name, tuple(classes))
            if name == OWN_SCHEME or schemes.setdefault(name, scheme) != scheme:
                raise ValueError(
                    f"ser_hf/corpora/{corpus}.py: the label scheme {name!r} in SCHEMES has the name of a scheme "
                    f"with other classes: choose another name, such as '{corpus}{len(classes)}'"
                )


_OF_CORPORA = _declared(Path(__file__).parent / "corpora")
EMOTIONS = (
    *sorted(
        {
            "anger", "boredom", "calm", "contempt", "disgust", "excitement", "fear", "frustration", "happiness",
            "neutral", "sadness", "surprise",
        }.union(*_OF_CORPORA.get("NEW_EMOTIONS", {}).values())
    ),
    "other",
)  # fmt: skip
# Words for emotions, in the languages of the corpora and as usual codes. No other word is taken for an emotion, however
# similar: "scared" is written much like "sad".
_WORDS = {
    "anger": (
        "angry ang wut wütend ärger zorn colère rabbia arrabbiato ira enojo złość gniew θυμός "
        "خشم عصبانیت غصہ রাগ 生气 愤怒"
    ),
    "boredom": "bored langeweile gelangweilt ennui noia aburrimiento nuda πλήξη 无聊",
    "calm": "ruhe ruhig gelassen calme calma spokój ηρεμία 平静",
    "contempt": "contemptuous verachtung mépris disprezzo desprecio pogarda 轻蔑",
    "disgust": "disgusted dis ekel dégoût disgusto asco wstręt obrzydzenie αηδία انزجار ঘৃণা 厌恶",
    "excitement": "excited exc aufregung aufgeregt excitation eccitazione",
    "fear": (
        "fearful fea scared afraid frightened angst furcht ängstlich peur paura miedo strach lęk φόβος "
        "ترس خوف ভয় 恐惧 害怕"
    ),
    "frustration": "frustrated fru",
    "happiness": (
        "happy hap joy joyful freude fröhlich glücklich joie gioia felicità alegría felicidad radość χαρά "
        "شادی خوشی আনন্দ সুখ 高兴 快乐 开心"
    ),
    "neutral": "neu neutre neutrale neutralità neutro neutralny ουδέτερο خنثی নিরপেক্ষ 中性 中立",
    "sadness": "sad trauer traurig traurigkeit tristesse tristezza tristeza smutek λύπη غم اداسی দুঃখ 悲伤 难过",
    "surprise": (
        "surprised sur überraschung überrascht sorpresa zaskoczenie zdziwienie έκπληξη تعجب حیرت বিস্ময় 惊讶 惊喜"
    ),
}
SYNONYMS = {word: emotion for emotion, words in _WORDS.items() for word in words.split()}


OWN_SCHEME = "own"  # the classes are the words of the owner of the recordings


@dataclass(frozen=True)
class LabelScheme:
    """The fine emotions that are kept, and the class that each becomes; all others are dropped and counted.

    The classes of the scheme `own` may be any words.

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
        if unknown and self.name != OWN_SCHEME:
            raise ValueError(
                f"scheme {self.name!r} has the unknown emotions {', '.join(sorted(unknown))}: use those of "
                "ser_hf.emotions, or add them to NEW_EMOTIONS of the corpus"
            )
        if strange := set(self.merges.values()) - set(self.classes):
            raise ValueError(
                f"scheme {self.name!r} merges into {', '.join(sorted(strange))}, which is not a class of it: add the "
                "class, or merge into another"
            )

    def to_class(self, emotion: str) -> str | None:
        """Return the class of a fine emotion, or None if this scheme drops it."""
        merged = self.merges.get(emotion, emotion)
        return merged if merged in self.classes else None


_SIX = ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
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
        LabelScheme("five", ("anger", "fear", "happiness", "neutral", "sadness")),
        # Excitement counts as happiness: the usual 5531 utterances of IEMOCAP.
        LabelScheme(
            "four", ("anger", "happiness", "neutral", "sadness"), {"excitement": "happiness", "calm": "neutral"}
        ),
    )
}
_add_schemes(SCHEMES, _OF_CORPORA.get("SCHEMES", {}))


@dataclass(frozen=True)
class EvaluationMap:
    """The true emotions for which a predicted emotion counts as correct too.

    It serves to evaluate a model on emotions that it was not trained for. The model itself is not changed.

    Attributes:
        counts_as: {predicted emotion: emotions that it is right for, besides itself}.

    >>> EvaluationMap.parse(["boredom=neutral|calm,surprise=fear"]).counts_as
    {'boredom': ('calm', 'neutral'), 'surprise': ('fear',)}
    """

    counts_as: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, words: Sequence[str]) -> EvaluationMap:
        """Parse words of a command line, such as `boredom=neutral|calm`; a word may hold several, separated by commas.

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
                raise ValueError(f"evaluation_map: {predicted} is given twice; join its emotions with |")
            counts_as[predicted] = tuple(sorted({*true.split("|")} - {predicted}))
        return cls(dict(sorted(counts_as.items())))

    def within(self, classes: Sequence[str]) -> EvaluationMap:
        """Return the map restricted to these classes.

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
        """Return the map in words.

        >>> print(EvaluationMap.parse(["boredom=neutral|calm"]))
        boredom counts as calm or neutral too
        """
        return "; ".join(f"{predicted} counts as {' or '.join(true)} too" for predicted, true in self.counts_as.items())


def get_scheme(name: str) -> LabelScheme:
    """Return the label scheme of that name.

    Raises:
        ValueError: naming the nearest scheme, if there is none of that name.
    """
    if name == OWN_SCHEME:
        raise ValueError("the label scheme 'own' is only for your own recordings: pass the name of another scheme")
    if name not in SCHEMES:
        raise ValueError(unknown_name("label scheme", name, [*SCHEMES, OWN_SCHEME]))
    return SCHEMES[name]


def unknown_name(kind: str, name: str, known, also: Sequence[str] = ()) -> str:
    """Return a sentence for a misspelt name: the name, the nearest known name, all known names.

    Args:
        also: names that may have been meant, and are too many to be listed.

    >>> unknown_name("corpus", "ravdes", ["emodb", "ravdess"])
    "unknown corpus 'ravdes'; did you mean 'ravdess'? (known: emodb, ravdess)"
    """
    nearest = get_close_matches(str(name), [*known, *also], n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {kind} {name!r}{hint} (known: {', '.join(sorted(known))})"
