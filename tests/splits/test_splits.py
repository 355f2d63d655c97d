from collections import Counter
from dataclasses import replace

import numpy as np
import pandas
import pytest
from conftest import write_tone
from pretend import pretend, write_emobox

from ser_hf import build_dataset, list_corpora, load_corpus, protocols, split
from ser_hf.corpora import get_corpus
from ser_hf.data.precompute import hash_audio
from ser_hf.splits import split as splits
from ser_hf.splits.disjoint import refuse_shared
from ser_hf.splits.protocol import ALL_PAIRS, SplitError
from ser_hf.splits.split import count_folds, get_protocol, split_each

SYNTHETIC = [name for name in list_corpora() if get_corpus(name).generate is not None]


@pytest.fixture(scope="module")
def both(small):
    return build_dataset(SYNTHETIC, scheme="five", allow_partial=True)


@pytest.mark.parametrize("protocol", [name for name in protocols("synthetic") if not name.endswith("/all")])
def test_every_fold_is_disjoint_and_every_utterance_tests_at_most_once(protocol, synthetic):
    tested = Counter()
    for fold in range(count_folds(synthetic, protocol)):
        parts = split(synthetic, protocol, fold)
        if get_protocol(protocol).is_speaker_independent:
            speakers = {part: set(rows["speaker"][:]) for part, rows in parts.items()}
            assert not speakers["train"] & speakers["validation"]
            assert not (speakers["train"] | speakers["validation"]) & speakers["test"]
        identities = [identity for rows in parts.values() for identity in rows["utterance_id"][:]]
        assert len(identities) == len(set(identities))
        tested.update(parts["test"]["utterance_id"][:])
    assert set(tested.values()) == {1}
    if "statements" not in protocol:
        assert len(tested) == len(synthetic), "together the test parts are the whole corpus"


def test_the_folds_of_several_corpora_are_checked_before_any_training(both):
    from ser_hf.splits.split import chosen_folds

    names = ["synthetic/si4", "synthetic_spontaneous/si4"]
    assert chosen_folds(both, names, [-1]) == [0, 1, 2, 3]
    assert chosen_folds(both, names, [3, 0]) == [3, 0]
    with pytest.raises(SplitError, match="si4 has no fold 4, only folds 0 to 3"):
        chosen_folds(both, names, [0, 4])
    with pytest.raises(SplitError, match=r"si4 has 4, .*kfold3 has 3.*pass folds"):
        chosen_folds(both, ["synthetic/si4", "synthetic_spontaneous/kfold3"], [-1])
    assert chosen_folds(both, ["loco"], [-1]) == [0, 1]


