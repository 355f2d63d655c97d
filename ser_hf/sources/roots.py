"""The folder of a corpus on this disk."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .spec import CorpusSpec
from .utterance import CorpusError

CORPORA_VARIABLE = "SER_HF_CORPORA"


def find_root(spec: CorpusSpec, root: str | os.PathLike | None = None) -> Path:
    """Return the folder of a corpus: the given root, else its folder under `$SER_HF_CORPORA`.

    Procedural corpora are generated in the cache when they are first used.

    Raises:
        CorpusError: if there is no such folder.
    """
    if root is None and spec.generate is not None:
        return _generated_root(spec)
    if root is None:
        parent = os.environ.get(CORPORA_VARIABLE)
        if parent is None:
            raise CorpusError(
                f"{spec.name} was not found: pass its folder as root, or set {CORPORA_VARIABLE} to the folder that "
                f"holds it. {how_to_get(spec)}"
            )
        root = folder_below(Path(parent), spec.name)
    root = Path(root).expanduser()
    if spec.is_own and root.is_file():  # its table
        return root
    if spec.is_own and not root.is_dir():
        raise CorpusError(f"there is no table and no folder {root}: write the place of your recordings")
    if not root.is_dir():
        raise CorpusError(f"there is no folder {root}, where {spec.name} should be. {how_to_get(spec)}")
    return root


def how_to_get(spec: CorpusSpec) -> str:
    """Return a sentence or two on how to get a corpus."""
    if spec.downloads:
        return f"`ser-hf corpora download {spec.name}` fetches it from {spec.source}"
    return spec.access or f"It is published at {spec.source}"


def folder_below(parent: Path, name: str) -> Path:
    """Return the folder of a corpus below the folder of all corpora: `crema_d`, or `crema-d` as in releases."""
    dashed = parent / name.replace("_", "-")
    return dashed if dashed.is_dir() else parent / name


def _generated_root(spec: CorpusSpec) -> Path:
    """Return the cached recordings of a procedural corpus. They are moved there when complete."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ser_hf"
    root = cache / f"{spec.name}-{spec.version}"
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        # Not named after the process: leftovers of a killed process must not block another one with the same number.
        with tempfile.TemporaryDirectory(prefix=f"{root.name}.", dir=cache) as folder:
            unfinished = Path(folder, root.name)  # inside, because other users may not read the temporary folder itself
            unfinished.mkdir()
            spec.generate(unfinished)
            try:
                unfinished.rename(root)
            except OSError:  # another process was first; both generate the same recordings
                if not root.is_dir():
                    raise
    return root
