"""`ser-hf precompute`: features for a training, computed once, for machines without the recordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import set_seed

from ..data.cache_files import refuse_other_content, save_cache
from ..data.columns import provenance
from ..data.precompute import precompute
from ..files import FolderLock
from ..models.trainable import is_frozen
from ..training.adversary import AdversarialTrainingArguments
from ..training.arguments import ModelArguments
from ..training.data_arguments import DataArguments
from ..training.parser import parse


def precompute_config(config: Path, out: Path, overrides: Sequence[str] = ()) -> dict:
    """Write the cache of a recipe's configuration; return a summary.

    Args:
        config: the YAML file of a recipe.
        out: the folder to write.
        overrides: command-line options of the recipe.
    """
    data_args, model_args, training_args = parse(
        DataArguments, ModelArguments, AdversarialTrainingArguments, argv=[str(config), *overrides]
    )
    refuse_other_content(out)  # raises before an hour of computing
    with FolderLock(out, out.with_name(f".{out.name}.lock")):
        return _compute(data_args, model_args, training_args, out)


def _compute(data_args: DataArguments, model_args: ModelArguments, training_args: Any, out: Path) -> dict:
    dataset = data_args.load()
    set_seed(training_args.seed)  # an encoder with random weights is that of the training
    model, extractor = model_args.build(dataset.features["label"].names)
    computed = precompute(dataset, model.to(training_args.device), extractor, frozen=is_frozen(model))
    save_cache(computed, out)
    column = provenance(computed)["cache"]["column"]
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return {"folder": str(out), "utterances": len(computed), "column": column, "mebibytes": round(size / 2**20, 1)}
