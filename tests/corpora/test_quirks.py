"""What is odd about each corpus is read, or told: one proof per oddity."""

import shutil
import unicodedata
from collections import Counter

import pytest
import soundfile
from conftest import write_tone

from ser_hf import load_corpus
from ser_hf.corpora import CorpusError, find_root, get_corpus, missing, read_corpus, read_utterances
from ser_hf.data.columns import provenance
from ser_hf.inspection.doctor import examine
from ser_hf.sources.spec import read_to_the_end
from ser_hf.splits.protocol import Protocol
from ser_hf.splits.split import protocols


def read(name, root, source=None):
    return list(read_utterances(get_corpus(name), root, source))


def facts(utterances):
    """What must not depend on the layout: everything but the path."""
    return sorted((u.speaker, u.native_label, u.emotion, u.gender, u.statement or "") for u in utterances)


# --- layouts ---


def test_both_layouts_of_savee_give_the_same_utterances(miniature, tmp_path):
    root = miniature("savee")
    flat = tmp_path / "flat"
    for path in root.rglob("*.wav"):
        write_tone(flat / f"{path.parent.name}_{path.name}")
    assert facts(read("savee", flat)) == facts(read("savee", root))
    assert {u.emotion for u in read("savee", root) if u.native_label.startswith("s")} == {"sadness", "surprise"}


def test_esd_is_read_with_and_without_folders_of_its_division(miniature):
    root = miniature("esd")
    split = read("esd", root)
    for path in root.rglob("*.wav"):
        path.rename(path.parents[1] / path.name)
    flat = read("esd", root)
    assert facts(flat) == facts(split)
    assert Counter(u.part for u in split) == {"train": 2, "evaluation": 1, "test": 2}
    assert {u.part for u in flat} == {None}


@pytest.mark.parametrize(
    ("name", "extra"),
    [("esd", "0001/Angry/0001_000351.wav"), ("savee", "DC_a01.wav"), ("tess", "OAF_back_angry.wav")],
)
def test_two_layouts_in_one_folder_are_refused(name, extra, miniature):
    root = miniature(name)
    write_tone(root / extra)
    with pytest.raises(CorpusError, match="has two copies of the corpus, as"):
        read(name, root)


def test_esd_has_ten_speakers_of_each_language_and_the_same_sentences_in_every_emotion(miniature):
    utterances = {u.path.stem: u for u in read("esd", miniature("esd"))}
    assert {name: u.language for name, u in utterances.items()} == {
        "0001_000351": "zh", "0001_000001": "zh", "0008_000721": "zh", "0011_001400": "en", "0020_001421": "en",
    }  # fmt: skip
    assert utterances["0001_000351"].statement == utterances["0001_000001"].statement == "zh001"
    assert utterances["0011_001400"].statement == "en350"
    sexes = {u.speaker: u.gender for u in utterances.values()}
    assert sexes == {"0001": "female", "0008": "male", "0011": "male", "0020": "male"}


def test_an_emotion_that_esd_does_not_have_is_refused(miniature):
    root = miniature("esd")
    write_tone(root / "0001/Bored/train/0001_000002.wav")
    with pytest.raises(CorpusError, match="Bored"):
        read("esd", root)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_accents_of_cafe_may_be_composed_or_combining(form, miniature, tmp_path):
    root = tmp_path / form
    for example in get_corpus("cafe").examples:
        write_tone(root / unicodedata.normalize(form, example))
    assert {u.path.parts[-3] for u in read("cafe", root)} >= {unicodedata.normalize(form, "Colère")}
    assert facts(read("cafe", root)) == facts(read("cafe", miniature("cafe")))
    names = load_corpus("cafe", root, allow_partial=True)["utterance_id"]
    assert "cafe/Colère/Faible/01-C-1-1" in names, "an utterance has one name on every file system"


