"""Another process that holds the lock of a folder."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_HOLD = """
import sys
from ser_hf.files import FolderLock
lock = FolderLock(*sys.argv[1:])
print("held", flush=True)
input()
"""


@contextmanager
def held_elsewhere(folder, file=None) -> Iterator[subprocess.Popen]:
    """Another process writes into a folder; it is killed at the end, with the lock in its hands."""
    words = [sys.executable, "-c", _HOLD, str(folder), *([] if file is None else [str(file)])]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()
