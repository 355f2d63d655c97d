"""Worse conditions to test a model under: noise, rooms, telephones, codecs, level, clipping.

A condition is the name of an effect with a value in its unit, such as `noise:10`; `STANDARD` is the set that a
robustness test runs. Its random numbers follow from the utterance's id: a test set is disturbed alike on every machine.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from ..emotions import unknown_name
from .effects import WAVEFORM_EFFECTS

STANDARD = (
    "noise:20", "noise:10", "noise:0", "reverb:0.3", "reverb:1", "telephone", "gsm", "mp3:16", "level:-30", "clip:10",
)  # fmt: skip
# The effects that need no folder of recordings, and after which the speaker still sounds like the same person.
DISTURBANCES = {
    name: WAVEFORM_EFFECTS[name] for name in ("noise", "reverb", "telephone", "gsm", "mp3", "level", "clip")
}


def parse_condition(condition: str) -> tuple[str, float | None]:
    """Return kind and value of a condition.

    Raises:
        ValueError: if there is no such kind, or its value is missing, no number, out of range or one too many.

    >>> parse_condition("noise:10"), parse_condition("gsm")
    (('noise', 10.0), ('gsm', None))
    """
    kind, _, text = condition.replace("=", ":").partition(":")
    if kind not in DISTURBANCES:
        raise ValueError(unknown_name("condition", kind, DISTURBANCES))
    found = DISTURBANCES[kind]
    if found.unit is None:
        if text:
            raise ValueError(f"condition {condition!r}: {kind} takes no value")
        return kind, None
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not found.least <= value <= found.most:
        raise ValueError(
            f"condition {condition!r}: {kind} takes a number from {found.least:g} to {found.most:g} ({found.unit}), "
            f"as in {next(one for one in STANDARD if one.startswith(kind))}"
        )
    return kind, value


def canonical_condition(condition: str) -> str:
    """Return the canonical form of a condition. Errors as `parse_condition`.

    >>> canonical_condition("noise:10.0")
    'noise:10'
    """
    kind, value = parse_condition(condition)
    return kind if value is None else f"{kind}:{value:g}"


def disturb_waveform(waveform: np.ndarray, condition: str, utterance_id: str) -> np.ndarray:
    """Return one utterance at `SAMPLING_RATE` under a condition: float32, the same length. Silence is not changed."""
    kind, value = parse_condition(condition)
    if not waveform.any():
        return waveform
    digest = blake2b(f"{canonical_condition(condition)} {utterance_id}".encode(), digest_size=8).digest()
    random = np.random.default_rng(int.from_bytes(digest, "little"))
    return DISTURBANCES[kind].function(waveform.astype(np.float64), value, random).astype(np.float32)
