"""Adaptation to a voice: what is known of a speaker, how it is used, and that nothing else is."""

import json

import numpy as np
import pytest
import soundfile
import torch
from answers import by_label
from scipy.special import softmax

import ser_hf
from ser_hf import Classifier, Speaker
from ser_hf.files import ADAPTATIONS, TEST
from ser_hf.inference.adaptation import DRAWS, _trials, adapt
from ser_hf.inference.offsets import MOST_KNOWN, OffsetRule
from ser_hf.inference.speakers import FACTS, SCORES, ProfileError
from ser_hf.models.pretrained import ModelError, build_classifier
from ser_hf.report.report import EvaluationReport
from ser_hf.report.runs import RunTables


@pytest.mark.parametrize("count", [1, 2, 7, MOST_KNOWN + 9])
@pytest.mark.parametrize("adaptation", ["online", "online-sorted", "enrolled-1", "enrolled-5"])
def test_an_utterance_is_never_known_when_it_is_scored_and_online_none_of_the_later_ones(adaptation, count):
    if count == 1 and adaptation.startswith("enrolled"):
        return  # which `adapt` refuses
    trials = list(_trials(adaptation, count, DRAWS, seed=3))
    assert len(trials) == (1 if adaptation == "online-sorted" else DRAWS)
    for _, targets, known in trials:
        known = np.broadcast_to(known, (len(targets), known.shape[1]))
        for place, (target, others) in enumerate(zip(targets, known, strict=True)):
            others = set(others[others >= 0])
            assert target not in others
            if adaptation.startswith("online"):
                assert others == set(targets[max(0, place - MOST_KNOWN) : place])
            else:
                assert len(others) == min(int(adaptation[-1]), count - 1)
    if count == 7:
        assert len({tuple(targets) for _, targets, _ in trials}) >= len(trials) - 2  # differently drawn


# --- a trained model ---

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    dataset = ser_hf.load_corpus("synthetic", scheme="five")
    folder = tmp_path_factory.mktemp("lda")
    return ser_hf.train(dataset, "lda:tiny-whisper", protocol="synthetic/si4", folds=[0], output_dir=str(folder))


@pytest.fixture(scope="module")
def speaker_of_test(run):
    parts = ser_hf.split(ser_hf.load_corpus("synthetic", scheme="five"), "synthetic/si4", fold=0)
    rows = parts["test"]
    first = rows["speaker"][0]
    return rows.select([row for row, speaker in enumerate(rows["speaker"]) if speaker == first])


def test_the_rule_is_saved_with_the_model_and_nothing_of_a_speaker_is(run):
    model = run.classifier().model
    assert model.config.has_centred_head
    assert OffsetRule.of(model).class_logits.shape == (5, 5)
    assert run.report.adaptation == "none"


def test_a_profile_gives_the_scores_of_the_evaluation(run, speaker_of_test):
    classifier = run.classifier()
    scored = adapt(classifier.model, classifier.extractor, speaker_of_test, "online-sorted")
    order = np.argsort(speaker_of_test["utterance_id"])
    speaker = Speaker(classifier)
    answers = speaker([speaker_of_test[int(row)]["audio"] for row in order], learn=True)
    expected = scored.probabilities[np.argsort(scored.positions)][order]
    ours = np.array([[by_label(answer)[name] for name in classifier.labels] for answer in answers])
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert speaker.recordings == len(order)


def test_a_profile_is_saved_without_sound_loaded_and_deleted(run, speaker_of_test, tmp_path):
    classifier, sounds = run.classifier(), [row["audio"] for row in speaker_of_test]
    speaker = Speaker(classifier)
    speaker.enrol(sounds[:10])
    before = classifier(sounds[10:13])
    speaker.save(tmp_path / "anna")
    assert sum(file.stat().st_size for file in (tmp_path / "anna").iterdir()) < 2000
    assert "biometric" in json.loads((tmp_path / "anna" / FACTS).read_text())["what"]
    again = Speaker.load(tmp_path / "anna", classifier)
    assert again(sounds[10:13]) == speaker(sounds[10:13]) != before
    assert classifier(sounds[10:13]) == before  # scores of an unknown speaker do not change
    Speaker.delete(tmp_path / "anna")
    assert not (tmp_path / "anna").exists()


def test_profiles_that_cannot_be_used_are_refused(run, speaker_of_test, tmp_path):
    classifier = run.classifier()
    speaker = Speaker(classifier)
    speaker.enrol([speaker_of_test[0]["audio"]])
    speaker.save(tmp_path / "anna")
    with pytest.raises(ProfileError, match=r"nobody holds no profile of a speaker: make one with `ser-hf enrol`"):
        Speaker.load(tmp_path / "nobody", classifier)
    with pytest.raises(ProfileError, match="nothing was deleted"):
        Speaker.delete(tmp_path)
    with torch.no_grad():
        other = run.classifier()
        other.model.centred.bias.add_(1)
    with pytest.raises(ProfileError, match=r"anna was made with another model: enrol the speaker again"):
        Speaker.load(tmp_path / "anna", other)
    content = (tmp_path / "anna" / SCORES).read_bytes()
    for damaged in (content[:-5], b"", b"version https://git-lfs.github.com/spec/v1"):
        (tmp_path / "anna" / SCORES).write_bytes(damaged)
        with pytest.raises(ProfileError, match=r"speaker\.safetensors is damaged .*enrol the speaker again"):
            Speaker.load(tmp_path / "anna", classifier)
    machine, extractor = build_classifier("cnn", ["anger", "neutral"])
    with pytest.raises(ModelError, match="cannot be adapted to a speaker: train it again"):
        Speaker(Classifier(machine, extractor))


