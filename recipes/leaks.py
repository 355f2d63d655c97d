"""What a leak is worth: one model, one corpus, divided honestly and in three ways that are often published.

    python recipes/leaks.py                                                          # synthetic speech, offline
    python recipes/leaks.py recipes/configs/leaks_ravdess.yaml --roots ravdess=corpora/ravdess

- `none`: the protocol's own folds of whole speakers.
- `random`: utterances at random, five folds: test speakers are heard in training.
- `oversampled`: every utterance copied `copies` times, then divided at random: test recordings are heard in training.
- `selected`: the protocol's folds, but the epoch is the one that suits the test speakers best.

Everything else is equal: the network, about how many utterances it is given in all, and that the best epoch of the
validation part is kept; of copies there are fewer, longer epochs to choose from. The run folder holds `leaks.md` with
all of them side by side, and a report of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict, concatenate_datasets
from sklearn.model_selection import StratifiedKFold
from transformers import set_seed

from ser_hf.data.arguments import DataArguments
from ser_hf.data.precompute import AUDIO_HASH_COLUMN, as_numpy, fit_statistics, precompute
from ser_hf.inference.evaluate import evaluate
from ser_hf.models.pretrained import is_frozen
from ser_hf.report.runs import TEST, RunTables
from ser_hf.splits.split import Protocol, chosen_folds, split_each
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.parser import parse, run_recipe, save_arguments
from ser_hf.training.resume import last_checkpoint
from ser_hf.training.trainer import SERTrainer

LEAKS = ("none", "random", "oversampled", "selected")


@dataclass(kw_only=True)
class LeakArguments(DataArguments):
    leaks: list[str] = field(default_factory=lambda: [*LEAKS], metadata={"help": f"Which: {', '.join(LEAKS)}."})
    copies: int = field(default=5, metadata={"help": "oversampled: how often each utterance stands in the corpus."})

    def __post_init__(self):
        super().__post_init__()
        if strange := [leak for leak in self.leaks if leak not in LEAKS]:
            raise ValueError(f"leaks: {strange[0]!r}, wanted some of {', '.join(LEAKS)}")
        if self.copies < 2:
            raise ValueError(f"copies: {self.copies}, wanted 2 or more")


def divide(dataset: Dataset, leak: str, data_args: LeakArguments, fold: int) -> tuple[DatasetDict, Protocol]:
    """The parts of one fold under a leak, copies among them, which no protocol has; and what to call it."""
    if leak in ("none", "selected"):
        parts, protocol = split_each(dataset, data_args.protocols, fold, emobox_root=data_args.emobox_root)
        if leak == "none":
            return parts, protocol
        parts["validation"] = parts["test"]
        return parts, Protocol(
            f"{protocol.name}+selected", "the test part chose the epoch", is_speaker_independent=False
        )
    copies = data_args.copies if leak == "oversampled" else 1
    rows = as_numpy(concatenate_datasets([_renamed(dataset, copy) for copy in range(copies)]))
    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(rows["label"], rows["label"])
    groups = [test for _, test in folds]
    test, validation = groups[fold], groups[(fold + 1) % len(groups)]
    train = np.setdiff1d(np.arange(len(rows)), [*test, *validation])
    parts = {"train": train, "validation": validation, "test": test}
    name = "random5" if copies == 1 else f"oversampled{copies}+random5"
    return DatasetDict({part: rows.select(chosen) for part, chosen in parts.items()}), Protocol(
        name, "utterances at random, whatever their speaker", is_speaker_independent=False
    )


def _renamed(dataset: Dataset, copy: int) -> Dataset:
    names = [f"{name}#{copy}" if copy else name for name in dataset["utterance_id"]]
    return dataset.with_format(None).remove_columns("utterance_id").add_column("utterance_id", names)


def heard(parts: DatasetDict, column: str) -> float:
    """Share of the test utterances whose speaker or recording is in the training part too."""
    known = set(parts["train"][column])
    return float(np.mean([value in known for value in parts["test"][column]]))


def main(argv: Sequence[str] | None = None) -> None:
    default = Path(__file__).parent / "configs" / "leaks_synthetic.yaml"
    data_args, model_args, training_args = parse(
        LeakArguments, ModelArguments, SERTrainingArguments, default_config=default, argv=argv
    )
    run = Path(training_args.output_dir)
    dataset = data_args.load()
    labels = dataset.features["label"].names
    folds = chosen_folds(dataset, data_args.protocols, data_args.folds, emobox_root=data_args.emobox_root)
    if min(folds) >= 5 and {"random", "oversampled"} & {*data_args.leaks}:
        raise ValueError(f"folds: {folds}, but at random there are folds 0 to 4: name one of them too")
    if training_args.world_size > 1:
        raise ValueError(f"{training_args.world_size} processes were started, but leaks are measured in one")
    set_seed(training_args.seed)
    model, extractor = model_args.build(labels)
    dataset = precompute(dataset, model.to(training_args.device), extractor, frozen=is_frozen(model))
    goes_on = save_arguments(run, data_args, model_args, training_args)
    epochs = training_args.num_train_epochs

    lines = [  # beside the reports, since no table of predictions knows what its model has heard
        f"| {model_args.model_name}, {', '.join(data_args.corpora)} | n | test speakers heard | test recordings "
        "heard | UAR [95 % over speakers] | WAR |",
        "|---|---|---|---|---|---|",
    ]
    for leak in data_args.leaks:
        tables, shares = [], []
        for fold in folds if leak in ("none", "selected") else [fold for fold in folds if fold < 5]:
            parts, protocol = divide(dataset, leak, data_args, fold)
            if leak == "none":  # nor may the weights that it begins with know the test speakers
                model_args.earlier_ledger().refuse_heard(parts["test"], speakers=protocol.is_speaker_independent)
            shares.append([heard(parts, "speaker"), heard(parts, AUDIO_HASH_COLUMN)])
            folder = run / leak / f"fold{fold}"
            if goes_on and (folder / TEST).exists():
                tables.append(RunTables.read(folder))
                continue
            set_seed(training_args.seed)
            model, extractor = model_args.build(labels)
            fit_statistics(model.to(training_args.device), extractor, parts["train"])
            training_args.output_dir = str(folder)
            # About as many steps in every division: an epoch over copies is several over the corpus.
            training_args.num_train_epochs = epochs / (data_args.copies if leak == "oversampled" else 1)
            trainer = SERTrainer(
                model,
                training_args,
                train_dataset=parts["train"],
                eval_dataset=parts["validation"],
                processing_class=extractor,
            )
            trainer.train(resume_from_checkpoint=last_checkpoint(folder))
            facts = dict(fold=fold, seed=training_args.seed, model_name=model_args.model_name)
            if leak == "selected":
                facts["speaker_knowledge"] = "the epoch was chosen on them"
            tables.append(RunTables(evaluate(model, extractor, parts["test"], protocol, **facts)))
            tables[-1].write(folder)
        pooled = RunTables.pool(tables)
        report = pooled.report()
        report.write(run / leak)
        pooled.write(run / leak)
        speakers, recordings = np.mean(shares, axis=0)
        numbers = " ".join(str(row["fold"]) for row in report.per_fold)
        lines.append(
            f"| {leak}: `{report.protocol}`, fold{'s' * (len(tables) > 1)} {numbers} | {report.n} | {speakers:.0%} | "
            f"{recordings:.0%} | {report.rate('uar')} | {report.war:.3f} |"
        )
    (run / "leaks.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(*lines, sep="\n")


if __name__ == "__main__":
    run_recipe(main)
