import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predictions import CLASSES, FACTS, make_rows

from ser_hf.emotions import EMOTIONS, EvaluationMap
from ser_hf.evaluation.comparisons.cross_corpus import cross_corpus, judged_by, map_note, to_markdown
from ser_hf.evaluation.intervals import speaker_interval
from ser_hf.evaluation.metrics import METRICS, unweighted_average_recall
from ser_hf.evaluation.tables import PredictionTable, TableError
from ser_hf.report.figures import cross_corpus_figure
from ser_hf.report.report import EvaluationReport


def table(rows=None, **facts):
    return PredictionTable(make_rows() if rows is None else rows, dataclasses.replace(FACTS, **facts))


def of(corpus, trained_on, *, rows=None, **facts):
    """Predictions on a corpus of a model that was trained on another, or on the same."""
    rows = make_rows() if rows is None else rows
    rows = rows.assign(
        corpus=corpus, utterance_id=corpus + rows["utterance_id"], speaker=corpus + rows["speaker"].astype(str)
    )
    protocol = f"{corpus}/si6" if corpus in trained_on else f"{corpus}/all"
    return table(rows, **{"protocol": protocol, "trained_on": tuple(trained_on), **facts})


# --- evaluation maps --------------------------------------------------------------------------------------------------

MAPS = st.dictionaries(st.sampled_from(CLASSES), st.sets(st.sampled_from(CLASSES)).map(tuple))


@given(st.lists(st.tuples(*[st.sampled_from(CLASSES)] * 2), min_size=1, max_size=30), MAPS)
def test_a_prediction_is_right_if_it_is_the_true_class_or_counts_as_it_and_else_stays_as_it_is(pairs, counts_as):
    """By brute force, utterance by utterance."""
    rows = make_rows(len(pairs))
    rows["label"], rows["prediction"] = (list(words) for words in zip(*pairs, strict=True))
    for name in CLASSES:
        rows[f"p_{name}"] = (rows["prediction"] == name).astype(float)
    judged = table(rows, evaluation_map=counts_as)
    wanted = [true if true == said or true in counts_as.get(said, ()) else said for true, said in pairs]
    assert [CLASSES[number] for number in judged.predictions] == wanted
    assert list(judged.rows["prediction"]) == [said for _, said in pairs]
    constant = [
        unweighted_average_recall(
            judged.references,
            [CLASSES.index(true if true == said or true in counts_as.get(said, ()) else said) for true, _ in pairs],
        )
        for said in CLASSES
    ]
    assert judged.chance == pytest.approx(max(constant))


