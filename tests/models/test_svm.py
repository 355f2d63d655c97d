"""The support vector machine: scikit-learn's decisions out of tensors, honest probabilities, nothing pickled."""

import json
import subprocess

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from sklearn.svm import SVC
from tiny import build_svm
from transformers import pipeline

from ser_hf import split
from ser_hf.data.precompute import precompute
from ser_hf.inference.classifier import Classifier
from ser_hf.models.pretrained import ModelError, is_padding_invariant
from ser_hf.models.speech.configuration_svm import SVMConfig
from ser_hf.models.speech.modeling_svm import SVMForAudioClassification
from ser_hf.training.fitted.svm import SVMArguments, fit_svm, pair_decisions

pytestmark = pytest.mark.slow

LABELS = ["anger", "happiness", "neutral", "sadness"]
RATE = 16_000
ENCODERS = [None, "tiny-hubert", "tiny-wavlm", "tiny-whisper", "test_resnet"]


def clips(seconds=(0.3, 1.0, 0.717)):
    random = np.random.default_rng(0)
    return [random.normal(0, 0.1, round(length * RATE)).astype(np.float32) for length in seconds]


def examples(classes: int, width: int = 6, utterances: int = 120, seed: int = 0, overlap: float = 1.0):
    """Vectors around one centre per class, of six speakers who each have an accent."""
    random = np.random.default_rng(seed)
    labels = np.resize(np.arange(classes), utterances)
    speakers = np.resize(np.repeat(np.arange(6), classes), utterances)
    centres, accents = random.normal(0, 2, (classes, width)), random.normal(0, 0.5, (6, width))
    vectors = centres[labels] + accents[speakers] + random.normal(0, overlap, (utterances, width))
    return vectors.astype(np.float32) * random.uniform(0.01, 100, width).astype(np.float32), labels, speakers


def machine(classes=4, width=6, **options):
    names = dict(enumerate("abcdefgh"[:classes]))
    return SVMForAudioClassification(SVMConfig(functionals=width, id2label=names, **options)).eval()


@pytest.fixture(params=ENCODERS, ids=str, scope="module")
def fitted(request):
    """A machine of each kind of input, on vectors that `embed` could have made."""
    torch.manual_seed(0)
    settings = {} if request.param is None else {"inputs": "both"}
    model, extractor = build_svm(request.param, LABELS, settings=settings)
    inputs = extractor(clips(), sampling_rate=RATE, return_tensors="pt")
    middle = model.embed(**inputs).mean(dim=0).numpy()
    _, labels, speakers = examples(4)
    random = np.random.default_rng(0)
    centres, noise = random.normal(size=(4, len(middle))), random.normal(size=(len(labels), len(middle)))
    vectors = middle + 0.1 * np.abs(middle) * (centres[labels] + noise)
    fit_svm(model, vectors, labels, speakers)
    return model, extractor


def scores(model, extractor, waveforms):
    with torch.inference_mode():
        return model(**extractor(waveforms, sampling_rate=RATE, return_tensors="pt")).logits


@settings(deadline=None, max_examples=12)
@given(
    st.sampled_from(["rbf", "linear"]), st.integers(2, 6), st.integers(0, 99), st.floats(0.05, 2), st.floats(0.1, 20),
    st.sampled_from(["balanced", "none"]),
)  # fmt: skip
def test_decisions_are_those_of_scikit_learn(kernel, classes, seed, gamma, cost, class_weight):
    model = machine(classes, kernel=kernel, gamma=gamma, cost=cost, class_weight=class_weight)
    vectors, labels, speakers = examples(classes, seed=seed)
    fit_svm(model, vectors, labels, speakers)
    standardised = model.head.standardise(torch.from_numpy(vectors))
    theirs = SVC(
        C=cost, kernel=kernel, gamma=gamma, class_weight=None if class_weight == "none" else class_weight,
        decision_function_shape="ovo",
    ).fit(standardised.numpy(), labels)  # fmt: skip
    unheard = standardised + torch.randn_like(standardised) * 0.3
    # LIBSVM stops within 1e-3 of the optimum, and rounding decides on which side of it.
    np.testing.assert_allclose(model.head.decisions(unheard), pair_decisions(theirs, unheard.numpy()), atol=5e-3)
    if classes > 2:  # the pairs vote as scikit-learn's do
        np.testing.assert_allclose(model.head.decisions(unheard), theirs.decision_function(unheard.numpy()), atol=5e-3)


