"""Sound files: path, bytes or array -> mono float32 at a wanted rate, whole and finite."""

from .reading import AudioInfo, audio_info, read_audio, read_windows, sample_hash
from .recording import NAMELESS, AudioError, Recording, Source, TruncatedAudioError

__all__ = [
    "NAMELESS",
    "AudioError",
    "AudioInfo",
    "Recording",
    "Source",
    "TruncatedAudioError",
    "audio_info",
    "read_audio",
    "read_windows",
    "sample_hash",
]
