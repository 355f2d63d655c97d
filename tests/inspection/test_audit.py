"""Planted leaks are found, each by its name; clean divisions are let pass; supports are judged by arithmetic alone."""

from dataclasses import replace
from itertools import combinations

import pandas
import pytest
import soundfile

from ser_hf.audio import read_audio, sample_hash
from ser_hf.corpora import CorpusError, get_corpus, list_corpora, read_utterances
from ser_hf.emotions import get_scheme
from ser_hf.fingerprint import near_duplicates
from ser_hf.inspection.audit import audit_split
from ser_hf.inspection.audit_run import audit_run
from ser_hf.inspection.split_table import AuditError, read_split
from ser_hf.inspection.supports import SupportsError, audit_supports, counts_by_speaker, parse_supports
from ser_hf.splits.ledger import Ledger, Training

WITH_COUNTS = [name for name in list_corpora() if get_corpus(name).emotions_per_speaker]


def kinds(findings):
    return {finding.kind for finding in findings if finding.counts}


def judged(rows, **options):
    """A table, listened to."""
    rows = read_split(pandas.DataFrame(rows))
    files = list(dict.fromkeys(rows["file"]))
    matches = [(files[match.first], files[match.second], match) for match in near_duplicates(files)]
    return audit_split(rows, hashes={file: sample_hash(file) for file in files}, matches=matches, **options)


@pytest.fixture
def clean(shared):
    """Two actors train, one validates, one tests: eight utterances each."""
    parts = {"01": "train", "02": "train", "03": "validation", "04": "test"}
    return [
        {"file": str(path), "speaker": actor, "part": part, "statement": path.stem.split("-")[4]}
        for actor, part in parts.items()
        for path in sorted((shared / f"corpora/ravdess/Actor_{actor}").glob("*.flac"))[::8]
    ]


def of_part(rows, part):
    return [row for row in rows if row["part"] == part]


def copied(rows, folder, change=lambda waveform: waveform, suffix="flac"):
    """Files of other names that hold the same, or almost."""
    for number, row in enumerate(rows):
        path = folder / f"copy{number}.{suffix}"
        soundfile.write(path, change(read_audio(row["file"])), 16_000)
        yield row | {"file": str(path)}


def leak_speaker(rows, folder):
    return [*rows[:-1], rows[-1] | {"speaker": "01"}]


def leak_no_speaker(rows, folder):
    return [*rows[:-1], rows[-1] | {"speaker": None}]


def leak_same_audio(rows, folder):
    return [*rows, *(row | {"part": "test", "speaker": "04"} for row in copied(of_part(rows, "train")[:1], folder))]


def leak_trimmed(rows, folder):
    taken = copied(of_part(rows, "train")[:2], folder, lambda waveform: waveform[9_000:-5_000])
    return [*rows, *(row | {"part": "test", "speaker": "04"} for row in taken)]


def leak_encoded_and_softer(rows, folder):
    taken = copied(of_part(rows, "train")[:2], folder, lambda waveform: waveform / 4, "mp3")
    return [*rows, *(row | {"part": "test", "speaker": "04"} for row in taken)]


def leak_oversampled(rows, folder):
    """Every utterance three times, then every fifth row tests."""
    return [row | {"part": "test" if number % 5 == 0 else "train"} for number, row in enumerate(rows * 3)]


def leak_validation(rows, folder):
    return [*rows, *(row | {"part": "validation"} for row in of_part(rows, "test")[:3])]


def leak_selection(rows, folder):
    kept = [row for row in rows if row["part"] != "validation"]
    return [*kept, *(row | {"part": "validation"} for row in of_part(rows, "test"))]


def leak_whole_corpus(rows, folder):
    kept = [row for row in rows if row["part"] != "test"]
    return [*kept, *(row | {"part": "test"} for row in rows)]


def leak_repeated(rows, folder):
    return [*rows, *of_part(rows, "test")[:1]]


LEAKS = {
    "speaker-in-two-parts": leak_speaker,
    "unknown-speaker": leak_no_speaker,
    "same-audio": leak_same_audio,
    "near-duplicate": leak_trimmed,
    "near-duplicate, encoded": leak_encoded_and_softer,
    "oversampled-before-split": leak_oversampled,
    "validation-overlaps-test": leak_validation,
    "selection-on-test": leak_selection,
    "test-is-corpus": leak_whole_corpus,
    "repeated-in-test": leak_repeated,
}


@pytest.mark.real
@pytest.mark.parametrize("kind", LEAKS)
def test_a_planted_leak_is_found_by_its_name(clean, kind, tmp_path):
    findings = judged(LEAKS[kind](clean, tmp_path))
    assert kind.partition(",")[0] in kinds(findings)
    assert all(one.sentence and (one.remedy or not one.counts) for one in findings)


