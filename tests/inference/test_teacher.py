"""A teacher of whatever family answers for the classes of its student, and gives nothing away."""

from itertools import product

import numpy as np
import pandas
import pytest
from conftest import write_tone
from tiny import build_svm

from ser_hf import load_corpus, split
from ser_hf.data.cache_keys import CacheError
from ser_hf.data.precompute import hash_audio, precompute
from ser_hf.inference.classifier import Classifier
from ser_hf.inference.teacher import Teacher
from ser_hf.models.pretrained import ModelError, build_classifier
from ser_hf.splits.ledger import Ledger, LedgerError
from ser_hf.splits.split import get_protocol
from ser_hf.training.fitted.svm import fit_svm

EMOTIONS = ("anger", "happiness", "neutral", "sadness")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Ten speakers, each with a tone for every emotion."""
    root, rows = tmp_path_factory.mktemp("tones"), []
    for number, (speaker, emotion) in enumerate(product(range(10), EMOTIONS)):
        seconds = 0.3 + 0.02 * (number % 5)
        write_tone(root / f"{number}.wav", hertz=120 + 7 * number, seconds=seconds)
        rows.append({"path": f"{number}.wav", "emotion": emotion, "speaker": speaker})
    pandas.DataFrame(rows).to_csv(root / "table.csv", index=False)
    return hash_audio(load_corpus("folder", root, "four"))


def save(folder, model, extractor):
    model.config.head_is_trained = True
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return Teacher.of_fold(str(folder), 0)


def saved(folder, name, labels, dataset, **options):
    if name != "svm":
        return save(folder, *build_classifier(name, labels, **options))
    model, extractor = build_svm(None, labels, feature_set="functionals", settings={})
    vectors = precompute(dataset, model, extractor, frozen=True)["vectors"]
    fit_svm(model, np.stack(vectors), dataset["label"], dataset["speaker"])
    return save(folder, model, extractor)


@pytest.mark.parametrize("name", ["tiny-hubert", "tiny-whisper", "cnn", "svm"])
def test_any_family_answers_with_the_log_probabilities_of_its_classifier(name, dataset, tmp_path):
    teacher = saved(tmp_path, name, EMOTIONS, dataset)
    expected = Classifier.from_pretrained(str(tmp_path)).probabilities(dataset["audio"][:])
    assert expected.std(axis=0).max() > 0
    np.testing.assert_allclose(np.exp(teacher.log_probabilities(dataset)), expected, atol=1e-6)


def test_labels_are_matched_by_name_and_others_left_out(dataset, tmp_path):
    labels = ["sadness", "boredom", "hap", "neutral", "anger"]
    teacher = saved(tmp_path, "tiny-hubert", labels, dataset)
    expected = Classifier.from_pretrained(str(tmp_path)).probabilities(dataset["audio"][:])[:, [4, 2, 3, 0]]
    called = {"sadness": "sadness", "hap": "happiness", "neutral": "neutral", "anger": "anger"}
    np.testing.assert_allclose(np.exp(teacher.log_probabilities(dataset, label_map=called)), expected, atol=1e-6)
    with pytest.raises(ModelError, match="has no label for happiness: its labels are sadness, boredom, hap"):
        teacher.log_probabilities(dataset)
    with pytest.raises(ModelError, match="teacher_labels: the teacher has no label 'happy'"):
        teacher.log_probabilities(dataset, label_map={**called, "happy": "happiness"})


def test_its_own_cached_columns_serve_and_those_of_another_front_end_do_not(dataset, tmp_path):
    teacher = saved(tmp_path, "cnn", EMOTIONS, dataset)
    from_audio = teacher.log_probabilities(dataset)
    own = precompute(dataset, *build_classifier("cnn", EMOTIONS), frozen=False)
    other = precompute(dataset, *build_classifier("cnn", EMOTIONS, front_end={"feature_size": 40}), frozen=False)
    np.testing.assert_allclose(teacher.log_probabilities(other), from_audio, atol=1e-5)
    np.testing.assert_allclose(teacher.log_probabilities(own.remove_columns("audio")), from_audio, atol=1e-5)
    backwards = own.select(range(len(own))[::-1])
    np.testing.assert_allclose(teacher.log_probabilities(backwards)[::-1], from_audio, atol=1e-5)
    with pytest.raises(CacheError, match="needs other features than were precomputed, and there are no recordings"):
        teacher.log_probabilities(other.remove_columns("audio"))


@pytest.mark.parametrize("student", ["utterance", "speaker"])
def test_a_teacher_that_standardises_speakers_hears_them_in_its_own_way(student, dataset, tmp_path):
    front_end = {"normalize": "speaker"}
    teacher = saved(tmp_path, "cnn", EMOTIONS, dataset, front_end=front_end)
    expected = teacher.log_probabilities(dataset)
    theirs = {"normalize": student, "deltas": 1} if student == "speaker" else {"normalize": student}
    rows = precompute(dataset, *build_classifier("cnn", EMOTIONS, front_end=theirs), frozen=False)
    np.testing.assert_allclose(teacher.log_probabilities(rows), expected, atol=1e-5)


def test_scores_that_do_not_sum_to_1_are_refused(dataset, tmp_path):
    model, extractor = build_classifier("tiny-hubert", EMOTIONS)
    model.config.problem_type = "multi_label_classification"
    with pytest.raises(ModelError, match="is multi-label"):
        save(tmp_path, model, extractor).log_probabilities(dataset)


def test_every_fold_has_the_teacher_of_that_fold(dataset, tmp_path):
    for fold in (0, 2):
        saved(tmp_path / f"run/fold{fold}", "tiny-hubert", EMOTIONS, dataset)
    assert Teacher.of_fold(str(tmp_path / "run"), 2).name_or_path == str(tmp_path / "run/fold2")
    assert Teacher.of_fold(str(tmp_path / "run"), 2).name == "run"
    assert Teacher.of_fold(str(tmp_path / "run/fold2"), 0).name_or_path == str(tmp_path / "run/fold2")
    with pytest.raises(ModelError, match="has no model of fold 1, only fold0, fold2"):
        Teacher.of_fold(str(tmp_path / "run"), 1)


def test_a_folder_that_is_none_or_holds_no_model_is_told_without_asking_the_hub(tmp_path):
    with pytest.raises(ModelError, match=r"there is no model '\S+nowhere': the folder does not exist"):
        Teacher.of_fold(str(tmp_path / "nowhere"), 0)
    with pytest.raises(ModelError, match=r"there is no model in .*: the folder is empty"):
        Teacher.of_fold(str(tmp_path), 0)


def teacher_that_heard(dataset, protocol, fold, parts=None):
    parts = parts or split(dataset, protocol, fold)
    ledger = Ledger().continued(parts, get_protocol(protocol), fold=fold, seed=1, scheme="four")
    return Teacher("runs/teacher", ledger)


def test_a_teacher_that_heard_the_test_speakers_is_refused_by_the_name_of_one_and_the_fold(dataset):
    protocol = get_protocol("folder/kfold5")
    teacher = teacher_that_heard(dataset, "folder/kfold5", 0)
    with pytest.raises(LedgerError, match=r"runs/teacher would leak .*speaker folder-\S+ of this test part .*fold 0"):
        teacher.refuse_leak(split(dataset, "folder/kfold5", 1), protocol)
    teacher.refuse_leak(split(dataset, "folder/kfold5", 0), protocol)


def test_a_teacher_that_was_trained_on_the_validation_speakers_is_refused_and_one_that_was_chosen_on_them_is_not(
    dataset,
):
    protocol, parts = get_protocol("folder/kfold5"), split(dataset, "folder/kfold5", 0)
    swapped = {"train": parts["validation"], "validation": parts["train"], "test": parts["test"]}
    teacher = teacher_that_heard(dataset, "folder/kfold5", 0, swapped)
    with pytest.raises(LedgerError, match=r"speaker folder-\S+ of this validation part was in the train part.*fold 0"):
        teacher.refuse_leak(parts, protocol)


def test_of_a_protocol_that_shares_speakers_recordings_are_compared(dataset):
    protocol = get_protocol("folder/random5")
    teacher = teacher_that_heard(dataset, "folder/random5", 0)
    teacher.refuse_leak(split(dataset, "folder/random5", 0), protocol)
    with pytest.raises(LedgerError, match=r"the recording folder/\S+ of this test part was in the"):
        teacher.refuse_leak(split(dataset, "folder/random5", 1), protocol)


def test_of_a_teacher_without_a_ledger_nobody_knows(dataset):
    Teacher("theirs", None).refuse_leak(split(dataset, "folder/kfold5", 1), get_protocol("folder/kfold5"))
    assert Ledger().taught_by(None, "theirs").unknown == ("theirs",)
