"""Reading a corpus: the object that a corpus file's `read` is given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from .folders import audio_files, matching, nothing_matches
from .utterance import CorpusError, UnlabelledError, Utterance

Item = TypeVar("Item")


@dataclass
class Reading:
    """One pass of a corpus's reader over a folder.

    Attributes:
        root: the folder.
        label_source: which labels to read, where the corpus has several kinds.
        to_the_end: note what is wrong and go on, as `ser-hf doctor` does; otherwise the first fault is raised.
        utterances: those that `read_to_the_end` read.
        files: recordings that the reader was given, read or refused.
        refusals: recording (or row of a table), or None for what is no single one's fault; and the reader's error.
        layouts: files that match each of the reader's patterns; more than one matches where a corpus stands twice.
    """

    root: Path
    label_source: str | None = None
    to_the_end: bool = False
    utterances: list[Utterance] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    refusals: list[tuple[Path | str | None, CorpusError]] = field(default_factory=list)
    layouts: dict[str, list[Path]] = field(default_factory=dict)

    def recordings(self, *layouts: str) -> list[Path]:
        """Return the audio files that match a pattern; see `folders.audio_files`.

        A reading to the end takes a corpus in any state: its commonest layout, one file of each name.
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
        """Yield the recordings that match a pattern with the parts of their names; refuse those of other names.

        Args:
            name: pattern of the file name without its suffix.
            like: a recording of the corpus and its form, such as "a RAVDESS file (03-01-EE-II-SS-RR-AA)".
        """
        for path in self.recordings(*layouts):
            match = name.fullmatch(path.stem)
            if match is None:
                self.refuse(path, f"{path} is not named like {like}")
            else:
                yield path, match

    def refuse(self, item: Path | str, error: str | CorpusError) -> None:
        """Note a recording (or a row of a table) that cannot be read; raise the error unless reading goes to the end.

        Raises:
            CorpusError: the error.
        """
        error = CorpusError(error) if isinstance(error, str) else error
        if not self.to_the_end:
            raise error
        self.refusals.append((item, error))

    def unlabelled(self, path: Path, message: str) -> None:
        """Refuse a recording that no label file names."""
        self.refuse(path, UnlabelledError(message))

    def each(
        self, items: Iterable[Item], make: Callable[[Item], Utterance], name: Callable[[Item], Path | str]
    ) -> Iterator[Utterance]:
        """Yield the utterance that is made of each item; refuse those of which none can be made."""
        for item in items:
            try:
                made = make(item)
            except CorpusError as error:
                self.refuse(name(item), error)
            else:
                yield made