@pytest.mark.real
def test_the_clean_division_itself_passes_and_so_does_oversampling_after_it(clean):
    assert kinds(judged(clean)) == set()
    assert kinds(judged([*clean, *of_part(clean, "train") * 2])) == set()


@pytest.mark.real
def test_claims_and_statistics_decide_what_counts(clean):
    assert kinds(judged(clean, claim="text-independent")) == {"shared-sentences"}
    assert kinds(judged(clean, statistics="all")) == {"statistics-on-test"}
    assert kinds(judged(clean, statistics="train")) == set()
    shared = leak_speaker(clean, None)
    assert kinds(judged(shared)) == {"speaker-in-two-parts"}
    assert kinds(judged(shared, claim="held-out")) == set()


CLEAN = [
    *(("ravdess", number) for number in range(8)),
    *(("emodb", number) for number in range(8)),
    *(("nemo", number) for number in range(4)),
]


@pytest.fixture(scope="module")
def listened(shared):
    """Utterances of a corpus (every third; all of the actor who is there twice), hashed and compared once."""
    known = {}

    def listen(name):
        if name not in known:
            utterances = list(read_utterances(get_corpus(name), shared / "corpora" / name))
            some = [one for number, one in enumerate(utterances) if number % 3 == 0 or "Actor_07" in str(one.path)]
            files = [str(one.path) for one in some]
            matches = [(files[match.first], files[match.second], match) for match in near_duplicates(files)]
            known[name] = some, {file: sample_hash(file) for file in files}, matches
        return known[name]

    return listen


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(("corpus", "number"), CLEAN)
def test_a_clean_speaker_independent_division_has_no_finding(listened, corpus, number):
    utterances, hashes, matches = listened(corpus)
    speakers = sorted({one.speaker for one in utterances})
    turned = speakers[number:] + speakers[:number]
    size = 1 + number % 3
    part = dict.fromkeys(turned, "train") | dict.fromkeys(turned[:size], "test")
    part |= dict.fromkeys(turned[size : 2 * size], "dev")
    rows = [
        {"file": str(one.path), "speaker": one.speaker, "part": part[one.speaker], "statement": one.statement}
        for one in utterances
    ]
    assert kinds(audit_split(read_split(pandas.DataFrame(rows)), hashes=hashes, matches=matches)) == set()


def test_folds_are_judged_one_by_one():
    rows = [
        {"file": f"{speaker}{number}", "speaker": speaker, "part": "test" if speaker == fold else "train", "fold": fold}
        for fold in "abc" for speaker in "abc" for number in range(2)
    ]  # fmt: skip
    assert kinds(audit_split(read_split(pandas.DataFrame(rows)))) == set()
    rows.append(rows[0] | {"file": "new", "part": "train"})
    (finding,) = [one for one in audit_split(read_split(pandas.DataFrame(rows))) if one.counts]
    assert (finding.kind, finding.evidence["fold"]) == ("speaker-in-two-parts", "a")


def test_columns_and_parts_go_by_several_names_and_others_are_told():
    rows = read_split(pandas.DataFrame({"Path": ["a", "b"], "Actor": [1, 2], "Subset": ["Training", "eval"]}))
    assert rows.to_dict("list") == {"file": ["a", "b"], "speaker": ["1", "2"], "part": ["train", "test"]}
    with pytest.raises(AuditError, match="no column speaker; it has path, part"):
        read_split(pandas.DataFrame({"path": ["a"], "part": ["test"]}))
    with pytest.raises(AuditError, match="'oops' is not a part"):
        read_split(pandas.DataFrame({"path": ["a"], "speaker": ["a"], "part": ["oops"]}))
    with pytest.raises(AuditError, match="no test part"):
        read_split(pandas.DataFrame({"path": ["a"], "speaker": ["a"], "part": ["train"]}))


def split(*rows, columns=("file", "speaker", "part")):
    return read_split(pandas.DataFrame(rows, columns=columns))


def test_a_fold_of_which_nothing_can_be_found_is_refused_and_not_praised():
    columns = ("file", "speaker", "part", "fold")
    for rows, message in (
        ([("a", "x", "test", "0"), ("b", "x", "test", "1")], "no train part in fold 0, only test: add it"),
        ([("a", "x", "train", "0"), ("b", "y", "test", "0"), ("c", "y", "train", "1")], "no test part in fold 1"),
        ([("a", "x", "test", "0"), ("b", "x", "train", None)], "no train part in fold 0"),
        ([("b", "x", "train", None), ("a", "x", "test", "0")], "no test part in the rows without a fold"),
    ):
        with pytest.raises(AuditError, match=message):
            split(*rows, columns=columns)
    with pytest.raises(AuditError, match="no train part"):
        split(("a", "x", "test"))