def test_a_stock_pipeline_gives_the_same_scores_in_batches(fitted, tmp_path):
    model, extractor = fitted
    if not is_padding_invariant(model, extractor):
        pytest.skip("its scores depend on padding, in a stock pipeline too")
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    pipe = pipeline("audio-classification", str(tmp_path), device="cpu", trust_remote_code=True)
    alone, together = (pipe(clips(), top_k=None, batch_size=size) for size in (1, 8))
    for one, other in zip(alone, together, strict=True):
        assert [entry["score"] for entry in one] == pytest.approx([entry["score"] for entry in other], abs=1e-5)


@pytest.mark.parametrize("classes", [2, 5])
def test_calibration_on_speakers_who_were_not_heard_lowers_the_log_loss_of_new_ones(classes):
    vectors, labels, speakers = examples(classes, utterances=600, overlap=3.0)
    model = machine(classes)
    heard = speakers < 4
    fit_svm(model, vectors[heard], labels[heard], speakers[heard])
    new, truth = torch.from_numpy(vectors[~heard]), labels[~heard]
    calibrated = model(vectors=new).logits.double().softmax(dim=1)
    # What the margins alone would say: those of each class against the others, summed.
    margins = model.head.decisions(model.head.standardise(new))
    first, second = np.triu_indices(classes, 1)
    signs = torch.zeros(classes, len(first), dtype=torch.double)
    signs[first, np.arange(len(first))], signs[second, np.arange(len(first))] = 1.0, -1.0
    plain = (margins @ signs.T).softmax(dim=1)
    if classes > 2:  # a single margin happens to be near a log-odds as it is
        assert log_loss(truth, calibrated) < log_loss(truth, plain)
    right = calibrated.argmax(dim=1).numpy() == truth
    assert right.mean() > 1.3 / classes
    assert abs(calibrated.amax(dim=1).mean() - right.mean()) < 0.15, "confidence is about the rate of being right"


def crowd(distance, speakers, each, *, classes=4, seed=0, width=6):
    """Utterances of many speakers, and the true probability of each class: Gaussians around known centres."""
    centres = np.random.default_rng(1).normal(0, distance, (classes, width))
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, speakers * each)
    vectors = centres[labels] + random.normal(0, 1, (len(labels), width))
    likelihood = np.exp(-((vectors[:, None] - centres) ** 2).sum(axis=2) / 2)
    names = np.repeat([f"{seed}-{number}" for number in range(speakers)], each)
    return vectors.astype(np.float32), labels, names, likelihood / likelihood.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("distance", [0.4, 1.0, 1.5])
@pytest.mark.parametrize(("classes", "count", "each"), [(2, 60, 12), (4, 60, 12), (7, 10, 30), (7, 20, 30)])
def test_probabilities_of_new_speakers_are_neither_too_high_nor_too_low(distance, classes, count, each):
    model = machine(classes)
    vectors, labels, speakers, _ = crowd(distance, count, each, classes=classes)
    fit_svm(model, vectors, labels, speakers)
    vectors, labels, _, true = crowd(distance, 100, 50, classes=classes, seed=1)
    found = model(vectors=torch.from_numpy(vectors)).logits.double().softmax(dim=1).numpy()
    confidence, winners = found.max(axis=1), found.argmax(axis=1)
    # The true probability of the class that the machine answers: it knows what no count of right answers shows.
    deserved = true[np.arange(len(true)), winners]
    assert confidence.mean() == pytest.approx(deserved.mean(), abs=0.05)
    assert confidence.mean() == pytest.approx((winners == labels).mean(), abs=0.05)
    for part in np.array_split(np.argsort(confidence), 5):
        assert confidence[part].mean() == pytest.approx(deserved[part].mean(), abs=0.1)


def test_a_machine_that_knows_nothing_of_new_speakers_says_so():
    vectors, _, speakers, _ = crowd(1.0, 20, 12)
    labels = np.random.default_rng(2).integers(0, 4, len(vectors))
    model = machine()
    fit_svm(model, vectors, labels, speakers)
    found = model(vectors=torch.from_numpy(vectors)).logits.softmax(dim=1).numpy()
    assert found.std(axis=0).max() > 0
    assert abs(found - 0.25).max() < 0.15


