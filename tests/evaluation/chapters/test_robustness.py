"""Robustness: the loss is paired, over speakers, and of the very same utterances."""

import dataclasses

import numpy as np
import pytest
from predictions import FACTS, make_rows
from scipy.stats import t as student

from ser_hf.evaluation.chapters.robustness import section, to_markdown
from ser_hf.evaluation.tables import PredictionTable, TableError


def table(condition="clean", **options):
    return PredictionTable(make_rows(**options), dataclasses.replace(FACTS, condition=condition))


def test_the_same_predictions_lose_nothing_and_prove_nothing_of_other_speakers():
    found = section(table(), [table("gsm")])
    (row,) = found["conditions"]
    assert (row["loss"], row["loss_interval"], row["kept"]) == (0, None, 1)
    assert "No interval of the loss under gsm: it is the same for every speaker." in to_markdown(found)
    assert "No interval" not in "".join(to_markdown(section(table(), [table("gsm", seed=1)])))


def test_a_loss_is_the_clean_rate_minus_the_disturbed_one_with_an_interval_over_paired_speakers():
    clean, noisy = table(skill=2.0), table("noise:0", skill=0.5, seed=1)
    (row,) = section(clean, [noisy])["conditions"]
    assert row["loss"] == pytest.approx(row["clean_uar"] - row["uar"])
    assert row["loss"] > 0.1

    # An oracle of its own: recalls by hand, without each speaker in turn.
    def uar(rows):
        return np.mean([(group["label"] == group["prediction"]).mean() for _, group in rows.groupby("label")])

    speakers = sorted(clean.rows["speaker"].unique())
    losses = [
        uar(clean.rows[clean.rows["speaker"] != one]) - uar(noisy.rows[noisy.rows["speaker"] != one])
        for one in speakers
    ]
    count = len(speakers)
    reach = student.ppf(0.975, count - 1) * np.sqrt((count - 1) / count * np.sum((losses - np.mean(losses)) ** 2))
    assert row["loss_interval"] == pytest.approx((row["loss"] - reach, row["loss"] + reach))


def test_rows_in_another_order_and_a_part_of_them_are_paired_by_utterance():
    clean, noisy = table(), table("gsm", seed=3)
    shuffled = PredictionTable(noisy.rows.sample(frac=1, random_state=0).reset_index(drop=True), noisy.metadata)
    assert section(clean, [shuffled]) == section(clean, [noisy])
    fold = PredictionTable(noisy.rows[noisy.rows["fold"] == 1].reset_index(drop=True), noisy.metadata)
    same = PredictionTable(clean.rows[clean.rows["fold"] == 1].reset_index(drop=True), clean.metadata)
    assert section(clean, [fold]) == section(same, [fold])


def test_unknown_speakers_and_a_single_one_have_no_interval():
    for speakers in (dict(speaker=None), dict(speakers=1)):
        (row,) = section(table(**speakers), [table("gsm", **speakers)])["conditions"]
        assert row["loss_interval"] is None


@pytest.mark.parametrize(
    ("disturbed", "sentence"),
    [
        ([table("gsm"), table("gsm")], "two tables have the condition gsm"),
        ([table()], "has the condition 'clean'"),
        (
            [PredictionTable(make_rows(), dataclasses.replace(FACTS, condition="gsm", model="other"))],
            "has the model 'other'",
        ),
        ([table("gsm", utterances=150)], "holds ravdess/120, which is not in the clean table"),
        (
            [
                PredictionTable(
                    make_rows(), dataclasses.replace(FACTS, condition="gsm", evaluation_map={"anger": ["sadness"]})
                )
            ],
            "has the evaluation_map",
        ),
        ([table("gsm", fold=7)], "has another fold for ravdess/0 than the clean table"),
    ],
)
def test_what_cannot_be_compared_is_refused(disturbed, sentence):
    with pytest.raises(TableError, match=sentence):
        section(table(), disturbed)


def test_without_a_disturbed_table_there_is_nothing_to_say():
    assert section(table(), []) is None


def test_the_markdown_has_a_line_for_each_condition():
    lines = to_markdown(section(table(), [table("gsm", seed=1), table("noise:10", seed=2)]))
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| gsm", "| noise:10"]


def test_conditions_that_few_speakers_were_heard_under_carry_a_caution():
    few, many = ([table(utterances=960, speakers=n), table("gsm", utterances=960, speakers=n, seed=1)] for n in (6, 96))
    careful = "Intervals over 6 speakers may be too narrow."
    assert careful in to_markdown(section(few[0], few[1:]))
    assert careful not in to_markdown(section(many[0], many[1:]))
