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
        """Zero mean, and a mean squared length of 1, to which functionals and embeddings contribute equally."""
        return (vectors.to(self.mean) - self.mean) / self.scale

    def decisions(self, standardised: torch.Tensor) -> torch.Tensor:
        """Signed margins of the pairs (0, 1), (0, 2), ..., positive for the first of both.  (b, width) -> (b, pairs)"""
        similarities = self.similarities(standardised, self.support_vectors)
        return similarities @ self.coefficients.to(similarities) + self.intercepts.to(similarities)

    def similarities(self, standardised: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
        """The kernel.  (b, width), (n, width) -> (b, n)"""
        # Hundreds of products of large coefficients cancel: double where the device has it.
        dtype = torch.float32 if standardised.device.type == "mps" else torch.float64
        vectors, support = standardised.to(dtype), support.to(dtype)
        products = vectors @ support.T
        if self.kernel == "linear":
            return products
        squares = vectors.square().sum(dim=1, keepdim=True) + support.square().sum(dim=1)
        return torch.exp(-self.gamma * (squares - 2 * products).clamp_min(0))

    @torch.no_grad()
    def fit_standardisation(self, vectors: torch.Tensor) -> None:
        """Takes mean and deviation of (utterances, width): training part only."""
        vectors = vectors.double()
        deviation = vectors.std(dim=0, correction=0)
        deviation[deviation <= 1e-6 * vectors.abs().amax(dim=0)] = 1.0  # what never varies says nothing, not everything
        widths = torch.tensor([width for width in self.blocks for _ in range(width)], dtype=torch.float64)
        self.mean, self.scale = vectors.mean(dim=0).float(), (deviation * (widths * len(self.blocks)).sqrt()).float()


class SVMForAudioClassification(PreTrainedModel):
    """Functionals, embeddings of a frozen encoder, or both -> standardised vector -> one machine per pair -> emotion.

    `ser_hf.training.svm.fit_svm` fits it. Softmax of the logits is a calibrated probability; `head.decisions` are the
    margins that scikit-learn's `SVC` would return for each pair of classes.
    """

    config_class = SVMConfig
    config: SVMConfig
    main_input_name = "input_features"

    def __init__(self, config: SVMConfig):
        super().__init__(config)
        wants_embeddings = config.inputs != "functionals"
        if wants_embeddings != bool(config.encoder or config.backbone):
            raise ValueError(
                f"inputs are {config.inputs!r} {'without' if wants_embeddings else 'beside'} an encoder: name one for "
                "embeddings, none for functionals"
            )
        if (config.inputs == "embeddings") == bool(config.functionals):
            raise ValueError(f"inputs are {config.inputs!r}, but there are {config.functionals} functionals")
        self.encoder = _create_encoder(config) if wants_embeddings else None
        blocks = (config.functionals, self._embedding_size)
        self.head = SupportVectorHead(config, tuple(width for width in blocks if width))
        self.post_init()

    def _init_weights(self, module):
        if self.config.backbone and any(module is part for part in self.encoder.modules()):
            return  # timm and the checkpoint know better, and `post_init` would draw every convolution anew
        super()._init_weights(module)
        if isinstance(module, SupportVectorHead):
            # from_pretrained builds on the meta device: what a checkpoint lacks must be filled in here.
            for name, buffer in module.named_buffers():
                nn.init.constant_(buffer, 1.0 if name == "scale" else 0.0)

    # transformers looks at the first parameter, and a machine without an encoder has none.
    @property
    def device(self) -> torch.device:
        return self.head.mean.device

    @property
    def dtype(self) -> torch.dtype:
        return self.head.mean.dtype

    @property
    def padding_invariant(self) -> bool:
        """Functionals are never padded; encoders with a mask do not mind, convolutions on images do."""
        return self.encoder is None or not (self.config.backbone or is_disturbed_by_padding(self.encoder))

    @property
    def cached_shape(self) -> tuple[int]:
        """Of `vectors`, for one utterance."""
        return (sum(self.head.blocks),)

    def forward(
        self,
        input_features: torch.Tensor | None = None,
        encoder_inputs: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        vectors: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Classify utterances, or the vectors that `embed` made of them.

        Args:
            input_features: functionals, (batch, functionals).
            encoder_inputs: waveforms (batch, samples), Whisper's (batch, mel bins, frames), or images (batch, frames,
                mel bins).
            attention_mask: 1 on real samples or frames of the encoder's inputs, (batch, samples or frames).
            vectors: what `embed` returned, (batch, width); takes the place of all of these.
            labels: class ids, (batch,); where several emotions may be present 0 or 1 for each,
                (batch, labels).

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
        """The vector of each utterance, functionals first.  -> (batch, width)"""
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
            # Some backbones widen their features once more after pooling, and say so here.
            return getattr(self.encoder, "head_hidden_size", None) or self.encoder.num_features
        return 2 * len(self._outputs) * encoder_size(self.config.encoder)[1] if self.config.encoder else 0


def _create_encoder(config: SVMConfig) -> nn.Module:
    if config.encoder:
        return create_encoder(config.encoder)
    # A configuration may come from a stranger: it describes an architecture, and makes nobody read or fetch a file.
    if foreign := [
        name for name in config.backbone_args if "pretrained" in name or name in ("checkpoint_path", "cache_dir")
    ]:
        raise ValueError(f"backbone_args may not name {foreign[0]!r}: weights come with the model alone")
    try:  # transformers demands every import outside a `try`, even here, of whoever loads this file from the Hub
        import timm  # slow, and not everyone needs it
    except ImportError as error:
        raise ImportError(f"the backbone {config.backbone!r} is timm's: pip install timm") from error

    return timm.create_model(config.backbone, pretrained=False, in_chans=1, num_classes=0, **config.backbone_args)
