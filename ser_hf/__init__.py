"""ser_hf: speech emotion recognition on the Hugging Face stack.

    from ser_hf import load_corpus, split
    parts = split(load_corpus("ravdess", "~/corpora/ravdess"), "ravdess/si6", fold=0)

The public names and their modules are listed in `__init__.pyi`, which type checkers and editors read too. A name is
imported when it is first used: `import ser_hf` loads neither torch nor transformers.
"""

from typing import Any

import lazy_loader

from .extras import naming_extra

__version__ = "0.1.0"

_imported, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    with naming_extra(f"ser_hf.{name}"):
        return _imported(name)