def test_commands_enrol_predict_and_evaluate(run, speaker_of_test, tmp_path, run_verb):
    for number in range(6):
        sound = ser_hf.audio.read_audio(speaker_of_test[number]["audio"], sampling_rate=16_000)
        soundfile.write(tmp_path / f"{number}.wav", sound, 16_000)
    files = [str(tmp_path / f"{number}.wav") for number in range(6)]
    for some, count in ((files[:3], 3), (files[3:5], 5)):
        _, told, _ = run_verb("enrol", str(run.folder), *some, "--out", str(tmp_path / "anna"))
        assert f"profile of {count} recordings" in told
    plain, adapted = (
        json.loads(run_verb("predict", str(run.folder), files[5], "--json", *more)[1])[0]["scores"]
        for more in ([], ["--speaker", str(tmp_path / "anna")])
    )
    assert plain.keys() == adapted.keys()
    assert plain != adapted

    out = tmp_path / "online"
    code, told, _ = run_verb(
        "evaluate", str(run.folder), "--corpus", "synthetic", "--adaptation", "online,enrolled-3", "--out", str(out)
    )
    assert code == 0
    assert "held-out speakers, online adaptation" in told
    report = EvaluationReport.read(out / "report.json")
    rows = {row["adaptation"]: row for row in report.chapters["adapted"]["adaptations"]}
    assert list(rows) == ["none", "online", "enrolled-3"]
    assert rows["none"]["uar"] == pytest.approx(run.report.uar)
    assert rows["online"]["uar"] == pytest.approx(report.uar)
    assert rows["online"]["uar"] - rows["none"]["uar"] == pytest.approx(rows["online"]["gain"])
    assert {row["draws"] for name, row in rows.items() if name != "none"} == {DRAWS}
    assert {file.stem for file in (out / ADAPTATIONS).iterdir()} == set(rows)
    assert RunTables.read(out / TEST).test.metadata.adaptation == "online"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--adaptation", "guessing"], "unknown adaptation 'guessing': use none, online"),
        (["--adaptation", "online", "--conditions", "noise:10"], "evaluate once for each"),
    ],
)
def test_adaptations_that_cannot_be_are_refused(run, words, says, run_verb):
    code, _, told = run_verb("evaluate", str(run.folder), "--corpus", "synthetic", *words)
    assert code == 1
    assert says in told


def test_a_classifier_is_called_with_a_speaker(run, speaker_of_test, tmp_path):
    """By the folder of a profile, by a name that it remembers, or without a name for one call."""
    classifier, sounds = run.classifier(), [row["audio"] for row in speaker_of_test]
    plain = classifier(sounds[10:13])
    speaker = Speaker(classifier)
    speaker.enrol(sounds[:10])
    speaker.save(tmp_path / "anna")
    adapted = speaker(sounds[10:13])
    assert classifier(sounds[10:13], speaker=tmp_path / "anna") == adapted != plain
    assert classifier(sounds[10:13]) == plain

    classifier(sounds[:10], speaker="ben", adaptation="online")
    assert classifier.speaker("ben").recordings == 10
    assert classifier(sounds[10:13], speaker="ben") == adapted
    plain = by_label(classifier(sounds[0]))
    carla = classifier.speaker("carla")  # of whom nothing is known
    assert by_label(carla(sounds[0])) == pytest.approx(plain)
    windows = {"window_seconds": 0.3}
    assert by_label(carla(sounds[0], **windows)) == pytest.approx(by_label(classifier(sounds[0], **windows)))
    with pytest.raises(ProfileError, match=r"there is no profile dora, and no voice of this name was heard"):
        classifier(sounds[0], speaker="dora")
    with pytest.raises(ProfileError, match="no voice 'bene' is in memory, only ben, carla: nothing was deleted"):
        classifier.forget("bene")
    with pytest.raises(ProfileError, match="there is no profile profiles/anna: make it with `ser-hf enrol`, or use a"):
        classifier(sounds[0], speaker="profiles/anna", adaptation="online")
    with pytest.raises(ValueError, match="a call without a speaker forgets them: name the voice"):
        classifier(sounds[0], adaptation="online")
    classifier.forget("ben")
    with pytest.raises(ProfileError, match="no profile ben"):
        classifier(sounds[0], speaker="ben")
    Speaker.delete(tmp_path / "anna")
    with pytest.raises(ProfileError, match="no profile"):
        classifier(sounds[0], speaker=tmp_path / "anna")

    once = classifier(sounds[:13], adaptation="online")
    assert by_label(once[0]) == pytest.approx(plain, abs=1e-5)
    assert once == classifier(sounds[:13], adaptation="online")  # nothing is kept from the first call
    lazy = classifier((sound for sound in sounds[:5]), speaker="ella", adaptation="online")
    next(lazy)
    classifier.speaker("ella")(sounds[6])  # which must not change what the call above learns
    assert len([*lazy]) == 4
    assert classifier.speaker("ella").recordings == 5
    for wrong in ({"adaptation": "transductive"}, {"speaker": "ella", "function_to_apply": "none"}):
        with pytest.raises(ValueError, match=r"adaptation must be|known speaker are a softmax"):
            classifier(sounds[0], **wrong)


def test_embeddings_are_what_the_last_layer_receives(run, speaker_of_test):
    classifier, sounds = run.classifier(), [row["audio"] for row in speaker_of_test.select(range(3))]
    vectors, layer = classifier.embeddings(sounds), classifier.model.classifier
    logits = vectors @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
    np.testing.assert_allclose(softmax(logits, axis=1), classifier.probabilities(sounds), atol=1e-5)
