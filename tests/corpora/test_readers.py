"""Every corpus that exists is tested by existing: each spec carries names of its release."""

import shutil

import pytest

from ser_hf import list_corpora
from ser_hf.corpora import CorpusError, get_corpus, read_corpus
from ser_hf.emotions import get_scheme

RECORDED = [name for name in list_corpora() if get_corpus(name).generate is None]
FIXED = [name for name in RECORDED if get_corpus(name).utterances is not None]


@pytest.mark.parametrize("name", list_corpora())
def test_the_facts_of_a_spec_agree_with_each_other(name):
    spec = get_corpus(name)
    sizes = [size for size in spec.speakers.values() if size is not None]
    assert spec.name == name
    if spec.utterances is not None and len(sizes) == len(spec.speakers):
        assert sum(sizes) == spec.utterances
    assert get_scheme(spec.scheme)
    assert set(spec.notes) == set(spec.folds) | set(spec.divisions), (
        "every protocol of a corpus says what a reader must know"
    )


@pytest.mark.parametrize("name", list_corpora())
def test_the_folds_of_a_spec_hold_every_speaker_once(name):
    spec = get_corpus(name)
    for fold, groups in spec.folds.items():
        speakers = [speaker for group in groups for speaker in group]
        assert sorted(speakers) == sorted(spec.speakers), fold


@pytest.mark.parametrize("name", RECORDED)
def test_a_miniature_is_read_completely(name, miniature):
    spec = get_corpus(name)
    utterances = list(spec.read(miniature(name)))
    assert len(utterances) == len(spec.examples)
    assert {utterance.path.stem for utterance in utterances} == {
        example.split("/")[-1][:-4] for example in spec.examples
    }
    for utterance in utterances:
        assert utterance.native_label
        assert utterance.gender in ("female", "male", None)
        assert utterance.speaker in spec.speakers or not spec.speakers


@pytest.mark.parametrize("name", RECORDED)
def test_flac_is_as_good_as_wav(name, miniature):
    root = miniature(name)
    wanted = [(u.path.stem, u.emotion, u.speaker) for u in get_corpus(name).read(root)]
    for path in list(root.rglob("*.wav")):
        path.rename(path.with_suffix(".flac"))
    assert [(u.path.stem, u.emotion, u.speaker) for u in get_corpus(name).read(root)] == wanted


@pytest.mark.parametrize("name", FIXED)
def test_a_part_of_a_corpus_is_refused_and_told_exactly(name, miniature):
    spec, root = get_corpus(name), miniature(name)
    with pytest.raises(
        CorpusError, match=f"found {len(spec.examples)} of {spec.utterances} utterances of {name}"
    ) as told:
        read_corpus(spec, root)
    present = {utterance.speaker for utterance in spec.read(root)}
    assert all(speaker in str(told.value) for speaker in set(spec.speakers) - present)
    assert "--allow_partial" in str(told.value)
    assert len(read_corpus(spec, root, allow_partial=True)) == len(spec.examples)


@pytest.mark.parametrize("name", FIXED)
def test_a_name_that_does_not_parse_is_an_error_that_names_it(name, miniature):
    root = miniature(name)
    first = root / get_corpus(name).examples[0]
    shutil.copy(first, first.with_name("holiday.wav"))
    with pytest.raises(CorpusError, match=r"holiday\.wav"):
        list(get_corpus(name).read(root))


@pytest.mark.parametrize("name", FIXED)
def test_a_git_lfs_pointer_is_told_from_sound(name, miniature):
    root = miniature(name)
    (root / get_corpus(name).examples[0]).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    with pytest.raises(CorpusError, match="git lfs pull"):
        list(get_corpus(name).read(root))


@pytest.mark.parametrize("name", FIXED)
def test_a_doubled_tree_is_refused(name, miniature):
    root = miniature(name)
    top = root / get_corpus(name).examples[0].split("/")[0]
    shutil.copytree(top, root / "copy of it" / top.name)
    with pytest.raises(CorpusError, match="twice"):
        list(get_corpus(name).read(root))


@pytest.mark.parametrize("name", FIXED)
def test_an_empty_folder_says_which_folder_is_wanted(name, miniature):
    root = miniature(name)
    for path in root.rglob("*.wav"):
        path.unlink()
    with pytest.raises(CorpusError, match="pass the folder that directly holds the release"):
        list(get_corpus(name).read(root))


def test_a_misspelt_corpus_is_answered_with_the_nearest():
    with pytest.raises(CorpusError, match="did you mean 'ravdess'"):
        get_corpus("ravdes")


def test_a_corpus_without_a_root_says_where_it_is_published(monkeypatch):
    monkeypatch.delenv("SER_HF_CORPORA", raising=False)
    with pytest.raises(CorpusError, match="zenodo"):
        read_corpus(get_corpus("ravdess"))


def test_nemo_compares_its_table_with_the_disk_both_ways(miniature):
    root = miniature("nemo")
    (root / "samples/EB0_neutral_13.wav").rename(root / "samples/EB0_neutral_14.wav")
    with pytest.raises(CorpusError, match="EB0_neutral_14"):
        list(get_corpus("nemo").read(root))
    (root / "samples/EB0_neutral_14.wav").unlink()
    with pytest.raises(CorpusError, match=r"EB0_neutral_13\.wav"):
        list(get_corpus("nemo").read(root))


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "speakers", "women"),
    [("ravdess", 24, 12), ("emodb", 10, 5), ("nemo", 9, 4)],
)
def test_the_real_corpora_are_what_their_papers_say(name, speakers, women, shared):
    spec = get_corpus(name)
    utterances = read_corpus(spec, shared / "corpora" / name, allow_partial=name == "nemo")
    sexes = {utterance.speaker: utterance.gender for utterance in utterances}
    assert len(sexes) == speakers == len(spec.speakers)
    assert sum(sex == "female" for sex in sexes.values()) == women
    assert len(utterances) == (1990 if name == "nemo" else spec.utterances)
    if name == "emodb":
        assert not any(u.speaker == "08" and u.emotion == "disgust" for u in utterances)
