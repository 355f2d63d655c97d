"""Every family learns: emotions of unseen speakers, not of noise; with all of its parameters; the same in bfloat16.

A tiny network of each architecture (`tiny.py`), trained as a recipe would on one fold of the synthetic corpus.
"""

import io
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import soundfile
import torch
from tiny import TINY_MODELS
from transformers import set_seed

from ser_hf import split
from ser_hf.data.collate import UtteranceCollator
from ser_hf.data.precompute import precompute
from ser_hf.data.statistics import fit_statistics
from ser_hf.evaluation.metrics import unweighted_average_recall
from ser_hf.inference.classifier import Classifier
from ser_hf.inference.predict import predict_probabilities
from ser_hf.models.pretrained import build_classifier
from ser_hf.models.records import RECORDS
from ser_hf.models.trainable import is_frozen
from ser_hf.training.arguments import SERTrainingArguments
from ser_hf.training.fitted.lda import LDAArguments
from ser_hf.training.fitted.svm import SVMArguments
from ser_hf.training.trainer import SERTrainer

pytestmark = pytest.mark.slow
EMOTIONS = ("anger", "sadness")  # far apart in pitch: a small network learns them from 144 utterances
COMMON = dict(
    num_train_epochs=8, learning_rate=3e-3, per_device_train_batch_size=16, weight_decay=0.05,
    label_smoothing_factor=0.1,
)  # fmt: skip
# Networks that hear waveforms from scratch, a plain CNN, and log-mel alone in a fusion are left to the recipes.
LEARNERS = {
    "speech_encoder": {},
    "spectrogram": {"num_train_epochs": 14, "learning_rate": 5e-3},
    "statistics-whisper": {},
    "attentive-whisper": {},
    "hybrid_parallel": {},
    "parallel-blstm": {},
    "hybrid_stacked": {},
    "cnn-attention-lstm": {},
    "fusion": {},
    "svm": {},
    "lda": {},
}
# Of the families that are fitted in one step.
FITTED = {"svm": SVMArguments(), "lda": LDAArguments(model_name_or_path="tiny-whisper")}
# In probability, of a trained model: bfloat16 keeps 8 bits of a number, and errors of many layers add up.
BFLOAT16_TOLERANCE = 0.1


def build(name, labels):
    set_seed(0)
    return FITTED[name].build(labels) if name in FITTED else build_classifier(labels=labels, **TINY_MODELS[name])


def train(name, train_rows, test_rows, folder):
    """The trained model, what its parameters were before, and its UAR on the test rows."""
    model, extractor = build(name, train_rows.features["label"].names)
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters() if parameter.requires_grad}
    frozen = name in FITTED or is_frozen(model)
    train_rows, test_rows = (precompute(rows, model, extractor, frozen=frozen) for rows in (train_rows, test_rows))
    if name in FITTED:
        FITTED[name].fit(model, train_rows, where="the training part")
    else:
        fit_statistics(model, extractor, train_rows)
        arguments = SERTrainingArguments(
            output_dir=str(folder), use_cpu=True, disable_tqdm=True, eval_strategy="no", save_strategy="no",
            logging_strategy="no", load_best_model_at_end=False, warmup_steps=0.1, lr_scheduler_type="cosine",
            **{**COMMON, **LEARNERS.get(name, {})},
        )  # fmt: skip
        SERTrainer(model, arguments, train_dataset=train_rows, eval_dataset=None, processing_class=extractor).train()
    probabilities = predict_probabilities(model, extractor, test_rows)
    uar = unweighted_average_recall(test_rows["label"], probabilities.argmax(axis=1))
    return SimpleNamespace(
        model=model, extractor=extractor, before=before, uar=uar, rows=test_rows, probabilities=probabilities
    )


def speech(synthetic):
    """Training rows of 18 speakers, since nothing is selected on a validation part, and test rows of the other six."""
    parts = split(synthetic, "synthetic/si4", 0)
    features = datasets.Features({**synthetic.features, "label": datasets.ClassLabel(names=EMOTIONS)})

    def two_emotions(rows):
        rows = rows.select([row for row, emotion in enumerate(rows["emotion"]) if emotion in EMOTIONS])
        return rows.map(lambda emotion: {"label": EMOTIONS.index(emotion)}, input_columns="emotion", features=features)

    train_rows = two_emotions(datasets.concatenate_datasets([parts["train"], parts["validation"]]))
    return train_rows.select(range(0, len(train_rows), 2)), two_emotions(parts["test"])


def noise_in_place_of(rows, seed):
    """The labels and speakers of the rows, and a quarter of a second of white noise for each."""
    random = np.random.default_rng(seed)

    def audio(_):
        file = io.BytesIO()
        soundfile.write(file, random.normal(0, 0.1, 4_000), 16_000, format="WAV")
        return {"audio": {"bytes": file.getvalue(), "path": None}, "duration": 0.25}

    noisy = rows.map(audio, features=datasets.Features(rows.features), load_from_cache_file=False)
    noisy.info.description = rows.info.description
    return noisy


@pytest.fixture(scope="module", params=LEARNERS)
def trained(request, synthetic, tmp_path_factory):
    return train(request.param, *speech(synthetic), tmp_path_factory.mktemp(request.param))


def test_emotions_of_unseen_speakers_are_learnt(trained):
    assert trained.uar > 0.9


def test_every_trainable_parameter_moves(trained):
    # Stock models: the embedding of masked frames serves pre-training, and a mix of layers bypasses the last norm.
    unused = ("masked_spec_embed", "encoder.layer_norm.weight", "encoder.layer_norm.bias")
    now = dict(trained.model.named_parameters())
    still = [name for name, tensor in trained.before.items() if torch.equal(tensor, now[name])]
    assert [name for name in still if not name.endswith(unused)] == []


def test_bfloat16_scores_are_those_of_float32_within_a_tolerance(trained):
    classifier = Classifier(trained.model, trained.extractor)
    collate = UtteranceCollator(trained.extractor, trained.model)
    batches = [collate.inputs([row]) for row in trained.rows.select(range(0, len(trained.rows), 6))]
    scores = classifier.function()
    full = np.concatenate([scores(classifier.score(batch)) for batch in batches])
    with torch.autocast("cpu", torch.bfloat16):
        low = np.concatenate([scores(classifier.score(batch)) for batch in batches])
    assert np.abs(low - full).max() < BFLOAT16_TOLERANCE
    best = np.sort(full, axis=1)
    clear = best[:, -1] - best[:, -2] > 2 * BFLOAT16_TOLERANCE
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(low.argmax(axis=1)[clear], full.argmax(axis=1)[clear])


@pytest.mark.parametrize("name", [family.name for family in RECORDS if family.tiny and not family.is_stock])
def test_noise_teaches_nothing(name, synthetic, tmp_path):
    noise = [noise_in_place_of(rows, seed) for seed, rows in enumerate(speech(synthetic))]
    trained = train(name, *noise, tmp_path)
    assert trained.uar < 0.5 + 3 * np.sqrt(0.25 / len(trained.rows)), "three standard errors above chance"