@pytest.mark.parametrize("name", [name for name in list_corpora() if name != "synthetic"])
def test_every_protocol_of_every_corpus_is_sound(name, tmp_path):
    """Parts are disjoint, together they are the corpus, and so are the test parts of all folds.

    A rule, such as leaving one speaker out, divides a third of a hundred speakers as it divides all.
    """
    spec = get_corpus(name)
    size = min(40, max(5, 240 // len(spec.speakers or range(12))))
    whole = pretend(spec, utterances=size)
    some = whole if len(spec.speakers) < 50 else pretend(spec, speakers=list(spec.speakers)[::3], utterances=size)
    for protocol in protocols(name):
        is_told = protocol.split("/")[1] in {*spec.folds, *spec.divisions, "emobox"}
        dataset = whole if is_told else some
        everything = set(dataset["utterance_id"][:])
        if protocol.endswith("/given"):  # tests/splits/test_given.py
            continue
        if protocol.endswith("/all"):
            parts = split(dataset, protocol, 0)
            assert {part: len(rows) for part, rows in parts.items()} == {
                "train": len(everything), "validation": 0, "test": 0
            }  # fmt: skip
            continue
        identities = sorted(everything)
        quarters = [identities[number::4] for number in range(4)]
        files = [{"train": sorted(everything.difference(test)), "test": test} for test in quarters]
        by_file = protocol.endswith("/emobox") and "emobox" not in spec.folds
        root = write_emobox(tmp_path, name, files) if by_file else None
        division = spec.divisions.get(protocol.split("/")[1])
        if limit := spec.limited.get(protocol.split("/")[1]):
            everything = set(dataset.filter(lambda row, part=limit: row["part"] == part)["utterance_id"][:])
        tested, count = Counter(), count_folds(dataset, protocol, emobox_root=root)
        for fold in range(count):
            parts, used = split_each(dataset, [protocol], fold, emobox_root=root)  # checks the parts
            speakers = {part: set(rows["speaker"][:]) for part, rows in parts.items()}
            if used.is_speaker_independent:
                assert not (speakers["train"] | speakers["validation"]) & speakers["test"]
            if used.is_speaker_independent and not used.validation_shares_speakers:
                assert not speakers["train"] & speakers["validation"]
            rows = Counter(one for part in parts.values() for one in part["utterance_id"][:])
            assert set(rows.values()) == {1}
            if division is not None:
                released = zip(dataset["utterance_id"][:], dataset["part"][:], strict=True)
                assert set(rows) == {one for one, part in released if part in division}
            elif "statements" not in protocol:
                assert set(rows) == everything
            tested.update(parts["test"]["utterance_id"][:])
        assert set(tested.values()) == {1}, protocol
        if "statements" not in protocol and protocol.split("/")[1] not in spec.divisions:
            assert set(tested) == everything, protocol


@pytest.fixture
def told(monkeypatch):
    """A corpus with two actresses, and one with a division of its own."""
    folder = get_corpus("folder")
    specs = {
        "actresses": replace(
            folder, name="actresses", speakers={"OAF": None, "YAF": None}, notes={"actress2": "one trains, one tests"},
            folds={"actress2": (("OAF",), ("YAF",))},
        ),
        "released": replace(
            folder, name="released", sharing=("official",), notes={"official": "leads are in all parts"},
            divisions={"official": ("train", "dev", "test"), "hidden": ("train", "dev", "test2")},
        ),
    }  # fmt: skip
    monkeypatch.setattr(splits, "known_corpus", specs.get)
    monkeypatch.setattr(splits, "get_corpus", lambda name: specs[name] if name in specs else get_corpus(name))
    return specs


def test_of_two_actresses_one_tests_and_statements_of_the_other_validate(told):
    dataset = pretend(told["actresses"], utterances=30)
    assert count_folds(dataset, "actresses/actress2") == 2
    for fold, test in enumerate(["OAF", "YAF"]):
        parts, protocol = split_each(dataset, ["actresses/actress2"], fold)
        assert set(parts["test"]["speaker"]) == {f"actresses-{test}"}
        assert len(parts["test"]) == 30
        assert set(parts["train"]["speaker"]) == set(parts["validation"]["speaker"]) != set(parts["test"]["speaker"])
        assert not set(parts["train"]["statement"]) & set(parts["validation"]["statement"])
        assert len(set(parts["validation"]["statement"])) == 1, "a fifth of five statements"
        assert protocol.is_speaker_independent
        assert protocol.validation_shares_speakers
        assert protocol.description.startswith("one trains, one tests; validation is a fifth of the statements")
    with pytest.raises(SplitError, match="no statement, but this protocol holds out"):
        split(dataset.map(lambda row: {"statement": None}), "actresses/actress2", 0)


def test_a_division_of_the_release_is_one_fold_and_says_whether_it_shares_speakers(told):
    released = told["released"]
    dataset = pretend(released)
    assert list(protocols(dataset))[:2] == ["released/official", "released/hidden"]
    assert not get_protocol("released/official").is_speaker_independent
    assert count_folds(dataset, "released/hidden") == 1
    parts = split(dataset, "released/hidden", 0)
    assert {part: set(rows["part"]) for part, rows in parts.items()} == {
        "train": {"train"}, "validation": {"dev"}, "test": {"test2"},
    }  # fmt: skip
    shared = pretend(replace(released, divisions={"official": released.divisions["official"]}))
    assert set(shared["speaker"]) == set(split(shared, "released/official", 0)["test"]["speaker"])
    with pytest.raises(SplitError, match="no utterances of test2"):
        split(shared, "released/hidden", 0)
    unknown = replace(released, divisions={"hidden": released.divisions["hidden"]}, sharing=("hidden",))
    with pytest.raises(SplitError, match=r"speaker .* is in train and in validation"):
        split(pretend(unknown), "released/hidden", 0)


def test_a_corpus_without_a_module_has_the_general_protocols(told):
    dataset = pretend(replace(get_corpus("folder"), name="mine"))
    general = [f"mine/{rule}" for rule in ("loso", "kfold5", "statements2", "random5")]
    assert list(protocols(dataset)) == [*general, "mine/given", "mine/all"]
    for protocol in (*general, "mine/kfold3"):
        assert all(len(rows) for rows in split(dataset, protocol, 0).values())
    with pytest.raises(SplitError, match="unknown protocol 'mine/si4'"):
        split(dataset, "mine/si4", 0)


def test_validation_is_the_next_fold_cyclically(synthetic):
    count = count_folds(synthetic, "synthetic/si4")
    tests = [set(split(synthetic, "synthetic/si4", fold)["test"]["speaker"][:]) for fold in range(count)]
    for fold in range(count):
        assert set(split(synthetic, "synthetic/si4", fold)["validation"]["speaker"][:]) == tests[(fold + 1) % count]


def test_leave_one_speaker_out_validates_on_the_next_speaker_of_the_other_gender(synthetic):
    gender = dict(zip(synthetic["speaker"][:], synthetic["gender"][:], strict=True))
    names = sorted(gender)
    for fold, test in enumerate(names):
        (validation,) = set(split(synthetic, "synthetic/loso", fold)["validation"]["speaker"][:])
        following = [*names[fold + 1 :], *names[:fold]]
        assert validation == next(name for name in following if gender[name] != gender[test])


def test_held_out_statements_are_heard_in_no_other_part(synthetic):
    for fold in range(count_folds(synthetic, "synthetic/statements2")):
        parts = split(synthetic, "synthetic/statements2", fold)
        statements = {part: set(rows["statement"][:]) for part, rows in parts.items()}
        assert not (statements["train"] | statements["validation"]) & statements["test"]


def test_one_corpus_out_leaves_it_out_entirely(both):
    for fold, corpus in enumerate(SYNTHETIC):
        parts = split(both, "loco", fold)
        assert set(parts["test"]["corpus"]) == {corpus}
        assert corpus not in {*parts["train"]["corpus"], *parts["validation"]["corpus"]}


def test_several_corpora_are_divided_each_by_its_own_protocol(both):
    parts, protocol = split_each(both, [f"{name}/si4" for name in SYNTHETIC], 1)
    assert protocol.name == " + ".join(f"{name}/si4" for name in SYNTHETIC)
    assert set(parts["test"]["corpus"]) == set(SYNTHETIC)
    with pytest.raises(SplitError, match="one protocol for each corpus"):
        split_each(both, ["synthetic/si4", "synthetic/loso"], 0)


def test_a_shared_speaker_or_statement_is_refused_between_the_pairs_named(synthetic):
    two = {"train": synthetic.select([0, 1]), "test": synthetic.select([2, 3])}
    refuse_shared(two, "speaker", (("train", "validation"),))
    with pytest.raises(SplitError, match=r"statement .* is in train and in test"):
        refuse_shared({"train": two["train"], "test": two["train"]}, "statement", ALL_PAIRS)
    with pytest.raises(SplitError, match=r"speaker .* is in train and in test"):
        refuse_shared(two, "speaker", ALL_PAIRS)


def test_the_same_audio_under_another_name_and_speaker_is_refused(tmp_path):
    import soundfile

    for number in range(9):
        noise = np.random.default_rng(number).normal(0, 0.1, 4000)
        soundfile.write(tmp_path / f"{number}.wav", noise, 16_000)
    copied, rate = soundfile.read(tmp_path / "0.wav", dtype="int16")
    soundfile.write(tmp_path / "8.flac", copied, rate)
    (tmp_path / "8.wav").unlink()
    lines = [f"{n}.{'flac' if n == 8 else 'wav'},{'anger' if n % 2 else 'sadness'},s{n // 3}" for n in range(9)]
    (tmp_path / "table.csv").write_text("\n".join(["path,emotion,speaker", *lines]))
    with pytest.raises(SplitError, match="have the same audio"):
        split(load_corpus("folder", tmp_path), "folder/loso", 0)


@pytest.mark.parametrize(
    ("protocol", "fold", "message"),
    [
        ("synthetic/si5", 0, "did you mean 'synthetic/si4'"),
        ("synthetic/si4", 9, "folds 0 to"),
        ("emodb/loso", 0, "divides only emodb"),
        ("synthetic/random2", 0, "are too few for a training"),
        ("synthetic/kfold99", 0, "cannot make 99 folds"),
        ("loco", 0, "has only synthetic"),
    ],
)
def test_a_protocol_that_does_not_fit_says_why(protocol, fold, message, synthetic):
    with pytest.raises(SplitError, match=message):
        split(synthetic, protocol, fold)


@pytest.mark.parametrize("fold", [0, 1])
def test_two_folds_of_whole_speakers_validate_on_unheard_statements(fold, synthetic):
    parts, protocol = split_each(synthetic, ["synthetic/kfold2"], fold)
    assert protocol.validation_shares_speakers
    assert "2 folds of whole speakers" in protocol.description
    assert not set(parts["test"]["speaker"]) & {*parts["train"]["speaker"], *parts["validation"]["speaker"]}
    assert not set(parts["train"]["statement"]) & set(parts["validation"]["statement"])
    assert len(set(parts["test"]["speaker"])) == 12


def test_a_recording_that_a_corpus_holds_twice_is_not_torn_apart_by_chance(tmp_path):
    """Whoever asks without fingerprints, as `ser-hf evaluate` does, gets the folds of a training that has them."""
    hertz = [120 + 7 * (number % 50) for number in range(60)]
    for number, pitch in enumerate(hertz):
        write_tone(tmp_path / f"{number}.wav", hertz=pitch, seconds=0.1)
    rows = [{"path": f"{number}.wav", "emotion": "anger", "speaker": number % 6} for number in range(60)]
    pandas.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    dataset = load_corpus("folder", tmp_path)
    for fold in range(5):
        names = [
            {part: set(utterances["utterance_id"]) for part, utterances in split(known, "folder/random5", fold).items()}
            for known in (dataset, hash_audio(dataset))
        ]
        assert names[0] == names[1]
        for number in range(10):
            copies = {f"folder/{number}", f"folder/{number + 50}"}
            assert any(copies <= part for part in names[0].values())


@pytest.mark.parametrize(
    ("name", "said"),
    [("kfold10", "10 folds of whole speakers"), ("kfold2", "2 folds of whole speakers"),
     ("statements4", "statements in 4 groups"), ("random7", "7 folds of utterances at random")],
)  # fmt: skip
def test_a_rule_says_how_many_folds_there_are(name, said):
    assert said in get_protocol(f"ravdess/{name}").description


@pytest.mark.real
def test_the_folds_of_ravdess_hold_two_women_and_two_men_with_all_emotions(shared):
    dataset = load_corpus("ravdess", shared / "corpora/ravdess")
    for fold in range(6):
        parts = split(dataset, "ravdess/si6", fold)
        assert [len(parts[part]) for part in ("train", "validation", "test")] == [960, 240, 240]
        sexes = dict(zip(parts["test"]["speaker"][:], parts["test"]["gender"][:], strict=True))
        assert Counter(sexes.values()) == {"female": 2, "male": 2}
        assert sorted(Counter(parts["test"]["label"][:]).values()) == [16] + [32] * 7


@pytest.mark.real
def test_the_folds_of_emobox_are_flagged_for_their_sexes(shared):
    dataset = load_corpus("ravdess", shared / "corpora/ravdess")
    assert set(split(dataset, "ravdess/emobox", 1)["test"]["gender"]) == {"female"}
    assert "not balanced by sex" in protocols("ravdess")["ravdess/emobox"].description