def rings(speakers, seed=0):
    """Two classes, one around the other: a kernel that is almost linear cannot tell them apart."""
    random = np.random.default_rng(seed)
    labels, names = np.resize([0, 1], 20 * speakers), np.repeat(np.arange(speakers), 20)
    angle, radius = random.uniform(0, 2 * np.pi, len(labels)), 1 + labels + random.normal(0, 0.1, len(labels))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32), labels, names


def test_tune_finds_the_cost_and_gamma_that_unseen_speakers_need():
    vectors, labels, speakers = rings(10)
    new, truth, _ = rings(10, seed=1)

    def uar(**options):
        model = machine(2, width=2, cost=1.0, gamma=0.003)
        fit_svm(model, vectors, labels, speakers, **options)
        return model, np.mean(model(vectors=torch.from_numpy(new)).logits.argmax(dim=1).numpy() == truth)

    fixed, tuned = uar(), uar(tune=True)
    assert fixed[1] < 0.9 < 0.98 < tuned[1]
    assert tuned[0].config.cost > 1
    assert tuned[0].config.gamma > 0.003
    again = SVMForAudioClassification(tuned[0].config)
    again.load_state_dict(tuned[0].state_dict())
    vectors = torch.from_numpy(new)
    assert torch.equal(again(vectors=vectors).logits, tuned[0](vectors=vectors).logits), "the configuration has both"


@pytest.mark.parametrize("tune", [False, True])
def test_a_machine_is_the_same_to_the_last_bit_when_it_is_fitted_again(tune):
    one, other = machine(), machine()
    for model in (one, other):
        fit_svm(model, *examples(4, overlap=3.0), tune=tune)
    assert one.config.to_dict() == other.config.to_dict()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_functionals_recognise_the_synthetic_corpus_and_not_noise(synthetic):
    parts = split(synthetic, "synthetic/si4", 0)
    classes = synthetic.features["label"].names
    model, extractor = build_svm(None, classes)
    rows = {part: precompute(parts[part], model, extractor, frozen=True) for part in ("train", "test")}
    train, test = (np.stack(rows[part]["vectors"]) for part in ("train", "test"))
    fit_svm(model, train, rows["train"]["label"], rows["train"]["speaker"])
    truth = np.asarray(rows["test"]["label"])

    def uar(vectors):
        found = model(vectors=torch.from_numpy(vectors)).logits.argmax(dim=1).numpy()
        return np.mean([(found[truth == label] == label).mean() for label in range(len(classes))])

    assert uar(test) > 0.9
    random = np.random.default_rng(0)
    noise = [random.normal(0, 0.1, round(seconds * RATE)).astype(np.float32) for seconds in parts["test"]["duration"]]
    assert uar(extractor(noise, sampling_rate=RATE)["input_features"]) < 0.4


