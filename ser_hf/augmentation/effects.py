"""Effects on waveforms: noise, rooms, telephones, codecs, level, clipping, pitch and speed.

Each effect is a function of a waveform (samples,) at `SAMPLING_RATE`, of a value in the effect's unit, and of the
random generator to draw from. `WAVEFORM_EFFECTS` lists them with unit and range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import librosa
import numpy as np
import soundfile
import soxr
from scipy.signal import butter, fftconvolve, sosfilt

SAMPLING_RATE = 16_000  # Hz; no model of this package reads more
# Samples of a phase vocoder's window: 64 ms hold several periods of a low voice and smear less than librosa's 128 ms.
# librosa, since torchaudio.functional.pitch_shift takes hundreds of times as long: it resamples with a filter bank as
# large as the two rates, most of which have no common divisor (benchmarks/pitch_against_torchaudio.py).
VOCODER_WINDOW = 1024


@dataclass(frozen=True)
class Effect:
    """One effect.

    Attributes:
        function: of the waveform, the value (None without a unit), and the random generator; with `of_recordings`, also
            of a recording.
        unit: of the value; None if the effect takes none.
        least: smallest value allowed.
        most: largest value allowed.
        of_recordings: whether the function takes a recording, from a folder of noises or impulse responses.
    """

    function: Callable[..., np.ndarray]
    unit: str | None = None
    least: float | None = None
    most: float | None = None
    of_recordings: bool = False


def add_noise(waveform: np.ndarray, snr_db: float, random: np.random.Generator) -> np.ndarray:
    """Add white Gaussian noise, `snr_db` dB below the mean power of the utterance."""
    return mix_at_snr(waveform, random.standard_normal(len(waveform)), snr_db)


def mix_at_snr(waveform: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add noise of the same length, `snr_db` dB below the mean power of the waveform. Silent noise adds nothing."""
    power = _power(noise)
    return waveform if power == 0 else waveform + noise * np.sqrt(_power(waveform) / 10 ** (snr_db / 10) / power)


def reverberate(waveform: np.ndarray, t60_seconds: float, random: np.random.Generator) -> np.ndarray:
    """Add the sound of a room that falls by 60 dB in `t60_seconds`; length and power stay.

    A direct path and exponentially decaying Gaussian noise of the same energy: Polack (1988), "La transmission de
    l'énergie sonore dans les salles".
    """
    seconds = np.arange(int(t60_seconds * SAMPLING_RATE)) / SAMPLING_RATE
    tail = random.standard_normal(len(seconds)) * 10 ** (-3 * seconds / t60_seconds)
    tail /= np.sqrt(np.sum(tail**2))
    return play_in_room(waveform, np.concatenate([[1.0], tail]))


def play_in_room(waveform: np.ndarray, impulse_response: np.ndarray) -> np.ndarray:
    """Convolve with an impulse response, from its direct path on; length and power stay."""
    direct = np.abs(impulse_response).argmax()  # the time that sound took to the microphone would be a delay
    played = fftconvolve(waveform, impulse_response[direct:])[: len(waveform)]
    return played * np.sqrt(_power(waveform) / _power(played))


def telephone(waveform: np.ndarray, value: None, random: np.random.Generator) -> np.ndarray:
    """Keep 300 to 3400 Hz in 8-bit mu-law at 8 kHz (ITU-T G.711), and back."""
    narrow = sosfilt(butter(4, (300, 3400), "bandpass", fs=SAMPLING_RATE, output="sos"), waveform)
    return _coded(narrow, 8_000, format="WAV", subtype="ULAW")


def gsm(waveform: np.ndarray, value: None, random: np.random.Generator) -> np.ndarray:
    """Code with the full-rate codec of mobile telephones, 13 kbit/s at 8 kHz (ETSI GSM 06.10)."""
    return _coded(waveform, 8_000, format="WAV", subtype="GSM610")


def mp3(waveform: np.ndarray, kbit_per_second: float, random: np.random.Generator) -> np.ndarray:
    """Code as MP3 of a low constant bit rate, and back; the delay of encoder and decoder is removed."""
    level = (160 - kbit_per_second) / (160 - 8)  # libsndfile maps 0 to 1 linearly onto the rates that 16 kHz allows
    # Samples, of LAME and of a layer III decoder. Files of 40 kbit/s and more declare it, and readers skip it.
    delay = 576 + 529
    coded = _coded(
        np.pad(waveform, (0, delay)), SAMPLING_RATE,
        format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=level,
    )  # fmt: skip
    return coded[delay:]


def change_level(waveform: np.ndarray, gain_db: float, random: np.random.Generator) -> np.ndarray:
    """Change the level; samples above full scale are clipped."""
    return np.clip(waveform * 10 ** (gain_db / 20), -1, 1)


