"""A classifier that says when it does not know: thresholds of a report, kept with the model and obeyed."""

import json
import subprocess
import warnings
from dataclasses import replace

import numpy as np
import pandas
import pytest
import soundfile
from answers import by_label
from hypothesis import given
from hypothesis import strategies as st
from predictions import CLASSES, FACTS, make_rows
from tiny import save_untrained

import ser_hf
from ser_hf import Classifier
from ser_hf.evaluation.chapters.selective import section
from ser_hf.evaluation.conformal import conformal_sets
from ser_hf.evaluation.tables import PredictionTable
from ser_hf.files import CARD, CONFIG, REPORT
from ser_hf.inference.abstention import HELD_OUT, UNKNOWN, VALIDATION, Abstention, Decision
from ser_hf.inference.answers import best_first
from ser_hf.inference.bulk import predict_to_table
from ser_hf.inference.evaluate import choose_thresholds
from ser_hf.inference.offsets import OffsetRule
from ser_hf.models.pretrained import ModelError, build_classifier
from ser_hf.models.records import RECORDS

RATE = 16_000
STORED = Abstention({0.05: None, 0.1: 0.6, 0.2: 0.4}, 0.7, 0.9, VALIDATION, speakers=6, utterances=120)
scores = st.lists(st.floats(0.01, 1), min_size=2, max_size=6).map(lambda parts: np.array(parts) / sum(parts))


def any_model():
    return build_classifier("cnn", list(CLASSES), settings={"channels": [8, 16, 32]})[0]


