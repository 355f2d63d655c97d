"""Pseudonyms of people: a published ledger knows a speaker again, but does not name anybody.

Names of published corpora (`emodb-03`) stay as they are: everybody knows them. Others are hashed with a salt of the
model, so that no list of hashes made for another model helps; and slowly, so that guessing names is slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from hashlib import scrypt

from ..corpora import is_published

MARK = "~"  # begins a pseudonym


def is_public(name: str) -> bool:
    """True for a speaker or an utterance of a published corpus: `emodb-03`, `emodb/03a01Wa`.

    >>> is_public("emodb-03"), is_public("emodb/03a01Wa"), is_public("calls-Anna"), is_public("folder/Anna 1")
    (True, True, False, False)
    """
    return is_published(_corpus_of(name))


def pseudonym(name: str, salt: str) -> str:
    """Return the name that others see of a speaker or an utterance; the name itself if it is public.

    >>> pseudonym("emodb-03", "1f"), pseudonym("calls-Anna", "1f") == pseudonym("calls-Anna", "2f")
    ('emodb-03', False)
    """
    return name if is_public(name) else _hashed(name, salt)


def also_under_pseudonyms(names: Iterable[str], salt: str) -> dict[str, str]:
    """Return the true name of each name and of its pseudonym, {name or pseudonym: name}; only names without a salt."""
    names = list(names)
    return {name: name for name in names} | ({pseudonym(name, salt): name for name in names} if salt else {})


@cache
def _hashed(name: str, salt: str) -> str:
    corpus = _corpus_of(name)
    digest = scrypt(name.encode(), salt=bytes.fromhex(salt), n=2**12, r=8, p=1, dklen=8).hex()
    return f"{corpus}{name[len(corpus)]}{MARK}{digest}"


def _corpus_of(name: str) -> str:
    """Return the corpus in front of the name of a speaker or an utterance: letters, digits, `_` and `.`."""
    return re.match(r"[\w.]*", name)[0]
