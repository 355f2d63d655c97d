"""Support vector machine in PyTorch: scikit-learn finds the support vectors, tensors keep and score them.

Cortes and Vapnik (1995), doi:10.1007/BF00994018; one machine for each pair of classes, as in LIBSVM (Chang and Lin
2011, doi:10.1145/1961189.1961199).
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.loss.loss_utils import ForSequenceClassificationLoss
from transformers.modeling_outputs import SequenceClassifierOutput

from .configuration_svm import SVMConfig
from .ssl_encoder import create_encoder, encode, encoder_size, is_disturbed_by_padding, statistics_of


class SupportVectorHead(nn.Module):
    """Standardise, compare with the support vectors, one decision per pair of classes, calibrated logits.

    (b, width) -> (b, labels). Everything is a buffer: nothing here is learned by gradients.
    """

    def __init__(self, config: SVMConfig, blocks: tuple[int, ...]):
        super().__init__()
        self.blocks, self.kernel, self.gamma = blocks, config.kernel, config.gamma
        width, labels = sum(blocks), config.num_labels
        pairs = labels * (labels - 1) // 2
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("support_vectors", torch.zeros(config.support_vectors, width))
        self.register_buffer("coefficients", torch.zeros(config.support_vectors, pairs))
        self.register_buffer("intercepts", torch.zeros(pairs))
        self.register_buffer("calibration_weight", torch.zeros(labels, pairs))
        self.register_buffer("calibration_bias", torch.zeros(labels))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        decisions = self.decisions(self.standardise(vectors))
        return decisions @ self.calibration_weight.to(decisions).T + self.calibration_bias.to(decisions)

    def standardise(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return vectors with zero mean and a mean squared length of 1, half of it from each of two inputs."""
        return (vectors.to(self.mean) - self.mean) / self.scale

    def decisions(self, standardised: torch.Tensor) -> torch.Tensor:
        """Return signed margins of pairs (0, 1), (0, 2), ..., positive for the first.  (b, width) -> (b, pairs)"""
        similarities = self.similarities(standardised, self.support_vectors)
        return similarities @ self.coefficients.to(similarities) + self.intercepts.to(similarities)

    def similarities(self, standardised: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
        """Return the kernel.  (b, width), (n, width) -> (b, n)"""
        # Hundreds of products of large coefficients cancel out: double precision if the device has it.
        dtype = torch.float32 if standardised.device.type == "mps" else torch.float64
        vectors, support = standardised.to(dtype), support.to(dtype)
        products = vectors @ support.T
        if self.kernel == "linear":
            return products
        squares = vectors.square().sum(dim=1, keepdim=True) + support.square().sum(dim=1)
        return torch.exp(-self.gamma * (squares - 2 * products).clamp_min(0))

    @torch.no_grad()
    def fit_standardisation(self, vectors: torch.Tensor) -> None:
        """Set mean and deviation from the vectors of the training part, (utterances, width)."""
        vectors = vectors.double()
        deviation = vectors.std(dim=0, correction=0)
        deviation[deviation <= 1e-6 * vectors.abs().amax(dim=0)] = 1.0  # constant values must not be scaled up
        widths = torch.tensor([width for width in self.blocks for _ in range(width)], dtype=torch.float64)
        self.mean, self.scale = vectors.mean(dim=0).float(), (deviation * (widths * len(self.blocks)).sqrt()).float()


class SVMForAudioClassification(PreTrainedModel):
    """Functionals, embeddings of a frozen encoder, or both -> standardised vector -> one machine per pair -> emotion.

    `ser_hf.training.fitted.svm.fit_svm` fits it. Softmax of the logits is a calibrated probability; `head.decisions`
    are the margins that scikit-learn's `SVC` would return for each pair of classes.
    """

    config_class = SVMConfig
    config: SVMConfig
    main_input_name = "input_features"

    def __init__(self, config: SVMConfig):
        super().__init__(config)
        wants_embeddings = config.inputs != "functionals"
        if wants_embeddings != bool(config.encoder or config.backbone):
            raise ValueError(
                f"inputs are {config.inputs!r}, but there is {'no' if wants_embeddings else 'an'} encoder: embeddings "
                "need an encoder, functionals alone need none"
            )
        if (config.inputs == "embeddings") == bool(config.functionals):
            raise ValueError(f"inputs are {config.inputs!r}, but there are {config.functionals} functionals")
        self.encoder = _create_encoder(config) if wants_embeddings else None
        blocks = (config.functionals, self._embedding_size)
        self.head = SupportVectorHead(config, tuple(width for width in blocks if width))
        self.post_init()

    def _init_weights(self, module):
        if self.config.backbone and any(module is part for part in self.encoder.modules()):
            return  # timm or the checkpoint has set them; `post_init` would overwrite all convolutions
        super()._init_weights(module)
        if isinstance(module, SupportVectorHead):
            # from_pretrained builds on the meta device: values missing in a checkpoint must be set here.
            for name, buffer in module.named_buffers():
                nn.init.constant_(buffer, 1.0 if name == "scale" else 0.0)

    # transformers asks the first parameter, but a machine without an encoder has no parameters.
    @property
    def device(self) -> torch.device:
        return self.head.mean.device

    @property
    def dtype(self) -> torch.dtype:
        return self.head.mean.dtype

    @property
    def padding_invariant(self) -> bool:
        """True for functionals, which are never padded, and for encoders with a mask; False for images."""
        return self.encoder is None or not (self.config.backbone or is_disturbed_by_padding(self.encoder))

    @property
    def cached_shape(self) -> tuple[int]:
        """The shape of `vectors` for one utterance."""
        return (sum(self.head.blocks),)

    def forward(
        self,
        input_features: torch.Tensor | None = None,
        encoder_inputs: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        vectors: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Classify utterances, or their vectors from `embed`.

        Args:
            input_features: functionals, (batch, functionals).
            encoder_inputs: waveforms (batch, samples), Whisper's (batch, frames, mel bins), or images (batch, frames,
                mel bins).
            attention_mask: 1 on real samples or frames of the encoder's inputs, (batch, samples or frames).
            vectors: results of `embed`, (batch, width), instead of all of these.
            labels: class ids, (batch,); for a multi-label model 0 or 1 for each label, (batch, labels).

        Raises:
            ValueError: before the machine is fitted.
        """
        if not self.config.support_vectors:
            raise ValueError("this support vector machine is not fitted: train it with recipes/train_svm.py")
        if vectors is None:
            vectors = self.embed(input_features, encoder_inputs, attention_mask)
        logits = self.head(vectors).float()
        loss = None if labels is None else ForSequenceClassificationLoss(labels, logits, self.config)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def embed(
        self,
        input_features: torch.Tensor | None = None,
        encoder_inputs: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the vector of each utterance, functionals first, (batch, width)."""
        parts = [] if self.config.inputs == "embeddings" else [input_features]
        if self.config.backbone:
            self.encoder.eval()
            parts.append(self.encoder(encoder_inputs[:, None]))
        elif self.config.encoder:
            self.encoder.eval()
            states, mask = encode(self.encoder, encoder_inputs, attention_mask)
            parts += [statistics_of(states[number], mask) for number in self._outputs]
        return torch.cat([part.float() for part in parts], dim=1)

    @property
    def _outputs(self) -> list[int]:
        count, _ = encoder_size(self.config.encoder)
        chosen = self.config.encoder_outputs or list(range(count))
        if any(not 0 <= number < count for number in chosen):
            raise ValueError(f"encoder_outputs are {chosen}, but the encoder has outputs 0 to {count - 1}")
        return chosen

    @property
    def _embedding_size(self) -> int:
        if self.config.backbone:
            # Some backbones have a wider layer after pooling; its width is in this attribute.
            return getattr(self.encoder, "head_hidden_size", None) or self.encoder.num_features
        return 2 * len(self._outputs) * encoder_size(self.config.encoder)[1] if self.config.encoder else 0


def _create_encoder(config: SVMConfig) -> nn.Module:
    if config.encoder:
        return create_encoder(config.encoder)
    # A configuration may come from a stranger: it may describe an architecture, but not make us read or fetch a file.
    if foreign := [
        name for name in config.backbone_args if "pretrained" in name or name in ("checkpoint_path", "cache_dir")
    ]:
        raise ValueError(f"backbone_args must not contain {foreign[0]!r}: weights come only with the model")
    try:  # for imports outside of a `try`, transformers requires the package when this file is loaded from the Hub
        import timm  # slow, and not everyone needs it
    except ImportError as error:
        raise ImportError(f"the backbone {config.backbone!r} needs timm: pip install timm") from error

    return timm.create_model(config.backbone, pretrained=False, in_chans=1, num_classes=0, **config.backbone_args)
