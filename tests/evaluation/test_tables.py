import dataclasses

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from predictions import CLASSES, FACTS, make_rows

from ser_hf.evaluation.tables import PredictionTable, TableError, TableMetadata
from ser_hf.report.report import EvaluationReport


def test_a_table_returns_from_parquet_as_it_was(tmp_path):
    table = PredictionTable(make_rows(extra="kept"), FACTS)
    table.write(tmp_path / "deep/table.parquet")
    again = PredictionTable.read(tmp_path / "deep/table.parquet")
    pandas.testing.assert_frame_equal(again.rows, table.rows, check_dtype=False)
    assert (again.probabilities == table.probabilities).all(), "not rounded"
    assert again.metadata == table.metadata
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["table.parquet"]


def test_class_ids_follow_the_order_of_the_classes():
    table = PredictionTable(make_rows(), FACTS)
    assert [CLASSES[number] for number in table.references] == list(table.rows["label"])
    assert (table.predictions == table.probabilities.argmax(axis=1)).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.drop(columns="speaker"), "no column speaker; fill a column with nulls"),
        (lambda rows: rows.drop(columns="p_anger"), "no column p_anger"),
        (lambda rows: rows.iloc[:0], "no row"),
        (lambda rows: rows.assign(p_anger="much"), "column p_anger must hold probabilities as numbers, not"),
        (lambda rows: rows.assign(fold=rows["fold"].where(rows.index != 7)), r"ravdess/7 has no fold; .*\[1 of 120"),
        (
            lambda rows: pandas.concat([rows, rows.iloc[3:5]]),
            r"ravdess/3 occurs twice with the seed 42; keep one row, .* \[2 of 122 rows\]",
        ),
        (lambda rows: rows.replace({"label": {"anger": "angry"}}), "ravdess/0 has the label 'angry'; classes: anger"),
        (lambda rows: rows.assign(label=None), "ravdess/0 has the label None; classes: "),
        (lambda rows: rows.assign(p_anger=np.nan), r"outside \[0, 1\] \(p_anger = nan, .*\); apply a softmax"),
        (lambda rows: rows.assign(p_anger=-0.1), r"outside \[0, 1\] \(p_anger = -0.1"),
        (lambda rows: rows.assign(p_anger=np.inf), "outside"),
        (lambda rows: rows.assign(p_anger=rows["p_anger"] / 2), r"ravdess/0 has probabilities that do not sum to 1"),
        (lambda rows: rows.assign(prediction="neutral"), "has the prediction 'neutral', not its most probable class"),
        (lambda rows: rows.assign(prediction="rage"), "has the prediction 'rage', not"),
        (lambda rows: rows.assign(prediction=None), "has the prediction None, not"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_believed_is_refused(spoil, message):
    with pytest.raises(TableError, match=message):
        PredictionTable(spoil(make_rows()), FACTS)


def test_of_two_equally_probable_classes_either_may_be_the_prediction():
    tied = make_rows().assign(p_anger=0.4, p_neutral=0.4, p_sadness=0.2)
    for winner in ("anger", "neutral"):
        assert set(PredictionTable(tied.assign(prediction=winner), FACTS).predictions) == {CLASSES.index(winner)}


@pytest.mark.parametrize("classes", [(), ("anger", "anger")])
def test_classes_are_different_names(classes):
    with pytest.raises(TableError, match="different names"):
        TableMetadata("p", "s", classes)


def test_files_that_are_no_table_are_told_apart(tmp_path):
    (tmp_path / "text.parquet").write_text("no")
    make_rows()[["speaker", "prediction"]].to_parquet(tmp_path / "other.parquet")
    rows = pyarrow.Table.from_pandas(make_rows())
    for name, content in (("cut", b'{"protocol": '), ("newer", b'{"classes": ["anger"], "planet": "Mars"}')):
        pyarrow.parquet.write_table(rows.replace_schema_metadata({b"ser_hf": content}), tmp_path / f"{name}.parquet")
    for name, message in (
        ("lost", "there is no"),
        ("text", "not a Parquet"),
        ("other", "not a prediction table: it needs the column `label` and a column `p_<class>`"),
        ("cut", "damaged or of another version"),
        ("newer", "planet"),
    ):
        with pytest.raises(TableError, match=message):
            PredictionTable.read(tmp_path / f"{name}.parquet")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_the_predictions_of_others_are_judged_and_flattered_in_nothing(tmp_path, suffix):
    """A few columns are enough; what is not told is unknown."""
    theirs = make_rows()[["speaker", "label", *(f"p_{name}" for name in CLASSES)]]
    file = tmp_path / f"theirs.{suffix}"
    if suffix == "parquet":
        theirs.to_parquet(file)
    else:
        theirs.to_csv(file, index=False, sep="," if suffix == "csv" else "\t")
    table = PredictionTable.read(file)
    assert (table.predictions == PredictionTable(make_rows(), FACTS).predictions).all()
    assert table.rows["speaker"].nunique() == 12
    facts = table.metadata
    assert (facts.relation, facts.adaptation, facts.trained_on) == ("unknown", "none", ())
    report = EvaluationReport.from_table(table)
    assert report.uar == EvaluationReport.from_table(PredictionTable(make_rows(), FACTS)).uar
    assert "training data UNKNOWN" in report.headline


def test_names_in_a_csv_file_are_no_numbers_and_na_is_somebody_where_it_is_a_name(tmp_path):
    (tmp_path / "theirs.csv").write_text(
        "utterance_id;speaker;label;age;gender;p_01;p_02\n001;NA;01;NA;NA;0.5;0.5\n002;07;02;31;male;0.4;0.6\n"
    )
    table = PredictionTable.read(tmp_path / "theirs.csv")
    assert table.rows[["utterance_id", "speaker", "label"]].to_numpy().tolist() == [
        ["001", "NA", "01"], ["002", "07", "02"],
    ]  # fmt: skip
    assert table.metadata.classes == ("01", "02")
    assert EvaluationReport.from_table(table).rates["uar"]["interval"] is not None, "both speakers are known"
    assert table.rows[["age", "gender"]].isna().to_numpy().tolist() == [[True, True], [False, False]]
    assert table.rows["age"].dtype == float


@pytest.mark.parametrize("word", ["", "nan", "None", "null", "<NA>", "N/A", "#N/A"])
def test_a_speaker_of_whom_a_csv_file_knows_nothing_stays_unknown(tmp_path, word):
    (tmp_path / "theirs.csv").write_text(f"speaker,label,p_a,p_b\n{word},a,0.5,0.5\nann,b,0.4,0.6\n")
    assert PredictionTable.read(tmp_path / "theirs.csv").rows["speaker"].isna().tolist() == [True, False]


def test_a_table_of_others_says_what_it_lacks(tmp_path):
    (tmp_path / "labels.csv").write_text("file;emotion\na.wav;anger\n")
    with pytest.raises(TableError, match=r"needs the column `label` .* has file, emotion"):
        PredictionTable.read(tmp_path / "labels.csv")
    (tmp_path / "latin.csv").write_bytes("label;p_ärger\n".encode("cp1252"))
    with pytest.raises(TableError, match=r"latin\.csv: this is not a CSV file in UTF-8"):
        PredictionTable.read(tmp_path / "latin.csv")


def test_folds_are_pooled_in_any_order():
    rows = make_rows()
    folds = [PredictionTable(rows[rows["fold"] == fold], FACTS) for fold in (2, 0, 1)]
    pooled = PredictionTable.pool(folds)
    assert sorted(pooled.rows["utterance_id"]) == sorted(rows["utterance_id"])
    assert pooled.metadata == FACTS


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("protocol", "ravdess/loso"),
        ("scheme", "four"),
        ("model", "large"),
        ("relation", "shared"),
        ("adaptation", "enrolled-10"),
        ("synthetic", True),
    ],
)
def test_tables_of_different_experiments_are_not_pooled(name, other):
    rows = make_rows()
    stranger = PredictionTable(rows[rows["fold"] == 1], dataclasses.replace(FACTS, **{name: other}))
    with pytest.raises(
        TableError, match=f"cannot pool tables that differ in {name}: .* and {other!r}; report each alone"
    ):
        PredictionTable.pool([PredictionTable(rows[rows["fold"] == 0], FACTS), stranger])