def test_one_file_and_one_speaker_have_one_name_however_they_are_written():
    rows = split(("r\\a.wav", "M\u00fcller", "train"), ("./r/a.wav", "Mu\u0308ller", "test"), ("b", "z", "train"))
    assert kinds(audit_split(rows)) == {"same-audio", "speaker-in-two-parts"}


def test_speakers_of_one_number_in_two_corpora_are_two():
    rows = [("a", "01", "train", "ravdess"), ("b", "01", "test", "savee")]
    columns = ("file", "speaker", "part", "corpus")
    assert kinds(audit_split(split(*rows, columns=columns))) == set()
    rows[1] = ("b", "01", "test", "ravdess")
    assert kinds(audit_split(split(*rows, columns=columns))) == {"speaker-in-two-parts"}


def test_a_training_part_inside_the_validation_part_is_no_silence():
    rows = split(("a", "x", "train"), ("a", "x", "dev"), ("b", "y", "dev"), ("c", "z", "test"))
    assert kinds(audit_split(rows)) == {"same-audio"}


def test_without_speakers_only_a_claim_that_needs_none_is_judged():
    table = pandas.DataFrame({"file": ["a", "b", "a"], "part": ["train", "train", "test"]})
    with pytest.raises(AuditError, match="no column speaker"):
        read_split(table)
    for claim in ("held-out", "unspecified"):
        assert kinds(audit_split(read_split(table, claim=claim), claim=claim)) == {"same-audio"}


def test_unknown_sentences_are_no_sentence():
    columns = ("file", "speaker", "part", "statement")
    rows = split(("a", "x", "train", "s"), ("b", "y", "test", "s"), ("c", "y", "test", None), columns=columns)
    (note,) = [one for one in audit_split(rows) if one.kind == "shared-sentences"]
    assert note.sentence.startswith("1 of the 1 sentences")


def test_doubled_columns_are_refused():
    for names in (["file", "file", "speaker", "part"], ["file", "Speaker", "speaker ", "part"]):
        with pytest.raises(AuditError, match=r"has 2 columns named (file|speaker): keep one"):
            read_split(pandas.DataFrame([["a", "b", "c", "test"]], columns=names))


def a_training(protocols=("c/loso",), speakers=None, audio=None):
    return Training(protocols, 0, 0, "four", (), speakers or {}, audio or {})


def test_a_run_is_judged_by_what_it_says_of_itself():
    rows = pandas.DataFrame({"utterance_id": ["c/1", "d/2"], "speaker": [None, "d-y"]})
    training = a_training(protocols=("c/x",))
    assert kinds(audit_run(rows, Ledger((replace(training, corpora=("e",)),)))) == set(), (
        "of another corpus it knows nobody"
    )
    assert kinds(audit_run(rows, Ledger((replace(training, corpora=("c",)),)))) == {"unknown-speaker"}
    assert kinds(audit_run(rows, Ledger((replace(training, corpora=("c",)),)), relation="shared")) == set()
    assert kinds(audit_run(rows, Ledger())) == {"no-ledger"}
    assert kinds(audit_run(rows, Ledger((training,)), part="validation")) == {"selection-on-test"}
    assert kinds(audit_run(rows, Ledger((training,)), protocol="c/x", refit=True)) == {"refit-not-told"}
    assert kinds(audit_run(rows, Ledger((training,)), protocol="c/x+refit", refit=True)) == set()
    other = pandas.DataFrame({"utterance_id": ["d/3"], "speaker": ["d-y"]})
    assert kinds(audit_run(rows, Ledger(), validation=other)) == {"no-ledger", "speaker-in-two-parts"}


def test_a_run_is_judged_by_its_ledger():
    rows = pandas.DataFrame({"utterance_id": ["c/1", "c/2"], "speaker": ["c-x", "c-y"]})
    training = a_training(speakers={"train": ["c-z"]}, audio={"train": ["ff"]})
    hashes = {"c/1": "aa", "c/2": "bb"}
    assert audit_run(rows, Ledger((training,)), hashes=hashes) == []
    assert kinds(audit_run(rows, Ledger((training,)), hashes=hashes | {"c/2": "ff"})) == {"same-audio"}
    heard = replace(training, speakers={"validation": ["c-y"]})
    assert kinds(audit_run(rows, Ledger((heard,)), hashes=hashes)) == {"speaker-in-two-parts"}
    assert kinds(audit_run(rows, Ledger((heard,)), hashes=hashes, relation="shared")) == set()
    assert kinds(audit_run(rows, Ledger(), hashes=hashes)) == {"no-ledger"}
    assert kinds(audit_run(rows, Ledger((training,)), hashes=hashes, validation=rows)) == {"selection-on-test"}


