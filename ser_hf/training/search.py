"""A search for training options: the search space, the trials, early stopping, and the summary.

Optuna's tree-structured Parzen estimator (Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization, NIPS 24)
proposes the trials, its median rule stops them. The recipe is `recipes/search.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar, get_type_hints

import numpy as np
import pandas
from transformers import TrainerCallback

from ..options import OptionError, unknown_option
from .arguments import SERTrainingArguments
from .callbacks import NonFiniteError
from .parser import check_each_once, check_options

try:
    import optuna
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise ImportError("a search needs the package optuna: pip install 'ser_hf[search]'") from error

STUDY_FILE = "trials.sqlite3"
# The median of fewer trials, or before the warm-up of the learning rate, stops no trial.
LEAST_TRIALS, LEAST_EPOCHS = 5, 5
_NOT_SEARCHED = {
    "output_dir": "it names a folder",
    "seed": "use recipes/cross_validate.py for several seeds",
    "data_seed": "use recipes/cross_validate.py for several seeds",
}
_RANGE = re.compile(r"(?P<low>[^.:]+(\.[^.:]+)?|\.\d+)\.\.(?P<high>[^:]+)(?P<marks>(:[^:]*)*)")


@dataclass(frozen=True)
class Dimension:
    """One option of `SERTrainingArguments` and its values in the search: some words, or a range of numbers.

    >>> Dimension.parse("learning_rate=1e-5..1e-3:log")
    Dimension(name='learning_rate', choices=(), low=1e-05, high=0.001, is_log=True, is_whole=False)
    >>> Dimension.parse("per_device_train_batch_size=16|32").choices
    ('16', '32')
    """

    name: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    is_whole: bool = False

    @classmethod
    def parse(cls, word: str) -> Dimension:
        """Return the dimension of `name=low..high`, which `:log` or `:int` may follow, or of `name=one|another`.

        Raises:
            OptionError: for another form, an unknown name, or an impossible range.
        """
        name, _, values = word.partition("=")
        known = {one.name for one in fields(SERTrainingArguments) if one.init} - {*_NOT_SEARCHED}
        if name in _NOT_SEARCHED:
            raise OptionError(f"--space cannot search {name}: {_NOT_SEARCHED[name]}")
        if name not in known:
            raise OptionError(f"--space: {unknown_option(name, known)}")
        if "|" in values:
            choices = tuple(values.split("|"))
            if "" in choices or len(set(choices)) < len(choices):
                raise OptionError(f"--space {word!r} needs different values between the bars")
            return cls(name, choices)
        match = _RANGE.fullmatch(values)
        marks = set(match["marks"].split(":")[1:]) if match else set()
        try:
            low, high = float(match["low"]), float(match["high"])
        except (TypeError, ValueError):
            low, high = np.nan, np.nan
        if not -np.inf < low < high < np.inf or marks - {"log", "int"}:
            raise OptionError(
                f"--space {word!r} needs the form name=low..high, name=low..high:log, or name=one|another"
            )
        is_whole = "int" in marks or get_type_hints(SERTrainingArguments)[name] in (int, int | None)
        if "log" in marks and low <= 0:
            raise OptionError(f"--space {word!r}: a logarithmic range must begin above 0")
        if is_whole and (low % 1 or high % 1):
            raise OptionError(f"--space {word!r}: a range of whole numbers needs whole ends")
        return cls(name, (), low, high, "log" in marks, is_whole)

    @property
    def ends(self) -> tuple[str, ...]:
        """The values to check: every choice, or both ends of a range."""
        return self.choices or tuple(self._word(value) for value in (self.low, self.high))

    def suggest(self, trial: Trial) -> str:
        """Return the value for a trial, as a word of the command line."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.is_whole:
            return self._word(trial.suggest_int(self.name, int(self.low), int(self.high), log=self.is_log))
        return self._word(trial.suggest_float(self.name, self.low, self.high, log=self.is_log))

    def _word(self, value: float) -> str:
        return str(int(value)) if self.is_whole else repr(float(value))


@dataclass(kw_only=True)
class SearchArguments:
    """The search space, and the number of trials."""

    space: list[str] = field(
        metadata={
            "help": "Training options and their values, as name=low..high (:log for a logarithmic range, :int for "
            "whole numbers) or name=one|another."
        },
    )
    trials: int = field(default=20, metadata={"help": "Number of trials, including those of an earlier start."})

    RANGES: ClassVar = {"trials": "[1, inf)"}

    def __post_init__(self):
        check_options(self)
        self.dimensions = [Dimension.parse(word) for word in self.space]
        check_each_once("space", [dimension.name for dimension in self.dimensions])