def test_folds_of_two_machines_are_pooled_and_both_are_named():
    rows = make_rows()
    facts = [dataclasses.replace(FACTS, scoring={"device": device, "dtype": "float32"}) for device in ("cpu", "cuda")]
    tables = [PredictionTable(rows[rows["fold"] == fold], facts[fold]) for fold in (0, 1)]
    assert PredictionTable.pool(tables).metadata.scoring == {"device": "cpu and cuda", "dtype": "float32"}
    assert "device cpu and cuda" in EvaluationReport.from_table(PredictionTable.pool(tables)).to_markdown()


@pytest.mark.parametrize(
    ("older", "relation", "adaptation"),
    [
        ({"speaker_knowledge": "blind", "speaker_independent": True}, "held_out", "none"),
        ({"speaker_knowledge": "blind", "speaker_independent": False}, "shared", "none"),
        ({"speaker_knowledge": "unknown", "speaker_independent": False}, "unknown", "none"),
        ({"speaker_knowledge": "all clips (transductive)", "speaker_independent": True}, "held_out", "transductive"),
    ],
)
def test_a_table_of_the_first_version_is_read(older, relation, adaptation, tmp_path, monkeypatch):
    kept = {name: value for name, value in dataclasses.asdict(FACTS).items() if name not in ("relation", "adaptation")}
    monkeypatch.setattr(dataclasses, "asdict", lambda _: {**kept, **older})
    PredictionTable(make_rows(), FACTS).write(tmp_path / "old.parquet")
    facts = PredictionTable.read(tmp_path / "old.parquet").metadata
    assert (facts.relation, facts.adaptation) == (relation, adaptation)