def noise(seed=0, seconds=1.0):
    samples = np.random.default_rng(seed).normal(0, 0.02 * (seed + 1), round(seconds * RATE)).astype(np.float32)
    return {"array": samples, "sampling_rate": RATE}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random network with thresholds that some recordings reach and others do not."""
    saved = save_untrained(tmp_path_factory.mktemp("model"), "tiny-whisper", list(CLASSES), sharpness=30)
    classifier = Classifier.from_pretrained(str(saved))
    sure = sorted(answer[0]["score"] for answer in classifier([noise(seed) for seed in range(8)]))
    assert sure[3] < sure[4], "the recordings differ"
    between = (sure[3] + sure[4]) / 2
    replace(STORED, thresholds={0.05: None, 0.1: between, 0.2: 0.0}).write_to(classifier.model)
    OffsetRule(np.eye(3), 1.0, 3.0, 0.3).write_to(classifier.model)
    classifier.model.save_pretrained(saved)
    return saved


@pytest.fixture
def classifier(folder):
    return Classifier.from_pretrained(str(folder))


# --- what is kept with a model ----------------------------------------------------------------------------------------


def test_thresholds_in_the_configuration_are_those_of_a_report_from_the_same_validation_table():
    test = PredictionTable(make_rows(fold=0), FACTS)
    strangers = make_rows(utterances=200, speakers=10, seed=1, fold=0)
    strangers["utterance_id"], strangers["speaker"] = strangers["utterance_id"] + "v", strangers["speaker"] + "v"
    validation = PredictionTable(strangers, replace(FACTS, part="validation"))
    reported, model = section(test, validation), any_model()
    choose_thresholds(model, validation)
    kept = json.loads(json.dumps(model.config.abstention))
    assert kept["thresholds"] == {str(row["wanted"]): row["by_model"][0]["threshold"] for row in reported["thresholds"]}
    assert any(threshold is not None for threshold in kept["thresholds"].values())
    assert kept["set_quantile"] == reported["conformal"]["by_model"][0]["quantile"]
    assert kept["set_level"] == reported["conformal"]["level"]
    assert (kept["chosen_on"], kept["speakers"], kept["utterances"]) == (VALIDATION, 10, 200)


def test_a_new_choice_replaces_the_old_one_and_a_multi_label_model_keeps_none():
    table, model = PredictionTable(make_rows(fold=0), replace(FACTS, part="validation")), any_model()
    STORED.write_to(model)
    choose_thresholds(model, table)
    assert Abstention.of(model).utterances == table.n
    model.config.problem_type = "multi_label_classification"
    choose_thresholds(model, table)
    assert not hasattr(model.config, "abstention")
    with pytest.raises(ModelError, match=r"is multi-label: .* no score says how sure .*--targets label or votes"):
        Abstention.of(model)


@pytest.mark.parametrize("family", [one for one in RECORDS if one.tiny], ids=lambda family: family.name)
def test_every_family_keeps_its_thresholds(family, tmp_path):
    model, extractor = build_classifier(labels=list(CLASSES), **family.tiny)
    model.config.head_is_trained = True
    endless = replace(STORED, set_quantile=np.inf)
    endless.write_to(model)
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    assert "Infinity" not in (tmp_path / CONFIG).read_text(), "which is no JSON"
    assert Abstention.of(Classifier.from_pretrained(str(tmp_path)).model) == endless


def test_damaged_thresholds_are_one_line():
    for changes in (
        {"thresholds": {"0.1": 1.5}}, {"thresholds": {"ten": 0.5}}, {"thresholds": [0.5]}, {"set_quantile": "all"},
        {"set_quantile": -1}, {"set_level": 90}, {"other": 1},
    ):  # fmt: skip
        model = any_model()
        STORED.write_to(model)
        model.config.abstention |= changes
        with pytest.raises(ModelError, match=r"abstention in the config.json of .* cannot be true .*train again"):
            Abstention.of(model)


# --- answers ----------------------------------------------------------------------------------------------------------


@given(scores, st.floats(0, 1.1))
def test_the_first_entry_says_unknown_if_the_best_score_is_below_the_threshold_and_the_rest_is_as_always(
    row, threshold
):
    usual = best_first([f"c{number}" for number in range(len(row))], row)
    answer = Decision(threshold)(usual)
    if row.max() >= threshold:
        assert answer == usual
    else:
        assert answer == [{"label": UNKNOWN, "score": None}, *usual]
    assert Decision(threshold, top_k=1)(usual)[-1] == usual[0]


@given(scores, st.floats(0, 1) | st.just(np.inf))
def test_a_set_has_the_classes_of_the_conformal_set_best_first(row, quantile):
    labels = [f"c{number}" for number in range(len(row))]
    answer = Decision(quantile=quantile)(best_first(labels, row))
    inside = conformal_sets([row], quantile)[0]
    assert {entry["label"] for entry in answer} == {labels[number] for number in np.flatnonzero(inside)}
    assert answer == best_first(labels, row)[: inside.sum()]
    assert len(answer) == len(row) or quantile < np.inf


def test_each_kind_of_input_is_answered_and_half_of_the_recordings_are_unknown(classifier, tmp_path):
    sounds = [noise(seed) for seed in range(8)]
    usual, answers = classifier(sounds), classifier(sounds, abstain=0.1)
    unknown = [answer[0] == {"label": UNKNOWN, "score": None} for answer in answers]
    assert sum(unknown) == 4
    for before, answer, is_unknown in zip(usual, answers, unknown, strict=True):
        assert answer[is_unknown:] == before
    said = [answer[0]["label"] for answer in answers]
    assert [answer[0]["label"] for answer in classifier((one for one in sounds), abstain=0.1)] == said
    assert [classifier(one, abstain=0.1)[0]["label"] for one in sounds] == said
    assert classifier(sounds, abstain=0.2) == usual
    (tmp_path / "bad.wav").write_text("no sound")
    error = classifier(str(tmp_path / "bad.wav"), abstain=0.1, sets=True, on_error="report")
    assert list(error[0]) == ["label", "score", "error"]
    assert error[0]["label"] is None


def test_windows_and_known_speakers_are_judged_by_their_own_scores(classifier):
    threshold = classifier.model.config.abstention["thresholds"]["0.1"]
    sounds = [noise(seed, seconds=2) for seed in range(8)]
    for options in ({"window_seconds": 1}, {"adaptation": "online"}):
        usual, answers = classifier(sounds, **options), classifier(sounds, **options, abstain=0.1)
        expected = [before[0]["score"] < threshold for before in usual]
        assert [answer[0]["label"] == UNKNOWN for answer in answers] == expected
        assert 0 < sum(expected) < 8
        sets = classifier(sounds, **options, sets=True)
        assert [len(one) for one in sets] == [
            conformal_sets([[entry["score"] for entry in before]], STORED.set_quantile).sum() for before in usual
        ]
        assert {len(one) for one in sets} != {3}


def test_options_that_cannot_be_are_refused_with_the_stored_ones(classifier):
    sound = noise()
    with pytest.raises(ValueError, match=r"abstain=0.15: this model has thresholds for 0.05, 0.1, 0.2"):
        classifier(sound, abstain=0.15)
    with pytest.raises(ValueError, match=r"top_k=2, sets=True: .*leave top_k out"):
        classifier(sound, sets=True, top_k=2)
    for options in ({"abstain": 0.1}, {"sets": True}):
        with pytest.raises(ValueError, match=r"function_to_apply='none': abstain and sets need a softmax"):
            classifier(sound, function_to_apply="none", **options)
        with pytest.raises(ValueError, match=r"function_to_apply='sigmoid': scores of a known speaker"):
            classifier([sound], function_to_apply="sigmoid", adaptation="online", **options)
    assert classifier(sound, abstain=0.1, function_to_apply="softmax") == classifier(sound, abstain=0.1)
    Abstention.forget(classifier.model)
    for options in ({"abstain": 0.1}, {"sets": True}, {"abstain": 0.1, "adaptation": "online"}):
        with pytest.raises(ModelError, match=r"cannot abstain, because no thresholds .*with validation speakers"):
            classifier([sound], **options)
    assert classifier(sound)


def test_scores_that_are_no_probabilities_are_answered_as_ever(classifier):
    logits = classifier(noise(), function_to_apply="none")
    assert len(logits) == 3
    assert min(entry["score"] for entry in logits) < 0


def test_a_model_that_is_never_sure_enough_says_so_and_answers_unknown(classifier):
    with pytest.warns(UserWarning, match=r"never that sure: .*at most 5 % wrong .*120 validation utterances"):
        answers = classifier([noise(seed) for seed in range(3)], abstain=0.05)
    assert [answer[0]["label"] for answer in answers] == [UNKNOWN] * 3


def test_the_command_and_the_table_say_unknown_and_keep_the_guess(folder, tmp_path, run_verb):
    for seed in range(8):
        soundfile.write(tmp_path / f"{seed}.wav", noise(seed)["array"], RATE, subtype="FLOAT")
    code, told, complaint = run_verb("predict", folder, tmp_path, "--abstain", "0.1", "--json")
    assert code == 0, complaint
    rows = json.loads(told)
    unknown = [row["emotion"] == UNKNOWN for row in rows]
    assert sum(unknown) == 4
    assert [row["score"] is None for row in rows] == unknown
    assert all(sum(row["scores"].values()) == pytest.approx(1) for row in rows)
    lines = run_verb("predict", folder, tmp_path, "--abstain", "0.1")[1].splitlines()
    assert [f"  {UNKNOWN} " in line for line in lines] == unknown
    code, _, complaint = run_verb("predict", folder, tmp_path, "--abstain", "0.3")
    assert code == 1
    assert complaint == (
        "ser-hf: abstain=0.3: this model has thresholds for 0.05, 0.1, 0.2 (share of wrong answers): use one\n"
    )

    for suffix, read in ((".csv", pandas.read_csv), (".parquet", pandas.read_parquet)):
        run_verb("predict", folder, tmp_path, "--abstain", "0.1", "--out", tmp_path / f"table{suffix}")
        table = read(tmp_path / f"table{suffix}")
        assert list(table["emotion"] == UNKNOWN) == list(table["score"].isna()) == unknown
        assert list(table["guess"]) == list(table[[f"p_{name}" for name in CLASSES]].idxmax(axis=1).str[2:])


def test_a_table_has_no_guess_if_the_model_always_answers(classifier, tmp_path):
    predict_to_table(classifier, [("a", noise())], tmp_path / "table.csv")
    assert "guess" not in pandas.read_csv(tmp_path / "table.csv")


# --- trained models ---------------------------------------------------------------------------------------------------

HARD, PROTOCOL = "synthetic_spontaneous", "synthetic_spontaneous/si4"  # a machine errs on it often enough to abstain


@pytest.fixture(scope="module")
def hard():
    return ser_hf.load_corpus(HARD)


@pytest.fixture(scope="module")
def run(hard, tmp_path_factory):
    return ser_hf.train(hard, "svm", output_dir=str(tmp_path_factory.mktemp("svm")), protocol=PROTOCOL, folds=[0])


@pytest.mark.slow
def test_a_trained_model_obeys_the_thresholds_of_its_report_and_is_wrong_as_often_as_that_says(run, hard):
    chapter = json.loads((run.folder / REPORT).read_text())["chapters"]["selective"]
    classifier = run.classifier()
    kept = Abstention.of(classifier.model)
    parts = ser_hf.split(hard, PROTOCOL, fold=0)
    assert (kept.chosen_on, kept.utterances) == (VALIDATION, len(parts["validation"]))
    given = {}
    for part in ("validation", "test"):
        rows = parts[part]
        truth = [rows.features["label"].names[label] for label in rows["label"]]
        sounds = [row["audio"] for row in rows]
        for risk in kept.thresholds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it may be never that sure
                answers = [answer[0]["label"] for answer in classifier(sounds, abstain=risk)]
            right = [answer == true for answer, true in zip(answers, truth, strict=True) if answer != UNKNOWN]
            given[part, risk] = len(right) / len(rows), 1 - np.mean(right) if right else None
        if part == "test":
            sets = [{entry["label"] for entry in answer} for answer in classifier(sounds, sets=True)]
            covered = np.mean([true in one for one, true in zip(sets, truth, strict=True)])
            assert covered == pytest.approx(chapter["conformal"]["coverage"])
            assert np.mean(list(map(len, sets))) == pytest.approx(chapter["conformal"]["set_size"])
    assert kept.set_quantile == chapter["conformal"]["by_model"][0]["quantile"]
    for row in chapter["thresholds"]:
        risk = row["wanted"]
        assert kept.thresholds[risk] == row["by_model"][0]["threshold"]
        share, wrong = given["validation", risk]
        assert share == 0 or wrong <= risk
        assert given["test", risk] == (pytest.approx(row["coverage"]), row["risk"] and pytest.approx(row["risk"]))
    assert 0 < given["test", 0.2][0] < 1


@pytest.mark.slow
def test_a_stock_pipeline_that_knows_nothing_of_this_gives_the_same_scores(run, prepared, tmp_path):
    np.save(tmp_path / "waveform.npy", noise()["array"])
    script = """
