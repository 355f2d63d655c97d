"""What there is in a set of recordings, counted."""

import numpy as np
import pandas

from ser_hf.evaluation.chapters import recordings


def rows(labels, speakers, **more):
    size = len(labels)
    known = {"gender": ["female"] * size, "language": ["de"] * size, "duration": np.arange(1.0, size + 1)}
    return pandas.DataFrame({"label": labels, "speaker": speakers, **known, **more})


def test_every_utterance_is_counted_once_by_class_speaker_and_gender():
    table = rows(list("aab") * 2, list("xyz") * 2, gender=["female", "male", None] * 2)
    table["utterance_id"] = [f"u{row}" for row in range(6)]
    twice = pandas.concat([table.assign(seed=1), table.assign(seed=2)])
    found = recordings.section(twice)
    assert (found["n"], found["hours"]) == (6, round(21 / 3600, 3))
    first, second = found["classes"]
    assert first == {"class": "a", "n": 4, "speakers": 2, "female": 2, "male": 2, "unknown": 0, "seconds": 3.0}
    assert (second["unknown"], second["seconds"]) == (2, 4.5)
    assert found["speakers"][2] == {"gender": None, "n": 2, "classes": 1}, "names of people are nobody's business"
    assert found["seconds"] == {
        "minimum": 1.0, "lower_quartile": 2.25, "median": 3.5, "upper_quartile": 4.75, "maximum": 6.0
    }  # fmt: skip
    assert found["level"] is None


def test_what_makes_a_result_doubtful_is_said():
    found = recordings.section(rows(list("aaaab"), list("xxxyz")))
    assert any("Only one speaker has utterances of b" in note for note in found["notes"])
    assert any("3 of 3 speakers have utterances of one class only" in note for note in found["notes"])
    assert any("largest class has 4 utterances, the smallest 1" in note for note in found["notes"])
    assert recordings.section(rows(list("abab"), list("xxyy")))["notes"] == []


def test_unknown_durations_are_not_counted():
    found = recordings.section(rows(list("ab"), list("xy"), duration=[None, None]))
    assert (found["hours"], found["seconds"]["median"], found["classes"][0]["seconds"]) == (0, None, None)
    assert "Duration" not in "".join(recordings.in_brief(found))


def test_utterances_without_a_speaker_are_counted():
    text = "\n".join(recordings.to_markdown(recordings.section(rows(list("ab"), [None, None]))))
    assert "no known speaker, 2 utterances without a speaker" in text
