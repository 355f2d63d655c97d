import numpy as np
import pandas
import pytest
from predictions import CLASSES, FACTS, difference_of, make_rows
from scipy import stats

from ser_hf.evaluation.comparisons.forgetting import ForgettingTable, stage_folder
from ser_hf.evaluation.intervals import jackknife_interval, mean_interval
from ser_hf.evaluation.metrics import unweighted_average_recall
from ser_hf.evaluation.tables import PredictionTable, TableError

LEARNT_IN = {"ravdess": "first", "nemo": "second", "emodb": "third"}
# How well each corpus is recognised after each stage: the first one is forgotten, the second one goes on improving.
SKILLS = {"first": (2.5, 0.3, 0.3), "second": (2.0, 1.0, 0.5), "third": (0.5, 2.0, 2.5)}


def corpus_rows(name, skill, seed=0, speakers=10, fold=0):
    rows = make_rows(300, speakers, skill, seed=sum(map(ord, name)) + 1000 * seed, corpus=name)
    return rows.assign(
        utterance_id=[f"{name}/{number}" for number in range(300)],
        speaker=[f"{name}-{number % speakers:02d}" for number in range(300)],
        fold=fold,
    )


def curriculum(skills=SKILLS, learnt_in=LEARNT_IN, **columns):
    tables = {
        stage: PredictionTable(
            pandas.concat(
                [corpus_rows(name, skill, **columns) for name, skill in zip(learnt_in, each, strict=True)],
                ignore_index=True,
            ),
            FACTS,
        )
        for stage, each in skills.items()
    }
    return ForgettingTable(tables, learnt_in)


def uar(table, corpus, stage):
    rows = table.after_stage[stage].rows
    rows = rows[rows["corpus"] == corpus]
    ids = pandas.Index(CLASSES)
    return unweighted_average_recall(ids.get_indexer(rows["label"]), ids.get_indexer(rows["prediction"]))


def test_forgetting_is_what_was_lost_since_the_best_and_transfer_since_it_was_learnt():
    table = curriculum()
    best = max(uar(table, "ravdess", stage) for stage in SKILLS)
    assert table.forgetting("ravdess").value == pytest.approx(best - uar(table, "ravdess", "third"))
    assert table.forgetting("ravdess").value > 0.2
    assert table.transfer("ravdess").value == pytest.approx(
        uar(table, "ravdess", "third") - uar(table, "ravdess", "first")
    )
    assert table.forgetting("nemo").value == table.forgetting("emodb").value == table.transfer("emodb").value == 0
    assert table.transfer("nemo").value > 0.1
    backward = [table.transfer(corpus).value for corpus in ("ravdess", "nemo")]
    assert table.backward_transfer.value == pytest.approx(np.mean(backward))
    before = [uar(table, "nemo", "first") - 1 / 3, uar(table, "emodb", "second") - 1 / 3]
    assert table.forward_transfer.value == pytest.approx(np.mean(before))
    assert table.average.value == pytest.approx(np.mean([uar(table, corpus, "third") for corpus in LEARNT_IN]))
    assert table.to_markdown().count("**") == 6, "the stage in which a corpus was new is bold"


def test_the_interval_is_that_of_a_paired_comparison_of_the_two_stages():
    table = curriculum()
    pair = difference_of(table.table("ravdess", "third"), table.table("ravdess", "first"))
    assert table.transfer("ravdess").value == pytest.approx(pair["difference"])
    assert table.transfer("ravdess").interval == pytest.approx(pair["interval"])
    low, high = table.forgetting("ravdess").interval
    assert (-high, -low) == pytest.approx(pair["interval"]), "its first stage was its best"


def test_without_forgetting_transfer_is_zero_on_average_and_the_best_since_is_above():
    """Four stages of the same skill: what the docstring says of the two figures, in twenty curricula."""
    transfer, lost = [], []
    for number in range(20):
        tables = {
            stage: PredictionTable(corpus_rows("ravdess", 1.0, seed=10 * number + place), FACTS)
            for place, stage in enumerate("abcd")
        }
        table = ForgettingTable(tables, {"ravdess": "a"})
        transfer.append(table.transfer("ravdess").value)
        lost.append(table.forgetting("ravdess").value)
    assert abs(np.mean(transfer)) < 2.5 * np.std(transfer) / np.sqrt(20)
    assert np.mean(lost) > 5 * np.std(lost) / np.sqrt(20)


