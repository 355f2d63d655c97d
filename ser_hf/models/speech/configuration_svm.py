"""Configuration of the `svm` family."""

from __future__ import annotations

from dataclasses import field

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

INPUTS = ("functionals", "embeddings", "both")
KERNELS = ("rbf", "linear")


@strict
class SVMConfig(PreTrainedConfig):
    """The inputs, the kernel and the size of a support vector machine.

    Args:
        inputs: "functionals" of the clip, "embeddings" of a frozen encoder, or "both" joined.
        functionals: number of functionals of the extractor; 0 without them.
        encoder: stock configuration of a HuBERT, wav2vec2, WavLM or Whisper model, as a dictionary; empty without one.
        encoder_outputs: outputs of the encoder that are embedded; 0 is the input of its first layer; empty: all.
        backbone: architecture of timm for log-mel images, instead of an encoder; "" without one.
        backbone_args: further arguments of `timm.create_model`.
        kernel: "rbf" or "linear".
        gamma: gamma of the RBF kernel exp(-gamma |x - y|^2). Vectors are standardised and scaled to a mean squared
            length of 1, so that 1 corresponds to scikit-learn's gamma="scale".
        cost: C of the support vector machine: the penalty for a training vector on the wrong side.
        class_weight: "balanced": the cost of a class is inverse to its frequency; "none": the same for all.
        support_vectors: number of support vectors; 0 before fitting.
        head_is_trained: True if the machine is fitted.

    Raises:
        ValueError: for an unknown word, or settings that contradict each other.

    >>> SVMConfig(functionals=1133).model_type
    'ser_svm'
    """

    model_type = "ser_svm"

    inputs: str = "functionals"
    functionals: int = 0
    encoder: dict = field(default_factory=dict)
    encoder_outputs: list = field(default_factory=list)
    backbone: str = ""
    backbone_args: dict = field(default_factory=dict)
    kernel: str = "rbf"
    gamma: float | int = 0.1
    cost: float | int = 10.0
    class_weight: str = "balanced"
    support_vectors: int = 0
    head_is_trained: bool = False

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        for name, value, known in (
            ("inputs", self.inputs, INPUTS),
            ("kernel", self.kernel, KERNELS),
            ("class_weight", self.class_weight, ("balanced", "none")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        if self.encoder and self.backbone:
            raise ValueError(f"both an encoder and the backbone {self.backbone} are set: choose one of them")
        for name, number in (("gamma", self.gamma), ("cost", self.cost)):
            if number <= 0:
                raise ValueError(f"{name} must be above 0, not {number}")
