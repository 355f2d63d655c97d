"""Synthetic spontaneous emotional speech: subdued, noisy, reverberant, by other speakers than `synthetic`."""

from __future__ import annotations

from .synthetic import describe

SPEC = describe("synthetic_spontaneous", "spontaneous", "Synthetic spontaneous emotional speech")
