"""Measure the effect of leaks: train one model on one corpus, divided honestly and in three leaky ways.

    python recipes/leaks.py                                                          # synthetic speech, offline
    python recipes/leaks.py recipes/configs/leaks_ravdess.yaml --roots ravdess=corpora/ravdess

- `none`: the protocol's own folds of whole speakers.
- `random`: utterances at random, five folds; test speakers are also in the training part.
- `oversampled`: every utterance copied `copies` times, then divided at random; copies of test recordings are also in
  the training part.
- `selected`: the protocol's folds, but the epoch is the one with the best result on the test speakers.

All else is equal: the network, the approximate number of utterances that it is trained on, and the choice of the best
epoch on the validation part (except for `selected`). With copies, the epochs are longer and fewer. The run folder holds
`leaks.md`, a table of all divisions, and a report of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ser_hf.options import refuse_misspelt_of_recipe

if __name__ == "__main__":
    refuse_misspelt_of_recipe(__file__)  # before the imports below, which take seconds

import numpy as np
from datasets import Dataset, DatasetDict, concatenate_datasets
from sklearn.model_selection import StratifiedKFold

from ser_hf.data.columns import AUDIO_HASH_COLUMN, as_numpy
from ser_hf.files import write_whole
from ser_hf.inference.evaluate import evaluate
from ser_hf.options import OptionError
from ser_hf.report.runs import RunTables
from ser_hf.splits.protocol import SELECTED, Protocol
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.data_arguments import DataArguments
from ser_hf.training.parser import check_each_once, parse, run_recipe
from ser_hf.training.run_folds import Experiment, Fold, Trained, run_folds
from ser_hf.training.trainer import SERTrainer

DEFAULT = Path(__file__).parent / "configs" / "leaks_synthetic.yaml"
LEAKS = ("none", "random", "oversampled", "selected")
AT_RANDOM, RANDOM_FOLDS = ("random", "oversampled"), 5


@dataclass(kw_only=True)
class LeakArguments(DataArguments):
    """Options of the data, and the divisions to compare."""

    leaks: list[str] = field(default_factory=lambda: [*LEAKS], metadata={"help": f"Divisions: {', '.join(LEAKS)}."})
    copies: int = field(default=5, metadata={"help": "oversampled: number of copies of each utterance."})

    def __post_init__(self):
        super().__post_init__()
        check_each_once("leaks", self.leaks)
        if strange := [leak for leak in self.leaks if leak not in LEAKS]:
            raise OptionError(f"--leaks must be some of {', '.join(LEAKS)}, not {strange[0]!r}")
        if self.copies < 2:
            raise OptionError(f"--copies must be 2 or more, not {self.copies}")

    def folds_under(self, leak: str, folds: Sequence[int]) -> list[int]:
        """Return the chosen folds that a leak has; random divisions have five."""
        chosen = [fold for fold in folds if leak not in AT_RANDOM or fold < RANDOM_FOLDS]
        if not chosen:
            raise OptionError(f"--folds needs one of 0 to {RANDOM_FOLDS - 1} for {leak}, not only {folds}")
        return chosen


def divide(dataset: Dataset, leak: str, data: LeakArguments, fold: int) -> tuple[DatasetDict, Protocol]:
    """Return the parts of one fold under a leak, and its protocol. No protocol of the package has copies."""
    if leak not in AT_RANDOM:
        parts, protocol = data.split(dataset, fold)
        if leak == "none":
            return parts, protocol
        parts["validation"] = parts["test"]
        return parts, replace(protocol.changed(SELECTED, "the test part chose the epoch"), is_speaker_independent=False)
    copies = data.copies if leak == "oversampled" else 1
    rows = as_numpy(concatenate_datasets([_renamed(dataset, copy) for copy in range(copies)]))
    folds = StratifiedKFold(RANDOM_FOLDS, shuffle=True, random_state=0).split(rows["label"], rows["label"])
    groups = [test for _, test in folds]
    test, validation = groups[fold], groups[(fold + 1) % len(groups)]
    train = np.setdiff1d(np.arange(len(rows)), [*test, *validation])
    parts = {"train": train, "validation": validation, "test": test}
    name = "random5" if copies == 1 else f"oversampled{copies}+random5"
    return DatasetDict({part: rows.select(chosen) for part, chosen in parts.items()}), Protocol.parse(
        name, "utterances at random, whatever their speaker", is_speaker_independent=False
    )


def _renamed(dataset: Dataset, copy: int) -> Dataset:
    names = [f"{name}#{copy}" if copy else name for name in dataset["utterance_id"]]
    return dataset.with_format(None).remove_columns("utterance_id").add_column("utterance_id", names)


def share_trained_on(parts: DatasetDict, column: str) -> float:
    """Return the share of the test utterances whose speaker or recording is in the training part too."""
    known = set(parts["train"][column])
    return float(np.mean([value in known for value in parts["test"][column]]))


def main(argv: Sequence[str] | None = None) -> None:
    data, model, training = parse(
        LeakArguments, ModelArguments, SERTrainingArguments, default_config=DEFAULT, argv=argv
    )
    if training.world_size > 1:
        raise ValueError(f"this recipe runs in one process only, not in {training.world_size}")
    if training.push_to_hub:
        raise OptionError("--push_to_hub does not work here: this recipe keeps no model")
    epochs = training.num_train_epochs
    experiment = Experiment(
        data, model, training, check=lambda _, folds: [data.folds_under(leak, folds) for leak in data.leaks]
    )

    def train(fold: Fold, leak: str) -> Trained:
        classifier, extractor = fold.build()
        # About the same number of steps in every division: an epoch over copies is several over the corpus.
        fold.training.num_train_epochs = epochs / (data.copies if leak == "oversampled" else 1)
        return fold.fit(SERTrainer, classifier, extractor)

    def judge(fold: Fold, trained: Trained) -> RunTables:
        facts = dict(fold=fold.number, seed=training.seed, model_name=fold.name)
        return RunTables(evaluate(trained.model, trained.extractor, fold.parts["test"], fold.protocol, **facts))

    lines = [  # beside the reports, because prediction tables do not have these shares
        f"| {model.model_name}, {', '.join(data.names)} | n | test speakers trained on | test recordings "
        "trained on | UAR [95 % over speakers] | WAR |",
        "|---|---|---|---|---|---|",
    ]
    for leak in data.leaks:
        folds = data.folds_under(leak, experiment.folds)
        divisions = {fold: divide(experiment.dataset, leak, data, fold) for fold in folds}
        run = run_folds(
            experiment, partial(train, leak=leak), judge=judge, folds=folds,
            divide=divisions.__getitem__, folder=experiment.folder / leak, keep_models=False,
        )  # fmt: skip
        parts = [parts for parts, _ in divisions.values()]
        speakers, recordings = (
            np.mean([share_trained_on(one, column) for one in parts]) for column in ("speaker", AUDIO_HASH_COLUMN)
        )
        numbers = " ".join(map(str, folds))
        lines.append(
            f"| {leak}: `{run.report.protocol}`, fold{'s' * (len(folds) > 1)} {numbers} | {run.report.n} | "
            f"{speakers:.0%} | {recordings:.0%} | {run.report.rate('uar')} | {run.report.rates['war']['value']:.3f} |"
        )
    write_whole(experiment.folder / "leaks.md", "\n".join(lines) + "\n")
    print(*lines, sep="\n")


if __name__ == "__main__":
    run_recipe(main)
