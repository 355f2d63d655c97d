"""Words for emotions: a table, and no guess."""

import unicodedata

import pytest

from ser_hf.emotions import _WORDS, EMOTIONS, SYNONYMS


def test_every_word_stands_for_one_emotion_and_is_none_itself():
    words = [word for words in _WORDS.values() for word in words.split()]
    assert len(words) == len(set(words)) == len(SYNONYMS)
    assert set(_WORDS) <= set(EMOTIONS)
    assert not set(words) & set(EMOTIONS)


@pytest.mark.parametrize("word", SYNONYMS)
def test_words_are_written_as_tables_are_read(word):
    assert word == unicodedata.normalize("NFC", word).lower()


def test_a_word_that_is_written_alike_is_another_emotion():
    assert SYNONYMS["scared"] == "fear"
    assert SYNONYMS["sad"] == "sadness"
    assert "sade" not in SYNONYMS
