"""Evaluation of classifiers from prediction tables. Names are imported on first use."""

from importlib import import_module

_HOMES = {
    "ForgettingTable": "comparisons.forgetting",
    "PredictionTable": "tables",
    "TableError": "tables",
    "TableMetadata": "tables",
    "brier_score": "chapters.calibration",
    "confusion_matrix": "metrics",
    "expected_calibration_error": "chapters.calibration",
    "macro_f1": "metrics",
    "speaker_interval": "intervals",
    "unweighted_average_recall": "metrics",
    "weighted_average_recall": "metrics",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'ser_hf.evaluation' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__():
    return [*globals(), *__all__]
