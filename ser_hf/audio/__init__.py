"""Sound files: path, bytes or array -> mono float32 at a wanted rate, whole and finite."""

from .reading import SHORTEST_WINDOW_SECONDS, AudioInfo, audio_info, read_audio, read_windows, sample_hash
from .recording import NAMELESS, SILENT_PEAK, AudioError, Recording, Source, TruncatedAudioError

__all__ = [
    "NAMELESS",
    "SHORTEST_WINDOW_SECONDS",
    "SILENT_PEAK",
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