def test_tess_is_read_in_folders_or_flat_in_either_case_and_with_its_misnamed_file(miniature, tmp_path):
    root = miniature("tess")
    flat = tmp_path / "flat"
    for path in root.rglob("*.wav"):
        write_tone(flat / path.name.replace("OAF_back", "oaf_BACK"))
    assert facts(read("tess", flat)) == facts(read("tess", root))
    misnamed = next(u for u in read("tess", root) if u.path.stem == "OA_bite_neutral")
    assert (misnamed.speaker, misnamed.age, misnamed.statement) == ("OAF", 64, "bite")
    assert {u.emotion for u in read("tess", root) if u.native_label == "ps"} == {"surprise"}


# --- names ---


def test_the_bracket_in_a_name_of_subesco_is_forgiven(miniature):
    odd = next(u for u in read("subesco", miniature("subesco")) if u.path.stem.endswith("]"))
    assert (odd.speaker, odd.gender, odd.statement, odd.emotion) == ("F_02", "female", "2", "surprise")


@pytest.mark.parametrize(
    ("stem", "speaker", "emotion"),
    [("a06 (5)b", "5", "anger"), ("f10 (01)", "1", "fear"), ("s01 (5)a", "5", "sadness"), ("d03 (01)", "1", "disgust")],
)
def test_the_odd_names_of_aesdd_have_speakers(stem, speaker, emotion, miniature):
    utterance = next(u for u in read("aesdd", miniature("aesdd")) if u.path.stem == stem)
    assert (utterance.speaker, utterance.emotion) == (speaker, emotion)
    assert utterance.gender is None, "no source says who is a man"


def test_the_605th_file_of_aesdd_is_dropped_and_counted_without_being_opened(miniature):
    root = miniature("aesdd")
    (root / "sadness/s05 (3).wav").write_bytes(b"no sound " * 1000)
    dataset = load_corpus("aesdd", root, allow_partial=True)
    assert provenance(dataset)["dropped"]["aesdd"] == {get_corpus("aesdd").excluded["aesdd/sadness/s05 (3)"]: 1}


def test_odd_actors_of_ravdess_and_cafe_are_men(miniature):
    for name in ("ravdess", "cafe"):
        for utterance in read(name, miniature(name)):
            assert utterance.gender == ("male" if int(utterance.speaker) % 2 else "female")


def test_the_songs_of_ravdess_are_refused(miniature):
    root = miniature("ravdess")
    write_tone(root / "Actor_01/03-02-01-01-01-01-01.wav")
    with pytest.raises(CorpusError, match="songs"):
        read("ravdess", root)


def test_the_second_version_of_emodb_is_not_taken_for_the_first(miniature, monkeypatch):
    root = miniature("emodb")
    for number in range(536 - len(get_corpus("emodb").examples)):
        version, rest = divmod(number, 90)
        text, speaker = divmod(rest, 9)
        texts = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
        speakers = ("03", "08", "09", "10", "11", "12", "13", "14", "15")
        shutil.copy(root / "wav/03a01Fa.wav", root / f"wav/{speakers[speaker]}{texts[text]}W{'uvwxyz'[version]}.wav")
    with pytest.raises(CorpusError, match="Version 2"):
        read("emodb", root)


def test_the_speaker_of_iemocap_is_not_the_one_who_wears_the_markers(miniature):
    utterances = {u.path.stem: u for u in read("iemocap", miniature("iemocap"))}
    assert utterances["Ses01F_impro01_M000"].gender == "male"
    assert utterances["Ses05M_script01_1b_F003"].speaker == "Ses05F"
    undecided = utterances["Ses05M_script01_1b_M010"]
    assert (undecided.native_label, undecided.emotion) == ("xxx", "other")


def test_improvised_and_scripted_speech_of_iemocap_are_told_apart(miniature):
    parts = {u.path.stem: u.part for u in read("iemocap", miniature("iemocap"))}
    assert parts == {
        "Ses01F_impro01_F000": "improvised", "Ses01F_impro01_M000": "improvised",
        "Ses05M_script01_1b_F003": "scripted", "Ses05M_script01_1b_M010": "scripted",
    }  # fmt: skip


