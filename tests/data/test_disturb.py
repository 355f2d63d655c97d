"""Disturbed datasets: only the sound differs, and it is computed once."""

import numpy as np
from conftest import write_tone

from ser_hf.audio import read_audio
from ser_hf.augmentation import effects
from ser_hf.augmentation.conditions import disturb_waveform
from ser_hf.data.columns import provenance
from ser_hf.data.dataset import load_corpus
from ser_hf.data.disturb import disturb


def test_a_disturbed_dataset_is_the_same_but_for_its_sound(synthetic):
    disturbed = disturb(synthetic, "noise:10")
    assert provenance(disturbed) == {**provenance(synthetic), "condition": "noise:10"}
    assert provenance(synthetic).get("condition") is None
    assert disturbed.features == synthetic.features
    assert disturbed.remove_columns("audio").to_list() == synthetic.remove_columns("audio").to_list()
    for before, after in zip(synthetic, disturbed, strict=True):
        wanted = disturb_waveform(read_audio(before["audio"]), "noise:10", before["utterance_id"])
        assert np.array_equal(read_audio(after["audio"]), wanted)


def test_a_condition_is_computed_once_for_a_dataset_that_is_built_again_and_anew_when_its_code_changed(
    tmp_path, monkeypatch
):
    import ser_hf.data.disturb as module

    for number in range(3):
        write_tone(tmp_path / f"own/anger/{number}.wav", hertz=200 + 50 * number)
    calls, disturb_row = [], module._disturb_row

    def counted(row, *, condition):
        calls.append(condition)
        return disturb_row(row, condition=condition)

    def sounds():
        rows = disturb(load_corpus("folder", tmp_path / "own", "four"), "noise:10")
        return [read_audio(row["audio"]).tobytes() for row in rows]  # the files differ: libsndfile writes the time in

    monkeypatch.setattr(module, "_disturb_row", counted)
    first = sounds()
    assert (sounds(), len(calls)) == (first, 3), "the second time they are read"
    monkeypatch.setattr("ser_hf.data.cache_keys.reading_code", lambda: b"another resampler")
    assert (sounds(), len(calls)) == (first, 6)
    (tmp_path / "effects.py").write_text("# another noise")
    monkeypatch.setattr(effects, "__file__", str(tmp_path / "effects.py"))
    assert (sounds(), len(calls)) == (first, 9)
