"""A table of any number of recordings: the same after it was killed, and nothing is lost on the way."""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas
import pytest
import soundfile
import torch
from answers import by_label
from elsewhere import held_elsewhere
from tiny import save_untrained

from ser_hf import Classifier
from ser_hf.files import FolderInUseError
from ser_hf.inference.bulk import UNFINISHED, BulkError, predict_to_table
from ser_hf.inference.bulk.journal import Journal

LABELS = ["anger", "fear", "neutral"]
COUNT = 40
READ = {".parquet": pandas.read_parquet, ".csv": pandas.read_csv, ".jsonl": partial(pandas.read_json, lines=True)}


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
    rows = READ[suffix](table)
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


def break_off(classifier, recordings, table):
    """Begin a table, and interrupt it after twenty recordings."""

    def broken():
        yield from recordings[:20]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_to_table(classifier, broken(), table)


def test_an_interrupted_run_of_another_model_or_other_recordings_is_refused(saved, sounds, tmp_path):
    classifier, table = Classifier.from_pretrained(str(saved)), tmp_path / "table.csv"
    break_off(classifier, named(sounds), table)
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


def test_a_run_with_fewer_recordings_than_an_interrupted_one_is_refused(saved, sounds, tmp_path):
    classifier, table = Classifier.from_pretrained(str(saved)), tmp_path / "table.csv"
    break_off(classifier, named(sounds), table)
    with pytest.raises(BulkError, match=r"was begun with other recordings \(.*008.wav, now none\): delete it"):
        predict_to_table(classifier, named(sounds)[:8], table)


def test_a_damaged_journal_is_refused_and_named(saved, sounds, tmp_path):
    classifier, table = Classifier.from_pretrained(str(saved)), tmp_path / "table.csv"
    table.with_name(table.name + UNFINISHED).write_bytes(bytes(200) + b"\n")
    with pytest.raises(BulkError, match=r"table.csv.unfinished is damaged: delete it"):
        predict_to_table(classifier, named(sounds), table)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_recording_whose_end_is_missing_is_scored_and_its_row_says_so(saved, sounds, tmp_path, suffix):
    whole, cut = (sounds / "030.wav").read_bytes(), tmp_path / "cut.wav"
    cut.write_bytes(whole[: len(whole) // 2])
    classifier, table = Classifier.from_pretrained(str(saved)), tmp_path / f"table{suffix}"
    recordings = [*named(sounds)[:9], (str(cut), str(cut))]
    assert predict_to_table(classifier, recordings, table) == (10, 2, 1)
    rows = READ[suffix](table)
    assert list(np.flatnonzero(rows["warning"].notna())) == [9]
    assert rows["warning"][9].startswith(f"{cut} has only ")
    assert rows["warning"][9].endswith("; what is there is scored")
    expected = by_label(classifier(str(cut), allow_truncated=True))
    assert dict(rows.loc[9, [f"p_{name}" for name in expected]].rename(lambda name: name[2:])) == pytest.approx(
        expected
    )
    assert predict_to_table(classifier, recordings, tmp_path / "quiet.csv", allow_truncated=True) == (10, 2, 0)


def test_a_table_has_one_writer(saved, sounds, tmp_path):
    """Of several processes, and of several threads of one process."""
    classifier, table = Classifier.from_pretrained(str(saved)), tmp_path / "table.csv"
    with held_elsewhere(table, tmp_path / ".table.csv.lock") as holder:
        with pytest.raises(
            FolderInUseError, match=r"another process \(process (\d+) on .*table.csv: wait .* another table"
        ):
            predict_to_table(classifier, named(sounds), table)
        assert str(holder.pid) in (tmp_path / ".table.csv.lock-holder").read_text()
        assert not table.with_name(table.name + UNFINISHED).exists()

    def second_run():
        with ThreadPoolExecutor(1) as thread:
            refused = thread.submit(predict_to_table, classifier, named(sounds), table)
            with pytest.raises(BulkError, match=r"^this process is already writing .*table.csv: name another table$"):
                refused.result()
        yield from named(sounds)

    # The other process was killed, with the lock in its hands.
    assert predict_to_table(classifier, second_run(), table) == (COUNT, 3, 0)
    assert [path.name for path in tmp_path.iterdir()] == [table.name]


def test_a_run_that_fails_at_once_leaves_nothing(saved, sounds, tmp_path):
    classifier, table = Classifier.from_pretrained(str(saved)), tmp_path / "table.csv"
    for wrong, says in (({"abstain": 0.1}, "cannot abstain"), ({"window_seconds": -1}, "window_seconds must be")):
        with pytest.raises(ValueError, match=says):
            predict_to_table(classifier, named(sounds), table, **wrong)
    assert not [*tmp_path.iterdir()]
    assert predict_to_table(classifier, [], table) == (0, 0, 0)
    assert list(pandas.read_csv(table))[:5] == ["file", "emotion", "score", "warning", "error"]
