"""Fixtures: miniature corpora from the names in their specs, and the real recordings where they are at hand."""

import gc
import os
from functools import cache
from io import BytesIO
from itertools import product
from pathlib import Path

# One thread for each test process and each process that a test starts: on a few cores more of them wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Read when huggingface_hub is imported: nothing asks a network, or waits for one that is not there.
os.environ["HF_HUB_OFFLINE"] = "1"

import hypothesis
import numpy as np
import pytest
import soundfile

from ser_hf.corpora import CorpusSpec, find_root, get_corpus

# No deadline: how long an example takes says more of the machine than of the code.
# HYPOTHESIS_PROFILE=thorough draws more examples.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=50)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=200)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("SER_HF_SHARED", ROOT.parent / "shared")).resolve()


def pytest_collection_modifyitems(items):
    reason = (
        f"the recordings and weights of $SER_HF_SHARED are not at hand (looked in {SHARED.name}/ beside the project)"
    )
    for item in items:
        if item.get_closest_marker("real") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason=reason))
        if item.get_closest_marker("gpu"):
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish():
    """What was imported stays, and each training of a Trainer, which collects all garbage, need not go through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory):
    """Nothing is read from or left in the caches of the person who runs the tests; nothing asks a network."""
    import datasets

    cache = tmp_path_factory.mktemp("cache")
    # Synthetic speech takes half a minute to make: workers of one run share it.
    made = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        made = made.parent
    os.environ |= {"XDG_CACHE_HOME": str(made / "made"), "TOKENIZERS_PARALLELISM": "false"}
    os.environ["TRACKIO_DIR"] = str(cache / "trackio")
    datasets.config.HF_DATASETS_CACHE = cache / "datasets"
    datasets.disable_progress_bars()


@pytest.fixture(scope="session")
def shared() -> Path:
    return SHARED


@cache
def encoded_tone(suffix: str, seconds: float, hertz: float, sampling_rate: int) -> bytes:
    time, file = np.arange(round(seconds * sampling_rate)) / sampling_rate, BytesIO()
    soundfile.write(file, 0.1 * np.sin(2 * np.pi * hertz * time), sampling_rate, format=suffix)
    return file.getvalue()


def write_tone(path: Path, *, seconds: float = 0.3, hertz: float = 200.0, sampling_rate: int = 16_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded_tone(path.suffix[1:], seconds, hertz, sampling_rate))
    return path


def build_miniature(spec: CorpusSpec, root: Path) -> Path:
    """The examples of a spec as real sound files, every one different, with the label files its reader needs."""
    for number, name in enumerate(spec.examples):
        write_tone(root / name, hertz=150 + 10 * number)
    for name, text in spec.example_texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def miniature(tmp_path):
    return lambda name: build_miniature(get_corpus(name), tmp_path / name)


@pytest.fixture(scope="session")
def synthetic():
    """The embedded corpus, generated once for all tests."""
    from ser_hf import load_corpus

    return load_corpus("synthetic")


@pytest.fixture(scope="session")
def quarter(tmp_path_factory):
    """A cache with a quarter of each synthetic corpus: two utterances of each emotion by each speaker.

    Enough for what does not depend on how many there are; `--allow_partial` accepts it.
    """
    from ser_hf.corpora.synthetic import EMOTIONS, SAMPLING_RATE, SPEAKERS, synthesise

    cache = tmp_path_factory.mktemp("quarter")
    whole = find_root(get_corpus("synthetic"))
    acted, spontaneous = (cache / "ser_hf" / name for name in (whole.name, "synthetic_spontaneous-1"))
    acted.mkdir(parents=True)
    spontaneous.mkdir()
    for path in whole.glob("*_[02]_0.wav"):
        os.link(path, acted / path.name)
    for speaker, emotion, statement in product(range(SPEAKERS), EMOTIONS, (0, 2)):
        samples = synthesise(emotion, speaker, statement, 0, variant="spontaneous")
        soundfile.write(spontaneous / f"spontaneous{speaker:02d}_{emotion}_{statement}_0.wav", samples, SAMPLING_RATE)
    return cache


@pytest.fixture(scope="module")
def small(quarter):
    """Every corpus that is generated is a quarter of itself in this module; the fixture is the cache of whole ones."""
    whole = os.environ["XDG_CACHE_HOME"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(quarter))
        yield whole


@pytest.fixture(scope="session")
def prepared():
    """Starts processes that have the third-party libraries: see `Prepared`."""
    from prepared import Prepared

    with Prepared() as started:
        yield started


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch, request):
    """Runs of recipes and commands save one grey pixel for each picture: drawing takes longer than a small training.

    Tests that are marked `draws`, and those of `tests/report`, save their pictures as they are.
    """
    if request.path.parent.name not in ("recipes", "cli") or request.node.get_closest_marker("draws"):
        return
    from matplotlib.figure import Figure
    from pixel import save_pixel

    monkeypatch.setattr(Figure, "savefig", save_pixel)


@pytest.fixture
def run_verb(monkeypatch, capsys):
    """Runs `ser-hf` in this process: (exit code, stdout, stderr)."""
    from ser_hf.cli.main import main

    def run(*words):
        monkeypatch.setattr("sys.argv", ["ser-hf", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return run
