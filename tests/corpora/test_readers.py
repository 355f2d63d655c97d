"""Every corpus that exists is tested by existing: each spec carries names of its release."""

import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from ser_hf import corpora, list_corpora
from ser_hf.audio import read_audio
from ser_hf.cli.corpora import describe_corpora, to_table
from ser_hf.corpora import CorpusError, Utterance, check_complete, get_corpus, missing, read_corpus, read_utterances
from ser_hf.emotions import get_scheme
from ser_hf.sources.reading import Reading

RECORDED = [name for name in list_corpora() if get_corpus(name).generate is None]
PUBLISHED = [name for name in RECORDED if name != "folder"]
FIXED = [name for name in PUBLISHED if get_corpus(name).utterances is not None]


def each_source(names):
    """Every corpus with every kind of labels that it has (None if there is but one)."""
    return [(name, source) for name in names for source in get_corpus(name).label_sources or (None,)]


def read(name, root, source=None):
    spec = get_corpus(name)
    return list(read_utterances(spec, root, source or next(iter(spec.label_sources), None)))


@pytest.mark.parametrize("name", list_corpora())
def test_the_facts_of_a_spec_agree_with_each_other(name):
    spec = get_corpus(name)
    sizes = [size for size in spec.speakers.values() if size is not None]
    assert spec.name == name
    if spec.utterances is not None and spec.speakers and len(sizes) == len(spec.speakers):
        assert sum(sizes) == spec.utterances
    assert get_scheme(spec.scheme)
    assert spec.generate or spec.downloads or spec.access, "how to get it"
    assert set(spec.notes) == set(spec.folds) | set(spec.divisions), (
        "every protocol of a corpus says what a reader must know"
    )


@pytest.mark.parametrize("name", list_corpora())
def test_the_folds_of_a_spec_hold_every_speaker_once(name):
    spec = get_corpus(name)
    for fold, groups in spec.folds.items():
        speakers = [speaker for group in groups for speaker in group]
        assert sorted(speakers) == sorted(spec.speakers), fold


@pytest.mark.parametrize("name", list_corpora())
def test_the_divisions_of_a_spec_that_share_speakers_are_among_its_divisions(name):
    spec = get_corpus(name)
    assert set(spec.sharing) <= set(spec.divisions)
    assert not set(spec.folds) & set(spec.divisions)
    assert set(spec.limited) <= set(spec.folds)


@pytest.mark.parametrize(("name", "source"), each_source(RECORDED))
def test_a_miniature_is_read_completely(name, source, miniature):
    spec = get_corpus(name)
    utterances = read(name, miniature(name), source)
    assert len(utterances) == len(spec.examples)
    assert {utterance.path.stem for utterance in utterances} == {
        example.split("/")[-1][:-4] for example in spec.examples
    }
    parts = {part for division in spec.divisions.values() for part in division}
    for utterance in utterances:
        assert utterance.native_label
        assert utterance.gender in ("female", "male", None)
        assert utterance.speaker in spec.speakers or not spec.speakers
        assert utterance.part in parts or not parts or utterance.emotion == "other"


@pytest.mark.parametrize(("name", "source"), each_source(RECORDED))
def test_flac_is_as_good_as_wav(name, source, miniature):
    root = miniature(name)
    wanted = [(u.path.stem, u.emotion, u.speaker) for u in read(name, root, source)]
    for path in list(root.rglob("*.wav")):
        path.rename(path.with_suffix(".flac"))
    assert [(u.path.stem, u.emotion, u.speaker) for u in read(name, root, source)] == wanted


@pytest.mark.parametrize(("name", "source"), each_source(PUBLISHED))
def test_the_scheme_of_a_corpus_keeps_all_but_what_has_no_single_emotion(name, source, miniature):
    scheme = get_scheme(get_corpus(name).scheme)
    lost = {u.emotion for u in read(name, miniature(name), source) if scheme.to_class(u.emotion) is None}
    assert lost <= ({"other", "frustration"} if name == "iemocap" else {"other"})


@pytest.mark.parametrize(("name", "source"), each_source(FIXED))
def test_a_part_of_a_corpus_is_refused_and_told_exactly(name, source, miniature):
    spec, root = get_corpus(name), miniature(name)
    words = f"found {len(spec.examples)} of {spec.utterances} utterances of {name}"
    with pytest.raises(CorpusError, match=words) as told:
        read_corpus(spec, root, label_source=source)
    present = {utterance.speaker for utterance in read(name, root, source)}
    assert all(speaker in str(told.value) for speaker in set(spec.speakers) - present)
    assert "--allow_partial" in str(told.value)
    assert len(read_corpus(spec, root, label_source=source, allow_partial=True)) == len(spec.examples)


