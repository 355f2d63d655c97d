"""Everything that a stock pipeline takes gives its scores, and so does what it does not take, as far as it is sound."""

import gc
import io
import itertools
import threading
import tracemalloc
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import soundfile
import torch
from answers import by_label
from tiny import save_untrained
from transformers import pipeline

from ser_hf import Classifier
from ser_hf.audio import AudioError
from ser_hf.inference.engine import HELD, HELD_OF_STREAM

RATE = 16_000
LABELS = ["anger", "boredom", "calm", "disgust", "fear", "happiness", "neutral"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("model"), "tiny-hubert", LABELS, sharpness=100)


@pytest.fixture(scope="module")
def classifier(saved):
    return Classifier.from_pretrained(str(saved), device="cpu")


@pytest.fixture(scope="module")
def pipe(saved):
    return pipeline("audio-classification", str(saved), device="cpu", trust_remote_code=True)


@pytest.fixture(scope="module")
def sound():
    """Samples on the grid of 16 bits, so that every form of them is the same sound."""
    samples = np.random.default_rng(0).normal(0, 0.1, RATE // 2)
    return (np.rint(samples * 32768) / 32768).astype(np.float32)


@pytest.fixture(scope="module")
def file(sound, tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "one.wav"
    soundfile.write(path, sound, RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def scores(classifier, sound):
    return classifier({"array": sound, "sampling_rate": RATE}, top_k=None)


ONE = {
    "path": lambda sound, file: file,
    "name": lambda sound, file: str(file),
    "bytes": lambda sound, file: file.read_bytes(),
    "open file": lambda sound, file: file.open("rb"),
    "file in memory": lambda sound, file: io.BytesIO(file.read_bytes()),
    "samples": lambda sound, file: sound,
    "samples in float64": lambda sound, file: sound.astype(np.float64),
    "tensor": lambda sound, file: torch.from_numpy(sound),
    "tensor of one channel": lambda sound, file: torch.from_numpy(sound)[None],
    "array": lambda sound, file: {"array": sound, "sampling_rate": RATE},
    "raw": lambda sound, file: {"raw": sound, "sampling_rate": RATE},
    "tensor in a dictionary": lambda sound, file: {"raw": torch.from_numpy(sound), "sampling_rate": RATE},
    "rate and int16, as Gradio gives": lambda sound, file: (RATE, np.rint(sound * 32768).astype(np.int16)),
    "rate and int32 of two channels": lambda sound, file: (
        RATE, np.stack([np.rint(sound * 2.0**31).clip(-(2**31), 2**31 - 1).astype(np.int32)] * 2, axis=1)
    ),
    "tensor and rate, as torchaudio gives": lambda sound, file: (torch.from_numpy(sound)[None], RATE),
    "value of an audio column": lambda sound, file: {"bytes": None, "path": str(file)},
    "row of a dataset": lambda sound, file: {"audio": {"bytes": file.read_bytes(), "path": None}, "label": 0},
    "decoder of torchcodec": lambda sound, file: SimpleNamespace(
        get_all_samples=lambda: SimpleNamespace(data=torch.from_numpy(sound)[None], sample_rate=RATE)
    ),
}  # fmt: skip
STOCK = ("name", "bytes", "samples", "samples in float64", "tensor", "array", "raw")


@pytest.mark.parametrize("form", ONE)
def test_one_recording_in_any_form_has_the_same_scores(classifier, sound, file, scores, form):
    assert by_label(classifier(ONE[form](sound, file), top_k=None)) == pytest.approx(by_label(scores), abs=1e-5)


@pytest.mark.parametrize("form", STOCK)
def test_what_a_stock_pipeline_takes_it_answers_alike(classifier, pipe, sound, file, form):
    if form in ("name", "bytes") and not pytest.importorskip("shutil").which("ffmpeg"):
        pytest.skip("a stock pipeline reads files with ffmpeg, which is not installed")
    ours, theirs = (one(ONE[form](sound, file)) for one in (classifier, pipe))
    assert [entry["label"] for entry in ours] == [entry["label"] for entry in theirs]
    assert by_label(ours) == pytest.approx(by_label(theirs), abs=1e-4)


@pytest.mark.parametrize("options", [{"top_k": 2}, {"top_k": None}, {"top_k": 99}, {"function_to_apply": "sigmoid"},
                                     {"function_to_apply": "none", "top_k": 3}, {"batch_size": 2}])  # fmt: skip
def test_options_of_a_stock_pipeline_mean_the_same(classifier, pipe, sound, options):
    clips = [sound, sound[: RATE // 3], sound[::-1].copy()]
    ours, theirs = classifier(clips, **options), pipe(clips, **options)
    for one, other in zip(ours, theirs, strict=True):
        assert [entry["label"] for entry in one] == [entry["label"] for entry in other]
        assert by_label(one) == pytest.approx(by_label(other), abs=1e-4)


def test_other_rates_are_resampled_as_a_stock_pipeline_does(classifier, pipe):
    seconds = np.arange(44_100) / 44_100
    tone = (0.1 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)
    given = {"raw": tone, "sampling_rate": 44_100}
    ours, theirs = by_label(classifier(dict(given), top_k=None)), by_label(pipe(dict(given), top_k=None))
    assert ours == pytest.approx(theirs, abs=0.02)  # by another resampler


def as_dataset(files):
    rows = {"audio": [str(file) for file in files], "name": [file.name for file in files]}
    return datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))


@pytest.fixture
def folder(sound, tmp_path):
    """Three files, of which one lies below; hidden files and other files are none."""
    for number, name in enumerate(("a.wav", "b.flac", "below/c.wav", ".hidden.wav")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, sound[number * 100 :], RATE)
    (tmp_path / "notes.txt").write_text("no sound")
    return tmp_path


def test_many_recordings_are_answered_in_their_order(classifier, folder, monkeypatch):
    files = [folder / "a.wav", folder / "b.flac", folder / "below/c.wav"]
    expected = [classifier(file) for file in files]
    dataset = as_dataset(files)
    forms = {
        "list": files,
        "tuple of names": tuple(map(str, files)),
        "folder": folder,
        "pattern": str(folder / "**/*.[wf]*"),
        "generator": (file for file in files),
        "dataset": dataset,
        "column": dataset["audio"],
        "torch dataset": Indexed(files),
    }
    monkeypatch.chdir(folder)
    forms["relative pattern"] = "**/*.*a[vc]"
    for name, form in forms.items():
        found = classifier(form)
        assert isinstance(found, list) == (name in ("list", "tuple of names", "folder", "pattern", "relative pattern"))
        for one, other in zip(found, expected, strict=True):
            assert by_label(one) == pytest.approx(by_label(other), abs=1e-5), name


class Indexed:
    """What torch calls a map-style dataset."""

    def __init__(self, files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def __getitem__(self, number):
        return self.files[number]


def test_one_recording_has_one_answer_and_a_list_of_one_a_list(classifier, file):
    assert [classifier(str(file))] == classifier([str(file)])
    assert classifier([]) == []


@pytest.fixture
def site(file):
    """A server of the folder of a file, on this machine."""
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(file.parent)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_url_is_read_and_one_that_cannot_be_read_is_told(classifier, file, scores, site):
    assert by_label(classifier(f"{site}/{file.name}", top_k=None)) == pytest.approx(by_label(scores), abs=1e-5)
    with pytest.raises(AudioError, match=r"http://127.0.0.1:\d+/none.wav answers 404: check the address"):
        classifier(f"{site}/none.wav")
    with pytest.raises(AudioError, match=r"127.0.0.1:9/a.wav cannot be read .*check the address and the network"):
        classifier("http://127.0.0.1:9/a.wav")


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (7, "int holds no recordings: pass a path"),
        (None, "NoneType holds no recordings"),
        ("no/such*.wav", r"no file matches no/such\*.wav: check the pattern"),
        ("no/such.wav", "there is no file no/such.wav"),
        (io.StringIO("text"), "an open file is open as text: open it with mode \"rb\""),
        (np.zeros((200, 300), np.float32), r"recording 1 of 1 has the shape \(200, 300\)"),
        ((RATE, np.zeros(900, np.int64)), "recording 1 of 1 holds int64: pass floats"),
        ({"array": np.zeros(900)}, "recording 1 of 1 must hold floats"),
        ({"sampling_rate": RATE}, "recording 1 of 1 has no sound"),
    ],
)  # fmt: skip
def test_what_is_no_recording_is_told_with_what_to_pass(classifier, inputs, says):
    with pytest.raises(AudioError, match=says):
        classifier(inputs)


def test_an_empty_folder_is_told(classifier, tmp_path):
    with pytest.raises(AudioError, match="has no recordings"):
        classifier(tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"top_k": 0}, "top_k must be 1 or more"), ({"function_to_apply": "tanh"}, "must be one of softmax, sigmoid"),
     ({"batch_size": 0}, "batch_size must be 1"), ({"num_workers": -1}, "num_workers must be 0"),
     ({"on_error": "ignore"}, 'on_error must be "raise" or "report"')],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(classifier, file, options, says):
    with pytest.raises(ValueError, match=says):
        classifier(str(file), **options)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_threads_change_neither_scores_nor_order(classifier, folder, workers):
    files = [str(folder / name) for name in ("a.wav", "b.flac", "below/c.wav")] * 5
    assert classifier(files, num_workers=workers) == classifier(files, num_workers=2)


def test_a_generator_is_read_no_further_than_it_is_asked_and_memory_stays_flat(classifier):
    read = itertools.count()

    def clips(count):
        random = np.random.default_rng(0)
        for _ in range(count):
            next(read)
            yield {"array": random.normal(0, 0.1, 1_000).astype(np.float32), "sampling_rate": RATE}

    answers = classifier(clips(10**9))
    next(answers)
    assert next(read) < 2 * HELD_OF_STREAM
    del answers

    peaks = []
    for count in (2 * HELD, 8 * HELD):
        gc.collect()
        tracemalloc.start()
        assert sum(1 for _ in classifier(clips(count))) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 4 * 1_000 * 6 * HELD / 4  # a quarter of the sound that came in addition
