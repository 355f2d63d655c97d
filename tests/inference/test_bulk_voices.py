"""A table adapted to its speakers has the scores of a `Classifier` that hears each of them alone, killed or not."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from answers import by_label
from tiny import save_untrained

from ser_hf import Classifier
from ser_hf.inference import speakers
from ser_hf.inference.bulk import UNFINISHED, BulkError, predict_to_table
from ser_hf.inference.bulk.journal import Journal
from ser_hf.models.family import ModelError

LABELS, COUNT = ["anger", "fear", "neutral"], 48
NOBODY, BAD = (3, 20, 31), (5, 21)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model"), "tiny-hubert", LABELS, sharpness=100.0)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Recordings of three speakers who take turns; of some nobody knows who speaks, and some are no sound."""
    folder, noise, found = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0), []
    for number in range(COUNT):
        file = folder / f"{number:03d}.wav"
        soundfile.write(file, noise.normal(0, 0.02 + 0.02 * (number % 3), 2_000 + 700 * (number % 7)), 16_000)
        if number in BAD:
            file.write_text("no sound")
        speaker = None if number in NOBODY else ("anna", "ben", "carl")[int(noise.integers(3))]
        found.append((str(file), str(file), speaker))
    return found


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(Journal, "BLOCK", 8)


def read(table):
    return [json.loads(line) for line in table.read_text().splitlines()]


def scores_of(row):
    return {name: row[f"p_{name}"] for name in LABELS}


@pytest.mark.parametrize("options", [{}, {"window_seconds": 0.2}], ids=["whole", "in windows"])
def test_scores_are_those_of_a_classifier_that_is_called_for_each_speaker_by_hand(saved, rows, tmp_path, options):
    classifier, table = Classifier.from_pretrained(saved), tmp_path / "table.jsonl"
    assert predict_to_table(classifier, rows, table, adaptation="online", **options) == (COUNT, len(BAD), 0)
    found = read(table)
    assert [(row["file"], row["speaker"]) for row in found] == [(name, speaker) for name, _, speaker in rows]
    plain, differ = classifier([sound for _, sound, _ in rows], on_error="report", **options), 0
    for speaker in ("anna", "ben", "carl", None):
        own = [number for number in range(COUNT) if rows[number][2] == speaker and number not in BAD]
        adaptation = {"adaptation": "online"} if speaker else {}
        answers = classifier([rows[number][1] for number in own], **adaptation, **options)
        for number, answer in zip(own, answers, strict=True):
            assert scores_of(found[number]) == pytest.approx(by_label(answer), abs=1e-5)
            assert (found[number]["emotion"], found[number]["score"]) == (
                max(scores_of(found[number]), key=scores_of(found[number]).get),
                max(scores_of(found[number]).values()),
            )
            differ += by_label(plain[number]) != pytest.approx(by_label(answer), abs=1e-2)
    assert differ > COUNT / 2  # adaptation changes what this model says
    for number in BAD:
        assert found[number]["p_fear"] is None
        assert found[number]["error"] == plain[number][0]["error"]


def test_wherever_it_is_interrupted_speakers_are_remembered(saved, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(speakers, "MOST_KNOWN", 4)  # more than that are forgotten, after an interruption too
    classifier, whole, table = Classifier.from_pretrained(saved), tmp_path / "whole.csv", tmp_path / "table.csv"
    predict_to_table(classifier, rows, whole, adaptation="online")

    def stop():
        yield from rows[:45]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_to_table(classifier, stop(), table, adaptation="online")
    journal = table.with_name(table.name + UNFINISHED)
    content = journal.read_bytes()
    for end in [0, *random.Random(0).sample(range(len(content)), 4), len(content)]:
        journal.write_bytes(content[:end])
        table.unlink(missing_ok=True)
        predict_to_table(classifier, rows, table, adaptation="online")
        assert table.read_bytes() == whole.read_bytes()


def test_an_interrupted_run_goes_on_only_with_the_same_speakers(saved, rows, tmp_path):
    classifier, table = Classifier.from_pretrained(saved), tmp_path / "table.csv"

    def stop():
        yield from rows[:20]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_to_table(classifier, stop(), table, adaptation="online")
    others = [(name, sound, "dora") for name, sound, _ in rows]
    with pytest.raises(BulkError, match=r"was begun with other speakers .*000.wav was of .*, now of dora\): delete it"):
        predict_to_table(classifier, others, table, adaptation="online")
    with pytest.raises(BulkError, match="was begun with another model or other options"):
        predict_to_table(classifier, rows, table)


def test_a_model_or_an_adaptation_that_cannot_be_is_refused_before_anything_is_written(saved, rows, tmp_path):
    classifier, table = Classifier.from_pretrained(saved), tmp_path / "new/table.csv"
    with pytest.raises(ValueError, match="adaptation must be none or online here, not 'transductive'"):
        predict_to_table(classifier, rows, table, adaptation="transductive")
    del classifier.model.config.speaker_offsets
    with pytest.raises(ModelError, match="cannot be adapted to a speaker"):
        predict_to_table(classifier, rows, table, adaptation="online")
    assert not table.parent.exists()


SCRIPT = """
import json, sys, time
from pathlib import Path
from ser_hf import Classifier
from ser_hf.inference.bulk import predict_to_table
from ser_hf.inference.bulk.journal import Journal
model, rows, table, pause, adaptation = sys.argv[1:]
Journal.BLOCK = 8
def slowly():
    for row in json.loads(Path(rows).read_text()):
        time.sleep(float(pause))
        yield row
predict_to_table(Classifier.from_pretrained(model), slowly(), Path(table), adaptation=adaptation)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "adaptation"), [(".parquet", "none"), (".csv", "online")])
def test_killed_three_times_at_random_it_is_byte_by_byte_the_table_of_an_unbroken_run(
    saved, rows, tmp_path, suffix, adaptation
):
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    unbroken, table = tmp_path / f"unbroken{suffix}", tmp_path / f"table{suffix}"
    run = [sys.executable, "-c", SCRIPT, str(saved), str(tmp_path / "rows.json")]
    subprocess.run([*run, str(unbroken), "0", adaptation], check=True)
    journal, draw = table.with_name(table.name + UNFINISHED), random.Random(f"{suffix}{adaptation}")
    for kill in range(3):
        process = subprocess.Popen([*run, str(table), "0.05", adaptation])
        least = (kill + 1) * 8  # recordings that have reached the journal
        while not (journal.exists() and journal.read_bytes().count(b"\n") > least):
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not table.exists()
    subprocess.run([*run, str(table), "0", adaptation], check=True)
    assert table.read_bytes() == unbroken.read_bytes()
    left = {path.name for path in tmp_path.iterdir()} - {"rows.json", unbroken.name}
    assert left == {table.name}
