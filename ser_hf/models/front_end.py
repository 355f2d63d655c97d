"""The log-mel extractor of the families that read spectrograms."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..features.feature_extraction_log_mel import LogMelFeatureExtractor


def build_front_end(settings: Mapping[str, Any]) -> LogMelFeatureExtractor:
    """Return a log-mel extractor with these settings.

    Raises:
        ValueError: for an unknown setting, which the message names.
    """
    known = [name for name in inspect.signature(LogMelFeatureExtractor).parameters if name != "kwargs"]
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(f"the log-mel extractor has no setting {unknown[0]!r} (known: {', '.join(known)})")
    return LogMelFeatureExtractor(**settings)
