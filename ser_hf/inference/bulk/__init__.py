"""Answers for any number of recordings as a table on disk: in constant memory, and resumable after whatever ends it."""

from .journal import UNFINISHED, BulkError
from .recordings import Named, Recordings
from .table import SUFFIXES, Counts, predict_to_table

__all__ = ["SUFFIXES", "UNFINISHED", "BulkError", "Counts", "Named", "Recordings", "predict_to_table"]
