"""Answers of a classifier or a stock pipeline as dictionaries, for comparisons."""


def by_label(answer):
    """`[{"label", "score"}, ...]` -> `{label: score}`."""
    return {entry["label"]: entry["score"] for entry in answer}
