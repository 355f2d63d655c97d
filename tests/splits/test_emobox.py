from dataclasses import replace

import pytest
from pretend import pretend, write_emobox

from ser_hf.corpora import CorpusError, get_corpus
from ser_hf.splits import split as splits
from ser_hf.splits.emobox import read_folds
from ser_hf.splits.protocol import SplitError
from ser_hf.splits.split import count_folds, get_protocol, split, split_each

EMODB = get_corpus("emodb")


@pytest.fixture(scope="module")
def emodb():
    return pretend(EMODB)


def by_speaker(dataset, groups):
    """Folds whose test part is one group of speakers each."""
    identity = list(dataset["utterance_id"])
    tests = [[one for one in identity if one.split("/")[1] in group] for group in groups]
    return [{"train": [one for one in identity if one not in test], "test": test} for test in tests]


def at_random(dataset, count):
    """Folds by utterance, as EmoBox has for most corpora: every speaker is in every part."""
    identity = list(dataset["utterance_id"])
    tests = [identity[number::count] for number in range(count)]
    return [{"train": [one for one in identity if one not in test], "test": test} for test in tests]


def test_shared_speakers_are_found_in_the_files_and_told(emodb, tmp_path):
    root = write_emobox(tmp_path, "emodb", at_random(emodb, 4))
    assert count_folds(emodb, "emodb/emobox", emobox_root=root) == 4
    parts, protocol = split_each(emodb, ["emodb/emobox"], 1, emobox_root=root)
    assert not protocol.is_speaker_independent
    assert "are in training" in protocol.description
    assert "a fifth of the training utterances" in protocol.description
    assert parts["test"]["utterance_id"] == emodb["utterance_id"][1::4]
    assert len(parts["validation"]) == round(0.75 * len(emodb) / 5)
    assert sum(map(len, parts.values())) == len(emodb)
    again = split(emodb, "emodb/emobox", 1, emobox_root=root)
    assert again["validation"]["utterance_id"] == parts["validation"]["utterance_id"]


def test_where_speakers_are_apart_whole_speakers_validate(emodb, tmp_path):
    names = list(EMODB.speakers)
    groups = [names[:3], names[3:6], names[6:]]
    root = write_emobox(tmp_path / "three", "emodb", by_speaker(emodb, groups))
    for fold in range(3):
        parts, protocol = split_each(emodb, ["emodb/emobox"], fold, emobox_root=root)
        assert protocol.is_speaker_independent
        assert "not in training; validation is the next fold" in protocol.description
        assert set(parts["validation"]["speaker"]) == {f"emodb-{name}" for name in groups[(fold + 1) % 3]}
    root = write_emobox(tmp_path / "one", "emodb", by_speaker(emodb, groups[:1]))
    parts, protocol = split_each(emodb, ["emodb/emobox"], 0, emobox_root=root)
    assert protocol.is_speaker_independent
    assert not set(parts["validation"]["speaker"]) & set(parts["train"]["speaker"])
    assert "a fifth of the training speakers" in protocol.description


def test_a_speaker_who_may_be_anybody_is_not_called_new(emodb, tmp_path):
    nameless = emodb.map(lambda row: {"speaker": None} if row["speaker"] == "emodb-03" else {})
    root = write_emobox(tmp_path, "emodb", by_speaker(emodb, [["03"], ["08"], ["09"]]))
    assert not split_each(nameless, ["emodb/emobox"], 1, emobox_root=root)[1].is_speaker_independent


def test_a_validation_part_of_emobox_is_taken_as_it_is(emodb, tmp_path):
    identity = list(emodb["utterance_id"])
    root = write_emobox(tmp_path, "emodb", [{"train": identity[:60], "valid": identity[60:80], "test": identity[80:]}])
    parts, protocol = split_each(emodb, ["emodb/emobox"], 0, emobox_root=root)
    assert parts["validation"]["utterance_id"] == identity[60:80]
    assert protocol.is_speaker_independent


def test_folds_by_rule_are_verified_against_the_files(tmp_path):
    spec = get_corpus("ravdess")
    dataset = pretend(spec)
    right = by_speaker(dataset, spec.folds["emobox"])
    root = write_emobox(tmp_path / "right", "ravdess", right)
    parts = split(dataset, "ravdess/emobox", 1, emobox_root=root)
    assert parts["test"]["utterance_id"] == split(dataset, "ravdess/emobox", 1)["test"]["utterance_id"]
    swapped = write_emobox(tmp_path / "swapped", "ravdess", [right[1], right[0], *right[2:]])
    with pytest.raises(SplitError, match=r"fold 0 of ravdess/emobox differs .* utterances, such as ravdess/"):
        split(dataset, "ravdess/emobox", 1, emobox_root=swapped)
    with pytest.raises(SplitError, match=r"has 6 folds, but the files under .* have 5"):
        split(dataset, "ravdess/emobox", 0, emobox_root=write_emobox(tmp_path / "five", "ravdess", right[:5]))