def test_six_classes_of_iemocap_keep_excitement_and_frustration(miniature):
    dataset = load_corpus("iemocap", miniature("iemocap"), "iemocap6", allow_partial=True)
    assert dataset.features["label"].names == [
        "anger", "excitement", "frustration", "happiness", "neutral", "sadness",
    ]  # fmt: skip
    assert dataset.features["label"].int2str(dataset["label"][:]) == ["neutral", "frustration", "excitement"]
    assert provenance(dataset)["dropped"]["iemocap"] == {"other": 1}


def test_iemocap_without_agreement_is_dropped_and_counted(miniature):
    dataset = load_corpus("iemocap", miniature("iemocap"), allow_partial=True)
    assert provenance(dataset)["dropped"]["iemocap"] == {"frustration": 1, "other": 1}
    assert sorted(dataset.features["label"].int2str(dataset["label"][:])) == ["happiness", "neutral"]


def test_a_stereo_recording_of_emovo_is_read_as_one_of_its_length(miniature):
    root = miniature("emovo")
    samples, rate = soundfile.read(root / "f1/gio-f1-b1.wav")
    soundfile.write(root / "f1/gio-f1-b1.wav", [[s, s] for s in samples], rate)
    dataset = load_corpus("emovo", root, allow_partial=True)
    assert dict(zip(dataset["utterance_id"], dataset["duration"], strict=True))["emovo/f1/gio-f1-b1"] == pytest.approx(
        len(samples) / rate
    )


def test_the_secondary_emotions_of_jl_corpus_have_names_of_their_own(miniature):
    root = miniature("jl_corpus")
    assert {u.native_label: u.emotion for u in read("jl_corpus", root)} == {
        "angry": "anger", "anxious": "anxiety", "apologetic": "apology", "concerned": "concern",
        "excited": "excitement",
    }  # fmt: skip
    assert provenance(load_corpus("jl_corpus", root, "jl5", allow_partial=True))["dropped"]["jl_corpus"] == {
        "anxiety": 1, "apology": 1, "concern": 1,
    }  # fmt: skip


def test_fear_of_shemo_is_left_out_by_the_scheme_of_five_and_counted(miniature):
    dataset = load_corpus("shemo", miniature("shemo"), "esd5", allow_partial=True)
    assert provenance(dataset)["dropped"]["shemo"] == {"fear": 1}


# --- CREMA-D ---


def test_a_tie_of_the_raters_of_crema_d_is_no_single_emotion(miniature):
    utterances = {u.path.stem: u for u in read("crema_d", miniature("crema_d"), "voice")}
    tie = utterances["1002_DFA_ANG_XX"]
    assert (tie.native_label, tie.emotion) == ("A:D", "other")
    assert tie.votes == {"anger": 4, "disgust": 4, "neutral": 2}
    dataset = load_corpus("crema_d", tie.path.parents[1], label_source="voice", allow_partial=True)
    assert provenance(dataset)["dropped"]["crema_d"] == {"other": 2}


def test_the_kinds_of_labels_of_crema_d_differ_in_winner_and_votes(miniature):
    root = miniature("crema_d")
    clip = {
        source: next(u for u in read("crema_d", root, source) if u.path.stem == "1001_IEO_HAP_LO")
        for source in get_corpus("crema_d").label_sources
    }
    assert {source: u.emotion for source, u in clip.items()} == {
        "intended": "happiness", "voice": "neutral", "face": "happiness", "multimodal": "happiness",
    }  # fmt: skip
    assert clip["intended"].votes is None
    assert clip["voice"].votes == {"happiness": 3, "neutral": 6}
    assert clip["face"].votes == {"happiness": 9, "neutral": 1}
    assert clip["multimodal"].votes == {"happiness": 7, "neutral": 2}


