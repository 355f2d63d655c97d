"""ser_hf: speech emotion recognition on the Hugging Face stack.

    from ser_hf import load_corpus, split
    parts = split(load_corpus("ravdess", "~/corpora/ravdess"), "ravdess/si6", fold=0)

Names are resolved on first use: `import ser_hf` loads neither torch nor transformers.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "list_corpora": "corpora",
    "load_corpus": "data.dataset",
    "build_dataset": "data.dataset",
    "protocols": "splits.split",
    "split": "splits.split",
    "Classifier": "inference.classifier",
}

__all__ = ["Classifier", "build_dataset", "list_corpora", "load_corpus", "protocols", "split"]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'ser_hf' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__():
    return [*globals(), *__all__]