@pytest.mark.parametrize("name", [name for name in FIXED if get_corpus(name).excluded])
def test_a_recording_that_is_left_out_neither_completes_a_corpus_nor_lacks(name, miniature):
    spec, root = get_corpus(name), miniature(name)
    identity = next(iter(spec.excluded))
    aside = root / f"{identity.partition('/')[2]}.wav"
    spec = replace(spec, utterances=len(spec.examples) + 1, speakers={}, excluded={identity: "for a reason"})
    source = next(iter(spec.label_sources), None)

    def lacks():
        utterances = list(read_utterances(spec, root, source))
        told = missing(spec, utterances)
        assert told == check_complete(spec, root, Counter(u.speaker for u in utterances), allow_partial=True)
        return told

    assert lacks() is None
    with_its_rows(name, root)
    shutil.copy(root / spec.examples[0], aside)
    assert lacks() is None
    (root / spec.examples[0]).unlink()
    assert lacks() == f"found {len(spec.examples)} of {len(spec.examples) + 1} utterances of {name}"


def with_its_rows(name, root):
    """The tables of a miniature with a row for the first recording that is left out."""
    if name == "crema_d":
        with (root / "VideoDemographics.csv").open("a") as table:
            table.write('1076,30,"Female","",""\n')
    if name == "meld":
        with (root / "train_sent_emo.csv").open("a") as table:
            table.write("1166,Oh.,Joey,anger,negative,125,3,1,1\n")


@pytest.mark.parametrize("name", [name for name in list_corpora() if get_corpus(name).label_sources])
def test_several_kinds_of_labels_must_be_chosen_from(name, miniature):
    spec, root = get_corpus(name), miniature(name)
    with pytest.raises(CorpusError, match=f"choose a label source .{', '.join(spec.label_sources)}"):
        read_corpus(spec, root, allow_partial=True)
    told = {source: {u.label_source for u in read(name, root, source)} for source in spec.label_sources}
    assert all(len(words) == 1 and source in next(iter(words)) for source, words in told.items())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_name_that_does_not_parse_is_an_error_that_names_it(name, miniature):
    root = miniature(name)
    first = root / get_corpus(name).examples[0]
    shutil.copy(first, first.with_name("holiday.wav"))
    with pytest.raises(CorpusError, match=r"holiday\.wav"):
        read(name, root)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_git_lfs_pointer_is_told_from_sound(name, miniature):
    root = miniature(name)
    (root / get_corpus(name).examples[0]).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )
    with pytest.raises(CorpusError, match="git lfs pull"):
        read(name, root)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_link_to_nothing_is_refused_by_name(name, miniature):
    root = miniature(name)
    first = root / get_corpus(name).examples[0]
    first.unlink()
    first.symlink_to("../.git/annex/objects/lost.wav")
    with pytest.raises(CorpusError, match=r"cannot be read .*git annex get") as told:
        read(name, root)
    assert first.name in str(told.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_doubled_tree_is_refused(name, miniature, tmp_path):
    root = miniature(name)
    shutil.copytree(root, tmp_path / "copy")
    (tmp_path / "copy").rename(root / "copy of it")
    with pytest.raises(CorpusError, match="two copies of the corpus"):
        read(name, root)


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_empty_folder_says_which_folder_is_wanted(name, miniature):
    root = miniature(name)
    for path in root.rglob("*.wav"):
        path.unlink()
    with pytest.raises(CorpusError, match="pass the top folder of the release"):
        read(name, root)


def test_a_misspelt_corpus_is_answered_with_the_nearest():
    with pytest.raises(CorpusError, match="did you mean 'ravdess'"):
        get_corpus("ravdes")


@pytest.mark.parametrize("text", ["SPEC = (", "import nothing_of_that_name", "SPEC = CorpusSpec()"])
def test_a_corpus_file_that_cannot_be_imported_is_named_and_hides_no_other(text, monkeypatch, tmp_path):
    (tmp_path / "made.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(corpora, "__path__", [*corpora.__path__, str(tmp_path)])
    with pytest.raises(CorpusError, match=r"ser_hf/corpora/made\.py cannot be imported; correct it: \w+Error: "):
        get_corpus("made")
    lines = to_table(describe_corpora()).splitlines()
    assert len(lines) == 1 + len(list_corpora())
    assert any(line.startswith("made ") and "cannot be imported" in line for line in lines)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?P<code>a)(?P<sex>f)?", r"the pattern '.*' needs a group \(\?P<emotion>"),
        ("(?P<emotion>a)(?P<sex>x)?", "the group sex is 'x', which does not begin with f or m"),
        ("(?P<emotion>.)x", "unknown emotion code 'a'"),
    ],
)
def test_a_name_that_is_no_utterance_is_refused_with_its_file(pattern, message):
    emotions = {} if "code" in message else {"a": "anger"}
    with pytest.raises(CorpusError, match=rf"^made/ax\.wav: {message}"):
        Utterance.from_name(Path("made/ax.wav"), re.match(pattern, "ax"), emotions)


