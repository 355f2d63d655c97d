"""The same recordings under worse conditions: noise, rooms, telephones, codecs, level, clipping.

A condition is a name with a value in its unit, such as `noise:10`; `STANDARD` is the set that a robustness test runs.
What is random about it is drawn from the utterance's id, so that a test set is disturbed alike on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
import soxr
from scipy.signal import butter, fftconvolve, sosfilt

from ..audio import read_audio
from ..emotions import unknown_name
from .columns import note_provenance, unified_features

if TYPE_CHECKING:
    from datasets import Dataset

SAMPLING_RATE = 16_000  # Hz; no model of ours hears more
STANDARD = (
    "noise:20", "noise:10", "noise:0", "reverb:0.3", "reverb:1", "telephone", "gsm", "mp3:16", "level:-30", "clip:10",
)  # fmt: skip


def add_noise(waveform: np.ndarray, snr_db: float, random: np.random.Generator) -> np.ndarray:
    """White Gaussian noise, `snr_db` dB below the mean power of the utterance."""
    return mix_at_snr(waveform, random.standard_normal(len(waveform)), snr_db)


def mix_at_snr(waveform: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """The waveform with noise of as many samples, `snr_db` dB below its mean power. Silent noise adds nothing."""
    power = _power(noise)
    return waveform if power == 0 else waveform + noise * np.sqrt(_power(waveform) / 10 ** (snr_db / 10) / power)


def reverberate(waveform: np.ndarray, t60_seconds: float, random: np.random.Generator) -> np.ndarray:
    """A room whose sound falls by 60 dB in `t60_seconds`; as many samples, as much power as before.

    A direct path and exponentially decaying Gaussian noise of the same energy: Polack (1988), "La transmission de
    l'énergie sonore dans les salles".
    """
    seconds = np.arange(int(t60_seconds * SAMPLING_RATE)) / SAMPLING_RATE
    tail = random.standard_normal(len(seconds)) * 10 ** (-3 * seconds / t60_seconds)
    tail /= np.sqrt(np.sum(tail**2))
    return play_in_room(waveform, np.concatenate([[1.0], tail]))


def play_in_room(waveform: np.ndarray, impulse_response: np.ndarray) -> np.ndarray:
    """What is heard through an impulse response, from its direct path on; as many samples, as much power as before."""
    direct = np.abs(impulse_response).argmax()  # the time that sound took to the microphone would be a delay
    heard = fftconvolve(waveform, impulse_response[direct:])[: len(waveform)]
    return heard * np.sqrt(_power(waveform) / _power(heard))


def telephone(waveform: np.ndarray, value: None, random: np.random.Generator) -> np.ndarray:
    """300 to 3400 Hz in 8-bit mu-law at 8 kHz (ITU-T G.711), and back."""
    narrow = sosfilt(butter(4, (300, 3400), "bandpass", fs=SAMPLING_RATE, output="sos"), waveform)
    return _coded(narrow, 8_000, format="WAV", subtype="ULAW")


def gsm(waveform: np.ndarray, value: None, random: np.random.Generator) -> np.ndarray:
    """The full-rate codec of mobile telephones, 13 kbit/s at 8 kHz (ETSI GSM 06.10)."""
    return _coded(waveform, 8_000, format="WAV", subtype="GSM610")


def mp3(waveform: np.ndarray, kbit_per_second: float, random: np.random.Generator) -> np.ndarray:
    """MP3 of a low constant bit rate, and back; the delay of encoder and decoder is taken out."""
    level = (160 - kbit_per_second) / (160 - 8)  # libsndfile maps 0 to 1 linearly onto the rates that 16 kHz allows
    delay = (
        576 + 529
    )  # samples, of LAME and of a layer III decoder; from 40 kbit/s on files tell of it and readers skip it
    coded = _coded(
        np.pad(waveform, (0, delay)), SAMPLING_RATE,
        format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="CONSTANT", compression_level=level,
    )  # fmt: skip
    return coded[delay:]


def change_level(waveform: np.ndarray, gain_db: float, random: np.random.Generator) -> np.ndarray:
    """Louder or softer; what is louder than full scale is clipped."""
    return np.clip(waveform * 10 ** (gain_db / 20), -1, 1)


def clip(waveform: np.ndarray, per_cent: float, random: np.random.Generator) -> np.ndarray:
    """The loudest `per_cent` of the samples cut off, as by an overdriven microphone; as much power as before."""
    ceiling = np.quantile(np.abs(waveform), 1 - per_cent / 100)
    cut = np.clip(waveform, -ceiling, ceiling)
    # A recording that is mostly digital silence has nothing below its ceiling.
    return waveform if ceiling == 0 else np.clip(cut * np.sqrt(_power(waveform) / _power(cut)), -1, 1)


@dataclass(frozen=True)
class Disturbance:
    """One kind of disturbance: the function, and the unit and range of its value (None: it has none)."""

    function: Callable[[np.ndarray, float | None, np.random.Generator], np.ndarray]
    unit: str | None = None
    least: float | None = None
    most: float | None = None


DISTURBANCES = {
    "noise": Disturbance(add_noise, "dB of signal above noise", -30, 60),
    "reverb": Disturbance(reverberate, "s until the sound of the room fell by 60 dB", 0.05, 5),
    "telephone": Disturbance(telephone),
    "gsm": Disturbance(gsm),
    "mp3": Disturbance(mp3, "kbit/s", 16, 32),
    "level": Disturbance(change_level, "dB of gain", -60, 40),
    "clip": Disturbance(clip, "per cent of samples clipped", 0.1, 90),
}


def parse_condition(condition: str) -> tuple[str, float | None]:
    """Kind and value of a condition.

    Raises:
        ValueError: if there is no such kind, or its value is missing, no number, out of range or one too many.

    >>> parse_condition("noise:10"), parse_condition("gsm")
    (('noise', 10.0), ('gsm', None))
    """
    kind, _, text = condition.replace("=", ":").partition(":")
    if kind not in DISTURBANCES:
        raise ValueError(unknown_name("condition", kind, DISTURBANCES))
    found = DISTURBANCES[kind]
    if found.unit is None:
        if text:
            raise ValueError(f"condition {condition!r}: {kind} takes no value")
        return kind, None
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not found.least <= value <= found.most:
        raise ValueError(
            f"condition {condition!r}: {kind} takes a number from {found.least:g} to {found.most:g} ({found.unit}), "
            f"as in {next(one for one in STANDARD if one.startswith(kind))}"
        )
    return kind, value


def canonical_condition(condition: str) -> str:
    """The one way to write a condition. Errors as `parse_condition`.

    >>> canonical_condition("noise:10.0")
    'noise:10'
    """
    kind, value = parse_condition(condition)
    return kind if value is None else f"{kind}:{value:g}"


def disturb_waveform(waveform: np.ndarray, condition: str, utterance_id: str) -> np.ndarray:
    """One utterance at `SAMPLING_RATE` under a condition: float32, as many samples. Silence stays as it is."""
    kind, value = parse_condition(condition)
    if not waveform.any():
        return waveform
    digest = blake2b(f"{canonical_condition(condition)} {utterance_id}".encode(), digest_size=8).digest()
    random = np.random.default_rng(int.from_bytes(digest, "little"))
    return DISTURBANCES[kind].function(waveform.astype(np.float64), value, random).astype(np.float32)


def disturb(dataset: Dataset, condition: str) -> Dataset:
    """A dataset of `build_dataset` whose recordings are heard under a condition; `provenance` tells it.

    The recordings are written into the cache of `datasets`, 16 kHz and float32: 64 kB a second. They are read from
    there until a recording changes, or the code of this module or of `audio`.

    Raises:
        ValueError: as `parse_condition`.
    """
    from .precompute import cached_under  # which imports torch

    condition = canonical_condition(condition)
    kept = [name for name in unified_features(["any"]) if name in dataset.column_names]
    rows = dataset.select_columns(kept)
    disturbed = rows.map(
        partial(_disturb_row, condition=condition), desc=condition, features=rows.features,
        **cached_under(rows, condition.encode(), Path(__file__).read_bytes()),
    )  # fmt: skip
    return note_provenance(disturbed, dataset, condition=condition)


def _disturb_row(row: dict, *, condition: str) -> dict:
    waveform = read_audio(row["audio"], sampling_rate=SAMPLING_RATE)
    file = BytesIO()
    soundfile.write(
        file, disturb_waveform(waveform, condition, row["utterance_id"]), SAMPLING_RATE, format="WAV", subtype="FLOAT"
    )
    return {"audio": {"bytes": file.getvalue(), "path": row["audio"]["path"]}}


def _coded(waveform: np.ndarray, rate: int, **codec) -> np.ndarray:
    """A waveform through a codec at its own rate and back: as many samples, aligned but for the codec's own delay."""
    file = BytesIO()
    narrow = soxr.resample(waveform, SAMPLING_RATE, rate) if rate != SAMPLING_RATE else waveform
    soundfile.write(file, np.clip(narrow, -1, 1), rate, **codec)
    file.seek(0)
    coded, _ = soundfile.read(file)
    wide = soxr.resample(coded, rate, SAMPLING_RATE) if rate != SAMPLING_RATE else coded
    return np.pad(wide, (0, max(0, len(waveform) - len(wide))))[: len(waveform)]


def _power(waveform: np.ndarray) -> float:
    return float(np.mean(np.square(waveform)))
