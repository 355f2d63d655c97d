"""Codes of names mean what the papers of the corpora say."""

import pytest
from conftest import write_tone

from ser_hf.corpora import get_corpus, read_utterances

MEANINGS = {
    ("emodb", "wav/03a01Wa.wav"): ("anger", "male"),
    ("emodb", "wav/08a02La.wav"): ("boredom", "female"),
    ("emodb", "wav/09b01Ea.wav"): ("disgust", "female"),
    ("emodb", "wav/10b02Aa.wav"): ("fear", "male"),
    ("emodb", "wav/11b03Fa.wav"): ("happiness", "male"),
    ("emodb", "wav/13b09Ta.wav"): ("sadness", "female"),
    ("emodb", "wav/16b10Na.wav"): ("neutral", "female"),
    ("ravdess", "Actor_01/03-01-01-01-01-01-01.wav"): ("neutral", "male"),
    ("ravdess", "Actor_02/03-01-02-01-01-01-02.wav"): ("calm", "female"),
    ("ravdess", "Actor_03/03-01-03-01-01-01-03.wav"): ("happiness", "male"),
    ("ravdess", "Actor_04/03-01-04-01-01-01-04.wav"): ("sadness", "female"),
    ("ravdess", "Actor_05/03-01-05-01-01-01-05.wav"): ("anger", "male"),
    ("ravdess", "Actor_06/03-01-06-01-01-01-06.wav"): ("fear", "female"),
    ("ravdess", "Actor_07/03-01-07-01-01-01-07.wav"): ("disgust", "male"),
    ("ravdess", "Actor_08/03-01-08-01-01-01-08.wav"): ("surprise", "female"),
}


@pytest.mark.parametrize(("corpus", "name"), MEANINGS)
def test_emotion_and_gender_are_those_of_the_paper(corpus, name, tmp_path):
    write_tone(tmp_path / name)
    (utterance,) = read_utterances(get_corpus(corpus), tmp_path)
    assert (utterance.emotion, utterance.gender) == MEANINGS[corpus, name]
