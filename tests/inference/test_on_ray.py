"""A cluster writes the table that one process writes: scores, order, errors, speakers, and after an interruption."""

import json

import numpy as np
import pandas
import pytest
import soundfile
from tiny import save_untrained

from ser_hf import Classifier
from ser_hf.inference.bulk import UNFINISHED, Recordings, predict_to_table
from ser_hf.inference.bulk.journal import Journal
from ser_hf.inference.bulk.on_ray import RayWorkers
from ser_hf.models.family import ModelError
from ser_hf.options import OptionError

LABELS = ["anger", "fear", "neutral"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model"), "tiny-hubert", LABELS, sharpness=30.0)


@pytest.fixture(scope="module")
def table_of_sounds(tmp_path_factory):
    """A table of recordings of four speakers and of nobody; two recordings are bad, one has lost its end."""
    folder, noise = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for number in range(40):
        soundfile.write(folder / f"{number:03d}.wav", noise.normal(0, 0.1, 2_000 + 700 * (number % 7)), 16_000)
    (folder / "005.wav").write_text("no sound")
    (folder / "021.wav").unlink()
    cut = (folder / "030.wav").read_bytes()
    (folder / "030.wav").write_bytes(cut[: len(cut) // 2])
    names = [f"{number:03d}.wav" for number in range(40)]
    speakers = [("anna", "ben", None, "carl", "dora")[number % 5] for number in range(40)]
    pandas.DataFrame({"path": names, "who": speakers}).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


@pytest.fixture(scope="module")
def cluster():
    """Two machines with a processor each, on this one."""
    import ray
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args=small)
    try:
        started.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        ray.init(address=started.address, log_to_driver=False, logging_level="ERROR")
        yield ray
    finally:
        ray.shutdown()
        started.shutdown()


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(Journal, "BLOCK", 8)


def rows_of(table):
    return [json.loads(line) for line in table.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("adaptation", ["none", "online"])
def test_a_cluster_of_two_machines_writes_the_table_of_one_process(
    cluster, saved, table_of_sounds, tmp_path, adaptation
):
    classifier, recordings = (
        Classifier.from_pretrained(saved, device="cpu"),
        Recordings([table_of_sounds], "who"),
    )
    alone, together = tmp_path / "alone.jsonl", tmp_path / "together.jsonl"
    counts = predict_to_table(classifier, recordings, alone, adaptation=adaptation)
    workers = RayWorkers(str(saved), computing={"device": "cpu"})
    assert predict_to_table(classifier, recordings, together, adaptation=adaptation, workers=workers) == counts
    assert counts == (40, 2, 1)
    for expected, row in zip(rows_of(alone), rows_of(together), strict=True):
        assert row == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_a_cluster_goes_on_with_what_one_process_began(cluster, saved, table_of_sounds, tmp_path):
    classifier, recordings = (
        Classifier.from_pretrained(saved, device="cpu"),
        Recordings([table_of_sounds], "who"),
    )
    whole, table = tmp_path / "whole.jsonl", tmp_path / "table.jsonl"
    predict_to_table(classifier, recordings, whole, adaptation="online")

    def broken():
        yield from list(recordings)[:20]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_to_table(classifier, broken(), table, adaptation="online")
    assert table.with_name(table.name + UNFINISHED).read_bytes().count(b"\n") == 17
    predict_to_table(
        classifier, recordings, table, adaptation="online", workers=RayWorkers(str(saved), computing={"device": "cpu"})
    )
    for expected, row in zip(rows_of(whole), rows_of(table), strict=True):
        assert row == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_a_worker_with_another_model_is_refused_in_its_own_words(cluster, saved, table_of_sounds, tmp_path):
    other = save_untrained(tmp_path / "other", "tiny-hubert", LABELS, sharpness=2.0)
    classifier = Classifier.from_pretrained(saved, device="cpu")
    with pytest.raises(ModelError, match=r"^a machine of the cluster has another model under .*: copy it there again$"):
        predict_to_table(
            classifier, Recordings([table_of_sounds]), tmp_path / "table.csv",
            workers=RayWorkers(str(other), computing={"device": "cpu"}),
        )  # fmt: skip


def test_without_ray_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("ser_hf.inference.bulk.on_ray.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r'^--engine ray needs the extra: pip install "ser_hf\[ray\]"$'):
        RayWorkers("model")
