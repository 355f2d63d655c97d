"""Tables of others: whatever is wrong with one is a line that names the file, told at once."""

import json
from contextlib import suppress

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from predictions import FACTS, make_rows

from ser_hf.evaluation.comparisons.compare import compare
from ser_hf.evaluation.tables import PredictionTable, TableError
from ser_hf.report.runs import RunTables


def written(folder, rows=None, metadata=None, name="table.parquet"):
    path = folder / name
    PredictionTable(make_rows(), FACTS).write(path)
    if rows is None and metadata is None:
        return path
    table = pyarrow.parquet.read_table(path)
    notes = table.schema.metadata[b"ser_hf"] if metadata is None else metadata
    if rows is not None:
        table = pyarrow.Table.from_pandas(rows, preserve_index=False)
    pyarrow.parquet.write_table(table.replace_schema_metadata({**table.schema.metadata, b"ser_hf": notes}), path)
    return path


def facts(**changes) -> bytes:
    return json.dumps(
        {**{"protocol": "p", "scheme": "s", "classes": list(FACTS.classes), "relation": "held_out"}, **changes}
    ).encode()


COLUMNS = [
    ({"label": 1}, "column label must hold text, not integer"),
    ({"label": [["anger"]] * 120}, "column label must hold text, not mixed"),
    ({"speaker": [b"a"] * 120}, "column speaker must hold text, not bytes"),
    ({"corpus": pandas.Timestamp(0)}, "column corpus must hold text, not datetime"),
    ({"fold": "0"}, "column fold must hold numbers, not string"),
    ({"fold": 0.5}, "column fold must hold whole numbers"),
    ({"fold": True}, "column fold must hold numbers, not boolean"),
    ({"duration": "long"}, "column duration must hold numbers, not string"),
    ({"p_anger": "0.5"}, "column p_anger must hold probabilities as numbers, not string"),
    ({"p_anger": 1j}, "column p_anger must hold probabilities as numbers, not complex|cannot be read"),
    ({"p_anger": np.nan}, "has a probability outside"),
    ({"p_anger": np.inf}, "has a probability outside"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "says"), COLUMNS)
def test_a_column_of_another_type_is_named(changes, says):
    with pytest.raises(TableError, match=says):
        PredictionTable(make_rows(**changes), FACTS)


@pytest.mark.parametrize(("changes", "says"), [one for one in COLUMNS if 1j not in one[0].values()])
def test_its_file_is_named_too(tmp_path, changes, says):
    path = written(tmp_path, make_rows(**changes))
    with pytest.raises(TableError, match=f"table.parquet.*({says})") as told:
        RunTables.read(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "metadata",
    [
        b"{", b"[]", b"null", b"1", b"[" * 100_000, b"\xff", facts(classes="anger"), facts(classes=[1, 2]),
        facts(classes=[]), facts(classes=["anger", "anger"]), facts(dropped="x"), facts(dropped={"a": {"b": "c"}}),
        facts(model=3), facts(synthetic="no"), facts(relation="best friends"), facts(adaptation="some"),
        facts(evaluation_map={"anger": "calm"}), facts(scoring=[1]), facts(trained_on="ravdess"), facts(unheard_of=1),
        facts(partial=[["x"]]), json.dumps({"protocol": "p"}).encode(),
    ],
    ids=range(22),
)  # fmt: skip
def test_odd_metadata_are_one_line_that_names_the_file(tmp_path, metadata):
    with pytest.raises(TableError, match=r"table\.parquet: ") as told:
        PredictionTable.read(written(tmp_path, metadata=metadata))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_is_never_read_as_other_numbers(tmp_path, seed):
    """Pages have checksums: a flipped bit is refused, or it is in bytes that mean nothing."""
    path = written(tmp_path)
    written_rows, content = PredictionTable.read(path).rows, bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    for _ in range(20):
        at, bit = random.integers(len(content)), 1 << random.integers(8)
        content[at] ^= bit
        path.write_bytes(content)
        with suppress(TableError):
            pandas.testing.assert_frame_equal(PredictionTable.read(path).rows, written_rows)
        content[at] ^= bit


def test_a_table_of_twenty_thousand_columns_is_refused_before_it_is_read(tmp_path):
    columns = {f"c{number}": [0] for number in range(20_000)}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "wide.parquet")
    (tmp_path / "wide.csv").write_text(",".join(columns) + "\n" + ",".join("0" * 20_000) + "\n")
    for name in ("wide.parquet", "wide.csv"):
        with pytest.raises(TableError, match=rf"{name}: it has 20,000 columns, more than 1,000"):
            PredictionTable.read(tmp_path / name)


def test_a_class_that_looks_like_a_formula_or_a_tag_stays_text(tmp_path):
    names = dict(zip(FACTS.classes, ["=cmd|' /C calc'!A0", "<script>alert(1)</script>", "a|b\\"], strict=True))
    rows = make_rows().replace({"label": names, "prediction": names})
    rows = rows.rename(columns={f"p_{one}": f"p_{other}" for one, other in names.items()})
    table = PredictionTable.of_others(rows)
    report = RunTables(table).report()
    report.write(tmp_path)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert any("'=cmd" in line for line in lines)
    cells = pandas.read_csv(tmp_path / "metrics.csv", dtype=str, keep_default_na=False).to_numpy().ravel()
    assert not [cell for cell in cells if cell[:1] in "=+@" and cell[:1]]
    for name in ("report.md", "report.html"):
        assert "<script>alert" not in (tmp_path / name).read_text(), name
    header = next(
        line for line in (tmp_path / "report.md").read_text().splitlines() if "true" in line and "predicted" in line
    )
    assert header.replace("\\|", "").count("|") == 2 + len(names), "a bar within a name divides no column"
    assert compare({"first": table, "second": table})["pairs"]
