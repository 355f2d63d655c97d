"""Names of people stay at home, and yet a published model knows whom it was trained on."""

import json

import pytest
from conftest import write_tone

import ser_hf
from ser_hf.files import LEDGER
from ser_hf.hub.outgoing import People, as_published, files_to_publish
from ser_hf.hub.push import push
from ser_hf.splits.ledger import Ledger, LedgerError
from ser_hf.splits.pseudonyms import pseudonym

PEOPLE = ("Anna Müller", "Bert", "Cleo", "Dora", "Egon", "Frida")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """A machine that was trained on the recordings of six people, and a dataset of them."""
    folder = tmp_path_factory.mktemp("calls")
    lines = ["file,emotion,speaker"]
    for number in range(24):
        name = f"{PEOPLE[number // 4]} {number}.wav"
        write_tone(folder / name, hertz=150 + 10 * number)
        lines.append(f"{name},{('anger', 'fear')[number % 2]},{PEOPLE[number // 4]}")
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    dataset = ser_hf.load_corpus(folder, scheme="own", name="calls")
    run = ser_hf.train(dataset, "svm", protocol="calls/kfold3", folds=[0], output_dir=str(folder / "run"))
    return run.folder, ser_hf.data.precompute.hash_audio(dataset)


def published(folder):
    people = People.of_run(folder)
    contents = {name: as_published(folder / name, "user/calls", people) for name in files_to_publish(folder)}
    return {name: what if isinstance(what, bytes) else what.read_bytes() for name, what in contents.items()}


def test_no_file_that_goes_out_names_anybody(calls):
    for name, content in published(calls[0]).items():
        for person in PEOPLE:
            for written in (person, json.dumps(person)[1:-1]):
                assert written.encode() not in content, name


def test_the_published_ledger_still_refuses_known_speakers_and_no_others(calls, tmp_path):
    folder, dataset = calls
    (tmp_path / LEDGER).write_bytes(published(folder)[LEDGER])
    ledger, mine = Ledger.of_model(str(tmp_path)), Ledger.of_model(str(folder))
    known = set(mine.trainings[0].speakers["train"])
    rows = dataset.filter(lambda row: row["speaker"] in known)
    with pytest.raises(LedgerError, match=f"speaker {min(known)} of this test part was in the train part"):
        ledger.refuse_seen(rows)
    new = dataset.filter(lambda row: row["speaker"] not in known | set(mine.trainings[0].speakers["validation"]))
    ledger.refuse_seen(new)
    assert len(new) > 0


def test_the_same_name_is_another_pseudonym_for_another_model_and_public_ids_stay(calls):
    assert pseudonym("calls-Bert", "01") == pseudonym("calls-Bert", "01") != pseudonym("calls-Bert", "02")
    assert pseudonym("calls-Bert", "01").startswith("calls-~")
    assert "Anna" not in pseudonym("calls-Anna Schmidt/1", "01")
    assert pseudonym("ravdess-01", "01") == "ravdess-01"
    assert pseudonym("ravdess/Actor_01/x", "01") == "ravdess/Actor_01/x"


def test_the_dry_run_lists_what_personal_data_would_go_out(calls, synthetic, tmp_path):
    (sentence,) = push(calls[0], "user/calls", dry_run=True).personal
    assert "6 speakers of calls under pseudonyms" in sentence
    assert "recordings" in sentence
    run = ser_hf.train(
        synthetic.select(range(0, len(synthetic), 4)), "svm", protocol="synthetic/kfold3", folds=[0],
        output_dir=str(tmp_path / "public"),
    )  # fmt: skip
    assert push(run.folder, "user/public", dry_run=True).personal == []


def test_a_ledger_of_a_published_model_keeps_its_pseudonyms_when_it_is_published_again(calls):
    once = Ledger.of_model(str(calls[0])).under_pseudonyms("0a")
    assert once.under_pseudonyms("0b") == once
