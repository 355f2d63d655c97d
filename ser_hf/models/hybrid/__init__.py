"""Convolutions beside a Transformer or a BLSTM (`parallel`), or below an LSTM (`stacked`), as emotion classifiers."""

from .configuration_hybrid import HybridConfig, HybridParallelConfig, HybridStackedConfig
from .modeling_parallel import HybridParallelForAudioClassification
from .modeling_stacked import HybridStackedForAudioClassification

__all__ = [
    "HybridConfig",
    "HybridParallelConfig",
    "HybridParallelForAudioClassification",
    "HybridStackedConfig",
    "HybridStackedForAudioClassification",
]
