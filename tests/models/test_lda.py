"""The linear discriminant: scikit-learn's in closed form, chosen on training speakers, scored by a stock pipeline."""

import json

import numpy as np
import pytest
import torch
from answers import by_label
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import adjusted_rand_score, log_loss
from transformers import pipeline

from ser_hf.inference.classifier import Classifier
from ser_hf.inference.pseudo_speakers import groups_of_voices
from ser_hf.models.pretrained import ModelError, build_classifier, is_padding_invariant
from ser_hf.models.speech.configuration_lda import LDAConfig
from ser_hf.models.speech.ssl_encoder import ACTIVE_DB, active_frames, encode
from ser_hf.options import OptionError
from ser_hf.training.fitted.lda import LDAArguments, Part, discriminant, fit_lda
from ser_hf.training.fitted.voices import fit_voices

pytestmark = pytest.mark.slow

LABELS = ["anger", "happiness", "neutral", "sadness"]
RATE = 16_000
ENCODERS = ["tiny-hubert", "tiny-wavlm", "tiny-whisper"]


def clips(seconds=(0.3, 1.0, 0.717)):
    random = np.random.default_rng(0)
    return [random.normal(0, 0.1, round(length * RATE)).astype(np.float32) for length in seconds]


def recordings():
    return [{"array": clip, "sampling_rate": RATE} for clip in clips()]


def build(encoder="tiny-whisper", **settings):
    torch.manual_seed(0)
    return build_classifier("lda", LABELS, settings={"ssl": encoder, **settings})


def made_statistics(model, speakers=8, each=12, accent=1.0, seed=0):
    """Statistics as `embed` returns them, in which each class and each speaker is shifted, with labels and speakers."""
    random = np.random.default_rng(seed)
    frames, layers, width = model.cached_shape
    labels = np.resize(np.arange(len(LABELS)), speakers * each)
    names = np.repeat([f"s{number}" for number in range(speakers)], each)
    # Classes and speakers differ in a few directions each, as in an encoder, and utterances in all.
    directions = random.normal(size=(2, 6, layers * width)) / np.sqrt(layers * width)
    classes, accents = 0.3 * random.normal(size=(len(LABELS), 6)), 0.3 * accent * random.normal(size=(speakers, 6))
    vectors = classes[labels] @ directions[0] + accents[np.repeat(np.arange(speakers), each)] @ directions.mean(axis=0)
    vectors = vectors + random.normal(size=vectors.shape) / 6
    both = np.stack([vectors, vectors + random.normal(size=vectors.shape)], axis=1)  # active frames are worse here
    return both.reshape(-1, frames, layers, width).astype(np.float32), labels, names.astype(object)


@pytest.fixture(params=ENCODERS, scope="module")
def fitted(request):
    model, extractor = build(request.param)
    inputs = extractor(clips(), sampling_rate=RATE, padding=True, return_tensors="pt")
    middle = model.embed(**inputs).mean(dim=0).numpy()
    statistics, labels, speakers = made_statistics(model)
    fit_lda(model, middle + 0.1 * np.abs(middle) * statistics, labels, speakers)
    return model, extractor


@given(st.integers(2, 5), st.integers(1, 40), st.floats(0.01, 1), st.integers(0, 99))
def test_it_is_the_discriminant_of_scikit_learn_with_more_or_fewer_numbers_than_utterances(
    classes, width, shrinkage, seed
):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), 6)
    vectors = random.normal(size=(len(labels), width)) * random.uniform(0.1, 10, width) + labels[:, None]
    new = random.normal(size=(7, width))
    part = Part.standardised(vectors)
    weight, bias = next(discriminant(part.rows, labels, [shrinkage], part.width))
    ours = ((new - part.mean) / part.scale) @ part.basis @ weight + bias
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=np.full(classes, 1 / classes))
    theirs.fit((vectors - part.mean) / part.scale, labels)
    margins = theirs.decision_function((new - part.mean) / part.scale)
    # Logits may differ by a constant; of two classes scikit-learn gives the second minus the first.
    margins = np.stack([-margins, margins], axis=1) / 2 if classes == 2 else margins
    centred = [one - one.mean(axis=1, keepdims=True) for one in (ours, margins)]
    np.testing.assert_allclose(*centred, rtol=1e-6, atol=1e-6)


