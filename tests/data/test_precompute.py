"""A saved cache is whole or not there, and is never another's."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset

from ser_hf.data.cache_files import load_cache, save_cache
from ser_hf.data.cache_keys import CacheError
from ser_hf.data.columns import provenance
from ser_hf.data.precompute import precompute
from ser_hf.models.pretrained import build_classifier
from ser_hf.training.data_arguments import DataArguments


def made_by(dataset, maker):
    """The dataset as `precompute` would leave it for an encoder of this name."""
    made = dataset.add_column("log_mel", [[float(len(maker))]] * len(dataset))
    made.info.description = json.dumps({**provenance(dataset), "cache": {"column": "log_mel", "maker": maker}})
    return made


@pytest.fixture(scope="module")
def rows(synthetic):
    return synthetic.select(range(6))


def load(folder, **options):
    return load_cache(folder, ["synthetic"], "five", {}, **options)


def cut_off(rows, folder, monkeypatch):
    """Saves as one does who presses Ctrl-C when a shard is written, and nothing that tells of it is."""
    whole = Dataset._save_to_disk_single

    def half(**job):
        list(whole(**job | {"shard": job["shard"].select(range(2))}))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Dataset, "_save_to_disk_single", half)
        with pytest.raises(KeyboardInterrupt):
            save_cache(rows, folder)


def test_a_save_that_is_cut_off_leaves_the_old_cache_and_the_next_one_replaces_it(rows, tmp_path, monkeypatch):
    save_cache(made_by(rows, "old"), tmp_path / "cache")
    cut_off(made_by(rows, "newer"), tmp_path / "cache", monkeypatch)
    kept = load(tmp_path / "cache")
    assert provenance(kept)["cache"]["maker"] == "old"
    assert np.ravel(kept["log_mel"]).tolist() == [3.0] * 6
    save_cache(made_by(rows, "newer"), tmp_path / "cache")
    new = load(tmp_path / "cache")
    assert (provenance(new)["cache"]["maker"], np.ravel(new["log_mel"]).tolist()) == ("newer", [5.0] * 6)
    assert [file.name for file in tmp_path.iterdir()] == ["cache"], "nothing is left beside it"


def test_where_the_first_save_was_cut_off_there_is_no_cache_and_one_can_be_made(rows, tmp_path, monkeypatch):
    cut_off(made_by(rows, "new"), tmp_path / "cache", monkeypatch)
    with pytest.raises(CacheError, match="contains no cache: make one"):
        load(tmp_path / "cache")
    save_cache(made_by(rows, "new"), tmp_path / "cache")
    assert len(load(tmp_path / "cache")) == 6


@pytest.mark.parametrize("own", ["thesis.txt", "dataset of theirs", "thesis.txt in a cache"])
def test_what_is_no_cache_is_neither_replaced_nor_read(own, rows, tmp_path):
    folder = tmp_path / "full"
    if own.endswith("cache"):
        save_cache(made_by(rows, "new"), folder)
    if own.startswith("thesis"):
        folder.mkdir(exist_ok=True)
        (folder / "thesis.txt").write_text("years of work")
    else:
        Dataset.from_dict({"a": [1]}).save_to_disk(folder)
        with pytest.raises(CacheError, match="contains no cache"):
            load(folder)
    before = sorted(folder.iterdir())
    with pytest.raises(CacheError, match=r"contains other files .*: choose an empty folder"):
        save_cache(made_by(rows, "newer"), folder)
    assert sorted(folder.iterdir()) == before


def test_a_cache_of_a_part_is_trained_from_only_where_a_part_is_allowed(rows, tmp_path):
    part = made_by(rows, "new")
    lacks = {"synthetic": "found 6 of 960 utterances of synthetic"}
    part.info.description = json.dumps({**provenance(part), "partial": lacks})
    save_cache(part, tmp_path / "cache")
    options = {"corpora": ["synthetic"], "scheme": "five", "protocols": ["loco"], "precomputed": tmp_path / "cache"}
    with pytest.raises(CacheError, match=r"is incomplete: found 6 of 960 .* pass --allow_partial"):
        DataArguments(**options).load()
    assert provenance(DataArguments(**options, allow_partial=True).load())["partial"] == lacks


def test_a_cache_of_another_resampler_is_refused(rows, tmp_path, monkeypatch):
    model, extractor = build_classifier("test_resnet", rows.features["label"].names)
    save_cache(precompute(rows, model, extractor, frozen=False), tmp_path / "cache")
    assert "log_mel" in precompute(load(tmp_path / "cache"), model, extractor, frozen=False).column_names
    monkeypatch.setattr("ser_hf.data.precompute.reading_code", lambda: b"another resampler")
    with pytest.raises(CacheError, match="version of ser_hf"):
        precompute(load(tmp_path / "cache"), model, extractor, frozen=False)


def test_other_weights_of_the_same_encoder_make_another_cache(rows):
    made = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        model, extractor = build_classifier("tiny-whisper", rows.features["label"].names)
        made.append(precompute(rows, model, extractor, frozen=True))
    makers = [provenance(one)["cache"]["maker"] for one in made]
    assert makers[0] == makers[2] != makers[1]
    first, other = (np.stack(one[provenance(one)["cache"]["column"]][:]) for one in made[:2])
    assert np.abs(first - other).max() > 1e-3
