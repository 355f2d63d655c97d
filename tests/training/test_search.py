import math
from types import SimpleNamespace

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_hf.training.callbacks import NonFiniteError
from ser_hf.training.parser import OptionError
from ser_hf.training.search import (
    LEAST_EPOCHS,
    LEAST_TRIALS,
    Dimension,
    MedianStop,
    SearchArguments,
    finished_trials,
    next_trial,
    open_study,
    run_trial,
    trials_table,
)


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("weight_decay=0..0.1", (0, 0.1, False, False)),
        ("learning_rate=1e-5..1e-3:log", (1e-5, 1e-3, True, False)),
        ("layer_decay=.7..1.", (0.7, 1, False, False)),
        ("num_train_epochs=10..40:int", (10, 40, False, True)),
        ("num_train_epochs=10..40:int:log", (10, 40, True, True)),
        ("gradient_accumulation_steps=1..4", (1, 4, False, True)),  # the option is of whole numbers
    ],
)
def test_a_range_is_read_as_it_is_written(word, wanted):
    dimension = Dimension.parse(word)
    assert (dimension.low, dimension.high, dimension.is_log, dimension.is_whole) == wanted


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("learning_rate", "needs the form name=low..high"),
        ("learning_rate=3", "needs the form name=low..high"),
        ("learning_rate=0..1:log", "begin above 0"),
        ("learning_rate=0..1:cosine", "needs the form name=low..high"),
        ("learning_rate=0..nan", "needs the form name=low..high"),
        ("num_train_epochs=1..2.5:int", "whole ends"),
        ("balance=none|none", "needs different values"),
        ("output_dir=a|b", "cannot search output_dir"),
        ("weight_classs=true|false", "did you mean 'weight_classes'"),
    ],
)
def test_what_is_no_range_is_refused_by_its_name(word, message):
    with pytest.raises(ValueError, match="--space") as refused:
        SearchArguments(space=[word])
    assert message in str(refused.value)


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_a_suggestion_lies_in_its_range_and_survives_the_command_line(low, width, seed):
    dimension = Dimension("weight_decay", low=low, high=low + width)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask()
    assert dimension.low <= float(dimension.suggest(trial)) <= dimension.high
    assert float(dimension.suggest(trial)) == trial.params["weight_decay"]


RATE = Dimension.parse("learning_rate=1e-5..1e-1:log")


def objective(trial):
    """Best at 1e-3."""
    return 1 - abs(math.log10(float(RATE.suggest(trial))) + 3) / 4


def search(folder, trials, interrupted=()):
    folder.mkdir(exist_ok=True)
    study = open_study(folder)
    while (number := len(finished_trials(study))) < trials:
        if number in interrupted and len(study.trials) == number:
            objective(next_trial(study, seed=1))  # killed before it told anything
            study = open_study(folder)
        run_trial(study, next_trial(study, seed=1), objective)
    return trials_table(study)


def test_a_search_finds_the_best_and_an_interruption_changes_no_proposal(tmp_path):
    whole = search(tmp_path / "whole", 15)
    assert whole["learning_rate"].nunique() == 15
    assert whole["validation_uar"].max() > 0.9
    later = whole["validation_uar"][10:]
    assert later.mean() > whole["validation_uar"][:10].mean(), "ten at random, then where it was good"
    assert search(tmp_path / "broken", 15, interrupted=[12]).equals(whole)
    search(tmp_path / "in parts", 6)
    assert search(tmp_path / "in parts", 15).equals(whole)


def test_a_trial_below_the_median_is_stopped_after_its_first_epochs(tmp_path):
    study = open_study(tmp_path)

    def train(trial, uar):
        stop, history = MedianStop(trial), []
        for epoch in range(1, 10):
            history.append({"epoch": float(epoch), "eval_uar": uar + epoch / 100})
            stop.on_evaluate(None, SimpleNamespace(log_history=history), None)
        return history[-1]["eval_uar"]

    for number in range(LEAST_TRIALS):
        assert run_trial(study, next_trial(study, seed=0), lambda trial, n=number: train(trial, 0.5 + n / 100))
    assert run_trial(study, next_trial(study, seed=0), lambda trial: train(trial, 0.3)) is None
    assert run_trial(study, next_trial(study, seed=0), lambda trial: train(trial, 0.6)) == pytest.approx(0.69)
    assert study.trials[-2].last_step == LEAST_EPOCHS
    table = trials_table(study)
    assert table["state"].tolist() == ["complete"] * LEAST_TRIALS + ["stopped", "complete"]
    assert table["validation_uar"].isna().tolist() == [False] * LEAST_TRIALS + [True, False]


def test_a_trial_that_diverges_counts_and_stops_nothing(tmp_path):
    study = open_study(tmp_path)

    def diverge(trial):
        RATE.suggest(trial)
        raise NonFiniteError("step 1: the gradients are not finite")

    assert run_trial(study, next_trial(study, seed=0), diverge) is None
    assert run_trial(study, next_trial(study, seed=0), objective) == trials_table(study)["validation_uar"][1]
    assert trials_table(study)["state"].tolist() == ["diverged", "complete"]


def test_a_trial_whose_options_do_not_go_together_counts_and_stops_nothing(tmp_path):
    study = open_study(tmp_path)

    def refuse(trial):
        RATE.suggest(trial)
        raise OptionError("--balance_by needs --balance")

    assert run_trial(study, next_trial(study, seed=0), refuse) is None
    assert run_trial(study, next_trial(study, seed=0), objective) is not None
    assert trials_table(study)["state"].tolist() == ["refused", "complete"]