def test_a_clip_scores_the_same_alone_and_in_any_batch(fitted):
    model, extractor = fitted
    invariant = is_padding_invariant(model, extractor)
    assert invariant == (not model.config.backbone)
    waveforms = clips() if invariant else clips((1.0, 1.0, 1.0))
    together = scores(model, extractor, waveforms)
    assert together.std() > 1e-3, "a model that answers always the same would pass"
    alone = torch.cat([scores(model, extractor, [waveform]) for waveform in waveforms])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
    torch.testing.assert_close(scores(model, extractor, waveforms[::-1]).flip(0), together, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seconds", [0.3, 5.0, 60.0])
def test_any_length_is_answered(fitted, seconds):
    assert scores(*fitted, clips([seconds])).isfinite().all()


def test_vectors_of_the_cache_score_as_the_sound_does(fitted):
    model, extractor = fitted
    waveforms = clips((1.0, 1.0))
    vectors = model.embed(**extractor(waveforms, sampling_rate=RATE, return_tensors="pt"))
    assert vectors.shape[1:] == model.cached_shape
    torch.testing.assert_close(model(vectors=vectors).logits, scores(model, extractor, waveforms))


def test_a_saved_machine_is_json_and_tensors_and_answers_the_same_without_ser_hf(fitted, prepared, tmp_path):
    model, extractor = fitted
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir() if file.is_file()} == {".json", ".safetensors", ".py"}
    wanted = scores(model, extractor, clips()[1:2])
    again = Classifier.from_pretrained(str(tmp_path), device="cpu")
    torch.testing.assert_close(scores(again.model, again.extractor, clips()[1:2]), wanted)
    np.save(tmp_path / "waveform.npy", clips()[1])
    script = """
import json, sys
sys.modules["ser_hf"] = None  # an import of it would fail
import numpy, transformers
classify = transformers.pipeline("audio-classification", model=".", trust_remote_code=True)
print(json.dumps(classify(numpy.load("waveform.npy"), top_k=None)))
"""
    ended = subprocess.run([*prepared.python, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    answer = {entry["label"]: entry["score"] for entry in json.loads(ended.stdout.splitlines()[-1])}
    assert answer == pytest.approx(dict(zip(LABELS, wanted.softmax(dim=1)[0].tolist(), strict=True)), abs=1e-5)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_an_unfitted_machine_is_refused(tmp_path):
    model, extractor = build_svm(None, LABELS)
    with pytest.raises(ValueError, match="is not fitted"):
        model(**extractor(clips(), sampling_rate=RATE, return_tensors="pt"))
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="saved before it was trained"):
        Classifier.from_pretrained(str(tmp_path))


def test_calibration_keeps_what_the_balance_gave_to_rare_classes():
    """By class frequencies alone, the most frequent class would win back the doubtful utterances of the others."""
    vectors, labels, speakers = examples(4, utterances=2400, overlap=3.0)
    new = examples(4, utterances=400, overlap=3.0)[:2]
    keep = np.flatnonzero((labels == 0) | (np.arange(len(labels)) % 7 == 0))
    assert (labels[keep] == 0).mean() > 0.6
    recalls = {}
    for class_weight in ("balanced", "none"):
        model = machine(class_weight=class_weight)
        fit_svm(model, vectors[keep], labels[keep], speakers[keep])
        predicted = model(vectors=torch.from_numpy(new[0])).logits.argmax(dim=1).numpy()
        recalls[class_weight] = np.mean([(predicted[new[1] == label] == label).mean() for label in range(4)])
    assert recalls["balanced"] > recalls["none"] + 0.03


def test_an_utterance_without_a_speaker_is_fitted_and_does_not_calibrate():
    vectors, labels, speakers = examples(4)
    model = machine()
    fit_svm(model, vectors, labels, [None, *speakers[1:]])
    predicted = model(vectors=torch.from_numpy(vectors)).logits.argmax(dim=1).numpy()
    assert (predicted == labels).mean() > 0.9


def test_without_any_speaker_single_utterances_are_held_out():
    vectors, labels, _ = examples(4)
    nameless, named = machine(), machine()
    fit_svm(nameless, vectors, labels, [None] * len(labels))
    fit_svm(named, vectors, labels, list(range(len(labels))))
    for name, tensor in nameless.state_dict().items():
        assert torch.equal(tensor, named.state_dict()[name]), name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cnn", "a HuBERT, wav2vec2, WavLM or Whisper checkpoint"),
        ("parallel-transformer", "a HuBERT, wav2vec2, WavLM or Whisper checkpoint"),
        ("vggish", "a timm backbone with one input channel"),
    ],
)
def test_networks_that_embed_nothing_are_refused(name, said):
    with pytest.raises(ModelError, match=said):
        build_svm(name, LABELS)


def test_a_class_of_one_speaker_is_refused():
    vectors, labels, speakers = examples(4)
    speakers[labels == 2] = 0
    with pytest.raises(ValueError, match="class c needs training utterances of two speakers"):
        fit_svm(machine(), vectors, labels, speakers)


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match="kernel must be one of rbf, linear, not 'poly'"):
        SVMConfig(functionals=3, kernel="poly")
    with pytest.raises(ValueError, match="must be above 0"):
        SVMConfig(functionals=3, cost=0)
    with pytest.raises(ValueError, match="there is no encoder"):
        machine(inputs="both")
    with pytest.raises(ValueError, match="but there are 6 functionals"):
        machine(inputs="embeddings", backbone="test_resnet")
    with pytest.raises(ModelError, match="ser_svm has no setting 'gama'"):
        build_svm(None, LABELS, settings={"gama": 1})
    with pytest.raises(ValueError, match="needs --inputs embeddings or --inputs both"):
        SVMArguments(inputs="functionals", model_name_or_path="tiny-hubert")
    with pytest.raises(ValueError, match="--tune true chooses C and gamma: leave out --cost and --gamma"):
        SVMArguments(tune=True, cost=1.0)
    with pytest.raises(ValueError, match="the encoder has outputs 0 to 2"):
        build_svm("tiny-hubert", LABELS, settings={"encoder_outputs": [7]})
