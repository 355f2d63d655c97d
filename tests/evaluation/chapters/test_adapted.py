"""The chapter on adaptation: paired on the utterances that were scored, each kind beside none."""

import dataclasses

import pandas
import pytest
from predictions import FACTS, make_rows

from ser_hf.evaluation.chapters.adaptation import section, to_markdown
from ser_hf.evaluation.metrics import uar_of
from ser_hf.evaluation.tables import PredictionTable, TableError


def table(rows, adaptation="none"):
    return PredictionTable(rows, dataclasses.replace(FACTS, adaptation=adaptation))


def draws(skill, some):
    """Two draws: the first scores all utterances, the second some of them."""
    rows = make_rows(240, skill=skill, seed=3)
    return pandas.concat([rows.assign(seed=0), rows.iloc[some].assign(seed=1)], ignore_index=True)


def test_the_gain_is_that_on_the_rows_that_were_scored():
    none, some = make_rows(240, skill=1.0, seed=2), slice(0, 60)
    rows = draws(3.0, some)
    (first, second) = section([table(none), table(rows, "enrolled-5")])["adaptations"]
    assert (first["gain"], first["draws"], second["draws"], second["n"]) == (0.0, 1, 2, 240)
    matched = table(none.set_index("utterance_id").loc[rows["utterance_id"]].reset_index().assign(seed=rows["seed"]))
    assert second["uar"] == table(rows).rate(uar_of)[0]
    low, high = second["gain_interval"]
    assert low < second["gain"] < high
    # Rows of one utterance share its weight, so both are compared by utterance.
    assert second["gain"] == pytest.approx(second["uar"] - matched.rate(uar_of)[0], abs=0.05)
    assert "enrolled-5" in "\n".join(to_markdown({"adaptations": [first, second]}))


def test_tables_that_do_not_belong_together_are_refused():
    rows = make_rows(240)
    assert section([]) is None
    with pytest.raises(TableError, match="pass one table of each, and one of none"):
        section([table(rows, "online")])
    with pytest.raises(TableError, match="pass one table of each"):
        section([table(rows), table(rows)])
    with pytest.raises(TableError, match="which the one without lacks: evaluate the same test set"):
        section([table(rows.iloc[:200]), table(rows, "online")])
