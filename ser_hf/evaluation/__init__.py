"""Evaluation of classifiers from prediction tables."""
