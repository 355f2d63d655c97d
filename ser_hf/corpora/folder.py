"""Your own recordings: a table (file, emotion and whatever else you know), or one sub-folder per emotion.

The table is a CSV in any dialect, an Excel file, Parquet or JSON Lines. WAV, FLAC, MP3, Ogg (Vorbis and Opus), AIFF, AU
and other formats of libsndfile are read.
"""

from __future__ import annotations

from ..sources.own_recordings import read
from ..sources.spec import CorpusSpec

SPEC = CorpusSpec(
    name="folder",
    read=read,
    title="Your own recordings: a table with path and emotion, or one sub-folder per emotion",
    scheme="five",
    language=None,
    license="yours",
    source="a folder of yours",
    access="These are recordings of yours: pass the folder that holds them as root.",
    examples=("anger/one.wav", "happy/two.wav", "sadness/three.wav", "neutral/four.wav", "fear/five.wav"),
    is_own=True,
)