def test_without_a_checkout_the_option_is_named(emodb):
    with pytest.raises(SplitError, match="--emobox_root"):
        split(emodb, "emodb/emobox", 0)
    with pytest.raises(SplitError, match="unknown protocol 'nemo/emobox'"):
        get_protocol("nemo/emobox")


def test_utterances_that_emobox_does_not_list_are_left_out_counted_and_told_once(emodb, tmp_path, capsys):
    root = write_emobox(tmp_path, "emodb", at_random(emodb.select(range(97)), 3))
    tested = []
    splits._tell.cache_clear()
    for fold in range(3):
        parts, protocol = split_each(emodb, ["emodb/emobox"], fold, emobox_root=root)
        assert sum(map(len, parts.values())) == 97
        tested += parts["test"]["utterance_id"][:]
        assert protocol.description.endswith("left out: 3 of 100 utterances, which EmoBox does not list")
    assert sorted(tested) == sorted(emodb["utterance_id"][:97])
    assert capsys.readouterr().err == "emodb/emobox: left out: 3 of 100 utterances, which EmoBox does not list\n"
    assert len(split(emodb.select(range(50)), "emodb/emobox", 0, emobox_root=root)["test"]) == 17


@pytest.mark.parametrize(
    ("files", "rows"),
    [
        (["meld/train_splits/dia0_utt0", "meld/dev_splits/dia0_utt0"],) * 2,  # one stem, two folders
        (["savee/JE_n01", "savee/KL_n01"], ["savee/AudioData/JE/n01", "savee/AudioData/KL/n01"]),  # two layouts
        (["cafe/Cole\u0300re/1"], ["cafe/Col\u00e8re/1"]),  # two spellings of an accent
    ],
)
def test_recordings_are_told_by_the_shortest_unique_end_of_their_path(files, rows, tmp_path):
    root = write_emobox(tmp_path, "savee", [{"train": files[:-1], "test": files[-1:]}])
    ((fold,), unlisted) = read_folds(root, "savee", rows)
    assert (fold["test"].tolist(), unlisted.tolist()) == ([len(rows) - 1], [])


@pytest.mark.parametrize(
    ("files", "rows", "message"),
    [
        (["a/1", "b/1"], ["savee/c/1"], "savee/c/1 is ambiguous"),
        (["a/1"], ["savee/c/1", "savee/d/1"], "savee/c/1 is ambiguous"),
        (["p/a"], ["savee/q/a", "savee/r/p_a"], "savee/r/p_a is ambiguous"),
        (["a/1"], ["savee/2"], "lists no recordings of this dataset"),
    ],
)
def test_a_doubtful_match_is_refused(files, rows, message, tmp_path):
    root = write_emobox(tmp_path, "savee", [{"train": [], "test": files}])
    with pytest.raises(CorpusError, match=message):
        read_folds(root, "savee", rows)


def test_a_broken_checkout_says_what_is_missing(emodb, tmp_path):
    with pytest.raises(CorpusError, match=r"must be a checkout of https://github\.com/emo-box/EmoBox"):
        split(emodb, "emodb/emobox", 0, emobox_root=tmp_path)
    folder = write_emobox(tmp_path, "emodb", at_random(emodb, 2)) / "data/emodb/fold_2"
    lines = (folder / "emodb_train_fold_2.jsonl").read_text().splitlines(keepends=True)
    (folder / "emodb_train_fold_2.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(CorpusError, match="fold 2 of EmoBox's emodb does not list"):
        split(emodb, "emodb/emobox", 0, emobox_root=tmp_path)
    (folder / "emodb_train_fold_2.jsonl").write_text("no JSON\n")
    with pytest.raises(CorpusError, match=r"fold_2\.jsonl, line 1 must be a JSON object with wav"):
        split(emodb, "emodb/emobox", 0, emobox_root=tmp_path)
    (folder / "emodb_train_fold_2.jsonl").unlink()
    with pytest.raises(CorpusError, match=r"emodb_train_fold_2\.jsonl is missing"):
        split(emodb, "emodb/emobox", 0, emobox_root=tmp_path)


def test_a_corpus_spelt_with_an_underscore_is_found_without_it(tmp_path):
    spec = replace(get_corpus("crema_d"), folds={})
    dataset = pretend(spec, speakers=list(spec.speakers)[:6])
    root = write_emobox(tmp_path, "crema_d", at_random(dataset, 1 + 3))
    assert (root / "data/cremad").is_dir()
    assert count_folds(dataset, "crema_d/emobox", emobox_root=root) == 4
    assert "crema_d/emobox" in splits.protocols("crema_d")
