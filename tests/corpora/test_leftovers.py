"""What systems and tools leave in a folder changes nothing, whatever the corpus."""

import shutil
from pathlib import Path

import pytest

from ser_hf import list_corpora
from ser_hf.corpora import get_corpus, read_utterances
from ser_hf.inspection.doctor import examine
from ser_hf.sources.folders import is_leftover

RECORDED = [name for name in list_corpora() if get_corpus(name).generate is None]
SOURCES = [(name, source) for name in RECORDED for source in get_corpus(name).label_sources or (None,)]
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "


def beside_each(root, form):
    """Name of a leftover beside every recording and label file, such as `._{}`."""
    for path in [path for path in root.rglob("*") if path.is_file()]:
        path.with_name(form.format(path.name)).write_bytes(APPLE_DOUBLE)


def a_copy_below(root, folder):
    copy = root.parent / "copy"
    shutil.copytree(root, copy)
    copy.rename(root / folder)


LEFTOVERS = {
    "macOS beside files": lambda root: beside_each(root, "._{}"),
    "macOS in archives": lambda root: a_copy_below(root, "__MACOSX"),
    "Synology": lambda root: a_copy_below(root, "@eaDir"),
    "Jupyter": lambda root: a_copy_below(root, ".ipynb_checkpoints"),
    "a download of the Hub": lambda root: a_copy_below(root, ".cache"),
    "the bin of Linux": lambda root: a_copy_below(root, ".Trash-1000"),
    "the bin of Windows": lambda root: a_copy_below(root, "$RECYCLE.BIN"),
    "Excel": lambda root: beside_each(root, "~${}"),
    "LibreOffice": lambda root: beside_each(root, ".~lock.{}#"),
    "an unfinished download": lambda root: beside_each(root, "{}.crdownload"),
    "Finder": lambda root: (root / ".DS_Store").write_bytes(b"Bud1"),
    "Explorer": lambda root: [(root / name).write_bytes(b"x") for name in ("Thumbs.db", "desktop.ini")],
}


def facts(name, source, root):
    return [(u.path.relative_to(root), u) for u in read_utterances(get_corpus(name), root, source)]


@pytest.mark.parametrize("leftover", LEFTOVERS)
@pytest.mark.parametrize(("name", "source"), SOURCES)
def test_leftovers_are_no_recordings_and_no_label_files(name, source, leftover, miniature):
    root = miniature(name)
    wanted = facts(name, source, root)
    LEFTOVERS[leftover](root)
    assert facts(name, source, root) == wanted


@pytest.mark.parametrize("name", RECORDED)
def test_the_doctor_finds_no_more_with_all_leftovers_than_without(name, miniature):
    root = miniature(name)
    wanted = examine(get_corpus(name), root)
    for leave in LEFTOVERS.values():
        leave(root)
    assert examine(get_corpus(name), root) == wanted


@pytest.mark.parametrize("name", RECORDED)
def test_a_corpus_may_itself_lie_in_a_hidden_folder(name, miniature):
    root = miniature(name)
    source = next(iter(get_corpus(name).label_sources), None)
    hidden = root.parent / ".cache" / name
    hidden.parent.mkdir()
    root.rename(hidden)
    assert len(facts(name, source, hidden)) == len(get_corpus(name).examples)


@pytest.mark.parametrize(
    "name", ["Actor_01/03-01.wav", "Colère/Fort/12-P-2-5.wav", "a partial view/one.wav", "part/one.wav", "git/a.wav"]
)
def test_a_recording_is_no_leftover(name):
    assert not is_leftover(Path("corpus", name), Path("corpus"))
