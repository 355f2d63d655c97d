"""Rows of a dataset -> one batch for a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ..audio import read_audio
from ..models.family import caches_log_mel, needs_speakers
from ..models.records import family_of
from .augment import DRAW, PARTNER, Augmentation, masks_after_extraction
from .columns import DIMENSIONS_COLUMN, LOG_MEL_COLUMN, SPEAKER_COLUMNS, TARGET_COLUMN

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


class UtteranceCollator:
    """A collator that decodes the recordings of a batch and returns padded features, labels and utterance ids.

    Rows of `precompute` are stacked or padded instead, without their recordings. Rows with a draw (`AugmentedRows`) are
    augmented; other rows never are.
    """

    def __init__(
        self,
        extractor: FeatureExtractionMixin,
        model: PreTrainedModel | None = None,
        augmentation: Augmentation | None = None,
    ):
        # Not the model itself, which would travel to every worker.
        self.cached_input = None if model is None else family_of(model).cached_input_of(model)
        self.varies = self.cached_input is not None and model.cached_shape[0] is None  # in length
        self.extractor, self.augmentation = extractor, augmentation
        self.classes = None if model is None else model.config.num_labels
        self.needs_speakers = needs_speakers(extractor)

    def __call__(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor | list[str]]:
        # Names and dimensions are not for the model: `SERTrainer` takes them out.
        batch = self.inputs(rows) | {"utterance_id": [row["utterance_id"] for row in rows]}
        if DRAW in rows[0] and self.augmentation.mixes:
            batch["labels"] = torch.as_tensor(np.stack([_mixed(row, self._target) for row in rows]))
        elif TARGET_COLUMN in rows[0]:
            batch["labels"] = torch.as_tensor(np.stack([row[TARGET_COLUMN] for row in rows]))
        else:
            batch["labels"] = torch.tensor([int(row["label"]) for row in rows])
        if DIMENSIONS_COLUMN in rows[0]:
            dimensions = [_mixed(row, lambda row: row[DIMENSIONS_COLUMN]) for row in rows]
            batch[DIMENSIONS_COLUMN] = torch.as_tensor(np.stack(dimensions))
        return batch

    def inputs(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor]:
        """Return the inputs of the model.

        Raises:
            ValueError: for recordings, if the extractor standardises per speaker: one batch does not hold all of them.
        """
        if self.cached_input in rows[0]:
            return self._cached([torch.as_tensor(row[self.cached_input]) for row in rows])
        augmented = DRAW in rows[0]
        if LOG_MEL_COLUMN in rows[0] or (augmented and caches_log_mel(self.extractor) and not self.needs_speakers):
            log_mels, known = [self._log_mel(row) for row in rows], {}
            if self.needs_speakers:
                known["speaker_statistics"] = [tuple(row[name] for name in SPEAKER_COLUMNS) for row in rows]
            return dict(self.extractor.assemble(log_mels, return_tensors="pt", **known))
        if self.needs_speakers:
            raise ValueError('normalize "speaker" needs all recordings of each speaker: call `precompute` first')
        waveforms = [_with_partner(row, self._waveform, self.augmentation) for row in rows]
        batch = self.extractor(waveforms, sampling_rate=self.extractor.sampling_rate, padding=True, return_tensors="pt")
        if augmented and self.augmentation.masks and masks_after_extraction(self.extractor):
            for features, mask, row in zip(batch["input_features"], batch["attention_mask"], rows, strict=True):
                real = features[: int(mask.sum())]
                real.copy_(torch.from_numpy(self.augmentation.mask(real.numpy(), row)))
        return dict(batch)

    def _waveform(self, row: Mapping) -> np.ndarray:
        # `hash_audio` has refused what is truncated, unless it is allowed.
        waveform = read_audio(row["audio"], sampling_rate=self.extractor.sampling_rate, allow_truncated=True)
        return self.augmentation.alter_waveform(waveform, row) if DRAW in row else waveform

    def _log_mel(self, row: Mapping) -> np.ndarray:
        """Return the log-mel features of a row, from the cache unless this draw alters its recording."""
        if DRAW not in row:
            return row[LOG_MEL_COLUMN]
        return self.augmentation.mask(_with_partner(row, self._log_mel_alone, self.augmentation), row)

    def _log_mel_alone(self, row: Mapping) -> np.ndarray:
        if LOG_MEL_COLUMN in row and not self.augmentation.alters_waveform(row):
            return np.asarray(row[LOG_MEL_COLUMN])
        return self.extractor.log_mel(self._waveform(row))[0].numpy()

    def _target(self, row: Mapping) -> np.ndarray:
        if TARGET_COLUMN in row:
            return row[TARGET_COLUMN]
        return np.eye(self.classes, dtype=np.float32)[int(row["label"])]

    def _cached(self, arrays: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        if not self.varies:
            return {self.cached_input: torch.stack(arrays)}
        lengths = torch.tensor([len(array) for array in arrays])
        real = torch.arange(int(lengths.max())) < lengths[:, None]
        return {self.cached_input: pad_sequence(list(arrays), batch_first=True), "attention_mask": real.long()}


def _with_partner(row: Mapping, read: Callable[[Mapping], np.ndarray], augmentation: Augmentation | None) -> np.ndarray:
    if PARTNER not in row:
        return read(row)
    return augmentation.mix(read(row), read(row[PARTNER].row), row)


def _mixed(row: Mapping, value: Callable[[Mapping], np.ndarray]) -> np.ndarray:
    """Return the value of a row mixed with that of its partner, by their shares."""
    if PARTNER not in row:
        return value(row)
    share = np.float32(row[PARTNER].share)
    return share * value(row) + (1 - share) * value(row[PARTNER].row)
