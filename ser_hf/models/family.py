"""The contract between a model family and the package: one typed record for each family.

All facts about a model that the package uses are in its `Family`; `records.family_of(model)` returns this record.
Nothing here imports torch: classes and functions are named by strings and imported when they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn
    from transformers import FeatureExtractionMixin, PretrainedConfig, PreTrainedModel

WAVEFORM_ENCODERS = ("hubert", "wav2vec2", "wavlm")


class ModelError(ValueError):
    """The error for a model that cannot be used as asked; the message says what to do."""


def not_finite(model: PreTrainedModel) -> ModelError:
    """Return the error for a model whose outputs are NaN or infinite."""
    return ModelError(
        f"{model.config.name_or_path or type(model).__name__} gives NaN or infinite values: its weights or "
        "its settings are damaged; fetch it again, or train it with a smaller --learning_rate"
    )


class CachingModel(Protocol):
    """A model whose frozen encoder can be computed once.

    `forward` takes the result of `embed` as the argument `Family.cached_input`.
    """

    cached_shape: tuple[int | None, ...]
    """Shape of the result of `embed` for one utterance; the first number is None if its length varies."""

    def embed(self, **inputs: torch.Tensor) -> torch.Tensor | Sequence[torch.Tensor]:
        """Compute everything that does not change while the encoder is frozen, for a batch of the extractor."""

    def fit_statistics(self, embedded: torch.Tensor | Iterable[torch.Tensor]) -> None:
        """Standardise with the statistics of a training part. Called if `Family.fits_statistics`."""


@runtime_checkable
class LogMelExtractor(Protocol):
    """An extractor whose log-mel features can be computed once, before anything that depends on a training part."""

    sampling_rate: int
    feature_size: int
    width: int
    crop_seconds: float | None
    needs_statistics: bool
    needs_speakers: bool

    def log_mel(self, raw_speech: Any, device: Any = "cpu") -> list[torch.Tensor]:
        """Return the log-mel features of each waveform, (frames, mel bins): the part that is cached."""

    def assemble(self, log_mels: Sequence, **options: Any) -> Mapping[str, Any]:
        """Return what the extractor itself returns, from cached log-mel features."""

    def statistics(self, log_mels: Iterable) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and deviation of the features of these recordings."""

    def fit_statistics(self, log_mels: Iterable) -> None:
        """Standardise with the statistics of a training part."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of `build_classifier`, as the builder of a family takes them.

    Attributes:
        name_or_path: an architecture, or a checkpoint.
        config: the configuration of the checkpoint; None for an architecture with random weights.
        settings: settings of the family's configuration, with `id2label` and `label2id`.
        labels: class names in the order of their ids.
        in_channels: input channels of a backbone for images.
        front_end: settings of the log-mel features that differ from those of the family.
    """

    name_or_path: str
    config: PretrainedConfig | None
    settings: Mapping[str, Any]
    labels: Sequence[str]
    in_channels: int = 1
    front_end: Mapping[str, Any] | None = None


def model_says(model: PreTrainedModel, extractor: FeatureExtractionMixin) -> bool:
    """Return the `padding_invariant` of a model, for families whose models have this property.

    Raises:
        ModelError: if the model has no such property.
    """
    try:
        return model.padding_invariant
    except AttributeError as error:
        raise ModelError(
            f"{type(model).__name__} does not say if padding changes its scores: state padding_invariant=always "
            "or never in the record of the family, or give the model this property"
        ) from error


def always(*_: Any) -> bool:
    return True


def never(*_: Any) -> bool:
    return False


# The arguments of `build_classifier` that `Family.tiny` may hold: all but the labels.
_OF_TINY = ("name_or_path", "settings", "front_end", "in_channels", "trainable")


