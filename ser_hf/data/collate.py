"""Rows of a dataset -> one batch for a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from ..audio import read_audio
from .precompute import LOG_MEL_COLUMN, SPEAKER_COLUMNS, STATISTICS_COLUMN

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin


class UtteranceCollator:
    """Decodes the recordings of a batch and turns them into padded features and labels; says whose they are.

    Rows that `precompute` has been through are stacked or padded instead; no sound is touched then.
    """

    def __init__(self, extractor: FeatureExtractionMixin):
        self.extractor = extractor
        self.needs_speakers = getattr(extractor, "needs_speakers", False)

    def __call__(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor | list[str]]:
        labels = torch.tensor([int(row["label"]) for row in rows])
        # Not for the model: `SERTrainer` takes the names out, so that it can say which utterances a bad batch held.
        return self.inputs(rows) | {"labels": labels, "utterance_id": [row["utterance_id"] for row in rows]}

    def inputs(self, rows: Sequence[Mapping]) -> dict[str, torch.Tensor]:
        """What the model takes.

        Raises:
            ValueError: for recordings, if the extractor standardises per speaker: one batch does not hold all of them.
        """
        if STATISTICS_COLUMN in rows[0]:
            return {STATISTICS_COLUMN: torch.stack([torch.as_tensor(row[STATISTICS_COLUMN]) for row in rows])}
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