def test_a_run_whose_teacher_heard_nobody_knows_what_is_told():
    rows = pandas.DataFrame({"utterance_id": ["c/1"], "speaker": ["c-x"]})
    training = a_training(speakers={"train": ["c-z"]}, audio={"train": ["ff"]})
    facts = {"hashes": {"c/1": "aa"}, "relation": "unknown"}
    (finding,) = audit_run(rows, Ledger((training,), unknown=("theirs/model",)), **facts)
    assert (finding.kind, finding.counts) == ("unknown-training", True)
    assert "the training data of the teacher theirs/model is unknown" in finding.sentence
    assert kinds(audit_run(rows, Ledger((training,)), **facts)) == {"unknown-training"}, (
        "its predictions say so themselves"
    )


@pytest.mark.parametrize("name", WITH_COUNTS)
def test_the_counts_of_a_release_add_up_to_its_size(name):
    spec = get_corpus(name)
    counts = counts_by_speaker(spec, get_scheme(spec.scheme))
    assert {speaker: each.total() for speaker, each in counts.items()} == dict(spec.speakers)


@pytest.mark.real
@pytest.mark.parametrize("name", ["ravdess", "emodb"])
def test_the_counts_of_a_release_are_those_of_its_files(shared, name):
    spec, scheme = get_corpus(name), get_scheme(get_corpus(name).scheme)
    counted = counts_by_speaker(spec, scheme, shared / "corpora" / name)
    released = counts_by_speaker(spec, scheme)
    assert {who: +each for who, each in counted.items()} == {who: +each for who, each in released.items()}


def judge(corpus, text, claim="speaker-independent", scheme=None):
    spec = get_corpus(corpus)
    labels = get_scheme(scheme or spec.scheme)
    (finding,) = audit_supports(
        parse_supports(text, labels), counts_by_speaker(spec, labels), corpus=corpus, scheme=labels.name, claim=claim
    )
    return finding


RAVDESS = "anger=39,calm=39,disgust=39,fear=39,happiness=39,neutral=20,sadness=39,surprise=39"
EMODB = "anger=127,boredom=81,disgust=46,fear=69,happiness=71,neutral=79,sadness=62"


def test_published_supports_are_judged_in_one_sentence():
    cut = judge("ravdess", RAVDESS)
    assert cut.kind == "no-whole-speakers"
    assert "anger=39 is not a multiple of 8" in cut.sentence
    assert "39 = 192 - floor(0.8 x 192)" in cut.sentence
    large = judge("ravdess", "neutral=97,disgust=216", scheme="crema6")
    assert (large.kind, "neutral=97 is more than the 96" in large.sentence) == ("supports-too-large", True)
    assert "disgust=216 is more than the 192" in large.sentence
    assert judge("emodb", EMODB, "held-out").kind == "test-is-corpus"
    assert not judge("emodb", EMODB, "unspecified").counts
    one = judge("emodb", "disgust=46", "held-out")
    assert (one.kind, "are all of disgust that emodb has" in one.sentence) == ("test-is-corpus", True)
    assert judge("ravdess", "anger=192,neutral=96").kind == "test-is-corpus", "every actor tests, nobody trains"
    actors = judge("ravdess", RAVDESS.replace("39", "32").replace("20", "16"))
    assert (actors.counts, actors.evidence["speakers"]) == (False, [4])


def test_every_set_of_whole_speakers_passes_and_one_utterance_more_does_not():
    scheme, counts = get_scheme("emodb7"), counts_by_speaker(get_corpus("emodb"), get_scheme("emodb7"))
    reachable = {
        tuple(sum(counts[who][name] for who in chosen) for name in scheme.classes)
        for size in range(1, 10) for chosen in combinations(counts, size)
    }  # fmt: skip
    for vector in sorted(reachable)[::100]:
        for more in (0, 1):
            wanted = (vector[0] + more, *vector[1:])
            text = ",".join(f"{name}={number}" for name, number in zip(scheme.classes, wanted, strict=True))
            assert judge("emodb", text).counts == (wanted not in reachable)


@pytest.mark.real
def test_a_part_of_a_release_does_not_stand_for_it(shared):
    spec = get_corpus("nemo")
    with pytest.raises(CorpusError, match=r"found 1990 of 4481 utterances of nemo .* complete it"):
        counts_by_speaker(spec, get_scheme(spec.scheme), shared / "corpora/nemo")


@pytest.mark.parametrize(
    ("text", "told"),
    [("39,39,20", "no class name"), ("angre=3", "mean 'anger'"), ("anger=3,anger=4", "twice"), ("anger=x", "number")],
)
def test_supports_that_cannot_be_read_are_refused(text, told):
    with pytest.raises(SupportsError, match=told):
        parse_supports(text, get_scheme("ravdess8"))
