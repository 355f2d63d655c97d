"""Search training options with Optuna on validation speakers. Evaluating on test speakers is a separate command.

    python recipes/search.py                                                   # synthetic speech, offline
    python recipes/search.py recipes/configs/ravdess_whisper.yaml --folds 0 --eval_strategy epoch --trials 40 \
        --space learning_rate=1e-5..1e-3:log weight_decay=0..0.1 label_smoothing_factor=0|0.1 --output_dir runs/search
    python recipes/cross_validate.py runs/search/best.yaml --output_dir runs/search/test

`Trainer.hyperparameter_search` is not used: it changes the options of one trainer without checking them, keeps
callbacks that remember the previous trial, takes the last evaluation as the result, and runs one fold only. The run
folder holds `trials.sqlite3` (the same command resumes the search; a higher `--trials` continues it), `trials.csv`,
`search.md`, and `best.yaml`, a configuration for train_classifier.py.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

from ser_hf.extras import require_extra

if __name__ == "__main__":
    require_extra("a search")

from transformers import set_seed

from ser_hf.data.statistics import fit_statistics
from ser_hf.files import fold_folder, write_whole
from ser_hf.training.arguments import ModelArguments, SERTrainingArguments
from ser_hf.training.callbacks import last_checkpoint
from ser_hf.training.data_arguments import DataArguments
from ser_hf.training.parser import changed_options, parse, run_recipe, write_options
from ser_hf.training.run_folds import Experiment
from ser_hf.training.search import (
    MedianStop,
    SearchArguments,
    finished_trials,
    next_trial,
    open_study,
    run_trial,
    summary,
    trials_table,
)
from ser_hf.training.trainer import SERTrainer


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)

    def arguments(**options: str) -> tuple:
        classes = (DataArguments, ModelArguments, SearchArguments, SERTrainingArguments)
        default = Path(__file__).parent / "configs" / "synthetic_search.yaml"
        overrides = [f"--{name}={value}" for name, value in options.items()]
        return parse(*classes, default_config=default, argv=[*words, *overrides])

    data_args, model_args, search_args, training_args = arguments()
    for dimension in search_args.dimensions:
        for value in dimension.ends:  # raises for an invalid value before anything is trained
            arguments(**{dimension.name: value})
    data_args.refuse_final()
    if training_args.world_size > 1:
        raise ValueError(f"a search runs in one process only, not in {training_args.world_size}")
    # A search with more trials is the same search.
    settings = replace(search_args, trials=SearchArguments.trials)
    experiment = Experiment(data_args, model_args, training_args, settings)
    run, seed, folds = experiment.folder, training_args.seed, experiment.folds
    parts_of, tested = {}, {}
    for fold in folds:
        parts, _ = experiment.split(fold)
        tested[fold] = set(parts.pop("test")["speaker"])  # only names: no code below has a test utterance
        parts_of[fold] = parts

    def validation_uar(trial) -> float:
        """Return the validation UAR of the weights that a run with a trial's options keeps; mean over the folds."""
        *_, trial_args = arguments(**{dimension.name: dimension.suggest(trial) for dimension in search_args.dimensions})
        folder, uars = run / f"trial{len(finished_trials(study))}", []
        for fold, parts in parts_of.items():
            set_seed(seed)
            model, extractor = model_args.build(experiment.labels)
            fit_statistics(model.to(trial_args.device), extractor, parts["train"])
            trial_args.output_dir = str(fold_folder(folder, fold))
            trainer = SERTrainer(
                model,
                trial_args,
                train_dataset=parts["train"],
                eval_dataset=parts["validation"],
                processing_class=extractor,
                # A trial may be stopped in its first fold only, where the epochs of all trials can be compared.
                callbacks=[MedianStop(trial)] if trial_args.eval_strategy == "epoch" and not uars else [],
            )
            trainer.train(resume_from_checkpoint=last_checkpoint(trial_args.output_dir))
            trainer.remove_callback(MedianStop)  # the final evaluation must not stop the trial
            uars.append(trainer.evaluate()["eval_uar"])
        return sum(uars) / len(uars)

    study = open_study(run)
    while (number := len(finished_trials(study))) < search_args.trials:
        trial = next_trial(study, seed=seed)
        with (run / "printed.txt").open("a", encoding="utf-8") as printed, redirect_stdout(printed):
            uar = run_trial(study, trial, validation_uar)
        shutil.rmtree(run / f"trial{number}", ignore_errors=True)  # the weights of a trial are not needed
        chosen = ", ".join(f"{name} {value}" for name, value in trial.params.items())
        told = trials_table(study)["state"].iloc[-1] if uar is None else f"validation UAR {uar:.3f}"
        print(f"trial {number}: {told} ({chosen})", flush=True)

    trials = trials_table(study)
    write_whole(run / "trials.csv", trials.to_csv(index=False))
    if not (trials["state"] == "complete").any():
        raise ValueError("no trial was completed: lower the learning rates in --space, and see trials.csv")
    best = study.best_trial.params
    *_, best_args = arguments(**best, output_dir=str(run / "best"))
    # Always name the folds of the search: test speakers of other folds may have been used in it.
    write_options(run / "best.yaml", {**changed_options(data_args, model_args, best_args), "folds": folds})
    text = summary(trials, folds=folds, seen_elsewhere=count_seen_elsewhere(parts_of, tested), run=run)
    write_whole(run / "search.md", text + "\n")
    print(text)


def count_seen_elsewhere(parts_of: Mapping[int, Mapping], tested: Mapping[int, set]) -> dict[int, int]:
    """Return the number of test speakers of each fold that are in the training or validation part of another fold."""
    seen = {fold: {*parts["train"]["speaker"], *parts["validation"]["speaker"]} for fold, parts in parts_of.items()}
    return {
        fold: len(speakers & set().union(*(seen[other] for other in seen if other != fold)))
        for fold, speakers in tested.items()
    }


if __name__ == "__main__":
    run_recipe(main)
