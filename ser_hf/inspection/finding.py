"""The `Finding` of an inspection, used by the doctor and the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One fault, or one fact worth knowing.

    Attributes:
        kind: a fixed word, such as "speaker-in-two-parts" or "truncated".
        severity: "error": it spoils a training or makes a claim false; "warning": it may do so; "note": no fault.
        sentence: one plain sentence with the value or the arithmetic.
        evidence: numbers and a few examples, as JSON types.
        remedy: the advice.
        file: relative to the root, with slashes; None if the finding is not about a single file.
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
