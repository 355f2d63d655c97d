"""ser_hf: speech emotion recognition on the Hugging Face stack.

    from ser_hf import load_corpus, split
    parts = split(load_corpus("ravdess", "~/corpora/ravdess"), "ravdess/si6", fold=0)

The public names and their modules are listed in `__init__.pyi`, which type checkers and editors read too. A name is
imported when it is first used: `import ser_hf` loads neither torch nor transformers.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
