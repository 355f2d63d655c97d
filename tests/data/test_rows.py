"""Utterances reach the disk in chunks: the same rows as at once, in memory that does not grow with their number."""

import pickle
import weakref
from pathlib import Path

import datasets
import pyarrow
import pytest
from conftest import write_tone

from ser_hf import load_corpus
from ser_hf.audio import AudioError
from ser_hf.corpora import CorpusError, Utterance, get_corpus
from ser_hf.data import rows
from ser_hf.data.rows import UtteranceFile
from ser_hf.emotions import get_scheme


@pytest.fixture
def recordings(tmp_path):
    """Seven recordings and their table."""
    lines = ["path,emotion,speaker,age"]
    for number in range(7):
        write_tone(tmp_path / f"{number}.wav", hertz=200 + number, seconds=0.1 + number / 100)
        lines.append(f"{number}.wav,{('anger', 'sadness')[number % 2]},s{number},{20 + number}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    return tmp_path


def test_chunks_leave_no_trace_in_the_rows(recordings, monkeypatch):
    whole = load_corpus("folder", recordings)
    monkeypatch.setattr(rows, "CHUNK", 2)
    chunked = load_corpus("folder", recordings)
    assert chunked[:] == whole[:]
    assert chunked.features == whole.features
    assert chunked["duration"] == pytest.approx([0.1 + number / 100 for number in range(7)])


def test_a_wrong_row_of_a_later_piece_is_told_by_its_line(recordings, monkeypatch):
    monkeypatch.setattr(rows, "CHUNK", 3)
    table = recordings / "table.csv"
    table.write_text(table.read_text() + "\n9.wav,anger,s9,20")
    line = 1 + [text.partition(",")[0] for text in table.read_text().split("\n")].index("9.wav")
    with pytest.raises(CorpusError, match=f"line {line}: there is no file"):
        load_corpus("folder", recordings)


def test_a_parquet_table_is_read_like_a_csv(recordings):
    import pandas

    from_csv = load_corpus("folder", recordings)
    pandas.read_csv(recordings / "table.csv").to_parquet(recordings / "table.parquet")
    (recordings / "table.csv").unlink()
    assert load_corpus("folder", recordings)[:] == from_csv[:]


def test_the_same_corpus_is_one_memory_mapped_file(recordings):
    first, again = load_corpus("folder", recordings), load_corpus("folder", recordings)
    assert first.cache_files == again.cache_files
    assert len(first.cache_files) == 1
    pickled = pickle.dumps(first)
    assert pickle.loads(pickled)[:] == first[:]
    assert b"6.wav" not in pickled, "workers get the name of the file, not its rows"


def test_a_failed_build_leaves_nothing_behind(recordings):
    cache = Path(datasets.config.HF_DATASETS_CACHE, "ser_hf")
    before = sorted(cache.glob("*")) if cache.is_dir() else []
    (recordings / "3.wav").write_bytes(b"no sound")
    with pytest.raises(AudioError, match=r"3\.wav"):
        load_corpus("folder", recordings)
    assert sorted(cache.glob("*")) == before


def test_two_recordings_of_one_name_are_refused(recordings):
    write_tone(recordings / "0.flac")
    table = recordings / "table.csv"
    table.write_text(table.read_text() + "\n0.flac,anger,s9,20")
    with pytest.raises(CorpusError, match="two recordings have the name folder/0"):
        load_corpus("folder", recordings)


def test_memory_does_not_grow_with_the_number_of_utterances(tmp_path, monkeypatch):
    """No more utterances than two chunks live at any time, and no batch that is written is larger than a chunk."""
    monkeypatch.setattr(rows, "CHUNK", 50)

    class Counted(Utterance):  # a subclass without slots can be referenced weakly
        pass

    living, most = weakref.WeakSet(), 0

    def utterances():
        nonlocal most
        for number in range(1000):
            utterance = Counted(tmp_path / f"{number}.wav", "anger", "angry", speaker=f"s{number % 9}")
            living.add(utterance)
            most = max(most, len(living))
            yield utterance

    with UtteranceFile(get_scheme("five")) as file:
        counts, _ = file.add(get_corpus("folder"), tmp_path, utterances())
        file.stream.close()
        with pyarrow.ipc.open_stream(str(file.folder / "names")) as written:
            sizes = [batch.num_rows for batch in written]
    assert counts.total() == sum(sizes) == 1000
    assert max(sizes) <= 50
    assert most <= 2 * 50 + 1


def test_rows_stream_from_the_disk_in_their_order(recordings):
    dataset = load_corpus("folder", recordings)
    assert [row["utterance_id"] for row in dataset.to_iterable_dataset(num_shards=2)] == list(dataset["utterance_id"])