def test_a_head_of_seven_is_judged_on_eight_emotions_without_being_rebuilt():
    """EMO-DB to RAVDESS: boredom counts as neutral or calm; what it never says, surprise, is always wrong."""
    emodb = ("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness")
    ravdess = ("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    classes = (*ravdess, "boredom")
    answer = dict(zip(ravdess, ("anger", "boredom", "disgust", "fear", "happiness", "boredom", "boredom", "fear")))  # noqa: B905
    rows = make_rows(96).drop(columns=[f"p_{name}" for name in CLASSES])
    rows["label"] = [ravdess[number % 8] for number in range(96)]
    rows["prediction"] = rows["label"].map(answer)
    for name in classes:
        rows[f"p_{name}"] = np.where(rows["prediction"] == name, 0.7, 0.05) if name in emodb else 0.0
    facts = {"classes": classes, "scheme": "ravdess8", "trained_on": ("emodb",), "protocol": "ravdess/all"}
    plain = table(rows, **facts)
    judged = table(rows, **facts, evaluation_map={"boredom": ("neutral", "calm")})
    recalls = [row["recall"] for row in EvaluationReport.from_table(judged).per_class]
    assert recalls == [1, 1, 1, 1, 1, 1, 0, 0, None], (
        "sadness is no boredom; boredom, which is never true, has no recall"
    )
    assert EvaluationReport.from_table(judged).uar == pytest.approx(6 / 8)
    assert EvaluationReport.from_table(plain).uar == pytest.approx(4 / 8)
    assert (plain.chance, judged.chance) == (1 / 8, 2 / 8)
    assert map_note(plain) is None
    note = map_note(judged)
    assert "boredom counts as calm or neutral too" in note
    assert "constant answer reaches a UAR of 0.250" in note
    assert "The model cannot answer surprise" in note


def test_a_map_travels_with_the_table_and_tables_of_two_maps_are_not_pooled(tmp_path):
    judged = table(evaluation_map={"sadness": ["neutral", "anger"]})
    judged.write(tmp_path / "table.parquet")
    again = PredictionTable.read(tmp_path / "table.parquet")
    assert again.metadata == judged.metadata
    assert again.metadata.evaluation_map == {"sadness": ("anger", "neutral")}
    with pytest.raises(TableError, match="differ in evaluation_map"):
        PredictionTable.pool([judged, table(make_rows(seed=1).assign(seed=1))])
    with pytest.raises(TableError, match="names 'boredom', which is not a class of the table: anger, neutral"):
        table(evaluation_map={"boredom": ("neutral",)})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["boredom"], "'boredom' is not of the form boredom=neutral|calm"),
        (["boredom=calm|neutrl"], "unknown emotion 'neutrl'; did you mean 'neutral'?"),
        (["tired=calm"], "unknown emotion 'tired'"),
        (["boredom="], "unknown emotion ''"),
        (["boredom=calm", "boredom=neutral"], "boredom is given twice; join its emotions with |"),
    ],
)
def test_a_map_that_cannot_be_read_is_refused(words, message):
    with pytest.raises(ValueError, match="evaluation_map: ") as refused:
        EvaluationMap.parse(words)
    assert message in str(refused.value)


@given(st.dictionaries(st.sampled_from(EMOTIONS), st.sets(st.sampled_from(EMOTIONS), min_size=1), min_size=1))
def test_a_map_is_what_its_words_say(wanted):
    parsed = EvaluationMap.parse([",".join(f"{name}={'|'.join(true)}" for name, true in wanted.items())])
    assert {name: set(true) for name, true in parsed.counts_as.items()} == {
        name: set(true) - {name} for name, true in wanted.items()
    }
    assert list(parsed.counts_as) == sorted(wanted)


# --- the matrix -------------------------------------------------------------------------------------------------------


def test_every_cell_holds_the_figures_of_its_own_utterances():
    tables = [
        of("ravdess", ["ravdess"], rows=make_rows(seed=1)), of("emodb", ["ravdess"], rows=make_rows(60, 10, seed=2)),
        of("emodb", ["emodb"], rows=make_rows(60, 10, seed=3)), of("ravdess", ["emodb"], rows=make_rows(skill=0.5)),
    ]  # fmt: skip
    facts = cross_corpus(tables)
    assert facts == cross_corpus(tables[::-1]), "the order of tables means nothing"
    assert (facts["train"], facts["test"]) == (["emodb", "ravdess"], ["emodb", "ravdess"])
    cells = {(cell["train"], cell["test"]): cell for cell in facts["cells"]}
    for one in tables:
        (corpus,), (trained,) = one.rows["corpus"].unique(), one.metadata.trained_on
        cell, judged = cells[trained, corpus], (one.references, one.predictions)
        assert cell["uar"] == pytest.approx(unweighted_average_recall(*judged))
        assert cell["uar_interval"] == speaker_interval(METRICS["uar"], *judged, one.rows["speaker"])
        assert cell["n"] == len(one.rows)
        assert cell["kind"] == ("within" if corpus == trained else "across")
    assert facts["mean_within"] == pytest.approx(np.mean([cells[name, name]["uar"] for name in ("emodb", "ravdess")]))
    text = "\n".join(to_markdown(facts))
    cell = cells["emodb", "ravdess"]
    assert f"{cell['uar']:.3f} [{cell['uar_interval'][0]:.3f}, {cell['uar_interval'][1]:.3f}], n = 120" in text
    for word in ("Scheme three", "tiny", "emodb/all", "ravdess/si6, folds 0 1 2", "Chance 0.333"):
        assert word in facts["caption"]
    assert json.loads(json.dumps(facts, allow_nan=False))["caption"] == facts["caption"]


