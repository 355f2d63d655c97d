"""A table of any number of recordings: the same after it was killed, and nothing is lost on the way."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pandas
import pyarrow.parquet
import pytest
import soundfile
import torch
from tiny import save_untrained

from ser_hf import Classifier
from ser_hf.inference.bulk import UNFINISHED, BulkError, predict_to_table
from ser_hf.inference.bulk.journal import Journal

LABELS = ["anger", "fear", "neutral"]
COUNT = 40


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model"), "tiny-hubert", LABELS)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Recordings of several lengths in a folder, three of them bad."""
    folder, noise = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for number in range(COUNT):
        samples = noise.normal(0, 0.1, 2_000 + 700 * (number % 7))
        soundfile.write(folder / f"{number:03d}.wav", samples, 16_000)
    for number in (5, 6, 21):
        (folder / f"{number:03d}.wav").write_text("no sound")
    return folder


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(Journal, "BLOCK", 8)


def named(folder):
    return [(str(file), str(file)) for file in sorted(folder.glob("*.wav"))]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_each_format_holds_the_answers_and_the_reasons(saved, sounds, tmp_path, suffix):
    classifier, table = Classifier.from_pretrained(str(saved)), tmp_path / f"new/table{suffix}"
    assert predict_to_table(classifier, named(sounds), table) == (COUNT, 3, 0)
    read = {".parquet": pandas.read_parquet, ".csv": pandas.read_csv, ".jsonl": partial(pandas.read_json, lines=True)}
    rows = read[suffix](table)
    assert list(rows) == ["file", "emotion", "score", "warning", "error", *(f"p_{name}" for name in LABELS)]
    assert list(rows["file"]) == [name for name, _ in named(sounds)]
    good = rows["error"].isna()
    assert list(np.flatnonzero(~good)) == [5, 6, 21]
    assert rows["error"][5].startswith(rows["file"][5])
    probabilities = classifier.probabilities([name for name, ok in zip(rows["file"], good, strict=True) if ok])
    np.testing.assert_allclose(rows.loc[good, [f"p_{name}" for name in classifier.labels]], probabilities, atol=1e-6)
    assert list(rows.loc[good, "emotion"]) == [classifier.labels[winner] for winner in probabilities.argmax(axis=1)]
    assert rows.loc[~good, ["emotion", "score", "p_anger"]].isna().all(axis=None)
    assert [path.name for path in table.parent.iterdir()] == [table.name]


def test_what_is_left_by_an_interruption_anywhere_is_gone_on_with(saved, sounds, tmp_path):
    """Whatever part of the journal reached the disk."""
    classifier, whole, table = Classifier.from_pretrained(str(saved)), tmp_path / "whole.csv", tmp_path / "table.csv"
    predict_to_table(classifier, named(sounds), whole)
    journal = table.with_name(table.name + UNFINISHED)
    kept = {}

    def stop(recordings, after):
        for number, one in enumerate(recordings):
            if number == after:
                raise KeyboardInterrupt
            yield one

    with pytest.raises(KeyboardInterrupt):
        predict_to_table(classifier, stop(named(sounds), 30), table)
    content = journal.read_bytes()
    for end in [0, 10, *random.Random(0).sample(range(len(content)), 6), len(content)]:
        journal.write_bytes(content[:end])
        table.unlink(missing_ok=True)
        assert predict_to_table(classifier, named(sounds), table) == (COUNT, 3, 0)
        kept[end] = table.read_bytes()
    assert set(kept.values()) == {whole.read_bytes()}


