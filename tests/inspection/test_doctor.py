"""The doctor finds what is planted, calls it by its name, and finds nothing where nothing is."""

import hashlib
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from conftest import write_tone

from ser_hf import list_corpora
from ser_hf.corpora import CorpusError, get_corpus, read_utterances
from ser_hf.inspection.doctor import KINDS, examine
from ser_hf.sources.spec import read_to_the_end

RECORDED = [name for name in list_corpora() if get_corpus(name).generate is None]
PUBLISHED = [name for name in RECORDED if name != "folder"]
RATE = 16_000


def complete(name, root):
    """The spec of a corpus whose complete release is the folder that is given."""
    spec = get_corpus(name)
    utterances = read_to_the_end(spec, root, next(iter(spec.label_sources), None)).utterances
    counts = Counter(utterance.speaker for utterance in utterances if utterance.speaker is not None)
    excluded = {identity: reason for identity, reason in spec.excluded.items() if _lies(identity, root)}
    return replace(spec, utterances=len(utterances), speakers=counts, excluded=excluded)


def _lies(identity, root):
    return any(root.glob(f"{identity.partition('/')[2]}.*"))


def found(spec, root):
    """What is found, but for recordings that the release itself misnames."""
    faults = examine(spec, root).faults
    return [
        (fault.kind, fault.file)
        for fault in faults
        if not (fault.kind == "misnamed" and fault.file and fault.file.split("/")[-1].split(".")[0] in spec.misnamed)
    ]


def noise(seconds=0.5, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).clip(-0.9, 0.9)


