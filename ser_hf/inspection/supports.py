"""The audit of supports: can the test set of a published confusion matrix consist of whole speakers?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from ..corpora import CorpusError, CorpusSpec, read_utterances
from ..emotions import LabelScheme, unknown_name
from ..sources.completeness import check_complete
from .finding import Finding

CLAIMS = ("speaker-independent", "held-out", "unspecified")
_MOST_STATES = 1_000_000
_TEST_SHARES = (10, 15, 20, 25, 30, 33, 40, 50)  # per cent; usual test shares in papers


class SupportsError(ValueError):
    """The error for supports that cannot be read, or a corpus whose counts are unknown."""


def parse_supports(text: str, scheme: LabelScheme) -> dict[str, int]:
    """Parse the numbers of utterances of each class of a test set, as in "anger=39,neutral=20".

    Raises:
        SupportsError: for numbers without class names, an unknown or repeated class, or a value that is not a number.
    """
    supports = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, equals, number = (piece.strip() for piece in word.partition("="))
        if not equals:
            raise SupportsError(
                f"supports: {word!r} has no class name: write {scheme.classes[0]}=39,{scheme.classes[1]}=20 and so on"
            )
        if name not in scheme.classes:
            raise SupportsError(f"supports: {unknown_name(f'class of {scheme.name}', name, scheme.classes)}")
        if name in supports:
            raise SupportsError(f"supports: {name} is given twice")
        if not number.isdecimal():
            raise SupportsError(f"supports: {name}={number} is not a number of utterances")
        supports[name] = int(number)
    if not any(supports.values()):
        raise SupportsError(f"supports: {text!r} has no utterances; write {scheme.classes[0]}=39 and so on")
    return supports


def counts_by_speaker(spec: CorpusSpec, scheme: LabelScheme, root=None) -> dict[str, Counter]:
    """Return the number of utterances of every speaker in each class: of the release, or of the files under a root.

    Raises:
        SupportsError: if the counts of the release are unknown and there is no root, or if speakers are unknown.
        CorpusError: if the release under the root is incomplete: published supports are counts of the whole release.
    """
    counts: dict[str, Counter] = {}
    if root is not None:
        utterances = list(read_utterances(spec, root, next(iter(spec.label_sources), None)))
        if lack := check_complete(spec, root, Counter(one.speaker for one in utterances), allow_partial=True):
            raise CorpusError(f"{lack} under {root}: supports need the whole release; complete it")
        for one in utterances:
            if one.speaker is None:
                raise SupportsError(f"{one.path} has no speaker: supports need the speakers of {spec.name}")
            if (name := scheme.to_class(one.emotion)) is not None:
                counts.setdefault(one.speaker, Counter())[name] += 1
    elif spec.emotions_per_speaker:
        for number, speaker in enumerate(spec.speakers):
            counts[speaker] = Counter()
            for emotion, each in spec.emotions_per_speaker.items():
                if (name := scheme.to_class(emotion)) is not None:
                    counts[speaker][name] += each if isinstance(each, int) else each[number]
    else:
        raise SupportsError(f"the counts of emotions by speaker are unknown for {spec.name}: pass its folder as --root")
    if not counts:
        raise CorpusError(f"scheme {scheme.name!r} drops all utterances of {spec.name}: use another scheme")
    return counts


def audit_supports(
    supports: Mapping[str, int], counts: Mapping[str, Mapping[str, int]], *, corpus: str, scheme: str, claim: str
) -> list[Finding]:
    """Return the faults of a test set with these numbers of utterances per class, or a note that it is possible.

    Args:
        supports: utterances per class; other classes are ignored.
        counts: result of `counts_by_speaker`.
        claim: "speaker-independent": whole speakers, and not all of them; "held-out": not the whole corpus;
            "unspecified": any part of the corpus.
    """
    if claim not in CLAIMS:
        raise SupportsError(unknown_name("claim", claim, CLAIMS))
    total = Counter()
    for each in counts.values():
        total.update(each)
    evidence = {"supports": dict(supports), "corpus": {name: total[name] for name in supports}, "claim": claim}
    if over := [name for name in supports if supports[name] > total[name]]:
        shown = _join([f"{name}={supports[name]} is more than the {total[name]}" for name in over])
        return [
            Finding(
                "supports-too-large", "error",
                f"{shown} utterances that {corpus} has under the scheme {scheme}{_product(over, counts)}, so this test "
                "set has copies, or utterances from elsewhere",
                evidence, "count the test set again: oversample after the split, and only the training part",
            )
        ]  # fmt: skip
    if all(supports[name] == total[name] for name in supports):
        severity = "note" if claim == "unspecified" else "error"
        shown = " + ".join(str(number) for number in supports.values())
        whole = all(supports.get(name) == number for name, number in total.items())
        of = "" if whole else f" of {_join(list(supports))}"
        what = "this test set is the whole corpus" if whole else "this test set has all of them"
        left = "to train on" if whole else f"to train {'it' if len(supports) == 1 else 'them'} on"
        return [
            Finding(
                "test-is-corpus", severity,
                f"{shown} = {sum(supports.values())} utterances are all{of} that {corpus} has under the scheme "
                f"{scheme}: "
                + (what if severity == "note" else f"nothing is left {left}, so a single test set was not {claim}"),
                evidence, "test on a part that was not trained on; if folds are pooled, say so and report each fold",
            )
        ]  # fmt: skip
    if claim != "speaker-independent":
        return [Finding("possible", "note", f"{corpus} has a part with these supports", evidence, "")]
    return _whole_speakers(supports, counts, total, corpus, evidence)


def _whole_speakers(supports, counts, total, corpus: str, evidence: dict) -> list[Finding]:
    alone = {name: _reachable({name: supports[name]}, counts) for name in supports}
    impossible = [name for name, sizes in alone.items() if sizes is not None and not sizes]
    if impossible:
        name = impossible[0]
        each = {one[name] for one in counts.values()}
        if len(each) == 1:
            (size,) = each
            reason = (
                f"{name}={supports[name]} is not a multiple of {size}: every {corpus} speaker has {size} utterances"
            )
        else:
            reason = (
                f"{name}={supports[name]} is not a sum of {', '.join(str(one[name]) for one in counts.values())}, the "
                f"utterances that the {len(counts)} speakers of {corpus} have"
            )
        others = _join([f"{other}={supports[other]}" for other in impossible[1:]])
        sentence = (
            f"{reason} of {name}, so no set of whole speakers gives it{f' (nor {others})' if others else ''}"
            f"{_random_cut(supports, total)}"
        )
        return [Finding("no-whole-speakers", "error", sentence, evidence, _REMEDY)]
    sizes = _reachable(supports, counts)
    if sizes is None or any(one is None for one in alone.values()):
        return [Finding("not-decided", "note", f"{corpus} has too many speakers to try all sets of them", evidence, "")]
    if not sizes:
        sentence = (
            f"each of these supports is a sum over some speakers of {corpus}, but no single set of its {len(counts)} "
            f"speakers gives all supports{_random_cut(supports, total)}"
        )
        return [Finding("no-whole-speakers", "error", sentence, evidence, _REMEDY)]
    shown = str(min(sizes)) if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}"
    sentence = f"these supports fit a test set of {shown} of {len(counts)} speakers of {corpus}"
    return [Finding("possible", "note", sentence, evidence | {"speakers": sorted(sizes)}, "")]


_REMEDY = "divide by speakers (`ser-hf corpora` names the protocols), or call the test set a random part of utterances"


def _reachable(supports: Mapping[str, int], counts: Mapping[str, Mapping[str, int]]) -> set[int] | None:
    """Return the possible numbers of whole speakers with exactly these supports; None if there are too many sets."""
    names, target = list(supports), tuple(supports.values())
    states: dict[tuple[int, ...], set[int]] = {(0,) * len(names): {0}}
    # Speakers with equal counts are interchangeable: 24 equal ones are 25 cases, not 2 to the 24th.
    for vector, alike in Counter(tuple(one[name] for name in names) for one in counts.values()).items():
        following: dict[tuple[int, ...], set[int]] = {}
        for state, sizes in states.items():
            for taken in range(alike + 1):
                reached = tuple(have + taken * more for have, more in zip(state, vector, strict=True))
                if any(have > most for have, most in zip(reached, target, strict=True)):
                    break
                following.setdefault(reached, set()).update(size + taken for size in sizes)
        states = following
        if len(states) > _MOST_STATES:
            return None
    return states.get(target, set())


def _random_cut(supports: Mapping[str, int], total: Mapping[str, int]) -> str:
    """Return a clause about a stratified random cut if such a cut gives every support; else an empty string."""
    for share in _TEST_SHARES:
        kept = {name: total[name] * (100 - share) // 100 for name in supports}
        if all(supports[name] == total[name] - kept[name] for name in supports):
            name = max(supports, key=supports.get)
            return (
                f"; {supports[name]} = {total[name]} - floor({1 - share / 100:g} x {total[name]}) is what a random "
                f"{100 - share}/{share} cut of each emotion gives"
            )
        if all(
            supports[name] in (math.ceil(total[name] * share / 100), total[name] * share // 100) for name in supports
        ):
            return f"; each is {share} % of its emotion, as a random {100 - share}/{share} cut gives"
    return ""


def _product(names: list[str], counts: Mapping[str, Mapping[str, int]]) -> str:
    each = [{one[name] for one in counts.values()} for name in names]
    if any(len(sizes) > 1 for sizes in each):
        return ""
    return f" ({len(counts)} speakers with {_join([str(*sizes) for sizes in each])} each)"


def _join(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
