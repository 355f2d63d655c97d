"""Options that all fitted families share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from accelerate import PartialState

from ...options import OptionError
from ...splits.ledger import Ledger
from ..parser import check_options

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import FeatureExtractionMixin, PreTrainedModel

    from ..data_arguments import DataArguments


@dataclass(kw_only=True)
class FittedArguments(ABC):
    """Options of a model that is fitted in one step to what a frozen encoder makes of the training part."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={"help": "Encoder of the embeddings: Hub name or folder. Default: none."},
    )
    encoder_outputs: list[int] = field(
        default_factory=list,
        metadata={
            "help": "Encoder outputs to use: 0 is the input of the first layer, 1 its output. Default: all; of a "
            "linear discriminant those of all layers but the last."
        },
    )
    refit: bool = field(
        default=False,
        metadata={"help": "Train on the validation part too. The protocol is then named <protocol>+refit."},
    )
    output_dir: str = field(default="runs/latest", metadata={"help": "Folder of the run."})
    seed: int = field(default=42, metadata={"help": "Seed of an encoder with random weights."})

    RANGES: ClassVar[dict[str, str]] = {}

    def __post_init__(self):
        check_options(self)

    @abstractmethod
    def build(self, labels: Sequence[str]) -> tuple[PreTrainedModel, FeatureExtractionMixin]:
        """Return the unfitted model that these options describe, and its extractor."""

    @abstractmethod
    def fit(self, model: PreTrainedModel, rows: Dataset, *, where: str) -> None:
        """Fit a model to a training part, in place; `where` names the part in messages."""

    @property
    @abstractmethod
    def model_name(self) -> str:
        """The name of the model in reports and cards."""

    @property
    def encoder_name(self) -> str:
        return "" if self.model_name_or_path is None else Path(self.model_name_or_path).name

    @property
    def device(self) -> torch.device:
        """A model is fitted on the CPU; its frozen encoder works there too."""
        return torch.device("cpu")

    def earlier_ledger(self) -> Ledger:
        """Return the ledger of earlier trainings of the encoder."""
        known = Ledger.of_model(self.model_name_or_path) if self.model_name_or_path else None
        return known or Ledger()


def split_name(kind: str, name: str | None) -> str | None:
    """Return the encoder of a name such as "svm:openai/whisper-base", or None if it is "svm" alone.

    >>> split_name("svm", "svm:openai/whisper-base"), split_name("svm", "svm"), split_name("svm", "runs/hubert")
    ('openai/whisper-base', None, 'runs/hubert')
    """
    first, colon, encoder = (name or "").partition(":")
    if first != kind:
        return name
    return encoder if colon else None


def refuse_unfit_options(data: DataArguments) -> None:
    """Raise an `OptionError` for options, or a number of processes, that a fitted model cannot have."""
    if data.precomputed is not None:
        raise OptionError("--precomputed serves networks only: leave it out for a model that is fitted in one step")
    if (processes := PartialState().num_processes) > 1:
        raise OptionError(f"a model that is fitted in one step needs one process, not {processes}")
