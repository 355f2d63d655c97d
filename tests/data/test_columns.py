"""Provenance travels with a dataset, whatever `datasets` does to it."""

import datasets
import pytest

from ser_hf.data.columns import note_provenance, provenance
from ser_hf.data.dataset import build_dataset, load_corpus

CHANGES = {
    "select": lambda rows: rows.select(range(3)),
    "filter": lambda rows: rows.filter(lambda label: label == 0, input_columns="label"),
    "map": lambda rows: rows.map(lambda row: {"seconds": row["duration"]}),
    "batched map": lambda rows: rows.map(lambda batch: {"twice": batch["duration"]}, batched=True),
    "added column": lambda rows: rows.add_column("number", list(range(len(rows)))),
    "removed column": lambda rows: rows.remove_columns("audio"),
    "renamed column": lambda rows: rows.rename_column("session", "take"),
    "shuffle": lambda rows: rows.shuffle(seed=0).flatten_indices(),
    "sort": lambda rows: rows.sort("duration"),
    "format": lambda rows: rows.with_format("numpy"),
    "cast": lambda rows: rows.cast_column("duration", datasets.Value("float64")),
    "split": lambda rows: rows.train_test_split(test_size=0.5, seed=0)["test"],
}


@pytest.fixture(scope="module")
def rows(small):
    return load_corpus("synthetic", scheme="four", allow_partial=True).select(range(12))


@pytest.mark.parametrize("change", CHANGES)
def test_provenance_survives(change, rows):
    facts = provenance(rows)
    assert facts["dropped"] == {"synthetic": {"fear": 48}}
    assert provenance(CHANGES[change](rows)) == facts


def test_provenance_survives_disk(rows, tmp_path):
    rows.save_to_disk(tmp_path / "saved")
    assert provenance(datasets.load_from_disk(str(tmp_path / "saved"))) == provenance(rows)


def test_what_is_noted_stands_beside_what_was_known(rows):
    later = note_provenance(rows.select(range(2)), rows, condition="noise:10")
    assert provenance(later) == {**provenance(rows), "condition": "noise:10"}


def test_concatenated_datasets_have_the_facts_of_all(small):
    names = ("synthetic", "synthetic_spontaneous")
    together = build_dataset(names, scheme="four", allow_partial=True)
    apart = datasets.concatenate_datasets([load_corpus(name, scheme="four", allow_partial=True) for name in names])
    for fact in ("dropped", "partial"):
        assert provenance(apart)[fact] == provenance(together)[fact]
        assert provenance(apart)[fact].keys() == set(names)


@pytest.mark.parametrize("description", ["", "Recordings of three people."])
def test_a_dataset_without_provenance_is_refused(description):
    foreign = datasets.Dataset.from_dict({"a": [1]}, info=datasets.DatasetInfo(description=description))
    with pytest.raises(ValueError, match="load_corpus or build_dataset"):
        provenance(foreign)