def test_what_was_heard_is_marked_and_no_part_of_the_means():
    heard = of("emodb", ["emodb"], rows=make_rows(skill=50.0), relation="shared")
    nobody_knows = of("nemo", ["nemo"]).rows.assign(speaker=None)
    tables = [heard, of("ravdess", ["ravdess"]), of("emodb", ["ravdess"]),
              table(nobody_knows, protocol="nemo/x", trained_on=("nemo",))]  # fmt: skip
    facts = cross_corpus(tables)
    cells = {(cell["train"], cell["test"]): cell for cell in facts["cells"]}
    assert cells["emodb", "emodb"]["uar"] == 1
    assert [names for names, cell in cells.items() if cell["seen_speakers"]] == [("emodb", "emodb"), ("nemo", "nemo")]
    assert facts["mean_within"] == cells["ravdess", "ravdess"]["uar"]
    assert "\n".join(to_markdown(facts)).count(", *seen speakers* |") == 2
    assert "left out of the means" in facts["caption"]


def test_a_table_of_two_corpora_fills_two_cells_and_seeds_of_one_cell_are_pooled():
    both = ("emodb", "ravdess")
    tables = [of(corpus, both, protocol="p") for corpus in both]
    facts = cross_corpus([PredictionTable.pool(tables)])
    assert [(cell["train"], cell["test"], cell["n"]) for cell in facts["cells"]] == [
        ("emodb + ravdess", corpus, 120) for corpus in both
    ]
    seeds = [of("emodb", ["ravdess"], rows=make_rows(seed=number).assign(seed=number)) for number in range(3)]
    (cell,) = cross_corpus(seeds)["cells"]
    pooled = PredictionTable.pool(seeds)
    assert (cell["n"], cell["uar"]) == (120, unweighted_average_recall(pooled.references, pooled.predictions))


def test_another_map_judges_across_corpora_only_and_the_caption_says_where():
    tables = [of("ravdess", ["ravdess"]), of("emodb", ["ravdess"])]
    judged = EvaluationMap.parse(["sadness=neutral|anger,boredom=calm"])
    cells = {cell["test"]: cell for cell in cross_corpus(tables, evaluation_map=judged)["cells"]}
    plain = {cell["test"]: cell for cell in cross_corpus(tables)["cells"]}
    assert cells["ravdess"] == plain["ravdess"]
    assert cells["emodb"]["uar"] > plain["emodb"]["uar"]
    mapped = judged_by(tables[1], judged)
    assert cells["emodb"]["uar"] == unweighted_average_recall(mapped.references, mapped.predictions)
    assert cells["emodb"]["chance"] == 1, "whoever always says sadness is always right"
    assert (
        "Evaluation map (ravdess to emodb): sadness counts as anger or neutral too."
        in cross_corpus(tables, evaluation_map=judged)["caption"]
    )


def test_within_a_corpus_no_map_counts_not_even_that_of_the_table_itself():
    counts_as = {"sadness": ("anger", "neutral")}
    judged, plain = (
        cross_corpus([of("ravdess", ["ravdess"], **facts), of("emodb", ["ravdess"], evaluation_map=counts_as)])
        for facts in ({"evaluation_map": counts_as}, {})
    )
    assert judged == plain
    assert [cell["evaluation_map"] != "" for cell in judged["cells"]] == [True, False]