@pytest.mark.slow
def test_killed_three_times_at_random_it_is_the_table_of_an_unbroken_run(saved, sounds, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, time\nfrom ser_hf import Classifier\n"
        "from ser_hf.inference.bulk import predict_to_table\nfrom ser_hf.inference.bulk.journal import Journal\n"
        "model, folder, table, pause = sys.argv[1:]\nJournal.BLOCK = 8\n"
        "from pathlib import Path\n"
        "def named():\n"
        "    for file in sorted(Path(folder).glob('*.wav')):\n"
        "        time.sleep(float(pause))\n"
        "        yield str(file), str(file)\n"
        "predict_to_table(Classifier.from_pretrained(model), named(), Path(table))\n"
    )
    unbroken, table = tmp_path / "unbroken.parquet", tmp_path / "table.parquet"
    run = [sys.executable, str(script), str(saved), str(sounds)]
    subprocess.run([*run, str(unbroken), "0"], check=True)
    journal, draw = table.with_name(table.name + UNFINISHED), random.Random(0)
    for kill in range(3):
        process = subprocess.Popen([*run, str(table), "0.05"])
        least = (kill + 1) * 8  # recordings of which the journal has seen the end
        while not (journal.exists() and journal.read_bytes().count(b"\n") > least):
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not table.exists()
    subprocess.run([*run, str(table), "0"], check=True)
    assert pyarrow.parquet.read_table(table).equals(pyarrow.parquet.read_table(unbroken))


def test_a_full_disk_is_survived(saved, sounds, tmp_path, monkeypatch):
    classifier, whole, table = (
        Classifier.from_pretrained(str(saved)),
        tmp_path / "whole.csv",
        tmp_path / "table.csv",
    )
    predict_to_table(classifier, named(sounds), whole)
    syncs, sync = iter(range(99)), os.fsync

    def full(descriptor):
        if next(syncs) == 2:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"disk .* is full, and the table table.csv could not be written: free some"):
        predict_to_table(classifier, named(sounds), table)
    assert not table.exists()
    assert predict_to_table(classifier, named(sounds), table) == (COUNT, 3, 0)
    assert table.read_bytes() == whole.read_bytes()


def test_an_interrupted_run_of_another_model_or_other_recordings_is_refused(saved, sounds, tmp_path):
    classifier, table = Classifier.from_pretrained(str(saved)), tmp_path / "table.csv"

    def broken():
        yield from named(sounds)[:20]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_to_table(classifier, broken(), table)
    with pytest.raises(BulkError, match=r"was begun with other recordings .*: delete it"):
        predict_to_table(classifier, named(sounds)[1:], table)
    with pytest.raises(BulkError, match="was begun with another model or other options: delete it"):
        predict_to_table(classifier, named(sounds), table, window_seconds=1)
    other = Classifier.from_pretrained(str(saved))
    other.model.classifier.bias.data.add_(torch.tensor([1.0, 0, 0]))
    with pytest.raises(BulkError, match="was begun with another model or other options: delete it"):
        predict_to_table(other, named(sounds), table)
    assert predict_to_table(classifier, named(sounds), table) == (COUNT, 3, 0)
    with pytest.raises(BulkError, match=r"table.csv is there already: delete it, or name another one"):
        predict_to_table(classifier, named(sounds), table)
    with pytest.raises(BulkError, match=r"table.txt must end in .parquet, .csv, .jsonl: name it so"):
        predict_to_table(classifier, named(sounds), tmp_path / "table.txt")


def test_the_command_writes_a_table_of_folders_and_of_datasets_in_parquet(saved, sounds, tmp_path, run_verb):
    rows = [{"audio": {"bytes": (sounds / f"{number:03d}.wav").read_bytes(), "path": None}} for number in (0, 1, 5)]
    pandas.DataFrame(rows).to_parquet(tmp_path / "dataset.parquet")
    code, told, _ = run_verb(
        "predict", str(saved), str(sounds), str(tmp_path / "dataset.parquet"), "--out", str(tmp_path / "table.jsonl")
    )
    assert (code, told) == (
        0,
        f"{tmp_path / 'table.jsonl'}: {COUNT + 3} recordings, of which 4 could not be scored and 0 have a warning\n",
    )
    found = [json.loads(line) for line in (tmp_path / "table.jsonl").read_text().splitlines()]
    assert found[COUNT]["file"] == f"{tmp_path / 'dataset.parquet'}, row 1"
    assert found[COUNT]["p_fear"] == pytest.approx(found[0]["p_fear"], abs=1e-6)
    assert "row 3 is not a sound file" in found[-1]["error"]