def cut(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def clip(path):
    soundfile.write(path, np.clip(30 * noise(), -1, 1), RATE)


def click(path):
    wave = np.zeros(RATE)
    wave[5000:5040] = 0.5
    soundfile.write(path, wave, RATE)


def dangle(path):
    """As `git annex` leaves it where the content was not fetched."""
    path.unlink()
    path.symlink_to("../.git/annex/objects/Zz/0k/SHA256E-s96044--0.wav/SHA256E-s96044--0.wav")


def become_a_folder(path):
    path.unlink()
    path.mkdir()


SPOILERS = {
    "zero-length": lambda path: path.write_bytes(b""),
    "no samples": lambda path: soundfile.write(path, np.zeros(0), RATE),
    "lfs-pointer": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
    "missing-content": dangle,
    "an unlocked file of git-annex": lambda path: path.write_text("/annex/objects/SHA256E-s96044--0.wav\n"),
    "a folder": become_a_folder,
    "undecodable": lambda path: path.write_bytes(b"<html>404 Not Found</html>" * 50),
    "not a number": lambda path: soundfile.write(path, np.full(RATE, np.nan), RATE, subtype="FLOAT"),
    "truncated": cut,
    "silent": lambda path: soundfile.write(path, np.zeros(RATE), RATE),
    "almost silent": lambda path: soundfile.write(path, 0.002 * noise(), RATE),
    "short": lambda path: soundfile.write(path, noise(0.15), RATE),
    "a click": click,
    "clipped": clip,
    "stereo": lambda path: soundfile.write(path, np.stack([noise(), noise()], axis=1), RATE),
    "two voices": lambda path: soundfile.write(path, np.stack([noise(), noise(seed=1)], axis=1), RATE),
    "opposite-phase": lambda path: soundfile.write(path, np.stack([noise(), -noise()], axis=1), RATE),
    "odd-rate": lambda path: write_tone(path, sampling_rate=96_000, hertz=777),
    "wrong-container": lambda path: soundfile.write(path, noise(), RATE, format="AIFF"),
}
KIND = {
    "an unlocked file of git-annex": "missing-content",
    "a folder": "undecodable",
    "no samples": "zero-length",
    "not a number": "undecodable",
    "almost silent": "silent",
    "short": "near-empty",
    "a click": "near-empty",
    "two voices": "stereo",
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_healthy_corpus_has_no_fault_but_names_that_the_release_itself_gets_wrong(name, miniature):
    root = miniature(name)
    spec = complete(name, root)
    faults = examine(spec, root).faults
    assert [fault.file.split("/")[-1].split(".")[0] for fault in faults] == [
        stem for stem in spec.misnamed if any(f"/{stem}." in f"/{example}" for example in spec.examples)
    ]


@pytest.mark.parametrize("spoiler", SPOILERS)
@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_that_is_spoilt_is_found_and_nothing_else(name, spoiler, miniature):
    root = miniature(name)
    spec = complete(name, root)
    SPOILERS[spoiler](root / spec.examples[0])
    assert found(spec, root) == [(KIND.get(spoiler, spoiler), spec.examples[0])]


@pytest.mark.parametrize("name", PUBLISHED)
def test_all_recordings_that_the_reader_refuses_are_named_not_only_the_first(name, miniature):
    root = miniature(name)
    spec = complete(name, root)
    strangers = [(root / example).with_name(f"holiday {n}.wav") for n, example in enumerate(spec.examples[:3])]
    for number, path in enumerate(strangers):
        write_tone(path, hertz=900 + 10 * number)
    told = found(spec, root)
    assert {file for _, file in told} == {path.relative_to(root).as_posix() for path in strangers}
    assert {kind for kind, _ in told} == {"metadata" if name in ("iemocap", "meld", "msp_podcast") else "misnamed"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_one_pass_finds_every_refused_name_and_reads_every_good_one(name, miniature):
    root, spec = miniature(name), get_corpus(name)
    good, strangers = {root / example for example in spec.examples}, set()
    for number in range(40):
        first = root / spec.examples[number % len(spec.examples)]
        strangers.add(first.with_name(f"holiday {number}.wav"))
    for path in strangers:
        path.touch()
    passes = []
    counted = replace(spec, read=lambda reading: passes.append(1) or spec.read(reading))
    reading = read_to_the_end(counted, root, next(iter(spec.label_sources), None))
    assert {path for path, _ in reading.refusals} == strangers
    assert {utterance.path for utterance in reading.utterances} == good
    assert (len(reading.refusals), len(reading.utterances), len(passes)) == (40, len(good), 1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recording_that_lacks_is_missed(name, miniature):
    root = miniature(name)
    spec = complete(name, root)
    (root / spec.examples[0]).unlink()
    assert Counter(kind for kind, _ in found(spec, root)) == {"missing": 1}


def test_a_recording_that_is_left_out_does_not_stand_in_for_one_that_lacks(miniature):
    root = miniature("aesdd")
    write_tone(root / "sadness/s05 (3).wav", hertz=900)
    spec = replace(complete("aesdd", root), speakers={})
    assert found(spec, root) == []
    lone = root / "sadness/s05 (3).wav"
    lone.rename(root / "s05 (3).away")
    assert found(spec, root) == []
    (root / "s05 (3).away").rename(lone)
    (root / spec.examples[0]).unlink()
    (fault,) = examine(spec, root).faults
    assert fault.sentence == f"found {len(spec.examples)} of {len(spec.examples) + 1} recordings"


def test_what_lacks_of_a_release_without_fixed_size_is_told_by_its_table(miniature):
    root = miniature("msp_podcast")
    spec = get_corpus("msp_podcast")
    assert found(spec, root) == []
    (root / "Audios/MSP-PODCAST_0001_0008.wav").unlink()
    SPOILERS["lfs-pointer"](root / "Audios/MSP-PODCAST_0001_0019.wav")
    assert found(spec, root) == [
        ("lfs-pointer", "Audios/MSP-PODCAST_0001_0019.wav"),
        ("missing", "MSP-PODCAST_0001_0008"),
    ]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_second_tree_is_one_fault(name, miniature, tmp_path):
    root = miniature(name)
    spec = complete(name, root)
    shutil.copytree(root, tmp_path / "copy")
    (tmp_path / "copy").rename(root / "a copy of it")
    assert found(spec, root) == [("doubled", "a copy of it")]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recording_in_both_suffixes_is_there_twice(name, miniature):
    root = miniature(name)
    spec = complete(name, root)
    path = root / spec.examples[0]
    soundfile.write(path.with_suffix(".flac"), *soundfile.read(path))
    ((kind, file),) = found(spec, root)
    assert kind == "doubled"
    assert file.rpartition(".")[0] == spec.examples[0].rpartition(".")[0]


@pytest.mark.parametrize("name", RECORDED)
def test_a_copy_under_another_name_is_found_whatever_its_container(name, miniature):
    root = miniature(name)
    spec = complete(name, root)
    first, second = (root / example for example in spec.examples[:2])
    samples, rate = soundfile.read(first, dtype="int16")
    soundfile.write(second, samples, rate, subtype="PCM_24")
    ((kind, file),) = found(spec, root)
    assert kind == "duplicate"
    assert file in spec.examples[:2]


@pytest.mark.parametrize("name", PUBLISHED)
def test_sound_where_the_corpus_has_none_is_surplus(name, miniature):
    root = miniature(name)
    spec = complete(name, root)
    write_tone(root / "extras/for/some/other/purpose/one.wav", hertz=900)
    write_tone(root / "extras/shouted.WAV", hertz=950)
    assert found(spec, root) == [
        ("surplus", "extras/for/some/other/purpose/one.wav"),
        ("surplus", "extras/shouted.WAV"),
    ]


@pytest.mark.parametrize("name", RECORDED)
def test_sound_that_no_reader_takes_is_surplus_and_not_listened_to(name, miniature):
    root = miniature(name)
    spec = complete(name, root)
    place = (root / spec.examples[0]).parent
    (place / "memo.m4a").write_bytes(b"m4a")
    (fault,) = (fault for fault in examine(spec, root).faults if fault.kind != "misnamed")
    assert (fault.kind, fault.file) == ("surplus", (place / "memo.m4a").relative_to(root).as_posix())
    assert "ffmpeg" in fault.remedy


def test_the_mp3_copies_of_crema_d_are_no_surplus(miniature):
    root = miniature("crema_d")
    spec = complete("crema_d", root)
    (root / "AudioMP3").mkdir()
    (root / "AudioMP3/1001_IEO_NEU_XX.mp3").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert found(spec, root) == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_folder_that_is_something_else_is_told_in_one_fault(name, tmp_path):
    write_tone(tmp_path / "a/b/c/d/e/f/tone.wav")
    ((kind, file),) = found(get_corpus(name), tmp_path)
    assert file is None
    assert kind in ("missing", "metadata")


# --- what names and tables say ---


def test_a_recording_in_the_folder_of_another_actor_is_misnamed(miniature):
    root = miniature("ravdess")
    spec = complete("ravdess", root)
    source = root / spec.examples[0]
    source.rename(root / "Actor_24" / source.name)
    (fault,) = examine(spec, root).faults
    assert (fault.kind, fault.file) == ("misnamed", f"Actor_24/{source.name}")
    assert fault.sentence == "is in a folder of speaker 24, but its name says 01"


def test_a_recording_in_the_folder_of_another_emotion_is_misnamed(miniature):
    root = miniature("tess")
    spec = complete("tess", root)
    (root / "YAF_sad/YAF_beg_sad.wav").rename(root / "YAF_happy/YAF_beg_sad.wav")
    assert found(spec, root) == [("misnamed", "YAF_happy/YAF_beg_sad.wav")]


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("esd", "0001/Neutral/evaluation/0001_000001.wav", "0001/Angry/evaluation/0001_000001.wav"),
        ("esd", "0001/Neutral/evaluation/0001_000001.wav", "0008/Neutral/evaluation/0001_000001.wav"),
        ("cafe", "Colère/Faible/01-C-1-1.wav", "Peur/Faible/01-C-1-1.wav"),
        ("cafe", "Colère/Faible/01-C-1-1.wav", "Colère/Fort/01-C-1-1.wav"),
        ("cafe", "Peur/Fort/12-P-2-5.wav", "Cole\u0300re/Fort/12-P-2-5.wav"),
    ],
)
def test_a_folder_that_contradicts_a_name_is_found_and_such_a_file_is_not_read(name, right, wrong, miniature):
    root = miniature(name)
    spec = complete(name, root)
    (root / wrong).parent.mkdir(parents=True, exist_ok=True)
    (root / right).rename(root / wrong)
    (fault,) = (fault for fault in examine(spec, root).faults if fault.kind != "missing")
    assert (fault.kind, fault.file) == ("misnamed", wrong)
    assert "but its name says" in fault.sentence
    with pytest.raises(CorpusError, match="but its name says"):
        list(read_utterances(spec, root))


@pytest.mark.parametrize(
    ("name", "impossible"),
    [
        ("emodb", "wav/03a03Fa.wav"),  # there is no third text
        ("ravdess", "Actor_01/03-01-01-02-01-01-01.wav"),  # neutral, but strong
    ],
)
def test_a_name_whose_parts_exclude_each_other_is_misnamed(name, impossible, miniature):
    root = miniature(name)
    spec = complete(name, root)
    write_tone(root / impossible, hertz=900)
    assert found(spec, root) == [("misnamed", impossible)]


def test_nemo_is_compared_with_its_table_row_by_row(miniature):
    root = miniature("nemo")
    spec = complete("nemo", root)
    table = root / "data.tsv"
    text = table.read_text(encoding="utf-8")
    rows = {row.split("_")[0]: row for row in text.splitlines()[1:]}
    text = text.replace(rows["EB0"], rows["EB0"].replace("EB0\tfemale", "WR0\tfemale"))
    text = text.replace(rows["WR0"], rows["WR0"].replace("\thappiness\t", "\tanger\t"))
    text = text.replace(rows["IC0"] + "\n", "")
    table.write_text(text + "KD0_fear_62.wav\tfear\t\t\tKD0\tfemale\t28\nKD0_fear_63.wav\tfear\t\t\tKD0\tmale\t28\n")
    faults = {(fault.kind, fault.file): fault.sentence for fault in examine(spec, root).faults if fault.file}
    assert faults["metadata", "samples/EB0_neutral_13.wav"] == "its name says speaker EB0, but the table says WR0"
    assert (
        faults["metadata", "samples/WR0_happiness_86.wav"]
        == "its name says native_label happiness, but the table says anger"
    )
    assert "is in no table" in faults["metadata", "samples/IC0_surprised_2.wav"]
    assert {file for kind, file in faults if kind == "missing"} == {"KD0_fear_62", "KD0_fear_63"}
    assert len(faults) == 5


def test_crema_d_is_compared_with_what_raters_heard(miniature):
    root = miniature("crema_d")
    spec = complete("crema_d", root)
    table = root / "processedResults/summaryTable.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join(line for line in lines if "1002_DFA_ANG_XX" not in line))
    assert found(spec, root) == [("metadata", "AudioWAV/1002_DFA_ANG_XX.wav")]
    (root / "VideoDemographics.csv").unlink()
    assert found(spec, root) == [("metadata", None)]


def test_the_release_s_own_silent_recording_of_crema_d_is_known(miniature):
    root = miniature("crema_d")
    SPOILERS["silent"](root / "AudioWAV/1076_MTI_SAD_XX.wav")
    says = {fault.sentence for fault in examine(get_corpus("crema_d"), root).faults if fault.kind == "silent"}
    assert says == {"1.00 s of silence (every sample is 0) (known fault: silent recording; ser_hf leaves it out)"}


def test_every_row_of_your_own_table_is_examined(tmp_path):
    for number in range(4):
        write_tone(tmp_path / f"{number}.wav", hertz=200 + 20 * number)
    (tmp_path / "mine.csv").write_text(
        "path,emotion,speaker,gender\n0.wav,anger,a,female\n1.wav,rage,a,female\nlost.wav,anger,a,female\n"
        "2.wav,sad,a,male\n,fear,b,male\n"
    )
    faults = examine(get_corpus("folder"), tmp_path).faults
    assert [(fault.kind, fault.file) for fault in faults] == [
        ("surplus", "1.wav"),
        ("surplus", "3.wav"),
        ("metadata", None),
        ("metadata", "mine.csv, line 3"),
        ("metadata", "mine.csv, line 4"),
        ("metadata", "mine.csv, line 6"),
    ]
    assert "speaker a has more than one gender: female in 1, male in 1" in faults[2].sentence


@pytest.mark.parametrize("table", [True, False])
def test_the_advice_on_own_recordings_speaks_of_no_release(table, tmp_path):
    for number, folder in enumerate(("anger", "rage", "loose")):
        write_tone(tmp_path / folder / f"{number}.wav", hertz=200 + 20 * number)
    write_tone(tmp_path / "3.wav", hertz=300)
    if table:
        (tmp_path / "mine.csv").write_text(
            "path,emotion,speaker,gender\n0.wav,anger,a,female\n1.wav,rage,a,male\n2.wav,fear,a,male\n"
        )
    faults = examine(get_corpus("folder"), tmp_path).faults
    assert {fault.kind for fault in faults} >= ({"surplus", "metadata"} if table else {"surplus", "misnamed"})
    assert not [fault for fault in faults if "release" in fault.remedy + fault.sentence]


def test_two_recordings_in_opposite_phase_are_no_copies_of_each_other(miniature):
    root = miniature("emovo")
    spec = complete("emovo", root)
    for seed, example in enumerate(spec.examples[:2]):
        wave = noise(seed=seed)
        soundfile.write(root / example, np.stack([wave, -wave], axis=1), RATE)
    assert [kind for kind, _ in found(spec, root)] == ["opposite-phase"] * 2


def test_what_a_speaker_lacks_is_told_by_emotion(tmp_path):
    for actor in ("01", "02"):
        for number, emotion in enumerate(("01", "05", "06")):
            write_tone(
                tmp_path / f"Actor_{actor}/03-01-{emotion}-01-01-01-{actor}.wav", hertz=200 + 50 * number + int(actor)
            )
    spec = replace(complete("ravdess", tmp_path), speakers={"01": 3, "02": 3})
    (tmp_path / "Actor_02/03-01-05-01-01-01-02.wav").unlink()
    (fault,) = examine(spec, tmp_path).faults
    assert (fault.kind, fault.sentence) == ("missing", "speaker 02: found 2 of 3 recordings (lacks 1 of anger)")


def test_a_label_file_that_cannot_be_read_does_not_hide_the_recordings(miniature):
    root = miniature("nemo")
    spec = complete("nemo", root)
    (table,) = root.rglob("*.tsv")
    become_a_folder(table)
    SPOILERS["stereo"](root / spec.examples[0])
    faults = examine(spec, root).faults
    assert ("stereo", spec.examples[0]) in {(fault.kind, fault.file) for fault in faults}
    assert any("data.tsv cannot be read (Is a directory)" in fault.sentence for fault in faults)


@pytest.mark.parametrize(("name", "table"), [("nemo", "data.tsv"), ("crema_d", "processedResults/summaryTable.csv")])
def test_a_label_file_that_is_no_table_is_a_fault_and_does_not_hide_the_recordings(name, table, miniature):
    root = miniature(name)
    spec = complete(name, root)
    (root / table).write_text("nothing\n")
    SPOILERS["stereo"](root / spec.examples[0])
    faults = {(fault.kind, fault.file): fault.sentence for fault in examine(spec, root).faults}
    assert ("stereo", spec.examples[0]) in faults
    assert f"{table} has no column" in faults["metadata", None]


# --- all at once, and real recordings ---


def plant(root, files):
    """One fault of every kind, each in another file; returns what should be found."""
    wanted, files = set(), iter(files)
    for spoiler, spoil in SPOILERS.items():
        path = next(files)
        if path.suffix == ".flac" and spoiler in ("not a number", "wrong-container"):
            spoil(path.with_suffix(".wav"))
            path.with_suffix(".wav").replace(path)
        else:
            spoil(path)
        wanted.add((KIND.get(spoiler, spoiler), path))
        if path.suffix == ".flac" and spoiler == "not a number":
            wanted.add(("wrong-container", path))
    wanted -= {("wrong-container", path) for kind, path in wanted if kind == "undecodable"}
    original, copy = next(files), next(files)
    shutil.copyfile(original, copy)
    wanted.add(("duplicate", max(original, copy)))
    stranger = next(files).with_name("holiday.flac")
    soundfile.write(stranger, noise(seed=5), RATE)
    wanted.add(("misnamed", stranger))
    twin = next(files)
    soundfile.write(twin.with_suffix(".wav"), noise(seed=6), RATE)
    wanted.add(("doubled", twin.with_suffix(".wav")))
    stray = root / "stray.wav"
    soundfile.write(stray, noise(seed=7), RATE)
    wanted.add(("surplus", stray))
    next(files).unlink()
    return {(kind, path.relative_to(root).as_posix()) for kind, path in wanted} | {("missing", None)}


@pytest.mark.real
def test_every_fault_that_is_planted_among_real_recordings_is_found_and_nothing_else(shared, tmp_path):
    for actor in ("Actor_01", "Actor_02"):
        shutil.copytree(shared / "corpora/ravdess" / actor, tmp_path / actor, copy_function=shutil.copyfile)
    spec = replace(get_corpus("ravdess"), utterances=120, speakers={"01": 60, "02": 60})
    assert examine(spec, tmp_path).faults == []
    wanted = plant(tmp_path, sorted(tmp_path.glob("Actor_*/*.flac"))[::5])
    told = examine(spec, tmp_path).faults
    assert {(fault.kind, fault.file) for fault in told} == wanted
    assert len(told) == len(wanted)
    assert {kind for kind, _ in wanted} == set(KINDS) - {"metadata"}


def state(root):
    return {
        path.relative_to(root): (path.stat().st_mtime_ns, path.is_file() and hashlib.sha256(path.read_bytes()).digest())
        for path in root.rglob("*")
    }


@pytest.mark.parametrize("name", RECORDED)
def test_nothing_is_changed(name, miniature):
    root = miniature(name)
    for spoiler, example in zip(("truncated", "stereo", "silent", "wrong-container"), get_corpus(name).examples):  # noqa: B905
        SPOILERS[spoiler](root / example)
    before = state(root)
    assert examine(get_corpus(name), root).faults
    assert state(root) == before


@pytest.mark.real
def test_the_one_fault_of_ravdess_is_its_duplicate_pair(shared):
    examination = examine(get_corpus("ravdess"), shared / "corpora/ravdess")
    (fault,) = examination.faults
    assert (fault.kind, fault.file) == ("duplicate", "Actor_07/03-01-03-01-02-02-07.flac")
    assert fault.sentence == "has the same samples as Actor_07/03-01-03-01-02-01-07.flac"
    assert examination.recordings == 1440


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("ravdess", {("stereo", "Actor_20/03-01-03-01-02-01-20.wav")}),
        (
            "tess",
            {
                ("odd-rate", "OAF_Fear/OAF_food_fear.wav"),
                ("wrong-container", "YAF_angry/YAF_germ_angry.wav"),
                ("wrong-container", "YAF_fear/YAF_neat_fear.wav"),
                ("misnamed", "OAF_neutral/OA_bite_neutral.wav"),
            },
        ),
        ("emodb", set()),
    ],
)
def test_the_odd_files_of_the_releases_are_found_and_no_others(name, wanted, shared):
    faults = examine(get_corpus(name), shared / "corpora/originals" / name).faults
    assert {(fault.kind, fault.file) for fault in faults if fault.kind != "missing"} == wanted


@pytest.mark.real
@pytest.mark.parametrize("name", ["emodb", "nemo", "tess", "crema_d"])
def test_the_compact_corpora_lack_nothing_but_what_was_left_out(name, shared):
    faults = examine(get_corpus(name), shared / "corpora" / name.replace("_", "-")).faults
    assert {fault.kind for fault in faults} == (set() if name == "emodb" else {"missing"})
