"""One thing that an inspection found: the same shape from the doctor and from the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        kind: a fixed word, such as "speaker-in-two-parts" or "truncated".
        severity: "error": it spoils a training, or a figure does not mean what is claimed; "warning": it may; "note":
            nothing is wrong.
        sentence: one plain sentence with the value or the arithmetic.
        evidence: numbers and a few examples, ready for JSON.
        remedy: what to do.
        file: relative to the root, with slashes; None if it is no single file's fault.
    """

    kind: str
    severity: str
    sentence: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    remedy: str = ""
    file: str | None = None

    @property
    def counts(self) -> bool:
        """True unless it is a note."""
        return self.severity != "note"
