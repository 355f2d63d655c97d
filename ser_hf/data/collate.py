"""Rows of a dataset -> one batch for a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ..audio import read_audio
from .precompute import LOG_MEL_COLUMN, SPEAKER_COLUMNS
from .targets import DIMENSIONS_COLUMN, TARGET_COLUMN

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel


class UtteranceCollator:
    """Decodes the recordings of a batch and turns them into padded features and labels; says whose they are.

    Rows that `precompute` has been through are stacked or padded instead; no sound is touched then. Only the model
    knows what an encoder's cached output is called.
    """

    def __init__(self, extractor: FeatureExtractionMixin, model: PreTrainedModel | None = None):
        # Not the model itself, which would travel to every worker.
        self.cached_input = getattr(model, "cached_input", None)
        self.varies = self.cached_input is not None and model.cached_shape[0] is None  # in length
        self.extractor = extractor
        self.needs_speakers = getattr(extractor, "needs_speakers", False)

    def __call__(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor | list[str]]:
        # Names and dimensions are not for the model: `SERTrainer` takes them out.
        batch = self.inputs(rows) | {"utterance_id": [row["utterance_id"] for row in rows]}
        if TARGET_COLUMN in rows[0]:
            batch["labels"] = torch.as_tensor(np.stack([row[TARGET_COLUMN] for row in rows]))
        else:
            batch["labels"] = torch.tensor([int(row["label"]) for row in rows])
        if DIMENSIONS_COLUMN in rows[0]:
            batch[DIMENSIONS_COLUMN] = torch.as_tensor(np.stack([row[DIMENSIONS_COLUMN] for row in rows]))
        return batch

    def inputs(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor]:
        """What the model takes.

        Raises:
            ValueError: for recordings, if the extractor standardises per speaker: one batch does not hold all of them.
        """
        if self.cached_input in rows[0]:
            return self._cached([torch.as_tensor(row[self.cached_input]) for row in rows])
        if LOG_MEL_COLUMN in rows[0]:
            log_mels, known = [row[LOG_MEL_COLUMN] for row in rows], {}
            if self.needs_speakers:
                known["speaker_statistics"] = [tuple(row[name] for name in SPEAKER_COLUMNS) for row in rows]
            return dict(self.extractor.assemble(log_mels, return_tensors="pt", **known))
        if self.needs_speakers:
            raise ValueError('normalize "speaker" needs all clips of each speaker: let `precompute` look at them first')
        rate = self.extractor.sampling_rate
        waveforms = [read_audio(row["audio"], sampling_rate=rate) for row in rows]
        return dict(self.extractor(waveforms, sampling_rate=rate, padding=True, return_tensors="pt"))

    def _cached(self, arrays: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        if not self.varies:
            return {self.cached_input: torch.stack(arrays)}
        lengths = torch.tensor([len(array) for array in arrays])
        real = torch.arange(int(lengths.max())) < lengths[:, None]
        return {self.cached_input: pad_sequence(list(arrays), batch_first=True), "attention_mask": real.long()}
