"""The waveforms that an extractor takes. All extractors import this file as a sibling: it travels with each of them."""

from __future__ import annotations

import numpy as np
from transformers.utils import logging

logger = logging.get_logger(__name__)

LOUDEST = 100.0  # largest sample, where full scale is 1; squares of larger ones leave the range of float32


def check_sampling_rate(sampling_rate: int | None, needed: int) -> None:
    """Raise a `ValueError` for waveforms at another sampling rate than needed, in Hz; warn if theirs is not given."""
    if sampling_rate is None:
        logger.warning_once(f"no sampling_rate given: assuming waveforms at {needed} Hz")
    elif sampling_rate != needed:
        raise ValueError(f"this model needs {needed} Hz, not {sampling_rate} Hz: resample the waveforms")


def checked_waveforms(raw_speech) -> list[np.ndarray]:
    """Return a waveform, or a list of them, as a list of arrays (samples,) of any float type.

    Raises:
        ValueError: for a waveform that is empty, not mono, not float or not finite, or larger than `LOUDEST`.
    """
    is_batch = isinstance(raw_speech, (list, tuple)) and len(raw_speech) > 0 and np.ndim(raw_speech[0]) > 0
    waveforms = [np.asarray(waveform) for waveform in (raw_speech if is_batch else [raw_speech])]
    for number, waveform in enumerate(waveforms):
        if waveform.ndim != 1 or waveform.size == 0 or waveform.dtype.kind != "f":
            raise ValueError(
                f"waveform {number} of the batch must be floats in [-1, 1] of shape (samples,), not {waveform.dtype} "
                f"of shape {waveform.shape}: pass several as a list, average channels, divide int16 by 32768"
            )
        if not np.abs(waveform).max() <= LOUDEST:  # NaN, too
            raise ValueError(
                f"waveform {number} of the batch has NaN, infinite or enormous samples (full scale is 1): divide int16 "
                "by 32768, or leave its recording out"
            )
    return waveforms