@pytest.mark.parametrize("wrong", [{"relation": "blind"}, {"adaptation": "enrolled-0"}, {"adaptation": "some"}])
def test_facts_about_test_speakers_have_fixed_values(wrong):
    (value,) = wrong.values()
    with pytest.raises(ValueError, match=value):
        dataclasses.replace(FACTS, **wrong)


def test_an_utterance_is_pooled_once_for_each_seed():
    table = PredictionTable(make_rows(), FACTS)
    with pytest.raises(TableError, match="occurs twice"):
        PredictionTable.pool([table, table])
    assert len(PredictionTable.pool([table, PredictionTable(make_rows().assign(seed=43), FACTS)]).rows) == 240
    with pytest.raises(TableError, match="no prediction tables to pool"):
        PredictionTable.pool([])


def test_a_table_cut_to_a_corpus_tells_of_that_corpus_alone():
    facts = dataclasses.replace(
        FACTS,
        protocol="ravdess/si6 + emodb/pairs5",
        dropped={"ravdess": {"calm": 2}, "emodb": {"boredom": 3}},
        partial={"emodb": "lacks speaker 16"},
    )
    rows = make_rows().assign(corpus=np.where(np.arange(120) < 50, "emodb", "ravdess"))
    cut = PredictionTable(rows, facts).on_corpora(["emodb"])
    assert list(cut.rows["utterance_id"]) == list(rows["utterance_id"][:50])
    assert (cut.metadata.protocol, cut.metadata.dropped) == ("emodb/pairs5", {"emodb": {"boredom": 3}})
    assert cut.metadata.partial == {"emodb": "lacks speaker 16"}
    assert cut.on_corpora({"emodb"}).metadata == cut.metadata
    refitted = PredictionTable(rows, dataclasses.replace(facts, protocol=f"{facts.protocol}+refit"))
    assert refitted.on_corpora({"ravdess"}).metadata.protocol == "ravdess/si6+refit"
    partly = rows.assign(label_source=np.where(rows["corpus"] == "emodb", "synthetic", "acted"))
    assert [PredictionTable(partly, facts).on_corpora([one]).metadata.synthetic for one in ("emodb", "ravdess")] == [
        True, False,
    ]  # fmt: skip
    at_random = PredictionTable(rows, dataclasses.replace(facts, protocol="random5"))
    assert at_random.on_corpora({"emodb"}).metadata.protocol == "random5"
    with pytest.raises(TableError, match="no row"):
        cut.on_corpora({"ravdess"})


def test_columns_of_categories_give_the_same_report_as_text():
    rows = make_rows(gender=["female", "male"] * 60)
    names = ["label", "speaker", "gender"]
    categories = rows.assign(**{name: pandas.Categorical(rows[name], [*rows[name].unique(), "no"]) for name in names})
    reports = [EvaluationReport.from_table(PredictionTable(one, FACTS)) for one in (rows, categories)]
    assert reports[0] == reports[1]