def test_the_tables_of_crema_d_may_lie_at_the_root_and_the_votes_may_be_missing(miniature):
    root = miniature("crema_d")
    wanted = [(u.emotion, u.native_label) for u in read("crema_d", root, "face")]
    shutil.move(root / "processedResults/summaryTable.csv", root)
    shutil.rmtree(root / "processedResults")
    utterances = read("crema_d", root, "face")
    assert [(u.emotion, u.native_label) for u in utterances] == wanted
    assert {u.votes for u in utterances} == {None}
    (root / "summaryTable.csv").unlink()
    with pytest.raises(CorpusError, match=r"summaryTable\.csv is missing"):
        read("crema_d", root, "face")
    assert len(read("crema_d", root, "intended")) == 6


def test_the_table_of_crema_d_and_the_disk_are_compared_both_ways(miniature):
    root = miniature("crema_d")
    write_tone(root / "AudioWAV/1001_TIE_SAD_XX.wav")
    with pytest.raises(CorpusError, match=r"1001_TIE_SAD_XX\.wav has no row"):
        read("crema_d", root, "multimodal")
    spec = get_corpus("crema_d")
    whole = [u for u in read("crema_d", root, "intended") if u.speaker == "1001"]
    # The four clips that other loaders skip are missed by name of their speakers.
    assert "3 of 82 of speaker 1001" in missing(spec, whole)


def test_the_silent_clip_of_crema_d_is_dropped_whatever_the_labels(miniature):
    root = miniature("crema_d")
    write_tone(root / "AudioWAV/1076_MTI_SAD_XX.wav")
    with (root / "VideoDemographics.csv").open("a") as table:
        table.write('1076,30,"Female","",""\n')
    with (root / "processedResults/summaryTable.csv").open("a") as table:
        table.write('"7","1076_MTI_SAD_XX","N","S","S"\n')
    for source in get_corpus("crema_d").label_sources:
        dataset = load_corpus("crema_d", root, label_source=source, allow_partial=True)
        assert provenance(dataset)["dropped"]["crema_d"]["silent recording"] == 1


@pytest.mark.parametrize("source", get_corpus("crema_d").label_sources)
def test_the_file_that_old_clones_of_crema_d_misname_is_read_as_what_it_is_and_told_by_the_doctor(source, miniature):
    root = miniature("crema_d")
    write_tone(root / "AudioWAV/1040_ITH_SAD_X.wav")
    with (root / "VideoDemographics.csv").open("a") as table:
        table.write('1040,42,"Female","",""\n')
    for file, row in {
        "summaryTable.csv": '"3234","1040_ITH_SAD_XX","N","N","N"\n',
        "tabulatedVotes.csv": '"103234",0,0,0,0,4,1,"1040_ITH_SAD_XX",5\n',
    }.items():
        with (root / "processedResults" / file).open("a") as table:
            table.write(row)
    odd = next(u for u in read("crema_d", root, source) if u.speaker == "1040")
    assert (odd.statement, odd.emotion) == ("ITH", "sadness" if source == "intended" else "neutral")
    assert odd.votes == ({"neutral": 4, "sadness": 1} if source == "voice" else None)
    told = [fault for fault in examine(get_corpus("crema_d"), root).faults if "1040_ITH" in f"{fault.file}"]
    assert [(fault.kind, fault.severity) for fault in told] == [("misnamed", "warning")]


# --- MELD ---


def test_videos_of_meld_are_answered_with_the_command_that_takes_the_sound_out(miniature):
    root = miniature("meld")
    for path in list(root.rglob("*.wav")):
        path.rename(path.with_suffix(".mp4"))
    with pytest.raises(CorpusError, match=r"ffmpeg .* -ac 1 -ar 16000") as told:
        read("meld", root)
    assert f"for f in {root}/*splits*/dia*.mp4" in str(told.value)


