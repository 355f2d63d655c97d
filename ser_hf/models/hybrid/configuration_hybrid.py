"""Configurations of the `hybrid` family: a common base, and one for each kind."""

from __future__ import annotations

from dataclasses import field

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class HybridConfig(PreTrainedConfig):
    """The settings common to the parallel and the stacked networks: their input and their convolutions.

    Args:
        front_end: "log_mel" (features of `LogMelFeatureExtractor`) or "leaf" (trainable filters on the waveform).
        feature_size: bins of one channel of the image.
        in_channels: channels of the image: 1, or 2 or 3 with deltas.
        sampling_rate: of the waveforms for "leaf", in Hz.
        channels: channels of each convolution.
        pools: factor by which the pooling after each convolution reduces frames and bins.
        conv_dropout: share of the outputs of each convolution that is dropped, in [0, 1).
        classifier_dropout: share of the pooled features that is dropped before the classifier, in [0, 1).

    Raises:
        ValueError: for values that contradict each other.
    """

    front_end: str = "log_mel"
    feature_size: int = 64
    in_channels: int = 1
    sampling_rate: int = 16_000
    channels: list[int] = field(default_factory=lambda: [16, 32, 64])
    pools: list[int] = field(default_factory=lambda: [2, 2, 2])
    conv_dropout: float | int = 0.2
    classifier_dropout: float | int = 0.3

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.front_end not in ("log_mel", "leaf"):
            raise ValueError(f"front_end must be log_mel or leaf, not {self.front_end!r}")
        if self.front_end == "leaf" and self.in_channels != 1:
            raise ValueError(f"the front end leaf has 1 channel, not {self.in_channels}: leave in_channels out")
        if not self.channels or len(self.channels) != len(self.pools):
            raise ValueError(
                f"channels and pools need one number for each convolution, not {self.channels} and {self.pools}"
            )

    @property
    def pooled_bins(self) -> int:
        """Bins that remain after all poolings."""
        bins = self.feature_size
        for pool in self.pools:
            bins = -(-bins // pool)
        return bins


@strict
class HybridParallelConfig(HybridConfig):
    """Convolutional branches beside a Transformer or a BLSTM.

    Args:
        kernels: width and height of the kernels of each branch.
        sequence: the sequence branch: "transformer" or "blstm".
        frame_pool: number of frames that are averaged before the sequence branch.
        d_model: width of the Transformer; the BLSTM has half of it in each direction.
        encoder_layers, encoder_attention_heads, encoder_ffn_dim: sizes of the Transformer.
        sequence_dropout: share that is dropped within the sequence branch, in [0, 1).

    >>> HybridParallelConfig(sequence="blstm").model_type
    'ser_hybrid_parallel'
    """

    model_type = "ser_hybrid_parallel"

    kernels: list[int] = field(default_factory=lambda: [3, 5])
    sequence: str = "transformer"
    frame_pool: int = 4
    d_model: int = 64
    encoder_layers: int = 2
    encoder_attention_heads: int = 4
    encoder_ffn_dim: int = 256
    sequence_dropout: float | int = 0.1

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.sequence not in ("transformer", "blstm"):
            raise ValueError(f"sequence must be transformer or blstm, not {self.sequence!r}")
        if not self.kernels or any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels must be odd sizes, one for each branch, not {self.kernels}")
        if self.d_model % 2 or self.d_model % self.encoder_attention_heads:
            raise ValueError(
                f"d_model = {self.d_model} must be even and divisible by encoder_attention_heads = "
                f"{self.encoder_attention_heads}"
            )


@strict
class HybridStackedConfig(HybridConfig):
    """Convolutions, and a recurrent layer that reads their output frame by frame.

    Args:
        kernel: width and height of the kernels.
        recurrence: "lstm" (its last state), "attention-lstm" (all its states, weighted) or "none" (the mean of the
            convolutions' output).
        lstm_hidden_size: width of the LSTM.

    >>> HybridStackedConfig(channels=[8, 8], pools=[2, 4]).pooled_bins
    8
    """

    model_type = "ser_hybrid_stacked"

    kernel: int = 3
    recurrence: str = "lstm"
    lstm_hidden_size: int = 128

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.recurrence not in ("lstm", "attention-lstm", "none"):
            raise ValueError(f"recurrence must be lstm, attention-lstm or none, not {self.recurrence!r}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be an odd size, not {self.kernel}")
