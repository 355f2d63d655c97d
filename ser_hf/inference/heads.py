"""Engines whose scores are other outputs of a model: embeddings, frames, dimensions, logits, vectors of voices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ..data.durations import samples_of_frame
from ..emotions import DIMENSIONS
from ..models.checkpoint_settings import gives_values
from ..models.family import ModelError
from ..models.records import family_of
from ..models.speech.ssl_encoder import encode
from ..models.temperature import emotion_layer
from .engine import FUNCTIONS, Engine
from .offsets import OffsetRule
from .reading import Reading

if TYPE_CHECKING:
    from transformers import FeatureExtractionMixin
    from transformers.utils import ModelOutput


class Outputs(Engine):
    """An engine whose scores are outputs of its model as they are."""

    def function(self, name: str | None = None) -> Callable[[np.ndarray], np.ndarray]:
        return FUNCTIONS["none"]


class Embedder(Outputs):
    """An engine whose scores are the embedding of an utterance."""

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__(model, extractor)
        self.layer = emotion_layer(model)
        self.labels = range(self.layer.in_features)

    def _of_inputs(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        hook = self.layer.register_forward_pre_hook(lambda layer, given: seen.append(given[0]))
        try:
            super()._of_inputs(inputs)
        finally:
            hook.remove()
        return seen[0]


class Frames(NamedTuple):
    """The vectors of a recording's frames, from the last layer of a speech encoder, and their times.

    Attributes:
        vectors: (frames, width), float32.
        seconds: the middle of each frame, counted from the start of the recording, (frames,).
    """

    vectors: np.ndarray
    seconds: np.ndarray


class FrameEmbedder(Outputs):
    """An engine whose scores are the vectors of the frames of an utterance. Each utterance is computed alone.

    Raises:
        ModelError: for a model without a speech encoder.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__(model, extractor)
        self.extractor = getattr(extractor, "ssl", None) or extractor  # of a fusion the one that the encoder needs
        self.encoder = family_of(model).encoder_of(model)
        if not isinstance(self.encoder, PreTrainedModel):
            raise ModelError(
                f"{model.config.name_or_path or type(model).__name__} has no speech encoder, so it has no vectors of "
                "frames: use a model on HuBERT, wav2vec2, WavLM or Whisper, or leave frames out"
            )

    def frames(self, inputs: Any) -> Iterator[Frames]:
        """Yield the frames of each recording.

        Raises:
            AudioError, ModelError: as a call.
        """
        first, step = self._grid
        for row in self.rows(inputs, Reading(batch_size=1)):
            vectors = row.logits[0].astype(np.float32)
            yield Frames(vectors, (first + step * np.arange(len(vectors))) / self.extractor.sampling_rate)

    @torch.inference_mode()
    def _of_sound(self, waveforms: list[np.ndarray]) -> torch.Tensor:
        (waveform,) = waveforms
        features = self._inputs(waveforms)[self.encoder.main_input_name].to(self.model.device)
        if not isinstance(self.encoder, WhisperEncoder):
            return self.encoder(features).last_hidden_state
        if not self._window_seconds:
            return encode(self.encoder, features)[0][-1]
        # A stock one has its bins before its frames, and always 30 seconds of them.
        return self.encoder(features).last_hidden_state[:, : -(-waveform.size // self._grid[1])]

    @property
    def _grid(self) -> tuple[float, int]:
        """The middle of the first frame, and the distance of two frames, in samples."""
        if isinstance(self.encoder, WhisperEncoder):
            return 0.0, 2 * self.extractor.hop_length  # spectra are centred, and the second convolution halves them
        config = self.encoder.config
        return (samples_of_frame(config) - 1) / 2, math.prod(config.conv_stride)


class Dimensions(Outputs):
    """An engine whose scores are valence, arousal and dominance, or the values of a model that gives only such.

    Raises:
        ModelError: for a model that estimates none.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__(model, extractor)
        if gives_values(model.config):
            return
        if not family_of(model).has_dimensions(model.config):
            raise ModelError(
                f"{model.config.name_or_path or type(model).__name__} estimates no valence, arousal and dominance: "
                "train with --model_settings pooling=attentive dimensions=true on a corpus that has them"
            )
        self.labels = list(DIMENSIONS)

    def chosen(self, outputs: ModelOutput) -> torch.Tensor:
        return outputs.logits if gives_values(self.model.config) else outputs.dimensions


class LogitsAndDimensions(Outputs):
    """An engine whose scores are the logits, and then valence, arousal and dominance; the encoder runs once."""

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__(model, extractor)
        self.labels: Sequence = range(model.config.num_labels + len(DIMENSIONS))

    def chosen(self, outputs: ModelOutput) -> torch.Tensor:
        return torch.cat([outputs.logits, outputs.dimensions], dim=1)


class SpeakerLogits(Outputs):
    """An engine whose scores are the logits, and then the centred logits. A model with one head gives its logits twice.

    Args:
        computing: as for an `Engine`.

    Attributes:
        rule: what is done with them.

    Raises:
        ModelError: for a model that cannot be adapted.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin, **computing: Any):
        super().__init__(model, extractor, **computing)
        self.rule = OffsetRule.of(model)
        self.labels: Sequence = range(2 * model.config.num_labels)

    def chosen(self, outputs: ModelOutput) -> torch.Tensor:
        centred = getattr(outputs, "centred_logits", None)
        return torch.cat([outputs.logits, outputs.logits if centred is None else centred], dim=1)


class VoiceVectors(Outputs):
    """An engine whose scores are vectors that lie close together if one person speaks.

    Raises:
        ModelError: for a model without such vectors.
    """

    def __init__(self, model: PreTrainedModel, extractor: FeatureExtractionMixin):
        super().__init__(model, extractor)
        OffsetRule.of(model)
        if not hasattr(model, "voices"):
            raise ModelError(
                f"{model.config.name_or_path or type(model).__name__} has no vectors of voices for pseudo-speakers: "
                "name the speakers, or train --model_name_or_path lda:openai/whisper-base"
            )
        self.labels = range(len(model.voices.mean))

    def chosen(self, outputs: ModelOutput) -> torch.Tensor:
        return outputs.voices