import json, sys
sys.modules["ser_hf"] = None  # an import of it would fail
import numpy, transformers
classify = transformers.pipeline("audio-classification", model=sys.argv[1], trust_remote_code=True)
print(json.dumps(classify(numpy.load("waveform.npy"), top_k=None)))
"""
    words = [*prepared.python, "-c", script, str(run.folder)]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    theirs = by_label(json.loads(ended.stdout.splitlines()[-1]))
    assert theirs == pytest.approx(by_label(run.classifier()(noise())), abs=1e-5)
    assert {"abstention", "training_seconds"} <= set(json.loads((run.folder / CONFIG).read_text()))


@pytest.mark.slow
def test_the_card_says_how_to_abstain(run):
    card = (run.folder / CARD).read_text()
    kept = Abstention.of(run.classifier().model)
    reached = [str(risk) for risk, threshold in kept.thresholds.items() if threshold is not None]
    assert f'("recording.wav", abstain={reached[0]})`' in card
    assert f"were chosen on {kept.utterances} validation utterances of {kept.speakers} speakers" in card


@pytest.mark.slow
@pytest.mark.parametrize("model", ["svm", "lda:tiny-whisper"])
def test_a_fitted_model_without_validation_speakers_has_thresholds_of_held_out_training_speakers(model, hard, tmp_path):
    run = ser_hf.train(hard, model, refit=True, output_dir=str(tmp_path), protocol=PROTOCOL, folds=[0])
    classifier, parts = run.classifier(), ser_hf.split(hard, PROTOCOL, fold=0)
    kept = Abstention.of(classifier.model)
    trained_on = [row for part in ("train", "validation") for row in parts[part]]
    assert (kept.chosen_on, kept.utterances) == (HELD_OUT, len(trained_on))
    assert kept.speakers == len({row["speaker"] for row in trained_on})
    rows, wanted = parts["test"], max(kept.thresholds)
    truth = [rows.features["label"].names[label] for label in rows["label"]]
    answers = [answer[0]["label"] for answer in classifier([row["audio"] for row in rows], abstain=wanted)]
    given = [answer == true for answer, true in zip(answers, truth, strict=True) if answer != UNKNOWN]
    always = 1 - run.report.rates["war"]["value"]
    assert len(given) > 0
    assert 1 - np.mean(given) < min(always, wanted + 0.1)
