"""`Classifier`: class probabilities of recordings, computed in batches that do not change the scores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm.auto import tqdm
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from ..audio import audio_info, read_audio
from ..data.precompute import refuse_too_short
from ..models.pretrained import DTYPE, ModelError, is_padding_invariant, refuse_regression, refuse_untrained_head
from ..models.records import family_of

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin, PreTrainedModel

# Seconds of sound in one batch: enough to use the processor well, small enough for any machine.
BATCH_SECONDS = 60.0


class Classifier:
    """An emotion classifier with its feature extractor.

        classifier = Classifier.from_pretrained("runs/latest")
        classifier(["one.wav", "two.flac"])
        # [{'anger': 0.81, 'fear': 0.04, ...}, {...}]

    Utterances are sorted by length and batched. If padding changes a model's scores (`is_padding_invariant` is False),
    only utterances of exactly the same length share a batch, so every score is that of the utterance alone. Stock
    Whisper uses only the first 30 seconds of each, as in a stock pipeline.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        self.model, self.extractor = model.eval(), extractor
        self.labels = [model.config.id2label[number] for number in range(model.config.num_labels)]
        self._batch_by_exact_length = not is_padding_invariant(model, extractor)
        self._window_seconds = extractor.chunk_length if family_of(model).has_fixed_window else 0.0

    @classmethod
    def from_pretrained(
        cls, name_or_path: str, *, device: str | None = None, trust_remote_code: bool = False
    ) -> Classifier:
        """Load a saved classifier from a folder or the Hub.

        Args:
            device: default: the first accelerator, else the CPU.
            trust_remote_code: True to run code of the repository; not needed for our own families.

        Raises:
            ModelError: if there is no such model, if its emotion head is not trained, or if it is not a classifier.
        """
        try:
            model, loading = AutoModelForAudioClassification.from_pretrained(
                name_or_path, dtype=DTYPE, output_loading_info=True, trust_remote_code=trust_remote_code
            )
            extractor = AutoFeatureExtractor.from_pretrained(name_or_path, trust_remote_code=trust_remote_code)
        except OSError as error:
            told, where = (
                " ".join(str(error).split())[:200],
                "" if Path(name_or_path).is_dir() else " it is not a folder here, and",
            )
            raise ModelError(f"there is no model {str(name_or_path)!r}:{where} {told}") from error
        refuse_regression(str(name_or_path), model.config)  # first, because its message is clearer than missing keys
        refuse_untrained_head(str(name_or_path), loading["missing_keys"], model.config)
        if device is None:
            device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
        return cls(model.to(device), extractor)

    def __call__(self, sources: Any | Sequence[Any], *, progress: bool = False) -> list[dict[str, float]]:
        """Return the probability of each class, most probable first, for each recording.

        Args:
            sources: paths, bytes or rows of an `audio` column, as `ser_hf.audio.read_audio` takes them.
            progress: True to show a progress bar.
        """
        if isinstance(sources, (str, bytes)) or not isinstance(sources, Sequence):
            sources = [sources]
        scores = []
        for row in self.probabilities(sources, progress=progress):
            order = np.argsort(-row, kind="stable")
            scores.append({self.labels[number]: float(row[number]) for number in order})
        return scores

    def probabilities(
        self, sources: Sequence[Any], *, names: Sequence[str] | None = None, progress: bool = False
    ) -> np.ndarray:
        """Return class probabilities in the order of `labels`, (utterances, classes), float64.

        Recordings are decoded batch by batch, so that any number of them fits in memory. Rows are in the order of the
        sources.

        Args:
            names: names of the recordings for messages; default: their paths, or numbers without a path.
            progress: True to show a progress bar.

        Raises:
            AudioError: for a recording that cannot be read, or is too short for the model.
        """
        # Equal headers mean equal numbers of samples, also after resampling.
        headers = [audio_info(source) for source in sources]
        if names is None:
            names = [_path(source) or f"recording {n} of {len(headers)}" for n, source in enumerate(sources, start=1)]
        refuse_too_short(self.model, self.extractor, [info.duration_seconds for info in headers], names)
        probabilities = np.empty((len(headers), len(self.labels)))
        with tqdm(total=len(headers), unit="utterance", disable=not progress, desc="classifying") as bar:
            # A padded window costs as much as a full one.
            lengths = [(max(info.duration_seconds, self._window_seconds), info.sampling_rate) for info in headers]
            for rows in self.batches(lengths):
                probabilities[rows] = self.score(self._inputs([sources[row] for row in rows]))
                bar.update(len(rows))
        return probabilities

    def batches(self, lengths: Sequence[tuple[float, int]]) -> Iterator[list[int]]:
        """Yield the rows of each batch, longest first, so that a batch too large for the machine fails at once.

        Args:
            lengths: for each recording its seconds, and a second number that must be equal in a batch of equal lengths:
                its sampling rate, or its frames.
        """
        batch: list[int] = []
        for row in sorted(range(len(lengths)), key=lambda row: lengths[row], reverse=True):
            if batch:
                longest = lengths[batch[0]]
                differs = self._batch_by_exact_length and lengths[row] != longest
                if differs or longest[0] * (len(batch) + 1) > BATCH_SECONDS:
                    yield batch
                    batch = []
            batch.append(row)
        if batch:
            yield batch

    @torch.inference_mode()
    def score(self, inputs: Mapping[str, torch.Tensor]) -> np.ndarray:
        """Return class probabilities, (utterances, classes), of one batch from the extractor.

        As in a stock pipeline, the probabilities of a multi-label model are independent of each other.
        """
        logits = self.model(**{name: tensor.to(self.model.device) for name, tensor in inputs.items()}).logits.double()
        is_multi_label = self.model.config.problem_type == "multi_label_classification"
        return (logits.sigmoid() if is_multi_label else logits.softmax(dim=-1)).cpu().numpy()

    def _inputs(self, sources: list[Any]) -> Mapping[str, torch.Tensor]:
        rate = self.extractor.sampling_rate
        waveforms = [read_audio(source, sampling_rate=rate) for source in sources]
        padding = "max_length" if self._window_seconds else True
        return self.extractor(waveforms, sampling_rate=rate, padding=padding, return_tensors="pt")


def _path(source: Any) -> str | None:
    """Return the path of a recording, or None."""
    path = source.get("path") if isinstance(source, dict) else source
    return os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