def open_study(folder: str | Path) -> Study:
    """Return the study of a run folder, a new or an earlier one. An interrupted trial does not count."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{Path(folder, STUDY_FILE)}", study_name="search", direction="maximize",
        load_if_exists=True, pruner=optuna.pruners.MedianPruner(LEAST_TRIALS, LEAST_EPOCHS),
    )  # fmt: skip
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def finished_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that ended by themselves or were stopped by the median."""
    return study.get_trials(states=[TrialState.COMPLETE, TrialState.PRUNED])


def next_trial(study: Study, *, seed: int) -> Trial:
    """Return a trial that depends on the seed and the finished trials only: an interrupted search repeats it."""
    # With one seed the sampler would repeat its first proposals after every start.
    state = np.random.SeedSequence([seed, len(finished_trials(study))]).generate_state(1)
    study.sampler = optuna.samplers.TPESampler(seed=int(state[0]))
    return study.ask()


def run_trial(study: Study, trial: Trial, objective: Callable[[Trial], float]) -> float | None:
    """Run a trial, record it, and return its value.

    The value is None if the trial was stopped, if its gradients were not finite, or if its options exclude each other.
    """
    value, state = None, TrialState.PRUNED
    try:
        value, state = objective(trial), TrialState.COMPLETE
    except optuna.TrialPruned:
        pass
    except NonFiniteError:
        trial.set_user_attr("ended", "diverged")
    except OptionError as error:  # an unfinished trial would be proposed again and again
        print(error)
        trial.set_user_attr("ended", "refused")
    study.tell(trial, value, state)
    return value


class MedianStop(TrainerCallback):
    """Ends a training whose best validation UAR is below the median of the other trials after as many epochs.

    Raises:
        optuna.TrialPruned: then, out of `train`.
    """

    def __init__(self, trial: Trial):
        self.trial = trial
        self.reported: set[int] = set()

    def on_evaluate(self, args, state, control, **_unused) -> None:
        for row in state.log_history:  # with the epochs before an interruption
            if "eval_uar" in row and (epoch := round(row["epoch"])) not in self.reported:
                self.trial.report(row["eval_uar"], epoch)
                self.reported.add(epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def trials_table(study: Study) -> pandas.DataFrame:
    """Return one row per finished trial: `trial`, `state`, `validation_uar`, and its options.

    A state is complete, stopped (by the median), diverged, or refused (its options exclude each other).
    `validation_uar` is given for complete trials only.
    """
    rows = []
    for number, trial in enumerate(finished_trials(study)):
        complete = trial.state.name == "COMPLETE"
        state = "complete" if complete else trial.user_attrs.get("ended", "stopped")
        facts = {"trial": number, "state": state, "validation_uar": trial.value if complete else None}
        rows.append({**facts, **trial.params})
    return pandas.DataFrame(rows)


def summary(
    trials: pandas.DataFrame, *, folds: Sequence[int], seen_elsewhere: Mapping[int, int], run: str | Path
) -> str:
    """Return the result of a search and its limits, in Markdown.

    Args:
        trials: of `trials_table`, with at least one complete trial.
        folds: the folds whose validation speakers were used.
        seen_elsewhere: for each fold, the number of its test speakers in another training or validation part.
        run: the folder with `best.yaml`.
    """
    counts = trials["state"].value_counts()
    winner = trials.loc[trials["validation_uar"].idxmax()]
    options = [name for name in trials.columns if name not in ("trial", "state", "validation_uar")]
    judged = f"fold {folds[0]}" if len(folds) == 1 else f"folds {', '.join(map(str, folds))} (mean)"
    lines = [
        f"**{len(trials)} trials** ({', '.join(f'{count} {state}' for state, count in counts.items())}), compared by "
        f"UAR on the validation speakers of {judged}. Best: trial {winner['trial']}, "
        f"**validation UAR {winner['validation_uar']:.3f}**.",
        "",
        "| option | best |", "|---|---|",
        *(f"| {name} | {winner[name]} |" for name in options),
        "",
        f"The best of {len(trials)} trials is partly luck on these speakers: its validation UAR is optimistic. No test "
        "utterance was evaluated.",
    ]  # fmt: skip
    if touched := {fold: count for fold, count in seen_elsewhere.items() if count}:
        shown = ", ".join(f"{count} of fold {fold}" for fold, count in touched.items())
        lines += [
            "",
            f"Test speakers that the search trained or validated on in another fold: {shown}. A test on them is "
            "optimistic too: search on one fold, and test on the same fold.",
        ]
    else:
        lines += [
            "",
            f"The search used no test speaker of fold {', '.join(map(str, folds))}, which `best.yaml` names. It "
            "trained or validated on those of other folds: search again for each further fold.",
        ]
    lines += ["", "Next, the test, with several seeds:", "", "```bash"]
    lines += [f"python recipes/cross_validate.py {Path(run, 'best.yaml')} --output_dir {Path(run, 'test')}", "```"]
    return "\n".join(lines)