def test_folds_and_seeds_pool_and_a_second_seed_of_the_same_answers_narrows_nothing():
    one, two = (curriculum(fold=fold) for fold in (0, 1))
    for stage in two.after_stage.values():
        stage.rows["utterance_id"] += "b"
        stage.rows["speaker"] += "b"
    pooled = ForgettingTable.pool([one, two])
    assert pooled.to_dict()["folds"] == [0, 1]
    assert pooled.after("ravdess", "first")["n"] == 600
    assert np.diff(pooled.transfer("ravdess").interval) < np.diff(one.transfer("ravdess").interval)
    seeds = ForgettingTable.pool([curriculum(), reseeded(curriculum())])
    assert seeds.to_dict()["seeds"] == [42, 43]
    assert seeds.transfer("ravdess").value == pytest.approx(one.transfer("ravdess").value)
    assert seeds.transfer("ravdess").interval == pytest.approx(one.transfer("ravdess").interval)
    with pytest.raises(TableError, match="occurs twice"):
        ForgettingTable.pool([one, curriculum()])
    with pytest.raises(ValueError, match="cannot pool curricula with different stages"):
        ForgettingTable.pool([one, curriculum({"only": (1.0, 1.0, 1.0)}, dict.fromkeys(LEARNT_IN, "only"))])


def reseeded(table):
    for stage in table.after_stage.values():
        stage.rows["seed"] += 1
    return table


def test_it_is_read_again_from_the_folder_of_a_run_or_of_its_folds(tmp_path):
    table = curriculum()
    for run in (tmp_path / "one", tmp_path / "several/fold0", tmp_path / "several/fold1"):
        for number, (stage, predictions) in enumerate(table.after_stage.items(), start=1):
            predictions.write(stage_folder(run, number, stage) / "predictions.parquet")
        table.write(run)
        reseeded(table)
    assert ForgettingTable.read(tmp_path / "one").to_dict() == curriculum().to_dict()
    assert ForgettingTable.read(tmp_path / "several").to_dict()["seeds"] == [43, 44]
    (stage_folder(tmp_path / "one", 2, "second") / "predictions.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"stage2-second has no predictions.*run the curriculum again"):
        ForgettingTable.read(tmp_path / "one")
    with pytest.raises(FileNotFoundError, match="pass the folder of a finished curriculum"):
        ForgettingTable.read(tmp_path)


def test_of_one_stage_there_is_no_transfer_and_of_unknown_speakers_no_interval():
    table = curriculum({"only": (1.0, 1.0, 1.0)}, dict.fromkeys(LEARNT_IN, "only"))
    assert table.backward_transfer is table.forward_transfer is None
    for stage in (nobody := curriculum()).after_stage.values():
        stage.rows["speaker"] = None
    assert nobody.transfer("ravdess").value == curriculum().transfer("ravdess").value
    assert nobody.transfer("ravdess").interval is nobody.backward_transfer.interval is nobody.average.interval is None


def test_the_interval_of_a_mean_over_groups_is_welch_s():
    """Where the statistic is a mean over speakers: scipy's unpaired t-test, of a difference, not of a mean of two."""
    random = np.random.default_rng(0)
    one, two = random.normal(0, 1, 12), random.normal(0.5, 3, 7)

    def left_out(values):
        return (values.sum() - values) / (len(values) - 1)

    low, high = mean_interval([one.mean(), -two.mean()], [left_out(one), left_out(-two)], None)
    welch = stats.ttest_ind(one, two, equal_var=False).confidence_interval(0.95)
    assert (2 * low, 2 * high) == pytest.approx((welch.low, welch.high))
    assert mean_interval([one.mean()], [left_out(one)], None) == pytest.approx(
        jackknife_interval(one.mean(), left_out(one), None)
    )
    assert mean_interval([0.5, 0.5], [left_out(one), np.array([0.5])]) is None
