"""A folder that is not the corpus is answered with the one near it that is; layouts of known copies are read."""

import re
import shutil

import pytest
from conftest import build_miniature

from ser_hf import list_corpora, load_corpus
from ser_hf.corpora import CorpusError, get_corpus, read_utterances
from ser_hf.data.columns import provenance
from ser_hf.inspection.doctor import examine
from ser_hf.sources.utterance import WrongFolderError

RECORDED = [name for name in list_corpora() if get_corpus(name).generate is None]
SOURCES = [(name, source) for name in RECORDED for source in get_corpus(name).label_sources or (None,)]


def read(name, root, source=None):
    spec = get_corpus(name)
    return list(read_utterances(spec, root, source or next(iter(spec.label_sources), None)))


def refusal(name, root, source=None):
    with pytest.raises(WrongFolderError) as told:
        read(name, root, source)
    return str(told.value)


@pytest.mark.parametrize("above", ["parent", "parent/archive"])
@pytest.mark.parametrize(("name", "source"), SOURCES)
def test_a_folder_above_the_corpus_is_answered_with_its_path_which_works(name, source, above, tmp_path):
    root = build_miniature(get_corpus(name), tmp_path / "parent/archive/x")
    said = refusal(name, tmp_path / above, source)
    assert f"{root} holds it; pass that folder" in said
    assert len(read(name, root, source)) == len(get_corpus(name).examples)


@pytest.mark.parametrize("name", RECORDED)
def test_the_doctor_names_the_right_folder_too(name, tmp_path):
    root = build_miniature(get_corpus(name), tmp_path / "parent/archive/x")
    (fault,) = examine(get_corpus(name), tmp_path / "parent").faults
    assert f"{root.relative_to(tmp_path / 'parent')} holds it" in fault.sentence


@pytest.mark.parametrize(
    ("name", "inside"),
    [("crema_d", "AudioWAV"), ("emodb", "wav"), ("nemo", "samples"), ("msp_podcast", "Audios"), ("ravdess", "Actor_01"),
     ("iemocap", "Session1"), ("folder", "anger")],
)  # fmt: skip
def test_a_folder_inside_the_corpus_is_answered_with_the_one_above(name, inside, miniature):
    root = miniature(name)
    assert f"{root} holds it; pass that folder" in refusal(name, root / inside)


def test_a_relative_root_is_answered_too(miniature, monkeypatch):
    root = miniature("emodb")
    monkeypatch.chdir(root / "wav")
    assert f"{root} holds it" in refusal("emodb", root / "wav")


def test_four_levels_are_too_far_and_nothing_near_is_said_as_before(tmp_path):
    build_miniature(get_corpus("ravdess"), tmp_path / "a/b/c/d")
    assert refusal("ravdess", tmp_path).endswith("pass the top folder of the release")


def test_another_corpus_near_a_folder_is_not_taken_for_the_right_one(tmp_path):
    build_miniature(get_corpus("emovo"), tmp_path / "emovo")
    (tmp_path / "urdu").mkdir()
    assert refusal("urdu", tmp_path / "urdu").endswith("pass the top folder of the release")


# --- copies on data-sharing sites ---


def test_crema_d_without_its_tables_has_intended_labels_and_no_gender(miniature, capsys):
    root = miniature("crema_d")
    wanted = [(u.path, u.emotion, u.speaker) for u in read("crema_d", root)]
    for table in root.rglob("*.csv"):
        table.unlink()
    utterances = read("crema_d", root)
    assert [(u.path, u.emotion, u.speaker) for u in utterances] == wanted
    assert {(u.gender, u.age) for u in utterances} == {(None, None)}
    assert "VideoDemographics.csv is missing, so gender and age are unknown: copy it" in capsys.readouterr().err
    (fault,) = (fault for fault in examine(get_corpus("crema_d"), root).faults if fault.kind == "metadata")
    assert "VideoDemographics.csv is missing" in fault.sentence
    with pytest.raises(CorpusError, match=r"summaryTable\.csv is missing"):
        read("crema_d", root, "voice")
    (root / "AudioWAV/1001_IEO_NEU_XX.wav").rename(root / "AudioWAV/1099_IEO_NEU_XX.wav")
    with pytest.raises(CorpusError, match="1099_IEO"):
        read("crema_d", root)


@pytest.mark.parametrize("tables_inside", [False, True])
def test_meld_is_read_with_a_folder_around_each_part(tables_inside, miniature):
    root = miniature("meld")
    (root / "train_splits/dia0_utt0.wav").rename(root / "train_splits/dia125_utt3.wav")
    with (root / "train_sent_emo.csv").open("a") as table:
        table.write("1166,Oh.,Joey,anger,negative,125,3,1,1\n")
    wanted = [(u.path.stem, u.part, u.emotion, u.speaker) for u in read("meld", root)]
    dropped = provenance(load_corpus("meld", root, allow_partial=True))["dropped"]
    folders = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
    for part, folder in folders.items():
        (root / part).mkdir()
        (root / folder).rename(root / part / folder)
        if tables_inside:
            (root / f"{part}_sent_emo.csv").rename(root / part / f"{part}_sent_emo.csv")
    assert sorted((u.path.stem, u.part, u.emotion, u.speaker) for u in read("meld", root)) == sorted(wanted)
    assert provenance(load_corpus("meld", root, allow_partial=True))["dropped"] == dropped, "its bad clips are known"
    for path in root.rglob("*.wav"):
        path.rename(path.with_suffix(".mp4"))
    with pytest.raises(CorpusError, match=re.escape(f"for f in {root}/[dt][er][avs]*/*splits*/dia*.mp4; do ffmpeg")):
        read("meld", root)


@pytest.mark.parametrize(("name", "inside"), [("jl_corpus", "Raw JL*"), ("savee", "AudioData")])
def test_a_corpus_may_be_passed_without_its_outermost_folder(name, inside, miniature):
    root = miniature(name)
    wanted = [(u.path, u.emotion, u.speaker) for u in read(name, root)]
    (folder,) = root.glob(inside)
    assert [(u.path, u.emotion, u.speaker) for u in read(name, folder)] == wanted


def test_a_copy_of_savee_in_one_folder_is_found_below(miniature, tmp_path):
    archive = tmp_path / "archive"
    (archive / "ALL").mkdir(parents=True)
    for path in miniature("savee").rglob("*.wav"):
        shutil.copy(path, archive / "ALL" / f"{path.parent.name}_{path.name}")
    assert f"{archive / 'ALL'} holds it" in refusal("savee", archive)
    assert len(read("savee", archive / "ALL")) == len(get_corpus("savee").examples)
