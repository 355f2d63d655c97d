"""What a protocol leaves out is in no part, counted in its description, and told."""

import pytest
from datasets import concatenate_datasets
from pretend import pretend

from ser_hf import protocols
from ser_hf.corpora import get_corpus
from ser_hf.splits.protocol import SplitError
from ser_hf.splits.split import count_folds, split, split_each

BY_SPEAKER = ("kfold5", "loso", "statements3")


def without_speakers(dataset, rows):
    rows = set(rows)
    return dataset.map(lambda row, number: {"speaker": None} if number in rows else {}, with_indices=True)


@pytest.fixture(scope="module")
def meld():
    """Every seventh utterance is of several people at once."""
    whole = pretend(get_corpus("meld"))
    return without_speakers(whole, range(0, len(whole), 7))


@pytest.mark.parametrize("rule", BY_SPEAKER)
def test_utterances_of_several_people_are_in_no_part_that_divides_speakers(rule, meld, capsys):
    jointly = {one for one, name in zip(meld["utterance_id"], meld["speaker"], strict=True) if name is None}
    for fold in range(min(5, count_folds(meld, f"meld/{rule}"))):
        parts, protocol = split_each(meld, [f"meld/{rule}"], fold)
        assert not jointly & {one for rows in parts.values() for one in rows["utterance_id"]}
        assert protocol.is_speaker_independent
    words = f"left out: {len(jointly)} of {len(meld)} utterances, which have no single known speaker"
    assert words in protocol.description
    assert f"meld/{rule}: {words}\n" == capsys.readouterr().err


@pytest.mark.parametrize("rule", ["official", "random5"])
def test_where_speakers_are_shared_nothing_is_left_out(rule, meld):
    parts, protocol = split_each(meld, [f"meld/{rule}"], 0)
    assert sum(map(len, parts.values())) == len(meld)
    assert "left out" not in protocol.description


def test_the_folds_of_a_corpus_and_loco_leave_them_out_too():
    ravdess = without_speakers(pretend(get_corpus("ravdess")), range(5))
    emodb = pretend(get_corpus("emodb")).map(lambda row: {"duration": row["duration"] + 10})
    both = concatenate_datasets([ravdess, emodb])
    for dataset, name in ((ravdess, "ravdess/si6"), (both, "loco")):
        parts, protocol = split_each(dataset, [name], 0)
        assert sum(map(len, parts.values())) == len(dataset) - 5
        assert f"left out: 5 of {len(dataset)}" in protocol.description


def test_own_recordings_and_a_corpus_without_any_speaker_are_refused_as_before():
    mine = pretend(get_corpus("folder"))
    for dataset in (without_speakers(mine, [0]), without_speakers(mine, range(len(mine)))):
        with pytest.raises(SplitError, match="no speaker"):
            split(dataset, "folder/kfold5", 0)
    whole = pretend(get_corpus("meld"))
    with pytest.raises(SplitError, match="no speaker"):
        split(without_speakers(whole, range(len(whole))), "meld/kfold5", 0)


@pytest.mark.parametrize("part", ["improvised", "scripted"])
def test_one_kind_of_dialogue_of_iemocap_is_divided_by_session(part):
    dataset = pretend(get_corpus("iemocap"))
    name = f"iemocap/{part}5"
    assert name in protocols("iemocap")
    wanted, tested = set(dataset.filter(lambda row: row["part"] == part)["utterance_id"]), []
    for fold in range(count_folds(dataset, name)):
        parts, protocol = split_each(dataset, [name], fold)
        everybody = split(dataset, "iemocap/sessions5", fold)
        for one, rows in parts.items():
            assert set(rows["part"]) == {part}
            assert set(rows["speaker"]) == set(everybody[one]["speaker"]), "the same sessions"
        tested += parts["test"]["utterance_id"][:]
    assert sorted(tested) == sorted(wanted)
    count = len(dataset) - len(wanted)
    assert f"left out: {count} of {len(dataset)} utterances, which are not {part}" in protocol.description
    other = dataset.filter(lambda row: row["part"] != part)
    with pytest.raises(SplitError, match=f"only utterances which are not {part}"):
        split(other, name, 0)