def test_a_corpus_heard_perhaps_without_its_labels_is_neither_within_nor_across_and_keeps_its_map():
    both, counts_as = ("emodb", "ravdess"), {"sadness": ("anger", "neutral")}
    adapted = of("emodb", both, protocol="ravdess/si6 + emodb/pairs5+refit", evaluation_map=counts_as)
    plain = of("ravdess", ["ravdess"]), of("emodb", ["ravdess"])
    facts = cross_corpus([adapted, *plain])
    cell = facts["cells"][0]
    assert (cell["train"], cell["test"], cell["kind"]) == ("emodb + ravdess", "emodb", "adapted")
    assert cell["uar"] == EvaluationReport.from_table(adapted).uar, "judged as its own report"
    assert cross_corpus([adapted], evaluation_map=EvaluationMap({}))["cells"][0]["evaluation_map"] == ""
    alone = cross_corpus(plain)
    assert [facts[f"mean_{kind}"] for kind in ("within", "across")] == [alone["mean_within"], alone["mean_across"]]
    assert ", *adapted* |" in "\n".join(to_markdown(facts))
    assert "*Adapted*" in facts["caption"]
    assert "*Adapted*" not in alone["caption"]
    assert "adapted" in " ".join(text.get_text() for text in cross_corpus_figure(facts).axes[0].texts[:-1])


@pytest.mark.parametrize("protocol", ["emodb/pairs5", "loco", "random5+refit", "nemo/kfold3 + emodb/pairs5"])
def test_a_corpus_that_was_divided_alone_and_heard_stays_within(protocol):
    (cell,) = cross_corpus([of("emodb", ["emodb", "ravdess"], protocol=protocol)])["cells"]
    assert cell["kind"] == "within"


def test_what_makes_no_matrix_is_refused():
    with pytest.raises(TableError, match="on emodb/all are of the validation speakers, on whom the model was chosen"):
        cross_corpus([of("emodb", ["ravdess"], part="validation")])
    with pytest.raises(TableError, match="do not name the training corpora"):
        cross_corpus([of("emodb", [])])
    with pytest.raises(TableError, match=r"trained on ravdess, tested on emodb: .* occurs twice with the seed 42"):
        cross_corpus([of("emodb", ["ravdess"])] * 2)
    with pytest.raises(TableError, match="emodb is tested with two different values of scheme, 'three' and 'four'"):
        cross_corpus([of("emodb", ["emodb"]), of("emodb", ["ravdess"], scheme="four")])
    with pytest.raises(TableError, match="two different values of label source"):
        cross_corpus([of("emodb", ["emodb"]), of("emodb", ["ravdess"], rows=make_rows(label_source="voice"))])
    with pytest.raises(TableError, match="no prediction table"):
        cross_corpus([])


def test_the_picture_shows_every_cell_and_nothing_is_cut_off():
    long = [of(corpus, [trained], model="whisper-base-encoder with a long name") for corpus in ("emodb", "ravdess")
            for trained in ("nemo", "ravdess") if (corpus, trained) != ("emodb", "nemo")]  # fmt: skip
    facts = cross_corpus(long)
    figure = cross_corpus_figure(facts)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    words = [text.get_text() for text in axes.texts]
    assert sum(f"{cell['uar']:.3f}" in words for cell in facts["cells"]) == 3
    assert words[-1].replace("\n", " ") == facts["caption"]
    shades = np.ma.filled(axes.images[0].get_array(), np.nan)
    assert np.isnan(shades).tolist() == [[True, False], [False, False]]
    for text in (axes._left_title, axes.texts[-1]):
        assert text.get_window_extent().x1 <= figure.bbox.x1


def test_rates_over_different_classes_have_no_mean():
    tables = [of("ravdess", ["ravdess"]), of("emodb", ["ravdess"], scheme="four")]
    facts = cross_corpus(tables)
    assert (facts["mean_within"], facts["mean_across"]) == (None, None)
    assert "Schemes four on emodb, three on ravdess." in facts["caption"]