def test_a_stock_pipeline_gives_the_scores_of_an_unknown_speaker_in_batches(fitted, tmp_path):
    model, extractor = fitted
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    pipe = pipeline("audio-classification", str(tmp_path), device="cpu", trust_remote_code=True)
    ours = Classifier(model, extractor)(recordings())
    sizes = (1, 8) if is_padding_invariant(model, extractor) else (1,)
    for size in sizes:
        theirs = pipe(clips(), top_k=None, batch_size=size)
        for one, other in zip(ours, theirs, strict=True):
            assert by_label(one) == pytest.approx(by_label(other), abs=1e-3)
    assert not list(tmp_path.glob("*.pkl")) + list(tmp_path.glob("*.bin"))


def test_vectors_of_the_cache_score_as_the_sound_does(fitted):
    model, extractor = fitted
    with torch.inference_mode():
        for clip in clips():
            inputs = extractor([clip], sampling_rate=RATE, padding=True, return_tensors="pt")
            sound, cached = model(**inputs), model(layer_statistics=model.embed(**inputs))
            torch.testing.assert_close(sound.logits, cached.logits)
            torch.testing.assert_close(sound.centred_logits, cached.centred_logits)


def test_the_better_frames_shrinkage_and_temperature_are_found():
    model, _ = build()
    statistics, labels, speakers = made_statistics(model, speakers=12, accent=0.3)
    fit_lda(model, statistics[:96], labels[:96], speakers[:96])
    assert model.config.frames == "all"  # the statistics of active frames have more noise
    with torch.inference_mode():
        probabilities = model(layer_statistics=torch.from_numpy(statistics[96:])).logits.double().softmax(dim=1)
    truth = labels[96:]
    assert log_loss(truth, probabilities) < 0.8 * np.log(len(LABELS))
    for temperature in (0.4, 2.5):  # a sharper or a flatter answer would be worse for new speakers
        other = probabilities ** (1 / temperature)
        assert log_loss(truth, other / other.sum(dim=1, keepdim=True)) > log_loss(truth, probabilities)
    fit_lda(model, statistics[:, ::-1].copy(), labels, speakers)
    assert model.config.frames == "active"
    equally_good = statistics[:, :1] + np.random.default_rng(1).normal(0, 0.3, size=statistics.shape)
    fit_lda(model, equally_good, labels, speakers)
    assert model.config.frames == "both"  # noise of their own is halved in the mean of both


def test_labels_of_one_speaker_do_not_change_what_is_chosen_on_the_others_alone():
    """A speaker without a name is fitted and chooses nothing: no held-out fold has this speaker."""
    model, _ = build()
    statistics, labels, speakers = made_statistics(model)
    speakers[:12] = None
    fit_lda(model, statistics, labels, speakers)
    chosen, weight = model.config.to_dict(), model.classifier.weight.clone()
    labels[:12] = labels[:12][::-1]
    fit_lda(model, statistics, labels, speakers)
    for name in ("centred_shrinkage", "speaker_offsets"):
        assert model.config.to_dict()[name] == chosen[name]
    assert not torch.equal(model.classifier.weight, weight)


def test_few_or_unknown_speakers_give_a_model_without_a_centred_head():
    model, extractor = build()
    statistics, labels, speakers = made_statistics(model)
    for unknown in (np.full(len(speakers), None), np.asarray([f"{row % 24}" for row in range(96)], dtype=object)):
        fit_lda(model, statistics, labels, unknown)
        assert not model.config.has_centred_head
        assert Classifier(model, extractor)(recordings())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_frames_of_silence_are_not_active(encoder):
    model, extractor = build(encoder)
    sound = clips((1.0,))[0]
    quiet = np.concatenate([sound, sound * 10 ** (-(ACTIVE_DB + 10) / 20)])
    inputs = extractor([quiet, sound], sampling_rate=RATE, padding=True, return_tensors="pt")
    waveforms, mask = inputs[model.main_input_name], inputs["attention_mask"]
    _, real = encode(model.encoder, waveforms, mask)
    active = active_frames(model.encoder, waveforms, mask, real).float()
    half = round(RATE / (len(quiet) / active.shape[1]))
    assert active[0, : half - 2].mean() > 0.99
    assert active[0, half + 2 :].mean() < 0.01
    assert torch.equal(active[1, : half - 2], active[0, : half - 2])  # padding changes nothing
    assert active[1, half + 1 :].sum() == 0