def test_without_the_group_sex_the_gender_is_unknown_or_that_of_a_keyword():
    match = re.match("(?P<emotion>a)(?P<sex>[fm])?", "ax")
    assert Utterance.from_name(Path("ax.wav"), match, {"a": "anger"}).gender is None
    assert Utterance.from_name(Path("ax.wav"), match, {"a": "anger"}, gender="female").gender == "female"


@pytest.mark.parametrize("message", ["it is silent", "a.wav is silent"])
def test_a_refusal_names_the_recording_once(message):
    with pytest.raises(CorpusError, match="silent") as told:
        Reading(Path()).refuse(Path("made/a.wav"), message)
    assert str(told.value).count("a.wav") == 1


def test_a_corpus_without_a_root_says_where_it_is_published(monkeypatch):
    monkeypatch.delenv("SER_HF_CORPORA", raising=False)
    with pytest.raises(CorpusError, match="zenodo"):
        read_corpus(get_corpus("ravdess"))


def test_a_recording_that_the_table_of_nemo_does_not_name_is_refused(miniature):
    root = miniature("nemo")
    (root / "samples/EB0_neutral_13.wav").rename(root / "samples/EB0_neutral_14.wav")
    with pytest.raises(CorpusError, match="EB0_neutral_14"):
        read("nemo", root)


@pytest.mark.parametrize(("name", "source"), each_source(PUBLISHED))
def test_a_corpus_without_one_recording_is_read_where_a_part_is_allowed_and_only_there(name, source, miniature):
    root = miniature(name)
    spec = get_corpus(name)
    if name != "msp_podcast":  # its size is that of its table
        spec = replace(spec, utterances=len(spec.examples), speakers={}, excluded={})
    assert len(read_corpus(spec, root, label_source=source)) == len(spec.examples)
    (root / spec.examples[0]).unlink()
    assert len(read_corpus(spec, root, label_source=source, allow_partial=True)) == len(spec.examples) - 1
    with pytest.raises(CorpusError, match="--allow_partial"):
        read_corpus(spec, root, label_source=source)


