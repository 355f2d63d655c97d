"""Reading of a corpus: the `Reading` that is passed to `read` of a corpus file."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from .folders import audio_files, matching, nothing_matches
from .utterance import CorpusError, UnlabelledError, Utterance

Item = TypeVar("Item")


def tell(sentence: str) -> None:
    """Say something on stderr, once for all processes of a machine."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(sentence, file=sys.stderr)


@dataclass(frozen=True)
class Translation:
    """Names, words and encoding of own recordings, as their owner states them.

    Attributes:
        columns: our name of a column -> the name in the table, such as {"path": "Datei"}.
        labels: a word of the table -> an emotion, such as {"Freude": "happiness"}; "other" for no emotion.
        encoding: of a text file; None: UTF-8 or UTF-16.
        votes: True if rows of one recording are votes of several raters: its label is the word of most.
        own_classes: True if labels are classes of the owner, such as "stressed", and need not be emotions.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    votes: bool = False
    own_classes: bool = False

    def __bool__(self) -> bool:
        return bool(self.columns or self.labels or self.encoding or self.votes)


@dataclass
class Reading:
    """One pass of a corpus's reader over a folder.

    Attributes:
        root: the folder.
        label_source: the kind of labels to read, if the corpus has several.
        translation: what the owner of a table says of it; only own recordings have one.
        quiet: True to say nothing on stderr of what was understood.
        to_the_end: True to collect faults and continue, as `ser-hf doctor` does; False to raise the first fault.
        utterances: the utterances of `read_to_the_end`.
        files: recordings that the reader was given, read or refused.
        refusals: pairs of a recording (or a row of a table; None if it is not about a single one) and the error.
        layouts: files that match each of the reader's patterns; several patterns match if there are two copies.
    """

    root: Path
    label_source: str | None = None
    translation: Translation = field(default_factory=Translation)
    to_the_end: bool = False
    quiet: bool = False
    utterances: list[Utterance] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    refusals: list[tuple[Path | str | None, CorpusError]] = field(default_factory=list)
    layouts: dict[str, list[Path]] = field(default_factory=dict)

    def recordings(self, *layouts: str) -> list[Path]:
        """Return the audio files that match a pattern; see `folders.audio_files`.

        With `to_the_end`, faults of the tree are accepted: the most frequent layout is used, one file of each name.
        """
        if not self.to_the_end:
            return audio_files(self.root, *layouts)
        if not self.layouts:
            self.layouts = matching(self.root, layouts)
            commonest = max(self.layouts.values(), key=len)
            self.files = list({path.with_suffix(""): path for path in reversed(commonest)}.values())[::-1]
        if not self.files:
            raise nothing_matches(self.root, layouts)
        return self.files

    def named(self, name: re.Pattern, *layouts: str, like: str) -> Iterator[tuple[Path, re.Match]]:
        """Yield the recordings whose names match a pattern, with the match; refuse the others.

        Args:
            name: pattern of the file name without its suffix.
            like: the expected form for the message, such as "a RAVDESS file (03-01-EE-II-SS-RR-AA)".
        """
        for path in self.recordings(*layouts):
            match = name.fullmatch(path.stem)
            if match is None:
                self.refuse(path, f"{path} does not have the name of {like}")
            else:
                yield path, match

    def tell(self, sentence: str) -> None:
        """Say on stderr what was understood, unless the reading is `quiet`."""
        if not self.quiet:
            tell(sentence)

    def refuse(self, item: Path | str, error: str | CorpusError) -> None:
        """Record a recording (or a row of a table) that cannot be read; raise the error unless `to_the_end`.

        A message that does not name the recording gets its path in front.

        Raises:
            CorpusError: the error.
        """
        if isinstance(error, str):
            error = CorpusError(error if Path(item).name in error else f"{item}: {error}")
        if not self.to_the_end:
            raise error
        self.refusals.append((item, error))

    def unlabelled(self, path: Path, message: str) -> None:
        """Refuse a recording that is in no label file."""
        self.refuse(path, UnlabelledError(message))

    def each(
        self, items: Iterable[Item], make: Callable[[Item], Utterance], name: Callable[[Item], Path | str]
    ) -> Iterator[Utterance]:
        """Yield `make(item)` of each item; refuse items for which it raises a `CorpusError`."""
        for item in items:
            try:
                made = make(item)
            except CorpusError as error:
                self.refuse(name(item), error)
            else:
                yield made