def clip(waveform: np.ndarray, per_cent: float, random: np.random.Generator) -> np.ndarray:
    """Clip the loudest `per_cent` of the samples, as an overdriven microphone does; the power stays."""
    ceiling = np.quantile(np.abs(waveform), 1 - per_cent / 100)
    cut = np.clip(waveform, -ceiling, ceiling)
    # A recording that is mostly digital silence has nothing below its ceiling.
    return waveform if ceiling == 0 else np.clip(cut * np.sqrt(_power(waveform) / _power(cut)), -1, 1)


def shift_pitch(waveform: np.ndarray, semitones: float, random: np.random.Generator) -> np.ndarray:
    """Shift pitch and formants in the same time. Recordings below 64 ms, one window, are not changed."""
    if len(waveform) < VOCODER_WINDOW:
        return waveform
    return librosa.effects.pitch_shift(waveform, sr=SAMPLING_RATE, n_steps=semitones, n_fft=VOCODER_WINDOW)


def change_tempo(waveform: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    """Play `factor` times as fast at the same pitch (phase vocoder). Recordings below 64 ms are not changed."""
    if len(waveform) < VOCODER_WINDOW:
        return waveform
    return librosa.effects.time_stretch(waveform, rate=factor, n_fft=VOCODER_WINDOW)


def change_speed(waveform: np.ndarray, factor: float, random: np.random.Generator) -> np.ndarray:
    """Play `factor` times as fast and as high, like a tape.

    Source: Ko et al. (2015), "Audio augmentation for speech recognition", INTERSPEECH.
    """
    faster = soxr.resample(waveform, factor * SAMPLING_RATE, SAMPLING_RATE)
    return faster if len(faster) else waveform


def lowpass(waveform: np.ndarray, cutoff_hz: float, random: np.random.Generator) -> np.ndarray:
    """Remove frequencies above a cutoff: Butterworth, 8th order, -3 dB at the cutoff."""
    return sosfilt(butter(8, cutoff_hz, fs=SAMPLING_RATE, output="sos"), waveform)


def add_recorded_noise(
    waveform: np.ndarray, snr_db: float, random: np.random.Generator, recording: np.ndarray
) -> np.ndarray:
    """Add a random stretch of a recording, repeated if it is too short, below the utterance."""
    start = random.integers(len(recording))
    return mix_at_snr(waveform, recording[(start + np.arange(len(waveform))) % len(recording)], snr_db)


def add_impulse_response(
    waveform: np.ndarray, value: None, random: np.random.Generator, recording: np.ndarray
) -> np.ndarray:
    """Add the room of a recorded impulse response."""
    return play_in_room(waveform, recording)


def _coded(waveform: np.ndarray, rate: int, **codec) -> np.ndarray:
    """Return a waveform after a codec at its own rate: the same length, aligned except for the codec's delay."""
    file = BytesIO()
    narrow = soxr.resample(waveform, SAMPLING_RATE, rate) if rate != SAMPLING_RATE else waveform
    soundfile.write(file, np.clip(narrow, -1, 1), rate, **codec)
    file.seek(0)
    coded, _ = soundfile.read(file)
    wide = soxr.resample(coded, rate, SAMPLING_RATE) if rate != SAMPLING_RATE else coded
    return np.pad(wide, (0, max(0, len(waveform) - len(wide))))[: len(waveform)]


def _power(waveform: np.ndarray) -> float:
    return float(np.mean(np.square(waveform)))


# In the order of nature: voice, room, surroundings, microphone, line.
WAVEFORM_EFFECTS = {
    "pitch": Effect(shift_pitch, "semitones", -12, 12),
    "tempo": Effect(change_tempo, "times as fast at the same pitch", 0.5, 2),
    "speed": Effect(change_speed, "times as fast and as high", 0.5, 2),
    "reverb": Effect(reverberate, "s until the sound of the room fell by 60 dB", 0.05, 5),
    "impulse_responses": Effect(add_impulse_response, of_recordings=True),
    "noise": Effect(add_noise, "dB of signal above noise", -30, 60),
    "recorded_noise": Effect(add_recorded_noise, "dB of signal above noise", -30, 60, of_recordings=True),
    "level": Effect(change_level, "dB of gain", -60, 40),
    "clip": Effect(clip, "per cent of samples clipped", 0.1, 90),
    "lowpass": Effect(lowpass, "Hz, the highest frequency that passes", 500, 7500),
    "telephone": Effect(telephone),
    "gsm": Effect(gsm),
    "mp3": Effect(mp3, "kbit/s", 16, 32),
}