TABLES = {
    "nemo": ("data.tsv", None),
    "crema_d": ("VideoDemographics.csv", "intended"),
    "crema_d winners": ("processedResults/summaryTable.csv", "face"),
    "crema_d votes": ("processedResults/tabulatedVotes.csv", "face"),
    "meld": ("test_sent_emo.csv", None),
    "msp_podcast": ("Labels/labels_consensus.csv", "consensus"),
    "msp_podcast votes": ("Labels/labels_detailed.csv", "votes"),
}
DAMAGES = {  # what is done to a table, and what is said of it
    "cut off in a row": (lambda text: text.rstrip().rpartition("\n")[0].encode() + b"\nx", "has 1 columns"),
    "with semicolons": (lambda text: re.sub("[\t,]", ";", text).encode(), "has no column|has neither"),
    "empty": (lambda text: b"", "has no column"),
    "in Latin-2": (lambda text: text.encode().rstrip() + "ść\n".encode("iso-8859-2"), "not written in utf-8"),
    "in UTF-16": (lambda text: text.encode("utf-16"), "not written in utf-8|has no column"),
    "with a quote that never ends": (lambda text: text.encode() + b'"' + b"x" * 200_000, "is not a table"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("case", TABLES)
def test_a_damaged_table_is_named_with_what_is_wrong(case, damage, miniature):
    name, (file, source), (damaged, words) = case.split()[0], TABLES[case], DAMAGES[damage]
    root = miniature(name)
    table = root / file
    table.write_bytes(damaged(table.read_text(encoding="utf-8")))
    if name == "meld" and damage == "in Latin-2":
        words = "has 10 cells|Episode|is in no table"  # taken for the code page of Windows
    with pytest.raises(CorpusError, match=words) as told:
        read(name, root, source)
    assert table.name in str(told.value)


def test_the_byte_order_mark_of_a_table_that_was_saved_again_is_no_part_of_its_first_column(miniature):
    root = miniature("nemo")
    (root / "data.tsv").write_text((root / "data.tsv").read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert len(read("nemo", root)) == len(get_corpus("nemo").examples)


def test_a_cell_that_is_no_number_is_named_with_its_line(miniature):
    table = miniature("nemo") / "data.tsv"
    table.write_text(table.read_text(encoding="utf-8").replace("\t24\n", "\told\n"), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"data\.tsv, line 5: 'age' is 'old'"):
        read("nemo", table.parent)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "speakers", "women", "present"),
    [("ravdess", 24, 12, 1440), ("emodb", 10, 5, 535), ("nemo", 9, 4, 1990), ("tess", 2, 2, 140)],
)
def test_the_real_corpora_are_what_their_papers_say(name, speakers, women, present, shared):
    spec = get_corpus(name)
    utterances = read_corpus(spec, shared / "corpora" / name, allow_partial=present < spec.utterances)
    sexes = {utterance.speaker: utterance.gender for utterance in utterances}
    assert len(sexes) == speakers == len(spec.speakers)
    assert sum(sex == "female" for sex in sexes.values()) == women
    assert len(utterances) == present
    if name == "emodb":
        assert not any(u.speaker == "08" and u.emotion == "disgust" for u in utterances)


@pytest.mark.real
@pytest.mark.parametrize(("source", "single"), [("intended", 20), ("voice", 20), ("face", 19), ("multimodal", 19)])
def test_the_clips_of_crema_d_at_hand_have_all_kinds_of_labels(source, single, shared):
    utterances = read_corpus(get_corpus("crema_d"), shared / "corpora/crema-d", label_source=source, allow_partial=True)
    assert len(utterances) == 20
    assert sum(u.emotion != "other" for u in utterances) == single
    assert all((u.emotion == "other") == (":" in u.native_label) for u in utterances)


@pytest.mark.real
@pytest.mark.parametrize("name", ["ravdess", "emodb", "nemo", "tess", "crema_d"])
def test_every_untouched_file_of_a_release_is_decoded_and_read(name, shared, tmp_path):
    root = shared / "corpora/originals" / name.replace("_", "-")
    files = sorted(root.rglob("*.wav"))
    assert files
    for path in files:
        assert read_audio(path).size > 4000
    # The label files lie with the compact copies of the corpora.
    for table in (*(shared / "corpora" / root.name).glob("*.csv"), *root.iterdir()):
        (tmp_path / table.name).symlink_to(table)
    if name == "nemo":
        stems = {path.stem for path in files}
        lines = (shared / "corpora/nemo/data_subset.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
        rows = [line for line in lines[1:] if line.split("\t")[0].removesuffix(".wav") in stems]
        (tmp_path / "data.tsv").write_text("".join([lines[0], *rows]), encoding="utf-8")
    assert len(read(name, tmp_path)) == len(files)


@pytest.mark.real
def test_the_odd_files_of_ravdess_and_tess_are_at_hand_and_sound_as_they_should(shared):
    originals = shared / "corpora/originals"
    stereo = soundfile.info(originals / "ravdess/Actor_20/03-01-03-01-02-01-20.wav")
    assert stereo.channels == 2
    assert read_audio(stereo.name).size == pytest.approx(16_000 * stereo.duration, abs=1)
    odd = {path.stem: soundfile.info(path) for path in (originals / "tess").rglob("*.wav")}
    assert odd["OAF_food_fear"].samplerate == 96_000
    assert odd["YAF_germ_angry"].format == odd["YAF_neat_fear"].format == "AIFF"
    assert {info.samplerate for stem, info in odd.items() if stem != "OAF_food_fear"} == {24_414}
    for info in odd.values():
        assert read_audio(info.name).size == pytest.approx(16_000 * info.duration, abs=2)
