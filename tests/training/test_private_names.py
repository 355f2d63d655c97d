"""The private names of transformers that the package relies on, each once: an update that drops one fails here."""

import ast

import pytest
from conftest import ROOT
from transformers import PreTrainedModel, Trainer, TrainingArguments

# Of the Trainer: hooks that it calls and that our trainers extend, and what it offers for a data loader of one's own.
TRAINER = {
    "_get_dataloader", "_get_train_sampler", "_load_from_checkpoint", "_prepare_inputs", "_save", "_train_batch_size",
    "_created_lr_scheduler",
}  # fmt: skip
# Of its arguments: one process drives one device, also where several GPUs are seen.
ARGUMENTS = {"_n_gpu"}
# Of a model: the documented hook for the first weights of layers.
MODEL = {"_init_weights"}


def private_names(folder: str) -> set[str]:
    """Attributes with one leading underscore that the files of a folder read, call or define."""
    found = set()
    for file in (ROOT / "ser_hf" / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "name", None)
            if isinstance(name, str) and name.startswith("_") and not name.startswith("__"):
                found.add(name)
    return found


def test_our_trainers_use_no_other_private_name_of_the_trainer():
    theirs = {name for name in private_names("training") if hasattr(Trainer, name) or hasattr(TrainingArguments, name)}
    instance = {"_train_batch_size", "_created_lr_scheduler", "_n_gpu"} & private_names("training")
    assert theirs | instance == TRAINER | ARGUMENTS


def test_our_models_use_no_other_private_name_of_a_model():
    assert {name for name in private_names("models") if hasattr(PreTrainedModel, name)} == MODEL


@pytest.mark.parametrize("name", sorted(TRAINER - {"_train_batch_size", "_created_lr_scheduler"}))
def test_the_trainer_still_has_it(name):
    assert callable(getattr(Trainer, name))