def test_what_cannot_be_is_refused(fitted):
    model, extractor = build()
    with pytest.raises(ValueError, match="not fitted: train it with recipes/train_lda"):
        Classifier(model, extractor)(recordings())
    with pytest.raises(ModelError, match="needs an encoder: name its checkpoint, as in ssl=openai/whisper-base"):
        build_classifier("lda", LABELS)
    with pytest.raises(OptionError, match="needs an encoder: --model_name_or_path openai/whisper-base"):
        LDAArguments()
    with pytest.raises(OptionError, match="frames"):
        LDAArguments(model_name_or_path="lda:tiny-whisper", frames="loud")
    with pytest.raises(ValueError, match=r"encoder_outputs are \[9\], but the encoder has outputs 0 to 2"):
        build(encoder_outputs=[9])
    for wrong in ({"frames": "some"}, {"shrinkage": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LDAConfig(**wrong)
    statistics, labels, speakers = made_statistics(model)
    speakers[labels == 1] = "s0"
    with pytest.raises(ValueError, match=r"fold 1: class happiness needs training utterances of two speakers"):
        fit_lda(model, statistics, labels, speakers, where="fold 1")


def test_a_saved_discriminant_is_json_and_tensors(fitted, tmp_path):
    model, _ = fitted
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["has_centred_head"]) == ("ser_lda", True)
    again = type(model).from_pretrained(tmp_path)
    for (name, one), (_, other) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(one, other), name


def test_voices_of_new_people_are_told_apart_and_emotions_are_not():
    """Emotions move an utterance further than voices do, but in few directions, which training speakers show."""
    model, _ = build()
    random, (_, layers, width) = np.random.default_rng(0), model.cached_shape
    speakers, labels = np.repeat([f"s{number:02d}" for number in range(24)], 24).astype(object), np.arange(24 * 24) % 4
    voices, emotions = random.normal(size=(24, layers * width)), 3 * random.normal(size=(4, layers * width))
    noise = 0.5 * random.normal(size=(len(labels), layers * width))
    means = voices[np.arange(len(labels)) // 24] + emotions[labels] + noise
    statistics = torch.from_numpy(np.repeat(means.reshape(-1, 1, layers, width), 2, axis=1)).float()
    known = np.arange(len(labels)) < 16 * 24
    fit_voices(model.voices, statistics[known], speakers[known], np.arange(16 * 24) // 24 % 4)

    def agreements():
        found = groups_of_voices(model.voices(statistics[~known]).double().numpy(), float(model.voices.within))
        return adjusted_rand_score(speakers[~known], found), adjusted_rand_score(labels[~known], found)

    of_speakers, of_labels = agreements()
    assert of_speakers > 0.9
    assert of_labels < 0.1
    model.voices.removed.zero_()
    assert agreements()[0] < 0.5, "the directions that are removed matter"


def test_classes_that_only_speakers_with_few_utterances_show_leave_one_head():
    model, _ = build()
    statistics, labels, speakers = made_statistics(model, speakers=18, each=12)
    random = np.random.default_rng(0)
    rare = np.isin(speakers, [f"s{number}" for number in range(8)])
    for label in range(len(LABELS)):
        strangers = [np.flatnonzero(speakers == name) for name in sorted(set(speakers[~rare]))]
        few = np.concatenate([random.choice(own, 3, replace=False) for own in strangers])
        rows = np.concatenate([np.flatnonzero(rare & (labels != label)), few])
        fit_lda(model, statistics[rows], labels[rows], speakers[rows])
        assert not model.config.has_centred_head
        assert model.config.head_is_trained


def test_three_voices_among_many_strangers_are_fitted():
    model, _ = build()
    statistics, labels, speakers = made_statistics(model, speakers=30, each=12)
    few = np.arange(len(speakers)) % 12 < 4
    rows = np.flatnonzero(few | np.isin(speakers, ["s0", "s1", "s2"]))
    fit_lda(model, statistics[rows], labels[rows], speakers[rows])
    assert bool(torch.isfinite(model.voices.unit))
