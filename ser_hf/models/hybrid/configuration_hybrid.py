"""Configurations of the `hybrid` family: what both kinds share, and one for each."""

from __future__ import annotations

from dataclasses import field

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class HybridConfig(PreTrainedConfig):
    """What the parallel and the stacked networks share: their input and their convolutions.

    Args:
        front_end: "log_mel" (what `LogMelFeatureExtractor` makes) or "leaf" (filters that learn, on the waveform).
        feature_size: bins of one channel of the image.
        in_channels: channels of the image: 2 or 3 where deltas lie behind the bins.
        sampling_rate: in Hz; of the waveforms that "leaf" hears.
        channels: of each convolution.
        pools: frames and bins that the pooling after each convolution makes one of.
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
            raise ValueError(f"front_end is {self.front_end!r}, wanted log_mel or leaf")
        if self.front_end == "leaf" and self.in_channels != 1:
            raise ValueError(f"leaf makes an image of 1 channel, not of {self.in_channels}: leave in_channels out")
        if not self.channels or len(self.channels) != len(self.pools):
            raise ValueError(f"channels {self.channels} and pools {self.pools} must be one for each convolution")

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
        sequence: what runs beside them: "transformer" or "blstm".
        frame_pool: frames that are averaged before the sequence branch sees them.
        d_model: width of the Transformer; the BLSTM has half of it in each direction.
        encoder_layers, encoder_attention_heads, encoder_ffn_dim: of the Transformer.
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
            raise ValueError(f"sequence is {self.sequence!r}, wanted transformer or blstm")
        if not self.kernels or any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels are {self.kernels}, wanted odd sizes, one for each branch")
        if self.d_model % 2 or self.d_model % self.encoder_attention_heads:
            raise ValueError(
                f"d_model = {self.d_model} must be even and divisible by encoder_attention_heads = "
                f"{self.encoder_attention_heads}"
            )


@strict
class HybridStackedConfig(HybridConfig):
    """Convolutions, and what reads their output frame by frame.

    Args:
        kernel: width and height of the kernels.
        recurrence: "lstm" (its last state), "attention-lstm" (all its states, weighted) or "none" (the mean of the
            convolutions' output).
        lstm_hidden_size: of the LSTM.

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
            raise ValueError(f"recurrence is {self.recurrence!r}, wanted lstm, attention-lstm or none")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, wanted an odd size")