def test_sound_beside_the_videos_of_meld_is_enough(miniature):
    root = miniature("meld")
    (root / "train_splits/dia0_utt0.mp4").touch()
    utterances = {u.path.relative_to(root).as_posix(): u for u in read("meld", root)}
    assert utterances["train_splits/dia0_utt0.wav"].part == "train"
    assert utterances["output_repeated_splits_test/dia0_utt0.wav"].part == "test"
    assert utterances["dev_splits_complete/dia99_utt1.wav"].speaker is None, "Ross and Rachel are two"
    assert utterances["dev_splits_complete/dia110_utt8.wav"].emotion == "happiness"


@pytest.mark.parametrize(
    ("names", "speakers"),
    [
        (["Ross and Rachel", "Monica, Ross", "Joey & Ross", "Rachel/Phoebe"], {None}),
        (["All", "#ALL#", "Both", "The Guys", "Girls", "Everyone", "others"], {None}),
        (["Dr. Green", "Dr Green", "DR.GREEN"], {"DR.GREEN"}),
        (["Interviewer", "The Interviewer", "the interviewer"], {"Interviewer"}),
        (["Racel", "Rachel", "RACHEL"], {"Rachel"}),
        (["Sandra", "Andy", "Alligator", "Theodore"], {"Sandra", "Andy", "Alligator", "Theodore"}),
        (["Fireman No. 1", "Fireman No. 2", "Phoebe Sr"], {"Fireman No. 1", "Fireman No. 2", "Phoebe Sr"}),
        (["Ross", "Rose", "Joey", "Joe", "Monique", "Monica"], {"Ross", "Rose", "Joey", "Joe", "Monique", "Monica"}),
    ],
)  # fmt: skip
def test_speakers_of_meld_are_single_people_under_one_name_each(names, speakers, miniature):
    root = miniature("meld")
    header = (root / "train_sent_emo.csv").read_text(encoding="utf-8").splitlines()[0]
    rows = [f'{number},Oh.,"{name}",joy,positive,7,{number},1,1' for number, name in enumerate(names)]
    (root / "train_sent_emo.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    shutil.rmtree(root / "train_splits")
    for number in range(len(names)):
        write_tone(root / f"train_splits/dia7_utt{number}.wav")
    assert {u.speaker for u in read("meld", root) if u.part == "train"} == speakers


def test_clips_of_meld_that_hold_no_utterance_are_dropped_and_counted(miniature):
    root = miniature("meld")
    write_tone(root / "train_splits/dia125_utt3.wav")
    with (root / "train_sent_emo.csv").open("a") as table:
        table.write("1166,Oh.,Joey,anger,negative,125,3,1,1\n")
    dataset = load_corpus("meld", root, allow_partial=True)
    assert provenance(dataset)["dropped"]["meld"] == {
        "clip of several minutes, not of one utterance": 1, "corrupt clip": 1,
    }  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_the_smart_quotes_of_meld_are_read_in_either_encoding(encoding, miniature):
    root = miniature("meld")
    table = root / "train_sent_emo.csv"
    table.write_bytes(table.read_text(encoding="utf-8").replace("The Interviewer", "L\u2019Homme").encode(encoding))
    speakers = {u.path.stem: u.speaker for u in read("meld", root) if u.part == "train"}
    assert speakers == {"dia0_utt0": "Chandler", "dia0_utt1": "L\u2019Homme"}


@pytest.mark.parametrize("extra", ["final_videos_testdia93_utt5", "dia999_utt0"])
def test_a_clip_of_meld_that_no_table_names_is_refused(extra, miniature):
    root = miniature("meld")
    write_tone(root / f"output_repeated_splits_test/{extra}.wav")
    with pytest.raises(CorpusError, match=f"{extra}.wav is in no table"):
        read("meld", root)


def test_a_table_of_meld_that_is_missing_or_strange_is_named(miniature):
    root = miniature("meld")
    table = root / "dev_sent_emo.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",joy,", ",glee,"), encoding="utf-8")
    with pytest.raises(CorpusError, match="unknown emotion 'glee' of dia110_utt8"):
        read("meld", root)
    table.unlink()
    with pytest.raises(CorpusError, match=r"dev_sent_emo\.csv is missing"):
        read("meld", root)


# --- MSP-Podcast ---


def facts_of_msp(root):
    utterances = read("msp_podcast", root, "consensus")
    return [(u.path.stem, u.native_label, u.emotion, u.speaker, u.part, u.valence) for u in utterances]


def test_unknown_speakers_and_sexes_of_msp_podcast_are_none(miniature):
    utterances = {u.path.stem: u for u in read("msp_podcast", miniature("msp_podcast"), "consensus")}
    unknown = utterances["MSP-PODCAST_0023_0149"]
    assert (unknown.speaker, unknown.gender, unknown.part) == (None, None, "Train")
    known = utterances["MSP-PODCAST_1904_0030"]
    assert (known.speaker, known.gender, known.part) == ("1001", "female", "Development")
    assert (known.arousal, known.valence, known.dominance) == (4.0, 2.4, 4.8)


def test_msp_podcast_without_agreement_or_labels_is_dropped_and_counted(miniature):
    root = miniature("msp_podcast")
    labels = {u.path.stem[-4:]: (u.native_label, u.part) for u in read("msp_podcast", root, "consensus")}
    assert labels["0019"] == ("X", "Test1")
    assert labels["0001"] == ("hidden", "Test3")
    dataset = load_corpus("msp_podcast", root, label_source="consensus")
    assert provenance(dataset)["dropped"]["msp_podcast"] == {"other": 2}
    assert len(dataset) == 3


def test_hidden_labels_may_stand_in_the_table_of_msp_podcast(miniature):
    root = miniature("msp_podcast")
    wanted = facts_of_msp(root)
    with (root / "Labels/labels_consensus.csv").open("a") as table:
        table.write("MSP-PODCAST_test3_0001.wav,N/A,N/A,N/A,N/A,N/A,N/A,Test3\n")
    assert facts_of_msp(root) == wanted


def test_a_bad_rating_of_msp_podcast_costs_its_own_recording_alone(miniature):
    root = miniature("msp_podcast")
    table = root / "Labels/labels_consensus.csv"
    table.write_text(table.read_text().replace("_0001_0008.wav,N,2.6,", "_0001_0008.wav,N,2;6,"))
    with pytest.raises(CorpusError, match=r"EmoAct of MSP-PODCAST_0001_0008.wav must be a number, not '2;6'"):
        read("msp_podcast", root, "consensus")
    reading = read_to_the_end(get_corpus("msp_podcast"), root, "consensus")
    assert [path.stem for path, _ in reading.refusals] == ["MSP-PODCAST_0001_0008"]
    assert len(reading.utterances) == len(get_corpus("msp_podcast").examples) - 1


def test_the_votes_of_msp_podcast_are_counted_from_either_form_of_its_table(miniature):
    root = miniature("msp_podcast")
    utterances = {u.path.stem[-4:]: u for u in read("msp_podcast", root, "votes")}
    assert utterances["0030"].votes == {"contempt": 2, "other": 1}
    assert (utterances["0030"].emotion, utterances["0030"].native_label) == ("contempt", "contempt")
    assert (utterances["0019"].emotion, utterances["0019"].native_label) == ("other", "anger:disgust")
    assert utterances["0001"].votes is None
    wanted = {name: u.votes for name, u in utterances.items()}
    (root / "Labels/labels_detailed.csv").write_text(
        "FileName,WorkerID,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom\n"
        "MSP-PODCAST_0001_0008.wav,W14,Neutral,Neutral,3,4,3\nMSP-PODCAST_0001_0008.wav,W7,Neutral,Neutral,2,4,3\n"
        'MSP-PODCAST_0001_0019.wav,W14,Angry,"Angry,Annoyed",4,2,5\nMSP-PODCAST_0001_0019.wav,W7,Disgust,Disgust,4,3,4\n'
        "MSP-PODCAST_0023_0149.wav,W3,Happy,,5,6,5\nMSP-PODCAST_1904_0030.wav,W3,Contempt,Annoyed,4,2,5\n"
        "MSP-PODCAST_1904_0030.wav,W21,Other-Sarcastic,Contempt,4,3,5\n"
        "MSP-PODCAST_1904_0030.wav,W9,Contempt,Contempt,4,2,4\n"
    )
    assert {u.path.stem[-4:]: u.votes for u in read("msp_podcast", root, "votes")} == wanted


def test_the_tables_of_msp_podcast_and_the_disk_are_compared_both_ways(miniature):
    root = miniature("msp_podcast")
    (root / "Audios/MSP-PODCAST_0001_0008.wav").unlink()
    with pytest.raises(CorpusError, match=r"1 recordings .* are missing, the first is MSP-PODCAST_0001_0008"):
        read_corpus(get_corpus("msp_podcast"), root, label_source="consensus")
    partial = provenance(load_corpus("msp_podcast", root, label_source="consensus", allow_partial=True))["partial"]
    assert "first is MSP-PODCAST_0001_0008" in partial["msp_podcast"]
    write_tone(root / "Audios/MSP-PODCAST_0001_0008.wav")
    table = root / "Labels/labels_detailed.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if "0023_0149" not in line) + "\n")
    with pytest.raises(CorpusError, match=r"MSP-PODCAST_0023_0149\.wav has no row in labels_detailed"):
        read("msp_podcast", root, "votes")
    table.unlink()
    with pytest.raises(CorpusError, match=r"labels_detailed\.csv is missing"):
        read("msp_podcast", root, "votes")
    table.write_text("FileName,Rating\nMSP-PODCAST_0001_0008.wav,Neutral\n")
    with pytest.raises(CorpusError, match="neither EmoClass_Major nor EmoDetail"):
        read("msp_podcast", root, "votes")
    assert len(read("msp_podcast", root, "consensus")) == 5


def test_the_release_of_msp_podcast_is_recorded_with_its_labels(miniature):
    root = miniature("msp_podcast")
    assert {u.label_source for u in read("msp_podcast", root, "consensus")} == {
        "perceived (consensus, release of 4 rows)"
    }
    dataset = load_corpus("msp_podcast", root, label_source="consensus")
    assert set(dataset["label_source"]) == {"perceived (consensus, release of 4 rows)"}


@pytest.mark.parametrize("source", get_corpus("msp_podcast").label_sources)
def test_an_unknown_code_of_msp_podcast_is_refused(source, miniature):
    root = miniature("msp_podcast")
    table = root / "Labels/labels_consensus.csv"
    table.write_text(table.read_text().replace("0149.wav,H,", "0149.wav,Q,"))
    with pytest.raises(CorpusError, match=r"labels_consensus\.csv: unknown emotion code 'Q'.*0023_0149\.wav"):
        read("msp_podcast", root, source)


def test_the_spellings_of_early_releases_of_msp_podcast_are_read(miniature):
    root = miniature("msp_podcast")
    wanted = facts_of_msp(root)
    table = root / "Labels/labels_consensus.csv"
    table.write_text(table.read_text().replace(",Development", ",Validation"))
    (root / "labels").mkdir()
    table.rename(root / "labels/labels_concensus.csv")
    assert facts_of_msp(root) == wanted


# --- what a reader of a figure must know ---


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        ("tess/actress2", "it shares speakers"),
        ("esd/emobox", "Mandarin and English"),
        ("ravdess/emobox", "all women"),
    ],
)
def test_a_protocol_says_what_is_wrong_with_it(protocol, words):
    assert words in protocols(Protocol.parse(protocol).corpora[0])[protocol].description


def test_a_corpus_of_several_releases_has_no_size_to_fall_short_of(miniature):
    spec = get_corpus("msp_podcast")
    root = find_root(spec, miniature("msp_podcast"))
    assert missing(spec, read_corpus(spec, root, label_source="consensus")) is None
