"""The division that its owner gave: taken as it is, and called speaker-independent only if it is."""

import pytest
from conftest import write_tone

from ser_hf import load_corpus, split, split_each
from ser_hf.splits.protocol import SplitError
from ser_hf.splits.split import chosen_folds

EMOTIONS = ("anger", "fear")


@pytest.fixture
def corpus(tmp_path):
    """Make a corpus of two utterances for each pair of a speaker and a part."""

    def make(*pairs):
        lines = ["path,emotion,speaker,part"]
        for number, (speaker, part) in enumerate(pairs):
            for emotion in EMOTIONS:
                name = f"{number}{emotion}.wav"
                write_tone(tmp_path / name, hertz=200 + 10 * number + EMOTIONS.index(emotion))
                lines.append(f"{name},{emotion},{speaker},{part}")
        (tmp_path / "t.csv").write_text("\n".join(lines))
        return load_corpus(tmp_path, scheme="five", name="calls")

    return make


def speakers(parts):
    return {part: sorted(set(rows["speaker"][:]) - {None}) for part, rows in parts.items()}


def test_the_parts_are_those_of_the_owner(corpus):
    dataset = corpus(("a", "Training"), ("b", "dev"), ("c", "TEST"))
    parts, protocol = split_each(dataset, ["calls/given"], 0)
    assert speakers(parts) == {"train": ["calls-a"], "validation": ["calls-b"], "test": ["calls-c"]}
    assert protocol.is_speaker_independent
    assert protocol.relation == "held_out"


@pytest.mark.parametrize(
    "pairs",
    [
        [("a", "train"), ("b", "validation"), ("a", "test")],
        [("a", "train"), ("b", "validation"), ("b", "test")],
        [("a", "train"), ("b", "validation"), ("", "test")],
    ],
    ids=["in training", "in validation", "unknown"],
)
def test_a_known_or_nameless_test_speaker_is_no_new_one(corpus, pairs):
    assert split_each(corpus(*pairs), ["calls/given"], 0)[1].relation == "shared"


def test_without_a_validation_part_a_fifth_of_the_training_speakers_is_it(corpus):
    parts, protocol = split_each(corpus(*((name, "train") for name in "abcde"), ("x", "test")), ["calls/given"], 0)
    found = speakers(parts)
    assert (len(found["train"]), len(found["validation"]), found["test"]) == (4, 1, ["calls-x"])
    assert not set(found["train"]) & set(found["validation"])
    assert "a fifth of the training speakers" in protocol.description


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("a", "train")], "no utterance has the part test: add a column"),
        ([("a", "train"), ("b", "test"), ("c", "extra")], "the part 'extra' is none of train, validation, test"),
        ([("a", "train"), ("b", "test"), ("c", "")], "calls/2anger has no part"),
    ],
)
def test_a_division_with_a_gap_is_refused(corpus, pairs, message):
    with pytest.raises(SplitError, match=message):
        split(corpus(*pairs), "calls/given", 0)


def test_with_few_speakers_all_folds_run_and_with_many_one(corpus, synthetic):
    few = corpus(*((name, "train") for name in "abcdef"))
    assert chosen_folds(few, ["calls/kfold3"], []) == [0, 1, 2]
    assert chosen_folds(few, ["calls/kfold3"], [1]) == [1]
    assert chosen_folds(synthetic, ["synthetic/si4"], []) == [0]


def test_too_many_folds_name_those_that_are_possible(corpus):
    with pytest.raises(SplitError, match="3 speakers cannot make 5 folds of whole speakers: use kfold3 or loso"):
        split(corpus(("a", "train"), ("b", "train"), ("c", "train")), "calls/kfold5", 0)