@dataclass(frozen=True, kw_only=True)
class Family:
    """All facts about a model family that the package uses.

    References are strings "module:name". A leading dot means `ser_hf.models`, so that ".hybrid.builder:build" is a
    function of `ser_hf/models/hybrid/builder.py`.

    Attributes:
        name: the family's name in tables, tests and messages.
        summary: one line for the table of models.
        usage: values of `--model_name_or_path` in that table, as Markdown; empty only without a builder.
        page: the page in docs/models/, without `.md`: a few lines on the family; empty only without a builder.
        model_type: the name of the configuration's type.
        config_class, model_class, extractor_class: the classes that are saved and loaded.
        is_stock: True if these are classes of transformers, so that a saved model needs no code of ours.
        builder: function of a `Request` that returns a model with random or loaded weights, and its extractor; empty if
            models are only scored.
        architectures: names for which `build_classifier` returns random weights.
        is_architecture: function that does the same for names without a list, such as those of timm.
        reads: model types of other checkpoints that the builder takes, in addition to its own type.
        chosen_by: settings that select this family for a checkpoint that an earlier record reads too.
        builder_settings: settings that only the builder takes, not the configuration.
        takes_front_end: True if the builder accepts settings of log-mel features.
        encoder: the attribute that holds the encoder; empty without one.
        layers: function that lists the encoder's parameters by depth: all before its layers, then layer by layer.
        cached_input: the argument of `forward` that takes the result of `embed` (see `CachingModel`).
        can_cache: function of the configuration; True if a model with it can be cached.
        cached_settings: names in the configuration that `embed` depends on, in addition to the encoder.
        fits_statistics: True if the model standardises with statistics of the training part.
        padding_invariant: function of model and extractor; True if a recording has the same scores alone and padded.
        has_fixed_window: True if every recording is padded or cut to the extractor's `chunk_length`.
        longest_seconds: the longest recording that is scored whole. A base-sized encoder with self-attention then takes
            about 2.5 GB of memory, which grows with the square of the duration.
        has_dimensions: function of the configuration; True if the model estimates valence, arousal and dominance.
        is_fitted: True if the model is fitted in one step, instead of by gradients.
        emotion_layer: the linear layer that gives the logits; empty without one.
        logits: weight and bias that are divided by a temperature.
        tiny: arguments of `build_classifier` for a small random instance, which the tests use. Values of the
            configuration stand in its "settings": {"name_or_path": "cnn", "settings": {"channels": [8, 16, 32]}}.
    """

    name: str
    summary: str
    usage: str = ""
    page: str = ""
    model_type: str
    config_class: str
    model_class: str
    extractor_class: str
    is_stock: bool = False
    builder: str
    architectures: tuple[str, ...] = ()
    is_architecture: str = ""
    reads: tuple[str, ...] = ()
    chosen_by: tuple[str, ...] = ()
    builder_settings: tuple[str, ...] = ()
    takes_front_end: bool = False
    encoder: str = ""
    layers: str = ".trainable:transformer_layers"
    cached_input: str | None = None
    can_cache: Callable[[PretrainedConfig], bool] = always
    cached_settings: tuple[str, ...] = ()
    fits_statistics: bool = False
    padding_invariant: Callable[[PreTrainedModel, FeatureExtractionMixin], bool] = model_says
    has_fixed_window: bool = False
    longest_seconds: float = 120.0
    has_dimensions: Callable[[PretrainedConfig], bool] = never
    is_fitted: bool = False
    emotion_layer: str = "classifier"
    logits: tuple[str, str] = ("classifier.weight", "classifier.bias")
    tiny: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        unknown = [name for name in self.tiny if name not in _OF_TINY]
        if unknown or (self.tiny and "name_or_path" not in self.tiny):
            what = f"has {', '.join(map(repr, unknown))}" if unknown else "has no 'name_or_path'"
            raise ModelError(
                f"tiny of the family {self.name} {what}: it takes {', '.join(_OF_TINY)}. Values of the configuration "
                'stand in "settings", such as tiny={"name_or_path": "cnn", "settings": {"channels": [8, 16, 32]}}'
            )

    def has_architecture(self, name: str) -> bool:
        """True if `build_classifier` builds a model with random weights for this name."""
        return name in self.architectures or bool(self.is_architecture and resolve(self.is_architecture)(name))

    def build(self, request: Request) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
        return resolve(self.builder)(request)

    def encoder_of(self, model: PreTrainedModel) -> nn.Module | None:
        """Return the encoder or backbone of a model; None without one."""
        return attrgetter(self.encoder)(model) if self.encoder else None

    def layers_of(self, model: PreTrainedModel) -> list[list[nn.Parameter]]:
        """Return the encoder's parameters from the input to the output."""
        return resolve(self.layers)(model)

    def cached_input_of(self, model: PreTrainedModel) -> str | None:
        """Return the argument of `forward` that takes the result of `embed`; None if nothing is cached."""
        return self.cached_input if self.can_cache(model.config) else None


def resolve(reference: str) -> Any:
    """Import the object that a reference of a `Family` names.

    Raises:
        ModelError: if the module has no such object.

    >>> resolve("math:sqrt")(9.0)
    3.0
    """
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module, __package__), name)
    except AttributeError as error:
        raise ModelError(f"a family's record names {reference!r}, but {module} has no {name}") from error


def mark(config: PretrainedConfig, name: str, default: Any = None) -> Any:
    """Return a value that a training added to a configuration, such as `head_is_trained`.

    Stock configurations have no field for it, and saved models of other people do not have it.
    """
    return getattr(config, name, default)


def class_names(config: PretrainedConfig) -> list[str]:
    """Return the names of a model's classes in the order of its scores; their file may list them in another order."""
    return [config.id2label[number] for number in range(config.num_labels)]


def caches_log_mel(extractor: FeatureExtractionMixin) -> bool:
    """True if the log-mel features of an extractor can be computed once."""
    return isinstance(extractor, LogMelExtractor)


def needs_speakers(extractor: FeatureExtractionMixin) -> bool:
    """True if an extractor standardises each recording with the statistics of its speaker."""
    return isinstance(extractor, LogMelExtractor) and extractor.needs_speakers


def needs_statistics(extractor: FeatureExtractionMixin) -> bool:
    """True if an extractor standardises with the statistics of a training part, which must be fitted."""
    return isinstance(extractor, LogMelExtractor) and extractor.needs_statistics
